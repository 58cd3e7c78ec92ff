//! Filters over attributes: the form in which they are written, and the checked form.
//!
//! ```json
//! {"attribute": "genres", "any": ["Comedy", "Drama"]}
//! {"all": [{"attribute": "year", "min": 1990}, {"not": {"attribute": "language", "equals": "en"}}]}
//! ```
//!
//! A form is either one of `all`, `any_of` (lists of forms), `not` (a form), or an `attribute` with
//! at least one condition, all of which must hold. Conditions: `equals` (has this value), `any`
//! (has one of these), `none` (has none of these; true for an item without the attribute), `min` and `max` (numbers and
//! moments, both included), `exists`. An item without the attribute fails every other condition.

use domain::{AttributeKind, RawAttribute, Schema, Timestamp};
use serde::{Deserialize, Serialize};

/// Most conditions in one filter.
const CONDITIONS_MAX: usize = 64;
/// Deepest nesting of `all`, `any_of` and `not`.
const DEPTH_MAX: usize = 8;
/// Most values in one condition.
const VALUES_MAX: usize = 1000;

/// A filter as it is written; see the head of the module.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterForm {
    /// Every one of these holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<FilterForm>>,
    /// One of these holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any_of: Option<Vec<FilterForm>>,
    /// This does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<FilterForm>>,
    /// Name of the attribute that the conditions below are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// Has this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<RawAttribute>,
    /// Has one of these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<RawAttribute>>,
    /// Has none of these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<Vec<RawAttribute>>,
    /// At least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<RawAttribute>,
    /// At most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<RawAttribute>,
    /// Is there, or is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
}

/// A filter that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: got {got}, expected {expected}")]
pub struct FilterError {
    /// Path of the part at fault, as `filter.all[1].min`.
    pub field: String,
    /// What was there.
    pub got: String,
    /// What should have been.
    pub expected: String,
}

/// A checked filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(pub(crate) FilterNode);

/// A part of a checked filter.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterNode {
    /// Every one of these holds.
    All(Vec<FilterNode>),
    /// One of these holds.
    Any(Vec<FilterNode>),
    /// This does not hold.
    Not(Box<FilterNode>),
    /// A condition on an attribute, which an item without it fails.
    Test {
        /// Which attribute.
        attribute: String,
        /// The condition.
        test: FilterTest,
    },
}

/// One condition on one attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterTest {
    /// Has one of these texts or numbers.
    Has {
        /// Ascending.
        texts: Vec<String>,
        /// Ascending.
        numbers: Vec<f64>,
    },
    /// A number within these, both included.
    Numbers {
        /// From.
        min: f64,
        /// To.
        max: f64,
    },
    /// A moment within these, both included.
    Moments {
        /// From.
        min: Timestamp,
        /// To.
        max: Timestamp,
    },
    /// Is there.
    Exists,
}

impl Filter {
    /// Checks a form against the attributes that items have. `moment` reads a moment as the rest
    /// of the product does.
    ///
    /// # Errors
    /// The first part that cannot be: an unknown attribute, a condition that does not suit the
    /// attribute's kind, a value of the wrong sort, or a filter that is too large.
    pub fn check(
        form: &FilterForm,
        schema: &Schema,
        moment: &dyn Fn(&RawAttribute) -> Option<Timestamp>,
    ) -> Result<Filter, FilterError> {
        let mut checker = Checker {
            schema,
            moment,
            conditions: 0,
        };
        checker.node(form, "filter", 1).map(Filter)
    }

    /// The conditions, joined as they were written.
    pub fn root(&self) -> &FilterNode {
        &self.0
    }
}

struct Checker<'a> {
    schema: &'a Schema,
    moment: &'a dyn Fn(&RawAttribute) -> Option<Timestamp>,
    conditions: usize,
}

fn fail<T>(field: &str, got: impl ToString, expected: impl ToString) -> Result<T, FilterError> {
    Err(FilterError {
        field: field.to_owned(),
        got: got.to_string(),
        expected: expected.to_string(),
    })
}

