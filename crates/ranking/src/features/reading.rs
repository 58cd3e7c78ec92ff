//! A moment while its features are read, with what several of them share, each worked out when first asked for.

use super::counts::Tallies;
use super::{ItemFacts, Moment};
use domain::{Candidate, HistoryEvent};
use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

/// Items of the history that affinities look at, the latest ones, so that their cost is bounded.
const AFFINITY_ITEMS_MAX: usize = 200;
/// Nothing in the history.
const NOWHERE: u32 = u32::MAX;

/// By keys that are hashes already, or small numbers.
type ByHash<V> = HashMap<u64, V, BuildHasherDefault<numeric::Spread>>;

/// See the head of the module.
pub(crate) struct Reading<'a> {
    pub(crate) moment: &'a Moment<'a>,
    pub(crate) candidates: &'a [Candidate],
    tallies: OnceCell<Tallies>,
    facts: OnceCell<Vec<Option<&'a ItemFacts>>>,
    history_facts: OnceCell<Vec<Option<&'a ItemFacts>>>,
    own_events: OnceCell<Vec<u32>>,
    hits: OnceCell<Hits>,
    /// By the hash of an attribute's name.
    values: RefCell<Vec<(u64, Rc<Values>)>>,
}

impl<'a> Deref for Reading<'a> {
    type Target = Moment<'a>;

    fn deref(&self) -> &Moment<'a> {
        self.moment
    }
}

/// What one source said of one candidate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit {
    /// Place of the candidate.
    pub(crate) row: u32,
    pub(crate) rank: u32,
    pub(crate) score: f32,
}

/// Hits by source.
#[derive(Debug, Default)]
pub(crate) struct Hits(Vec<(Arc<str>, Vec<Hit>)>);

impl Hits {
    fn new(candidates: &[Candidate]) -> Hits {
        let mut all: Vec<(Arc<str>, Vec<Hit>)> = Vec::new();
        for (row, candidate) in candidates.iter().enumerate() {
            for hit in &candidate.hits {
                // Candidates of one request share the names, so that nearly always the pointers tell.
                let place = all.iter().position(|(name, _)| Arc::ptr_eq(name, &hit.source));
                let place = place.or_else(|| all.iter().position(|(name, _)| *name == hit.source));
                let place = place.unwrap_or_else(|| {
                    all.push((hit.source.clone(), Vec::with_capacity(candidates.len())));
                    all.len() - 1
                });
                let of_source = &mut all[place].1;
                // Of one that comes twice the first counts.
                if of_source.last().is_none_or(|last| last.row != row as u32) {
                    of_source.push(Hit {
                        row: row as u32,
                        rank: hit.rank,
                        score: hit.score,
                    });
                }
            }
        }
        Hits(all)
    }

    /// Those of a source, by candidate.
    pub(crate) fn of(&self, source: &str) -> &[Hit] {
        let found = self.0.iter().find(|(name, _)| &**name == source);
        found.map_or(&[], |(_, hits)| hits)
    }
}

/// Lists, one after the other; `None` for an item that nobody knows.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// End of each and whether the item is known.
    ends: Vec<(u32, bool)>,
    all: Vec<u32>,
}

