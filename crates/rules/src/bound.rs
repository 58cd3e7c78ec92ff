//! Rules for one request.

use crate::eval::Env;
use crate::form::RuleKind;
use crate::memo::Memos;
use crate::node::Flag;
use crate::set::{CompiledRule, RuleSet};
use domain::{Adjustment, Candidate, Limit, Pin, Query, RawAttribute, Rule, Steering, Timestamp, Verdict};
use rerank::{Arrivals, AttributeSource, AttributeValue};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Word recorded where a rule has no reason of its own to give.
const WORD: &str = "rule";
const HOUR_MS: f64 = 3_600_000.0;

/// What rules may ask about items.
pub trait ItemFacts: AttributeSource + Arrivals {
    /// Its id.
    fn id(&self, item: u32) -> Option<&str>;
}

/// One time that something was shown to the person.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposure {
    /// What.
    pub item: u32,
    /// When.
    pub at: Timestamp,
    /// By which type of event.
    pub event_type: String,
    /// Whether that type is one of exposure.
    pub is_exposure: bool,
}

/// All about a request that rules may need.
pub struct Request<'a> {
    /// For which placement; `None` where there is none, and then only rules without placements apply.
    pub placement: Option<&'a str>,
    /// The query.
    pub query: &'a Query,
    /// About items.
    pub facts: Arc<dyn ItemFacts>,
    /// Where answers about items are remembered.
    pub memos: Arc<Memos>,
    /// Position of an item by its id.
    pub position: &'a dyn Fn(&str) -> Option<u32>,
    /// What the person was shown lately; asked for if a rule caps it.
    pub exposures: &'a dyn Fn() -> Vec<Exposure>,
    /// Reads a moment.
    pub moment: fn(&RawAttribute) -> Option<Timestamp>,
}

/// What of a request stays while it is answered.
struct Shared {
    facts: Arc<dyn ItemFacts>,
    memos: Arc<Memos>,
    query: Query,
    moment: fn(&RawAttribute) -> Option<Timestamp>,
}

impl Shared {
    fn env(&self, item: Option<u32>) -> Env<'_> {
        Env {
            item,
            facts: &*self.facts,
            query: &self.query,
            moment: self.moment,
            memos: Some(&self.memos),
            locals: None,
        }
    }
}

/// One rule that applies to the request.
#[derive(Clone)]
struct Active {
    rule: Arc<CompiledRule>,
    flag: Arc<Flag>,
    shared: Arc<Shared>,
    /// Frequency cap: how often, by item or by value of `per`.
    shown: Arc<Shown>,
}

#[derive(Default)]
struct Shown {
    items: BTreeMap<u32, u32>,
    values: BTreeMap<String, u32>,
}

