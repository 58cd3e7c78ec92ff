//! Faults put in on purpose, to see that answers go on without the part concerned: a ranker, an index or a store that is slow or
//! fails. Only where the configuration asks for it in so many words; without that there is nothing here that a request passes through.

use domain::{
    Candidate, Evidence, Explanation, FeatureRecord, Outcome, Query, Ranker, Retriever, StageError,
    StoreError,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Longest delay that can be asked for.
const SLOW_MS_MAX: u64 = 10_000;

/// What is wrong with one part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// It fails.
    pub fail: bool,
    /// It takes this much longer, milliseconds, at most 10,000.
    pub slow_ms: u64,
}

/// What is wrong with each part; what is left out is well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// What scores candidates.
    pub ranker: Fault,
    /// What proposes candidates out of models.
    pub index: Fault,
    /// What holds the attributes of users.
    pub store: Fault,
}

/// Faults at the start, and leave to change them while the service runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChaosConfig {
    /// Must be true: faults are put in only where they are asked for in so many words.
    pub enabled: bool,
    /// Faults at the start.
    pub faults: Faults,
    /// Faults now. Copies of the configuration share them.
    #[serde(skip)]
    pub(crate) now: Arc<Chaos>,
}

impl PartialEq for ChaosConfig {
    fn eq(&self, other: &Self) -> bool {
        (self.enabled, self.faults) == (other.enabled, other.faults)
    }
}

impl ChaosConfig {
    /// Asked for, and all well at the start.
    pub fn asked_for() -> ChaosConfig {
        ChaosConfig {
            enabled: true,
            ..ChaosConfig::default()
        }
    }

    /// Puts the faults of the start in force.
    pub(crate) fn begin(&mut self) {
        self.now = Arc::default();
        self.now.set(&self.faults);
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.enabled {
            return Err("chaos.enabled: got false, expected true where there is a section chaos: it makes answers worse on purpose".into());
        }
        self.faults.check().map_err(|(field, got, expected)| {
            format!("chaos.faults.{field}: got {got}, expected {expected}")
        })?;
        Ok(())
    }
}

impl Faults {
    /// The first number that cannot be: field, what was there, what was expected.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String, String)> {
        for (field, fault) in [
            ("ranker", self.ranker),
            ("index", self.index),
            ("store", self.store),
        ] {
            if fault.slow_ms > SLOW_MS_MAX {
                return Err((
                    field,
                    format!("slow_ms = {}", fault.slow_ms),
                    format!("slow_ms of at most {SLOW_MS_MAX}"),
                ));
            }
        }
        Ok(())
    }
}

/// One part's fault, as it is now.
#[derive(Debug, Default)]
struct Switch {
    fail: AtomicBool,
    slow_ms: AtomicU64,
}

impl Switch {
    fn set(&self, fault: Fault) {
        self.fail.store(fault.fail, Ordering::SeqCst);
        self.slow_ms.store(fault.slow_ms, Ordering::SeqCst);
    }

    fn now(&self) -> Fault {
        Fault {
            fail: self.fail.load(Ordering::SeqCst),
            slow_ms: self.slow_ms.load(Ordering::SeqCst),
        }
    }

    /// Waits if the part is slow; true if it fails.
    fn fails(&self) -> bool {
        let Fault { fail, slow_ms } = self.now();
        if slow_ms > 0 {
            std::thread::sleep(Duration::from_millis(slow_ms));
        }
        fail
    }
}

/// Faults now.
#[derive(Debug, Default)]
pub(crate) struct Chaos {
    ranker: Switch,
    index: Switch,
    store: Switch,
}

impl Chaos {
    pub(crate) fn set(&self, faults: &Faults) {
        self.ranker.set(faults.ranker);
        self.index.set(faults.index);
        self.store.set(faults.store);
    }

    pub(crate) fn faults(&self) -> Faults {
        Faults {
            ranker: self.ranker.now(),
            index: self.index.now(),
            store: self.store.now(),
        }
    }

    /// What a store says that fails on purpose.
    pub(crate) fn store(&self) -> Result<(), StoreError> {
        if self.store.fails() {
            return Err(StoreError::Io {
                action: "reading",
                path: "the store of users".to_owned(),
                reason: ON_PURPOSE.to_owned(),
            });
        }
        Ok(())
    }
}

const ON_PURPOSE: &str = "on purpose (chaos)";

fn failed() -> StageError {
    StageError::Failed(ON_PURPOSE.to_owned())
}

/// A ranker that can be made to fail.
pub(crate) struct ChaosRanker {
    pub(crate) inner: Arc<dyn Ranker>,
    pub(crate) chaos: Arc<Chaos>,
}

impl Ranker for ChaosRanker {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn rank(&self, query: &Query, candidates: &[Candidate]) -> Result<Vec<Outcome>, StageError> {
        if self.chaos.ranker.fails() {
            return Err(failed());
        }
        self.inner.rank(query, candidates)
    }

    fn explain(&self, query: &Query, item: u32) -> Explanation {
        self.inner.explain(query, item)
    }

    fn evidence(&self, query: &Query, candidates: &[&Candidate]) -> Vec<Evidence> {
        self.inner.evidence(query, candidates)
    }

    fn explain_candidate(&self, query: &Query, candidate: &Candidate) -> Explanation {
        self.inner.explain_candidate(query, candidate)
    }

    fn features(&self, query: &Query, candidates: &[&Candidate]) -> Option<FeatureRecord> {
        self.inner.features(query, candidates)
    }
}

/// A source that can be made to fail.
pub(crate) struct ChaosRetriever {
    pub(crate) inner: Arc<dyn Retriever>,
    pub(crate) chaos: Arc<Chaos>,
}

impl Retriever for ChaosRetriever {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn retrieve(
        &self,
        query: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError> {
        if self.chaos.index.fails() {
            return Err(failed());
        }
        self.inner.retrieve(query, budget, allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Contribution;

    /// Says something of its own wherever it can.
    struct Telling;

    impl Ranker for Telling {
        fn name(&self) -> &'static str {
            "telling"
        }

        fn rank(&self, _: &Query, candidates: &[Candidate]) -> Result<Vec<Outcome>, StageError> {
            Ok(candidates.iter().map(|_| Outcome::Score(1.0)).collect())
        }

        fn explain(&self, _: &Query, _: u32) -> Explanation {
            let part = Contribution {
                source: domain::ContributionSource::History { item: 1 },
                model: "telling".into(),
                value: 1.0,
            };
            Explanation {
                contributions: vec![part],
            }
        }

        fn features(&self, _: &Query, candidates: &[&Candidate]) -> Option<FeatureRecord> {
            Some(FeatureRecord::new(
                vec!["hour".to_owned()],
                &vec![2.0; candidates.len()],
            ))
        }
    }

    #[test]
    fn a_ranker_that_may_fail_notes_what_the_one_inside_knows() {
        let unsure = ChaosRanker {
            inner: Arc::new(Telling),
            chaos: ChaosConfig::asked_for().now,
        };
        let (query, candidate) = (Query::default(), Candidate::default());
        assert_eq!(
            unsure.features(&query, &[&candidate]),
            Telling.features(&query, &[&candidate])
        );
        assert_eq!(
            unsure.explain_candidate(&query, &candidate).contributions.len(),
            1
        );
    }
}
