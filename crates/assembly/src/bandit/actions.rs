//! The items that are a placement's actions.

use super::config::ActionsConfig;
use crate::catalogue::LiveCatalogue;
use crate::serve::filter;
use domain::{Query, Retriever, Rule, StageError, Verdict};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Positions of actions, ascending, and as a set.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    list: Vec<u32>,
    set: HashSet<u32>,
}

/// Actions with the revision and size of the catalogue that they were found in.
type Found = ((u64, usize), Arc<Actions>);

/// Actions by placement, found anew only when the catalogue has changed.
#[derive(Debug, Default)]
pub(crate) struct ActionCache(Mutex<BTreeMap<String, Found>>);

impl ActionCache {
    /// The actions of a placement within a catalogue. Looks at every item after a change of the catalogue.
    pub(crate) fn actions(
        &self,
        placement: &str,
        config: &ActionsConfig,
        catalogue: &Arc<LiveCatalogue>,
    ) -> Arc<Actions> {
        let state = (catalogue.revision, catalogue.len());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, actions)) = known.get(placement)
            && *of == state
        {
            return actions.clone();
        }
        let actions = Arc::new(find(placement, config, catalogue));
        known.insert(placement.to_owned(), (state, actions.clone()));
        actions
    }
}

fn find(placement: &str, config: &ActionsConfig, catalogue: &Arc<LiveCatalogue>) -> Actions {
    let ids: HashSet<&str> = config.items.iter().map(String::as_str).collect();
    let within = match filter(config.filter.as_ref(), catalogue) {
        Ok(filter) => filter.map(|filter| catalogue.satisfying(&filter)),
        Err(problem) => {
            tracing::warn!(
                placement,
                ?problem,
                "the filter of the actions fits no attribute of the catalogue"
            );
            return Actions::default();
        }
    };
    let list: Vec<u32> = match within {
        Some(within) => within.iter().collect(),
        None => {
            let entries = (0u32..).zip(catalogue.entries());
            let named = entries.filter(|(_, entry)| ids.contains(entry.id.as_str()));
            named.map(|(position, _)| position).collect()
        }
    };
    Actions {
        set: list.iter().copied().collect(),
        list,
    }
}

/// Proposes all actions.
pub(crate) struct ActionRetriever(pub(crate) Arc<Actions>);

impl ActionRetriever {
    /// How many there are, at least 1.
    pub(crate) fn quota(&self) -> usize {
        self.0.list.len().max(1)
    }
}

impl Retriever for ActionRetriever {
    fn name(&self) -> &'static str {
        "actions"
    }

    fn retrieve(
        &self,
        _query: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError> {
        let open = self.0.list.iter().copied().filter(|item| allowed(*item));
        Ok(open.take(budget).map(|item| (item, 0.0)).collect())
    }
}

/// Nothing but actions, whatever the fallback ladder would turn to.
pub(crate) struct ActionRule(pub(crate) Arc<Actions>);

impl Rule for ActionRule {
    fn name(&self) -> &'static str {
        "actions"
    }

    fn check(&self, _query: &Query, item: u32) -> Verdict {
        if self.0.set.contains(&item) {
            Verdict::Keep
        } else {
            Verdict::Drop("no_action")
        }
    }
}
