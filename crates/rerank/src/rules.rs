//! Rules over the request and the state of the person.

use domain::{Query, Rule, Verdict};
use numeric::Chunked;

fn drop_if(condition: bool, reason: &'static str) -> Verdict {
    if condition {
        Verdict::Drop(reason)
    } else {
        Verdict::Keep
    }
}

/// Removes what the person has seen, reason `seen`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeenRule;

impl Rule for SeenRule {
    fn name(&self) -> &str {
        "seen"
    }

    fn check(&self, query: &Query, item: u32) -> Verdict {
        drop_if(query.seen.binary_search(&item).is_ok(), "seen")
    }
}

/// Removes hidden items, reason `hidden`, and positions that the catalogue does not have, reason
/// `unknown_item`.
#[derive(Debug, Clone)]
pub struct HiddenRule {
    hidden: Chunked<bool>,
}

impl HiddenRule {
    /// A rule over one flag per position.
    pub fn new(hidden: Chunked<bool>) -> HiddenRule {
        HiddenRule { hidden }
    }
}

impl Rule for HiddenRule {
    fn name(&self) -> &str {
        "hidden"
    }

    fn check(&self, _query: &Query, item: u32) -> Verdict {
        match self.hidden.get(item as usize) {
            Some(hidden) => drop_if(*hidden, "hidden"),
            None => Verdict::Drop("unknown_item"),
        }
    }
}

/// Removes what the caller excludes, reason `excluded`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExcludedRule;

impl Rule for ExcludedRule {
    fn name(&self) -> &str {
        "excluded"
    }

    fn check(&self, query: &Query, item: u32) -> Verdict {
        drop_if(query.excluded.binary_search(&item).is_ok(), "excluded")
    }
}

/// If the caller gives candidates, removes everything else, reason `not_a_candidate`.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnlyRule;

impl Rule for OnlyRule {
    fn name(&self) -> &str {
        "only"
    }

    fn check(&self, query: &Query, item: u32) -> Verdict {
        let outside = |only: &Vec<u32>| only.binary_search(&item).is_err();
        drop_if(query.only.as_ref().is_some_and(outside), "not_a_candidate")
    }
}

/// Removes the item that the placement is about, reason `anchor`.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnchorRule;

impl Rule for AnchorRule {
    fn name(&self) -> &str {
        "anchor"
    }

    fn check(&self, query: &Query, item: u32) -> Verdict {
        drop_if(query.anchor == Some(item), "anchor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_keeps_the_promises() {
        let hidden = HiddenRule::new([false, true, false].into_iter().collect());
        let rules: [&dyn Rule; 5] = [&SeenRule, &hidden, &ExcludedRule, &OnlyRule, &AnchorRule];
        for rule in rules {
            testkit::stages::rule(rule, 20);
        }
    }

    #[test]
    fn by_hand() {
        let query = Query {
            seen: vec![1, 4],
            excluded: vec![2],
            only: Some(vec![0, 3]),
            anchor: Some(3),
            ..Query::default()
        };
        let hidden = HiddenRule::new([false, true].into_iter().collect());
        let dropped = |rule: &dyn Rule| -> Vec<u32> {
            (0..5)
                .filter(|item| rule.check(&query, *item) != Verdict::Keep)
                .collect()
        };
        assert_eq!(dropped(&SeenRule), [1, 4]);
        assert_eq!(dropped(&hidden), [1, 2, 3, 4]);
        assert_eq!(dropped(&ExcludedRule), [2]);
        assert_eq!(dropped(&OnlyRule), [1, 2, 4]);
        assert_eq!(dropped(&AnchorRule), [3]);
        assert_eq!(OnlyRule.check(&Query::default(), 9), Verdict::Keep);
    }
}
