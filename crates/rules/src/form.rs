//! Rules as they are written.

use domain::RawAttribute;
use serde::{Deserialize, Serialize};

/// Longest name, bytes.
const NAME_MAX: usize = 100;
/// Names that stand for something else in paths and records.
const RESERVED: [&str; 11] = [
    "check",
    "dry-run",
    "versions",
    "hidden",
    "seen",
    "excluded",
    "only",
    "anchor",
    "filter",
    "relevance",
    "request",
];
/// Most items of a pin.
const ITEMS_MAX: usize = 100;

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// Only items for which the expression is true may be shown.
    Filter,
    /// Items for which it is true are not shown.
    Exclude,
    /// Items for which it is true gain score.
    Boost,
    /// Items for which it is true lose score.
    Bury,
    /// The first of `items` that may be shown, and for which it is true, stands at `slot`.
    Pin,
    /// Of the items for which it is true, at least and at most so many stand on a slate.
    Quota,
    /// Items for which it is true are not shown to somebody who was shown them so often lately.
    FrequencyCap,
}

impl RuleKind {
    /// Its name in forms.
    pub fn word(self) -> &'static str {
        match self {
            RuleKind::Filter => "filter",
            RuleKind::Exclude => "exclude",
            RuleKind::Boost => "boost",
            RuleKind::Bury => "bury",
            RuleKind::Pin => "pin",
            RuleKind::Quota => "quota",
            RuleKind::FrequencyCap => "frequency_cap",
        }
    }

    /// True for kinds that remove: what they remove comes back by no later step.
    pub fn removes(self) -> bool {
        matches!(
            self,
            RuleKind::Filter | RuleKind::Exclude | RuleKind::FrequencyCap
        )
    }
}

fn always() -> String {
    "true".to_owned()
}

fn is_always(text: &String) -> bool {
    text == "true"
}

fn yes() -> bool {
    true
}