fn values<'a>(facts: &'a dyn ItemFacts, item: u32, attribute: &str) -> Vec<&'a str> {
    match facts.value(item, attribute) {
        Some(AttributeValue::Text(text)) => vec![text],
        Some(AttributeValue::Texts(texts)) => texts.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

impl Active {
    fn is_true(&self, item: u32) -> Option<bool> {
        self.flag.eval(&self.shared.env(Some(item)))
    }

    fn holds(&self, item: u32) -> bool {
        self.is_true(item) == Some(true)
    }

    fn values(&self, item: u32) -> Vec<&str> {
        let per = self.rule.form.per.as_deref().unwrap_or_default();
        values(&*self.shared.facts, item, per)
    }

    /// These items, which ascend, by each of their values; those of a value ascend too, none twice.
    fn by_value(&self, items: &[u32]) -> BTreeMap<String, Vec<u32>> {
        let per = self.rule.form.per.as_deref().unwrap_or_default();
        let kinds = self.shared.memos.kinds(per);
        let mut by_kind: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut by_value: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for item in items {
            match kinds.of(*item, || self.values(*item)) {
                Some(kind) => by_kind.entry(kind).or_default().push(*item),
                None => self.values(*item).into_iter().for_each(|value| {
                    by_value.entry(value.to_owned()).or_default().push(*item);
                }),
            }
        }
        let values = kinds.values(by_kind.keys().copied());
        for (values, items) in values.iter().zip(by_kind.values()) {
            for value in values.iter() {
                match by_value.get_mut(value) {
                    Some(known) => known.extend_from_slice(items),
                    None => drop(by_value.insert(value.clone(), items.clone())),
                }
            }
        }
        for items in by_value.values_mut() {
            items.sort_unstable();
            items.dedup();
        }
        by_value
    }

    fn is_over_cap(&self, item: u32) -> bool {
        let times = self.rule.form.times.unwrap_or(u32::MAX);
        let over = |count: Option<&u32>| count.is_some_and(|count| *count >= times);
        match self.rule.form.per {
            None => over(self.shown.items.get(&item)),
            Some(_) => self
                .values(item)
                .iter()
                .any(|value| over(self.shown.values.get(*value))),
        }
    }

    /// Most items of a quota on a slate of `n`.
    fn max(&self, n: usize) -> Option<usize> {
        let form = &self.rule.form;
        let share = |share: f64| ((share * n as f64).ceil() as usize).max(1);
        form.max.or(form.max_share.map(share))
    }
}

impl Rule for Active {
    fn name(&self) -> &str {
        &self.rule.name
    }

    fn check(&self, _: &Query, item: u32) -> Verdict {
        let removes = match self.rule.form.kind {
            RuleKind::Exclude => self.holds(item),
            RuleKind::Filter => !self.holds(item),
            RuleKind::FrequencyCap => self.is_over_cap(item) && self.holds(item),
            _ => false,
        };
        match removes {
            true => Verdict::Drop(WORD),
            false => Verdict::Keep,
        }
    }

    fn reason<'a>(&'a self, _: &'static str) -> &'a str {
        &self.rule.form.reason
    }
}

/// The rules that apply to a request.
#[derive(Clone)]
pub struct Bound {
    version: u64,
    active: Vec<Active>,
    pins: Vec<Pin>,
}

impl RuleSet {
    /// The rules that apply to a request: in force for its placement at its moment, and not ruled out by what they say of user
    /// and context. Cost: the size of the rules' expressions; items are not looked at.
    pub fn bind(&self, request: Request<'_>) -> Bound {
        let mut bound = Bound {
            version: self.version(),
            active: Vec::new(),
            pins: Vec::new(),
        };
        let now = request.query.now;
        let in_force: Vec<_> = self
            .rules()
            .iter()
            .filter(|rule| rule.is_in_force(request.placement, now))
            .collect();
        if in_force.is_empty() {
            return bound;
        }
        let mut exposures: Option<Vec<Exposure>> = None;
        let shared = Arc::new(Shared {
            facts: request.facts,
            memos: request.memos,
            query: request.query.clone(),
            moment: request.moment,
        });
        let nothing = Arc::new(Shown::default());
        for rule in in_force {
            let uses = rule.flag.uses();
            let flag = match uses.request {
                true => Arc::new(rule.flag.folded(&shared.env(None))),
                false => rule.flag.clone(),
            };
            // A filter that is never true removes everything; any other rule then does nothing.
            let is_idle = match (&*flag, rule.form.kind) {
                (Flag::Const(Some(true)), RuleKind::Filter) => true,
                (_, RuleKind::Filter) => false,
                (Flag::Const(value), _) => *value != Some(true),
                _ => false,
            };
            if is_idle {
                continue;
            }
            let mut active = Active {
                rule: rule.clone(),
                flag,
                shared: shared.clone(),
                shown: nothing.clone(),
            };
            match rule.form.kind {
                RuleKind::FrequencyCap => {
                    let all = exposures.get_or_insert_with(|| (request.exposures)());
                    active.shown = Arc::new(shown(rule, all, &shared, now));
                }
                RuleKind::Pin => {
                    let items = rule.form.items.iter().filter_map(|id| (request.position)(id));
                    let items: Vec<u32> = items.filter(|item| active.holds(*item)).collect();
                    if items.is_empty() {
                        continue;
                    }
                    bound.pins.push(Pin {
                        rule: rule.form.name.clone(),
                        slot: rule.form.slot.unwrap_or(1),
                        items,
                    });
                }
                _ => {}
            }
            bound.active.push(active);
        }
        bound
    }
}

/// How often what was shown within the window of a cap.
fn shown(rule: &CompiledRule, exposures: &[Exposure], shared: &Shared, now: Timestamp) -> Shown {
    let form = &rule.form;
    let window = (form.window_hours.unwrap_or(0.0) * HOUR_MS) as i64;
    let mut out = Shown::default();
    for exposure in exposures {
        let counts = match form.event_types.is_empty() {
            true => exposure.is_exposure,
            false => form.event_types.contains(&exposure.event_type),
        };
        if !counts || now.0.saturating_sub(exposure.at.0) >= window {
            continue;
        }
        match &form.per {
            None => *out.items.entry(exposure.item).or_default() += 1,
            Some(per) => {
                for value in values(&*shared.facts, exposure.item, per) {
                    *out.values.entry(value.to_owned()).or_default() += 1;
                }
            }
        }
    }
    out
}

impl Bound {
    /// Those that remove, in their order.
    pub fn removing(&self) -> Vec<Arc<dyn Rule>> {
        let removing = self
            .active
            .iter()
            .filter(|active| active.rule.form.kind.removes());
        removing
            .map(|active| Arc::new(active.clone()) as Arc<dyn Rule>)
            .collect()
    }

    /// Those that remove and those that change scores: for lists in which everything is to stand.
    pub fn of_scores(mut self) -> Bound {
        self.pins.clear();
        let places = [RuleKind::Pin, RuleKind::Quota];
        self.active
            .retain(|active| !places.contains(&active.rule.form.kind));
        self
    }

    /// True if none applies.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    fn of_kind(&self, kind: RuleKind) -> impl Iterator<Item = &Active> {
        self.active
            .iter()
            .filter(move |active| active.rule.form.kind == kind)
    }
}

