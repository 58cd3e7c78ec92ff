//! What rules cost: binding them to a request, and asking them about its candidates; beside the interpreter of the `cel` crate on the same
//! expressions.
//!
//! `cargo run --release -p rules --example speed`

use domain::{
    AttributeKind, AttributeSchema, Attributes, KindOrigin, Query, RawAttribute, Schema, Timestamp, Verdict,
};
use numeric::SeededStream;
use rerank::{Arrivals, AttributeSource, AttributeValue};
use rules::{CompiledRule, ItemFacts, Known, Memos, Request, RuleForm, RuleSet};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const N_ITEMS: usize = 100_000;
const N_CANDIDATES: usize = 500;
const N_REQUESTS: u64 = 400;
const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// Half look at the item alone, half at the request too.
const CONDITIONS: [&str; 10] = [
    "\"g3\" in item.genres",
    "item.price > 90.0 && item.maker != 'm1'",
    "item.year < 1930.0",
    "item.genres.exists(g, g == 'g1') && item.genres.exists(g, g == 'g2')",
    "item.maker in ['m7', 'm8', 'm9']",
    "user.age < 18.0 && \"g4\" in item.genres",
    "context.device == 'phone' && item.price > 80.0",
    "item.genres.all(g, !(g in user.likes)) && item.year < 1950.0",
    "user.age > 60.0 ? item.year > 2010.0 : item.year < 1925.0",
    "item.price > user.age * 3.0",
];

struct Items {
    attributes: Vec<BTreeMap<&'static str, Value>>,
}

enum Value {
    Text(String),
    Texts(Vec<String>),
    Number(f64),
}

impl AttributeSource for Items {
    fn value(&self, item: u32, attribute: &str) -> Option<AttributeValue<'_>> {
        Some(match self.attributes.get(item as usize)?.get(attribute)? {
            Value::Text(text) => AttributeValue::Text(text),
            Value::Texts(texts) => AttributeValue::Texts(texts),
            Value::Number(number) => AttributeValue::Number(*number),
        })
    }
}

impl Arrivals for Items {
    fn added_at(&self, _: u32) -> Option<Timestamp> {
        Some(NOW)
    }
}