fn is_yes(flag: &bool) -> bool {
    *flag
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleForm {
    /// Its name: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// What it does.
    pub kind: RuleKind,
    /// For which items, users and circumstances: an expression in CEL that is true or false.
    #[serde(rename = "where", default = "always", skip_serializing_if = "is_always")]
    pub condition: String,
    /// Why, for the record and for people.
    pub reason: String,
    /// Where it applies; everywhere if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placements: Vec<String>,
    /// First moment at which it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RawAttribute>,
    /// First moment at which it no longer does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<RawAttribute>,
    /// Higher ones come first; among equals the name decides.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// Whether it applies at all.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
    /// Boost, bury: by how many standard deviations of the candidates' scores, above 0, at most 1,000; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f32>,
    /// Pin: at which place, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<usize>,
    /// Pin: which items, the most wanted first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
    /// Quota: at least so many. Gives way if there are not enough candidates, and the record says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<usize>,
    /// Quota: at most so many, at least 1. Holds whatever else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
    /// Quota: the same as a share of the slate, above 0, at most 1; rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_share: Option<f64>,
    /// Quota, frequency cap: counted for each value of this attribute apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// Frequency cap: shown so often at most, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Frequency cap: within so many hours before the request, above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_hours: Option<f64>,
    /// Frequency cap: events that count; those of the role `exposure` if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
}

/// A rule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: got {got}, expected {expected}")]
pub struct RuleError {
    /// Field of the form.
    pub field: String,
    /// What was there.
    pub got: String,
    /// What should have been.
    pub expected: String,
}

impl RuleError {
    pub(crate) fn new(field: &str, got: impl ToString, expected: impl ToString) -> RuleError {
        RuleError {
            field: field.to_owned(),
            got: got.to_string(),
            expected: expected.to_string(),
        }
    }
}

impl RuleForm {
    /// What is wrong with the fields, the expression apart.
    pub(crate) fn check(&self) -> Result<(), RuleError> {
        let fail = |field: &str, got: String, expected: &str| Err(RuleError::new(field, got, expected));
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let name = &self.name;
        if name.is_empty()
            || name.len() > NAME_MAX
            || !name.bytes().all(word)
            || RESERVED.contains(&name.as_str())
        {
            let expected = "1 to 100 lower-case letters, digits, - and _, and not a word that means something else, such as check or hidden";
            return fail("name", format!("{name:?}"), expected);
        }
        if self.reason.trim().is_empty() || self.reason.len() > 500 {
            return fail(
                "reason",
                format!("{:?}", self.reason),
                "1 to 500 bytes that say why",
            );
        }
        let kind = self.kind;
        let only = |field: &str, is_given: bool, kinds: &[RuleKind]| {
            if !is_given || kinds.contains(&kind) {
                return Ok(());
            }
            let words: Vec<_> = kinds.iter().map(|kind| kind.word()).collect();
            let expected = format!("nothing: it is for rules of kind {}", words.join(" and "));
            Err(RuleError::new(
                field,
                format!("a value in a rule of kind {}", kind.word()),
                expected,
            ))
        };
        use RuleKind::{Boost, Bury, FrequencyCap, Pin, Quota};
        only("strength", self.strength.is_some(), &[Boost, Bury])?;
        only("slot", self.slot.is_some(), &[Pin])?;
        only("items", !self.items.is_empty(), &[Pin])?;
        only("min", self.min.is_some(), &[Quota])?;
        only("max", self.max.is_some(), &[Quota])?;
        only("max_share", self.max_share.is_some(), &[Quota])?;
        only("per", self.per.is_some(), &[Quota, FrequencyCap])?;
        only("times", self.times.is_some(), &[FrequencyCap])?;
        only("window_hours", self.window_hours.is_some(), &[FrequencyCap])?;
        only("event_types", !self.event_types.is_empty(), &[FrequencyCap])?;
        match kind {
            Boost | Bury => {
                let strength = self.strength.unwrap_or(1.0);
                if !(strength > 0.0 && strength <= 1000.0) {
                    return fail("strength", strength.to_string(), "a number above 0, at most 1000");
                }
            }
            Pin => {
                if !self.slot.is_some_and(|slot| (1..=1000).contains(&slot)) {
                    return fail("slot", format!("{:?}", self.slot), "1 to 1000");
                }
                if self.items.is_empty() || self.items.len() > ITEMS_MAX {
                    let got = format!("{} items", self.items.len());
                    return fail("items", got, "1 to 100 ids of items");
                }
            }
            Quota => self.check_quota()?,
            FrequencyCap => {
                if self.times.unwrap_or(0) == 0 {
                    return fail("times", format!("{:?}", self.times), "at least 1");
                }
                if !self
                    .window_hours
                    .is_some_and(|hours| hours > 0.0 && hours <= 87_600.0)
                {
                    let got = format!("{:?}", self.window_hours);
                    return fail("window_hours", got, "a number above 0, at most 87600");
                }
            }
            RuleKind::Filter | RuleKind::Exclude => {}
        }
        Ok(())
    }

    fn check_quota(&self) -> Result<(), RuleError> {
        let fail = |field: &str, got: String, expected: &str| Err(RuleError::new(field, got, expected));
        if self.min.is_none() && self.max.is_none() && self.max_share.is_none() {
            return fail(
                "max",
                "none of them".into(),
                "at least one of min, max, max_share",
            );
        }
        if self.max == Some(0) {
            return fail(
                "max",
                "0".into(),
                "at least 1; to show none, use a rule of kind exclude",
            );
        }
        if self.max.is_some() && self.max_share.is_some() {
            return fail("max_share", "both".into(), "either max or max_share");
        }
        if let Some(share) = self.max_share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            return fail("max_share", share.to_string(), "a number above 0, at most 1");
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            return fail("min", min.to_string(), &format!("at most max, which is {max}"));
        }
        if self.min.is_some() && self.per.is_some() {
            return fail("min", "min beside per".into(), "max or max_share beside per");
        }
        Ok(())
    }
}
