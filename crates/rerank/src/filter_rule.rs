//! Filters at work.

use crate::Filter;
use crate::filter::{FilterNode, FilterTest};
use domain::{Query, Rule, Timestamp, Verdict};
use std::sync::Arc;

/// An attribute of an item, as a filter looks at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AttributeValue<'a> {
    /// A category or text.
    Text(&'a str),
    /// Tags or ids.
    Texts(&'a [String]),
    /// A number.
    Number(f64),
    /// A moment.
    Moment(Timestamp),
    /// Anything else; it exists, no more is asked of it.
    Other,
}

/// Where filters get attributes from.
pub trait AttributeSource: Send + Sync {
    /// The attribute of the item at a position, if it has one.
    fn value(&self, item: u32, attribute: &str) -> Option<AttributeValue<'_>>;

    /// Tells [`numeric::hash_bytes`] of each text of an attribute, `key` being that of its name: for sources that keep them.
    fn hashes(&self, item: u32, attribute: &str, key: u64, tell: &mut dyn FnMut(u64)) {
        let _ = key;
        match self.value(item, attribute) {
            Some(AttributeValue::Text(text)) => tell(numeric::hash_bytes(text.as_bytes())),
            Some(AttributeValue::Texts(texts)) => {
                let hashes = texts.iter().map(|text| numeric::hash_bytes(text.as_bytes()));
                hashes.for_each(tell);
            }
            _ => {}
        }
    }
}

impl Filter {
    /// True if the item passes.
    pub fn holds(&self, source: &dyn AttributeSource, item: u32) -> bool {
        holds(&self.0, source, item)
    }
}

fn holds(node: &FilterNode, source: &dyn AttributeSource, item: u32) -> bool {
    match node {
        FilterNode::All(nodes) => nodes.iter().all(|node| holds(node, source, item)),
        FilterNode::Any(nodes) => nodes.iter().any(|node| holds(node, source, item)),
        FilterNode::Not(node) => !holds(node, source, item),
        FilterNode::Test { attribute, test } => source
            .value(item, attribute)
            .is_some_and(|value| passes(test, value)),
    }
}

fn passes(test: &FilterTest, value: AttributeValue<'_>) -> bool {
    match (test, value) {
        (FilterTest::Exists, _) => true,
        (FilterTest::Has { texts, .. }, AttributeValue::Text(text)) => {
            texts.binary_search_by(|t| t.as_str().cmp(text)).is_ok()
        }
        (FilterTest::Has { texts, .. }, AttributeValue::Texts(labels)) => {
            labels.iter().any(|label| texts.binary_search(label).is_ok())
        }
        (FilterTest::Has { numbers, .. }, AttributeValue::Number(number)) => numbers.contains(&number),
        (FilterTest::Numbers { min, max }, AttributeValue::Number(number)) => (*min..=*max).contains(&number),
        (FilterTest::Moments { min, max }, AttributeValue::Moment(moment)) => (*min..=*max).contains(&moment),
        _ => false,
    }
}

/// Removes items that do not pass a filter, reason `filter`.
#[derive(Clone)]
pub struct FilterRule {
    filter: Filter,
    source: Arc<dyn AttributeSource>,
}

impl FilterRule {
    /// A rule that asks `source` about items.
    pub fn new(filter: Filter, source: Arc<dyn AttributeSource>) -> FilterRule {
        FilterRule { filter, source }
    }
}

impl std::fmt::Debug for FilterRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterRule")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

impl Rule for FilterRule {
    fn name(&self) -> &str {
        "filter"
    }

    fn check(&self, _query: &Query, item: u32) -> Verdict {
        if self.filter.holds(self.source.as_ref(), item) {
            Verdict::Keep
        } else {
            Verdict::Drop("filter")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FilterForm;
    use domain::{AttributeKind, AttributeSchema, KindOrigin, RawAttribute, Schema};

    type Film = (Vec<String>, Option<f64>, &'static str, Option<i64>);
    struct Films(Vec<Film>);

    impl AttributeSource for Films {
        fn value(&self, item: u32, attribute: &str) -> Option<AttributeValue<'_>> {
            let film = self.0.get(item as usize)?;
            match attribute {
                "genres" => Some(AttributeValue::Texts(&film.0)),
                "year" => film.1.map(AttributeValue::Number),
                "language" => Some(AttributeValue::Text(film.2)),
                "released" => film.3.map(|at| AttributeValue::Moment(Timestamp(at))),
                _ => None,
            }
        }
    }

    fn films() -> Arc<Films> {
        let tags = |tags: &[&str]| tags.iter().map(|t| (*t).to_owned()).collect();
        Arc::new(Films(vec![
            (tags(&["Comedy", "Drama"]), Some(1994.0), "en", Some(1000)),
            (tags(&["Crime"]), Some(1995.0), "fr", None),
            (tags(&[]), None, "true", Some(5000)),
        ]))
    }

    fn schema() -> Schema {
        let kinds = [
            ("genres", AttributeKind::Tags),
            ("year", AttributeKind::Number),
            ("language", AttributeKind::Category),
            ("released", AttributeKind::Timestamp),
            ("place", AttributeKind::Geo),
        ];
        let one = |kind| AttributeSchema {
            kind,
            origin: KindOrigin::Inferred,
            present: 1,
        };
        kinds
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), one(kind)))
            .collect()
    }

    fn moment(raw: &RawAttribute) -> Option<Timestamp> {
        match raw {
            RawAttribute::Number(number) => Some(Timestamp(*number as i64)),
            _ => None,
        }
    }

    fn kept(json: &str) -> Result<Vec<u32>, String> {
        let form: FilterForm = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let filter = Filter::check(&form, &schema(), &moment).map_err(|e| e.to_string())?;
        let again: FilterForm =
            serde_json::from_str(&serde_json::to_string(&form).expect("a form is JSON")).expect("and back");
        assert_eq!(again, form);
        let rule = FilterRule::new(filter, films());
        testkit::stages::rule(&rule, 4);
        Ok((0..3)
            .filter(|item| rule.check(&Query::default(), *item) == Verdict::Keep)
            .collect())
    }

    #[test]
    fn conditions_by_hand() {
        let table: [(&str, &[u32]); 14] = [
            (r#"{"attribute": "genres", "any": ["Comedy", "Crime"]}"#, &[0, 1]),
            (r#"{"attribute": "genres", "equals": "Drama"}"#, &[0]),
            (r#"{"attribute": "genres", "none": ["Drama"]}"#, &[1, 2]),
            (
                r#"{"attribute": "genres", "any": ["Drama"], "none": ["Comedy"]}"#,
                &[],
            ),
            (r#"{"attribute": "year", "min": 1995}"#, &[1]),
            (r#"{"attribute": "year", "max": 1994}"#, &[0]),
            (r#"{"attribute": "year", "none": [1994]}"#, &[1, 2]),
            (r#"{"attribute": "year", "exists": false}"#, &[2]),
            (r#"{"attribute": "year", "exists": true}"#, &[0, 1]),
            (r#"{"attribute": "language", "equals": true}"#, &[2]),
            (r#"{"attribute": "released", "min": 1000, "max": 4999}"#, &[0]),
            (r#"{"not": {"attribute": "language", "any": ["en", "fr"]}}"#, &[2]),
            (
                r#"{"all": [{"attribute": "year", "min": 1}, {"attribute": "language", "equals": "fr"}]}"#,
                &[1],
            ),
            (
                r#"{"any_of": [{"attribute": "year", "min": 1995}, {"attribute": "released", "min": 2000}]}"#,
                &[1, 2],
            ),
        ];
        for (json, expected) in table {
            assert_eq!(kept(json).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let deep = format!(
            "{}{}{}",
            r#"{"not":"#.repeat(8),
            r#"{"attribute":"year","min":1}"#,
            "}".repeat(8)
        );
        let table = [
            (
                r#"{"attribute": "genre", "any": ["x"]}"#,
                "filter.attribute: got \"genre\", expected an attribute that items have, such as genres, language, place, released, year",
            ),
            (
                r#"{"attribute": "year", "min": "x"}"#,
                "filter.min: got \"x\", expected a number",
            ),
            (
                r#"{"attribute": "year", "min": 3, "max": 2}"#,
                "filter.min: got 3, expected at most max, which is 2",
            ),
            (
                r#"{"attribute": "genres", "min": 3}"#,
                "filter.min: got a bound, expected a number or timestamp attribute, this one is of kind tags",
            ),
            (r#"{"attribute": "genres"}"#, "filter: got no condition"),
            (
                r#"{"attribute": "genres", "any": []}"#,
                "filter.any: got 0 values",
            ),
            (
                r#"{"attribute": "genres", "any": [["x"]]}"#,
                "filter.any: got a list",
            ),
            (
                r#"{"attribute": "place", "equals": "x"}"#,
                "filter.equals: got \"x\", expected exists",
            ),
            (
                r#"{"all": [{"attribute": "year", "min": 1}, {"any_of": []}]}"#,
                "filter.all[1].any_of: got an empty list",
            ),
            (
                r#"{"all": [{"attribute": "year", "min": 1}], "min": 2}"#,
                "filter: got conditions without attribute",
            ),
            (r#"{}"#, "filter: got none of them"),
            (
                r#"{"attribute": "year", "minimum": 1}"#,
                "unknown field `minimum`",
            ),
            (
                r#"{"attribute": "released", "min": "never"}"#,
                "filter.min: got \"never\", expected a moment",
            ),
            (&deep, "expected at most 8 levels"),
        ];
        for (json, expected) in table {
            let error = kept(json).expect_err(json);
            assert!(
                error.contains(expected),
                "{json}\n  said {error}\n  expected {expected}"
            );
        }
    }
}