impl ItemFacts for Items {
    fn id(&self, _: u32) -> Option<&str> {
        Some("item")
    }
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

fn set() -> RuleSet {
    use AttributeKind::{Category, Number, Tags};
    let items = schema(&[
        ("genres", Tags),
        ("year", Number),
        ("price", Number),
        ("maker", Category),
    ]);
    let users = schema(&[("likes", Tags), ("age", Number)]);
    let context = BTreeMap::from([("device".to_owned(), Category)]);
    let known = Known {
        items: &items,
        users: &users,
        context: &context,
        placements: &BTreeSet::new(),
        event_types: &BTreeSet::new(),
        moment: |_| None,
    };
    let rules = (0..20).map(|at| {
        let text = format!(r#"{{"name": "r{at}", "kind": "exclude", "reason": "x"}}"#);
        let mut form: RuleForm = serde_json::from_str(&text).expect("a form");
        form.condition = CONDITIONS[at % CONDITIONS.len()].to_owned();
        CompiledRule::new(form, &known).expect("a rule")
    });
    RuleSet::new(1, rules.collect())
}

fn main() {
    let mut stream = SeededStream::new(1, 2);
    let mut draw = |n: u64| stream.next_u64() % n;
    let attributes = (0..N_ITEMS).map(|_| {
        BTreeMap::from([
            (
                "genres",
                Value::Texts((0..3).map(|_| format!("g{}", draw(30))).collect()),
            ),
            ("year", Value::Number(1920.0 + draw(100) as f64)),
            ("price", Value::Number(draw(100) as f64)),
            ("maker", Value::Text(format!("m{}", draw(200)))),
        ])
    });
    let items = Arc::new(Items {
        attributes: attributes.collect(),
    });
    let query = Query {
        now: NOW,
        user_attributes: Attributes::from([
            ("age".to_owned(), RawAttribute::Number(35.0)),
            (
                "likes".to_owned(),
                RawAttribute::Texts(vec!["g1".into(), "g2".into()]),
            ),
        ]),
        context: Attributes::from([("device".to_owned(), RawAttribute::Text("phone".into()))]),
        ..Query::default()
    };
    let set = set();
    for (name, rounds) in [
        ("first requests", 0..N_REQUESTS),
        ("later requests", 0..N_REQUESTS),
    ] {
        let memos = Arc::new(Memos::new(set.n_memos(), N_ITEMS));
        let candidates = |round: u64| {
            let mut stream = SeededStream::new(round % 40, 3);
            (0..N_CANDIDATES).map(move |_| (stream.next_u64() % N_ITEMS as u64) as u32)
        };
        let bind = || {
            set.bind(Request {
                placement: None,
                query: &query,
                facts: items.clone(),
                memos: memos.clone(),
                position: &|_| None,
                exposures: &Vec::new,
                moment: |_| None,
            })
        };
        if name == "later requests" {
            let rules = bind().removing();
            for round in 0..40 {
                for item in candidates(round) {
                    for rule in &rules {
                        black_box(rule.check(&query, item));
                    }
                }
            }
        }
        let (mut binding, mut checking, mut kept) = (0.0, 0.0, 0usize);
        for round in rounds {
            let started = Instant::now();
            let rules = bind().removing();
            binding += started.elapsed().as_secs_f64();
            let list: Vec<u32> = candidates(round).collect();
            let started = Instant::now();
            let keeps = |item: &&u32| {
                rules
                    .iter()
                    .all(|rule| rule.check(&query, **item) == Verdict::Keep)
            };
            kept += list.iter().filter(keeps).count();
            checking += started.elapsed().as_secs_f64();
        }
        let each = N_REQUESTS as f64;
        println!(
            "{name}: 20 rules bound in {:.1} us, {N_CANDIDATES} candidates in {:.0} us, {:.0} kept",
            binding / each * 1e6,
            checking / each * 1e6,
            kept as f64 / each
        );
    }
    interpreter(&items);
}

/// The same conditions on the same number of candidates, by the crate's interpreter.
fn interpreter(items: &Items) {
    let programs: Vec<_> = (0..20)
        .map(|at| cel::Program::compile(CONDITIONS[at % CONDITIONS.len()]).expect("it parses"))
        .collect();
    let user: HashMap<String, cel::Value> = HashMap::from([
        ("age".to_owned(), cel::Value::Float(35.0)),
        (
            "likes".to_owned(),
            cel::Value::from(vec!["g1".to_owned(), "g2".to_owned()]),
        ),
    ]);
    let context = HashMap::from([("device".to_owned(), cel::Value::from("phone"))]);
    let started = Instant::now();
    let mut kept = 0;
    for round in 0..10u64 {
        let mut stream = SeededStream::new(round, 3);
        for _ in 0..N_CANDIDATES {
            let at = (stream.next_u64() % N_ITEMS as u64) as usize;
            let values = items.attributes[at].iter().map(|(name, value)| {
                let value = match value {
                    Value::Text(text) => cel::Value::from(text.as_str()),
                    Value::Texts(texts) => cel::Value::from(texts.clone()),
                    Value::Number(number) => cel::Value::Float(*number),
                };
                ((*name).to_owned(), value)
            });
            let values: HashMap<String, cel::Value> = values.collect();
            let mut bound = cel::Context::default();
            bound.add_variable_from_value("item", values);
            bound.add_variable_from_value("user", user.clone());
            bound.add_variable_from_value("context", context.clone());
            let removes =
                |program: &cel::Program| matches!(program.execute(&bound), Ok(cel::Value::Bool(true)));
            kept += usize::from(!programs.iter().any(removes));
        }
    }
    println!(
        "interpreter of cel: {N_CANDIDATES} candidates in {:.0} us, {:.0} kept",
        started.elapsed().as_secs_f64() / 10.0 * 1e6,
        f64::from(u32::try_from(kept).unwrap_or(0)) / 10.0
    );
}
