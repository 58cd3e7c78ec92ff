//! A few films, and what may be known of them, of people and of circumstances.

use domain::{AttributeKind, AttributeSchema, Attributes, KindOrigin, RawAttribute, Schema, Timestamp};
use rerank::{Arrivals, AttributeSource, AttributeValue};
use rules::{CompiledRule, ItemFacts, Known, RuleError, RuleForm, RuleKind};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const DAY_MS: i64 = 86_400_000;
/// Tuesday, 14 November 2023, 22:13:20 in coordinated universal time.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Texts(Vec<String>),
    Number(f64),
    Moment(i64),
}

/// Items by position.
#[derive(Debug, Default)]
pub(crate) struct Items(pub(crate) Vec<BTreeMap<String, Value>>);

impl AttributeSource for Items {
    fn value(&self, item: u32, attribute: &str) -> Option<AttributeValue<'_>> {
        Some(match self.0.get(item as usize)?.get(attribute)? {
            Value::Text(text) => AttributeValue::Text(text),
            Value::Texts(texts) => AttributeValue::Texts(texts),
            Value::Number(number) => AttributeValue::Number(*number),
            Value::Moment(ms) => AttributeValue::Moment(Timestamp(*ms)),
        })
    }
}

const IDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

impl ItemFacts for Items {
    fn id(&self, item: u32) -> Option<&str> {
        IDS.get(item as usize).copied()
    }
}

impl Arrivals for Items {
    fn added_at(&self, item: u32) -> Option<Timestamp> {
        (item < 4).then(|| Timestamp(NOW.0 - i64::from(item) * DAY_MS))
    }
}

pub(crate) fn position(id: &str) -> Option<u32> {
    IDS.iter().position(|known| *known == id).map(|at| at as u32)
}

fn schema(kinds: &[(&str, AttributeKind)]) -> Schema {
    let entry = |kind| AttributeSchema {
        kind,
        origin: KindOrigin::Inferred,
        present: 1,
    };
    kinds
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), entry(*kind)))
        .collect()
}

pub(crate) fn moment(raw: &RawAttribute) -> Option<Timestamp> {
    match raw {
        RawAttribute::Number(ms) => Some(Timestamp(*ms as i64)),
        RawAttribute::Text(text) if text == "2023-11-14T00:00:00Z" => Some(Timestamp(1_699_920_000_000)),
        _ => None,
    }
}

pub(crate) fn compiled(form: RuleForm) -> Result<CompiledRule, RuleError> {
    use AttributeKind::{Category, Geo, Number, Tags, Timestamp};
    let items = schema(&[
        ("genres", Tags),
        ("year", Number),
        ("price", Number),
        ("maker", Category),
        ("in_stock", Category),
        ("released", Timestamp),
        ("place", Geo),
        ("two-part", Number),
    ]);
    let users = schema(&[("likes", Tags), ("age", Number), ("country", Category)]);
    let context = BTreeMap::from([("device".to_owned(), Category), ("hour".to_owned(), Number)]);
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>()
    };
    CompiledRule::new(
        form,
        &Known {
            items: &items,
            users: &users,
            context: &context,
            placements: &names(&["home", "cart"]),
            event_types: &names(&["impression", "click"]),
            moment,
        },
    )
}

pub(crate) fn rule(name: &str, kind: RuleKind, condition: &str) -> RuleForm {
    let text = format!(
        r#"{{"name": "{name}", "kind": "{}", "reason": "because"}}"#,
        kind.word()
    );
    let mut form: RuleForm = serde_json::from_str(&text).expect("a form");
    form.condition = condition.to_owned();
    form
}

pub(crate) fn attributes(pairs: &[(&str, RawAttribute)]) -> Attributes {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}