fn say(raw: &RawAttribute) -> String {
    match raw {
        RawAttribute::Flag(flag) => flag.to_string(),
        RawAttribute::Number(number) => number.to_string(),
        RawAttribute::Text(text) => {
            let short: String = text.chars().take(60).collect();
            format!("{short:?}")
        }
        RawAttribute::Geo { .. } => "an object".to_owned(),
        RawAttribute::Numbers(_) | RawAttribute::Texts(_) => "a list".to_owned(),
    }
}

fn kind_name(kind: AttributeKind) -> &'static str {
    match kind {
        AttributeKind::Category => "category",
        AttributeKind::Tags => "tags",
        AttributeKind::Number => "number",
        AttributeKind::Text => "text",
        AttributeKind::Timestamp => "timestamp",
        AttributeKind::Geo => "geo",
        AttributeKind::Embedding => "embedding",
        AttributeKind::Ids => "ids",
    }
}

impl Checker<'_> {
    fn node(&mut self, form: &FilterForm, path: &str, depth: usize) -> Result<FilterNode, FilterError> {
        if depth > DEPTH_MAX {
            return fail(path, "deeper nesting", format!("at most {DEPTH_MAX} levels"));
        }
        let shapes = [
            form.all.is_some(),
            form.any_of.is_some(),
            form.not.is_some(),
            form.attribute.is_some(),
        ];
        let shape_count = shapes.iter().filter(|shape| **shape).count();
        if shape_count != 1 {
            let got = if shape_count == 0 {
                "none of them"
            } else {
                "several of them"
            };
            return fail(path, got, "exactly one of all, any_of, not, attribute");
        }
        if form.attribute.is_none() && self.has_conditions(form) {
            return fail(
                path,
                "conditions without attribute",
                "the name of an attribute beside them",
            );
        }
        if let Some(attribute) = &form.attribute {
            return self.tests(form, attribute, path);
        }
        if let Some(inner) = &form.not {
            return Ok(FilterNode::Not(Box::new(self.node(
                inner,
                &format!("{path}.not"),
                depth + 1,
            )?)));
        }
        let (name, list) = match (&form.all, &form.any_of) {
            (Some(list), _) => ("all", list),
            (_, Some(list)) => ("any_of", list),
            _ => return fail(path, "none of them", "exactly one of all, any_of, not, attribute"),
        };
        if list.is_empty() {
            return fail(&format!("{path}.{name}"), "an empty list", "at least one filter");
        }
        let mut nodes = Vec::new();
        for (place, inner) in list.iter().enumerate() {
            nodes.push(self.node(inner, &format!("{path}.{name}[{place}]"), depth + 1)?);
        }
        Ok(if name == "all" {
            FilterNode::All(nodes)
        } else {
            FilterNode::Any(nodes)
        })
    }

    fn has_conditions(&self, form: &FilterForm) -> bool {
        form.equals.is_some()
            || form.any.is_some()
            || form.none.is_some()
            || form.min.is_some()
            || form.max.is_some()
            || form.exists.is_some()
    }

    fn tests(&mut self, form: &FilterForm, attribute: &str, path: &str) -> Result<FilterNode, FilterError> {
        let Some(known) = self.schema.get(attribute) else {
            let names: Vec<&str> = self.schema.keys().take(20).map(String::as_str).collect();
            let expected = if names.is_empty() {
                "an attribute of an item; no item has any".to_owned()
            } else {
                format!("an attribute that items have, such as {}", names.join(", "))
            };
            let got = say(&RawAttribute::Text(attribute.to_owned()));
            return fail(&format!("{path}.attribute"), got, expected);
        };
        if !self.has_conditions(form) {
            return fail(
                path,
                "no condition",
                "at least one of equals, any, none, min, max, exists",
            );
        }
        let kind = known.kind;
        let test = |test: FilterTest| FilterNode::Test {
            attribute: attribute.to_owned(),
            test,
        };
        let mut nodes = Vec::new();
        if let Some(value) = &form.equals {
            let values = std::slice::from_ref(value);
            nodes.push(test(self.has(values, kind, &format!("{path}.equals"))?));
        }
        if let Some(values) = &form.any {
            nodes.push(test(self.has(values, kind, &format!("{path}.any"))?));
        }
        if let Some(values) = &form.none {
            let has = test(self.has(values, kind, &format!("{path}.none"))?);
            nodes.push(FilterNode::Not(Box::new(has)));
        }
        if form.min.is_some() || form.max.is_some() {
            nodes.push(test(self.range(form, kind, path)?));
        }
        match form.exists {
            Some(true) => nodes.push(test(FilterTest::Exists)),
            Some(false) => nodes.push(FilterNode::Not(Box::new(test(FilterTest::Exists)))),
            None => {}
        }
        self.conditions += nodes.len();
        if self.conditions > CONDITIONS_MAX {
            return fail(
                path,
                "more conditions",
                format!("at most {CONDITIONS_MAX} in one filter"),
            );
        }
        Ok(match nodes.pop() {
            Some(only) if nodes.is_empty() => only,
            Some(last) => {
                nodes.push(last);
                FilterNode::All(nodes)
            }
            None => FilterNode::All(nodes),
        })
    }

    fn has(
        &self,
        values: &[RawAttribute],
        kind: AttributeKind,
        path: &str,
    ) -> Result<FilterTest, FilterError> {
        if values.is_empty() || values.len() > VALUES_MAX {
            let got = format!("{} values", values.len());
            return fail(path, got, format!("1 to {VALUES_MAX} values"));
        }
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for value in values {
            match (kind, value) {
                (AttributeKind::Number, RawAttribute::Number(number)) if number.is_finite() => {
                    numbers.push(*number)
                }
                (AttributeKind::Number, other) => {
                    return fail(path, say(other), "a number, since the attribute is one");
                }
                (AttributeKind::Timestamp | AttributeKind::Geo | AttributeKind::Embedding, _) => {
                    let allowed = if kind == AttributeKind::Timestamp {
                        "min, max or exists"
                    } else {
                        "exists"
                    };
                    let expected = format!("{allowed} for an attribute of kind {}", kind_name(kind));
                    return fail(path, say(value), expected);
                }
                (_, RawAttribute::Text(text)) => texts.push(text.clone()),
                (_, RawAttribute::Flag(flag)) => texts.push(flag.to_string()),
                (_, RawAttribute::Number(number)) => texts.push(number.to_string()),
                (_, other) => return fail(path, say(other), "a string, a number or a boolean"),
            }
        }
        texts.sort_unstable();
        numbers.sort_unstable_by(f64::total_cmp);
        Ok(FilterTest::Has { texts, numbers })
    }

    fn range(&self, form: &FilterForm, kind: AttributeKind, path: &str) -> Result<FilterTest, FilterError> {
        let (low, high) = (format!("{path}.min"), format!("{path}.max"));
        match kind {
            AttributeKind::Number => {
                let read = |raw: &Option<RawAttribute>, field: &str, absent: f64| match raw {
                    None => Ok(absent),
                    Some(RawAttribute::Number(number)) if number.is_finite() => Ok(*number),
                    Some(other) => fail(field, say(other), "a number, since the attribute is one"),
                };
                let min = read(&form.min, &low, f64::NEG_INFINITY)?;
                let max = read(&form.max, &high, f64::INFINITY)?;
                if min > max {
                    return fail(&low, min, format!("at most max, which is {max}"));
                }
                Ok(FilterTest::Numbers { min, max })
            }
            AttributeKind::Timestamp => {
                let read = |raw: &Option<RawAttribute>, field: &str, absent: i64| match raw {
                    None => Ok(Timestamp(absent)),
                    Some(raw) => match (self.moment)(raw) {
                        Some(moment) => Ok(moment),
                        None => fail(field, say(raw), "a moment, since the attribute is one"),
                    },
                };
                let min = read(&form.min, &low, i64::MIN)?;
                let max = read(&form.max, &high, i64::MAX)?;
                if min > max {
                    return fail(&low, "a moment after max", "a moment not after max");
                }
                Ok(FilterTest::Moments { min, max })
            }
            other => {
                let field = if form.min.is_some() { &low } else { &high };
                let expected = format!(
                    "a number or timestamp attribute, this one is of kind {}",
                    kind_name(other)
                );
                fail(field, "a bound", expected)
            }
        }
    }
}