/// Standard deviation of the candidates' scores; 1 if they are all alike.
fn deviation(candidates: &[Candidate]) -> f64 {
    let n = candidates.len().max(1) as f64;
    let mean = candidates.iter().map(|c| f64::from(c.score)).sum::<f64>() / n;
    let squares: f64 = candidates
        .iter()
        .map(|c| (f64::from(c.score) - mean).powi(2))
        .sum();
    match (squares / n).sqrt() {
        deviation if deviation > 0.0 => deviation,
        _ => 1.0,
    }
}

impl Steering for Bound {
    fn version(&self) -> u64 {
        self.version
    }

    fn active(&self) -> Vec<String> {
        self.active
            .iter()
            .map(|active| active.rule.form.name.clone())
            .collect()
    }

    fn pins(&self) -> Vec<Pin> {
        self.pins.clone()
    }

    fn adjust(&self, candidates: &[Candidate]) -> Vec<Adjustment> {
        let mut out = Vec::new();
        let moving = |active: &&Active| matches!(active.rule.form.kind, RuleKind::Boost | RuleKind::Bury);
        let unit = deviation(candidates);
        for active in self.active.iter().filter(moving) {
            let strength = f64::from(active.rule.form.strength.unwrap_or(1.0)) * unit;
            let by = match active.rule.form.kind {
                RuleKind::Boost => strength as f32,
                _ => -strength as f32,
            };
            let met = candidates.iter().filter(|candidate| active.holds(candidate.item));
            out.extend(met.map(|candidate| Adjustment {
                rule: active.rule.name.clone(),
                item: candidate.item,
                by,
            }));
        }
        out
    }

    fn limits(&self, candidates: &[Candidate], n: usize) -> Vec<Limit> {
        let mut hard = Vec::new();
        let mut soft = Vec::new();
        for active in self.of_kind(RuleKind::Quota) {
            let mut met: Vec<u32> = candidates
                .iter()
                .map(|c| c.item)
                .filter(|item| active.holds(*item))
                .collect();
            met.sort_unstable();
            let name = &active.rule.form.name;
            let limit = |name: String, members: Vec<u32>, min: usize, max: usize, hard: bool| Limit {
                name,
                members,
                min,
                max,
                hard,
            };
            if let Some(max) = active.max(n) {
                match active.rule.form.per {
                    None => hard.push(limit(name.clone(), met.clone(), 0, max, true)),
                    Some(_) => {
                        let by_value = active.by_value(&met);
                        for (value, members) in by_value {
                            if members.len() > max {
                                hard.push(limit(format!("{name}={value}"), members, 0, max, true));
                            }
                        }
                    }
                }
            }
            if let Some(min) = active.rule.form.min.filter(|min| *min > 0) {
                soft.push(limit(name.clone(), met, min.min(n), usize::MAX, false));
            }
        }
        hard.extend(soft);
        hard
    }

    fn forbids(&self, slate: &[u32], item: u32, n: usize) -> bool {
        self.of_kind(RuleKind::Quota).any(|active| {
            let Some(max) = active.max(n).filter(|_| active.holds(item)) else {
                return false;
            };
            let on_slate = slate.iter().filter(|other| active.holds(**other));
            match active.rule.form.per {
                None => on_slate.count() >= max,
                Some(_) => {
                    let others: Vec<Vec<&str>> = on_slate.map(|other| active.values(*other)).collect();
                    active
                        .values(item)
                        .iter()
                        .any(|value| others.iter().filter(|values| values.contains(value)).count() >= max)
                }
            }
        })
    }
}
