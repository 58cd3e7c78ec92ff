//! Toy stages that can be told to misbehave.

use domain::{
    Candidate, Choice, Contribution, ContributionSource, DecisionId, Explanation, ItemId, Outcome, Policy,
    Query, Ranker, Reranked, Reranker, Retriever, Rule, Sequence, SnapshotVersion, StageError, UserId,
    Verdict,
};
use engine::{Caps, CatalogueView, Clock, DecideRequest, GreedyPolicy, Pipeline, Source};
use std::cell::Cell;
use std::sync::Arc;

/// How a stage behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Fails,
    Panics,
    Lies,
}

pub(crate) const MOODS: [Mood; 4] = [Mood::Good, Mood::Fails, Mood::Panics, Mood::Lies];

fn upset(mood: Mood) -> Result<(), StageError> {
    match mood {
        Mood::Fails => Err(StageError::NotReady("no model".to_owned())),
        Mood::Panics => panic!("a bug"),
        Mood::Good | Mood::Lies => Ok(()),
    }
}

pub(crate) struct Items(pub(crate) Vec<ItemId>);

pub(crate) fn items(n: u32) -> Items {
    // Ids whose order is not the order of the positions.
    Items(
        (0..n)
            .map(|i| ItemId::new(format!("i{:03}", (i * 7) % 101)).expect("an id"))
            .collect(),
    )
}

impl CatalogueView for Items {
    fn n_items(&self) -> u32 {
        self.0.len() as u32
    }
    fn item_id(&self, item: u32) -> &ItemId {
        &self.0[item as usize]
    }
}

/// Moves by `step` with every reading.
pub(crate) struct Ticking {
    pub(crate) now: Cell<u64>,
    pub(crate) step: u64,
}

pub(crate) fn ticking(step: u64) -> Ticking {
    Ticking {
        now: Cell::new(1000),
        step,
    }
}

impl Clock for Ticking {
    fn micros(&self) -> u64 {
        self.now.set(self.now.get() + self.step);
        self.now.get()
    }
}

pub(crate) struct Listed {
    pub(crate) name: &'static str,
    pub(crate) list: Vec<u32>,
    pub(crate) mood: Mood,
}

impl Retriever for Listed {
    fn name(&self) -> &str {
        self.name
    }
    fn retrieve(
        &self,
        _query: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError> {
        upset(self.mood)?;
        let all = self.list.iter().map(|item| (*item, 1.0));
        if self.mood == Mood::Lies {
            // Over budget, not allowed, repeated, not finite, out of range.
            return Ok(all
                .clone()
                .chain(all)
                .chain([(3, f32::NAN), (u32::MAX, 1.0)])
                .collect());
        }
        Ok(all.filter(|(item, _)| allowed(*item)).take(budget).collect())
    }
}

/// Scores by a hash of the position; every ninth item is unscorable.
pub(crate) struct Hashed(pub(crate) Mood);

pub(crate) fn hashed(item: u32) -> f32 {
    ((item.wrapping_mul(2_654_435_761)) >> 28) as f32
}

impl Ranker for Hashed {
    fn name(&self) -> &str {
        "hashed"
    }
    fn rank(&self, _query: &Query, candidates: &[Candidate]) -> Result<Vec<Outcome>, StageError> {
        upset(self.0)?;
        let one = |c: &Candidate| match c.item % 9 {
            8 => Outcome::Unscorable("unheard_of".to_owned()),
            7 => Outcome::Score(f32::NAN),
            _ => Outcome::Score(hashed(c.item)),
        };
        let lie = usize::from(self.0 == Mood::Lies);
        Ok(candidates.iter().skip(lie).map(one).collect())
    }
    fn explain(&self, _query: &Query, item: u32) -> Explanation {
        Explanation {
            contributions: vec![Contribution {
                source: ContributionSource::Base {
                    name: "hash".to_owned(),
                },
                model: "hashed".into(),
                value: hashed(item),
            }],
        }
    }
}

pub(crate) struct ListRule {
    pub(crate) name: &'static str,
    pub(crate) drops: Vec<u32>,
    pub(crate) mood: Mood,
}

impl Rule for ListRule {
    fn name(&self) -> &str {
        self.name
    }
    fn check(&self, _query: &Query, item: u32) -> Verdict {
        if self.drops.contains(&item) {
            assert!(self.mood != Mood::Panics, "a bug in a rule");
            Verdict::Drop("listed")
        } else {
            Verdict::Keep
        }
    }
}

/// Reverses, and holds back every fifth.
pub(crate) struct Reversing(pub(crate) Mood);

impl Reranker for Reversing {
    fn name(&self) -> &str {
        "reversing"
    }
    fn rerank(&self, _query: &Query, mut ranked: Vec<Candidate>) -> Reranked {
        assert!(self.0 != Mood::Panics, "a bug");
        ranked.reverse();
        if self.0 == Mood::Fails {
            ranked.pop();
        }
        if self.0 == Mood::Lies
            && let Some(first) = ranked.first_mut()
        {
            first.item = 0;
            first.score = 99.0;
        }
        let (held_back, chosen) = ranked.into_iter().partition(|c| c.item % 5 == 4);
        Reranked {
            chosen,
            held_back,
            ..Reranked::default()
        }
    }
}

pub(crate) struct Moody(pub(crate) Mood);

impl Policy for Moody {
    fn name(&self) -> &str {
        "moody"
    }
    fn version(&self) -> &str {
        "7"
    }
    fn choose(&self, query: &Query, ordered: Vec<Candidate>) -> Choice {
        assert!(self.0 != Mood::Panics, "a bug");
        let mut choice = GreedyPolicy.choose(query, ordered);
        match (self.0, choice.slate.first_mut()) {
            (Mood::Fails, Some(first)) => first.1 = 0.0,
            (Mood::Lies, Some(first)) => first.0.item ^= 1,
            _ => {}
        }
        choice
    }
}

pub(crate) fn pipeline(sources: Vec<Listed>, ladder: Vec<Listed>, rules: Vec<ListRule>) -> Pipeline {
    Pipeline {
        placement: "home".to_owned(),
        sources: sources
            .into_iter()
            .map(|listed| Source {
                retriever: Arc::new(listed) as Arc<dyn Retriever>,
                quota: 12,
            })
            .collect(),
        ranker: Arc::new(Hashed(Mood::Good)),
        fallback_ranker: Arc::new(Hashed(Mood::Good)),
        rules: rules
            .into_iter()
            .map(|rule| Arc::new(rule) as Arc<dyn Rule>)
            .collect(),
        reranker: Arc::new(Reversing(Mood::Good)),
        policy: Arc::new(GreedyPolicy),
        ladder: ladder
            .into_iter()
            .map(|listed| Arc::new(listed) as Arc<dyn Retriever>)
            .collect(),
        reasoner: None,
        caps: Caps::default(),
        deadline_us: 0,
        budgets: engine::Budgets::default(),
    }
}

pub(crate) fn request(query: Query) -> DecideRequest {
    DecideRequest {
        decision_id: DecisionId::new("d1").expect("an id"),
        user_id: UserId::new("u1").ok(),
        snapshot: SnapshotVersion::default(),
        sequence: Sequence(5),
        config_hash: "00".to_owned(),
        arms: Vec::new(),
        explain: true,
        rules: Vec::new(),
        steering: None,
        relevance_min: None,
        query,
    }
}