impl Lists {
    fn push(&mut self, list: Option<impl Iterator<Item = u32>>) {
        let is_known = list.is_some();
        self.all.extend(list.into_iter().flatten());
        self.ends.push((self.all.len() as u32, is_known));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&[u32]>> {
        let mut start = 0;
        self.ends.iter().map(move |(end, is_known)| {
            let list = &self.all[start..*end as usize];
            start = *end as usize;
            is_known.then_some(list)
        })
    }
}

/// Values of an attribute under numbers of their own: 0 for all that are not in the history.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) n_values: usize,
    /// Of each of the latest events of the history.
    pub(crate) of_history: Lists,
    pub(crate) of_candidates: Lists,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(moment: &'a Moment<'a>, candidates: &'a [Candidate]) -> Reading<'a> {
        Reading {
            moment,
            candidates,
            tallies: OnceCell::new(),
            facts: OnceCell::new(),
            history_facts: OnceCell::new(),
            own_events: OnceCell::new(),
            hits: OnceCell::new(),
            values: RefCell::default(),
        }
    }

    /// Facts by candidate.
    pub(crate) fn facts(&self) -> &[Option<&'a ItemFacts>] {
        let known = |candidate: &Candidate| self.moment.facts.facts(candidate.item);
        self.facts.get_or_init(|| {
            let facts: Vec<_> = self.candidates.iter().map(known).collect();
            ItemFacts::bring_near(&facts);
            facts
        })
    }

    /// Facts by event of the history.
    pub(crate) fn history_facts(&self) -> &[Option<&'a ItemFacts>] {
        let known = |event: &HistoryEvent| self.moment.facts.facts(event.item);
        self.history_facts
            .get_or_init(|| self.query.history.iter().map(known).collect())
    }

    /// Place of each candidate in the history, the last one; beyond its end for one that is not there.
    pub(crate) fn own_events(&self) -> &[u32] {
        self.own_events.get_or_init(|| {
            let events = (0u32..).zip(&self.query.history);
            let places: ByHash<u32> = events.map(|(at, event)| (u64::from(event.item), at)).collect();
            let place = |candidate: &Candidate| places.get(&u64::from(candidate.item)).copied();
            let all = self.candidates.iter();
            all.map(|candidate| place(candidate).unwrap_or(NOWHERE)).collect()
        })
    }

    /// What sources said.
    pub(crate) fn hits(&self) -> &Hits {
        self.hits.get_or_init(|| Hits::new(self.candidates))
    }

    /// Events that affinities go by.
    pub(crate) fn latest(&self) -> &'a [HistoryEvent] {
        let history = &self.moment.query.history;
        &history[history.len().saturating_sub(AFFINITY_ITEMS_MAX)..]
    }

    /// Values of the attribute whose name has this hash.
    pub(crate) fn values(&self, attribute: u64) -> Rc<Values> {
        let mut known = self.values.borrow_mut();
        if let Some((_, values)) = known.iter().find(|(name, _)| *name == attribute) {
            return values.clone();
        }
        let mut numbers: ByHash<u32> = ByHash::default();
        let mut of_history = Lists::default();
        let before = self.query.history.len() - self.latest().len();
        for facts in &self.history_facts()[before..] {
            let values = facts.map(|facts| facts.get_values(attribute));
            of_history.push(values.map(|values| {
                values.map(|value| {
                    let next = numbers.len() as u32 + 1;
                    *numbers.entry(value).or_insert(next)
                })
            }));
        }
        let mut of_candidates = Lists::default();
        for facts in self.facts() {
            let values = facts.map(|facts| facts.get_values(attribute));
            let number = |value: u64| numbers.get(&value).copied().unwrap_or(0);
            of_candidates.push(values.map(|values| values.map(number)));
        }
        let values = Rc::new(Values {
            n_values: numbers.len() + 1,
            of_history,
            of_candidates,
        });
        known.push((attribute, values.clone()));
        values
    }

    /// Events of a type about each candidate on the latest `days` days.
    pub(crate) fn counts_of(&self, kind: u16, days: i32) -> Cow<'_, [u64]> {
        let now = self.query.now;
        let items = || self.candidates.iter().map(|candidate| candidate.item);
        let tallies = self.tallies.get_or_init(|| self.counts.tallies(items(), now));
        match tallies.get(kind, days) {
            Some(counts) => Cow::Borrowed(counts),
            None => items()
                .map(|item| self.counts.of_item(item, kind, now, days))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::SourceHit;

    #[test]
    fn hits_by_source_are_the_first_of_each_candidate() {
        let hit = |source: &str, rank| SourceHit {
            source: source.into(),
            rank,
            score: rank as f32,
        };
        let one = |hits: Vec<SourceHit>| Candidate {
            hits,
            ..Candidate::default()
        };
        // Names that are not shared, and one source twice.
        let candidates = [
            one(vec![hit("a", 1), hit("b", 2), hit("a", 3)]),
            one(vec![]),
            one(vec![hit("b", 4)]),
        ];
        let hits = Hits::new(&candidates);
        let told = |source: &str| -> Vec<(u32, u32)> {
            hits.of(source).iter().map(|hit| (hit.row, hit.rank)).collect()
        };
        assert_eq!(told("a"), [(0, 1)]);
        assert_eq!(told("b"), [(0, 2), (2, 4)]);
        assert_eq!(told("c"), []);
    }
}
