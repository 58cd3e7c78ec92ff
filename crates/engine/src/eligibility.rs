//! Which items may be shown, each asked about once.

use crate::CatalogueView;
use crate::guard::guarded;
use domain::{Query, Removal, Rule, StageReport, Verdict};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Zero: room is cleared to it.
const UNKNOWN: u8 = 0;
const KEPT: u8 = 1;
const DROPPED: u8 = 2;

/// Word recorded for an item at which a rule panicked: a rule that cannot say yes has said no.
const RULE_FAILED: &str = "rule_failed";

/// What one rule did.
#[derive(Debug, Default, Clone)]
struct RuleCount {
    /// Items for which it was the last one asked.
    last: u32,
    dropped: u32,
    failed: u32,
    /// The first drops, up to the cap of the record.
    first: Vec<(u32, &'static str)>,
}

/// Bits of a verdict, all of them, and verdicts in a byte: small enough that those of a catalogue of some size stay near.
const BITS: usize = 2;
const VERDICT: u8 = (1 << BITS) - 1;
const IN_BYTE: usize = u8::BITS as usize / BITS;

/// A verdict per item, of the requests of one thread one after the other: clearing what was asked about is cheaper than room for every item of
/// the catalogue anew for each.
#[derive(Debug, Default)]
struct Verdicts {
    n_items: usize,
    by_item: Vec<u8>,
    asked: Vec<u32>,
}

impl Verdicts {
    fn taken(n_items: u32) -> Verdicts {
        let mut verdicts = VERDICTS.take();
        verdicts.n_items = n_items as usize;
        verdicts
            .by_item
            .resize(verdicts.n_items.div_ceil(IN_BYTE), UNKNOWN);
        verdicts
    }

    /// `None` for an item that does not exist.
    fn get(&self, item: u32) -> Option<u8> {
        let item = item as usize;
        let shift = item % IN_BYTE * BITS;
        (item < self.n_items).then(|| (self.by_item[item / IN_BYTE] >> shift) & VERDICT)
    }

    /// The verdict on an item that had none.
    fn set(&mut self, item: u32, verdict: u8) {
        self.by_item[item as usize / IN_BYTE] |= verdict << (item as usize % IN_BYTE * BITS);
        self.asked.push(item);
    }
}

impl Drop for Verdicts {
    fn drop(&mut self) {
        if self.by_item.is_empty() {
            return;
        }
        let mut by_item = std::mem::take(&mut self.by_item);
        let mut asked = std::mem::take(&mut self.asked);
        asked
            .drain(..)
            .for_each(|item| by_item[item as usize / IN_BYTE] = 0);
        // At the end of a thread there is nowhere left to keep them. Put in piece by piece: a whole one that is dropped would come back here.
        let _ = VERDICTS.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            (kept.by_item, kept.asked) = (by_item, asked);
        });
    }
}

thread_local! {
    /// All unknown between requests.
    static VERDICTS: RefCell<Verdicts> = RefCell::default();
}

#[derive(Debug)]
struct Memo {
    verdicts: Verdicts,
    counts: Vec<RuleCount>,
}

/// Verdicts of all rules, remembered per item. Memory: two bits per item of the catalogue, for each thread.
pub(crate) struct Eligibility<'a> {
    query: &'a Query,
    rules: Vec<&'a Arc<dyn Rule>>,
    removals_max: usize,
    memo: RefCell<Memo>,
}

impl<'a> Eligibility<'a> {
    pub(crate) fn new(
        query: &'a Query,
        rules: Vec<&'a Arc<dyn Rule>>,
        n_items: u32,
        removals_max: usize,
    ) -> Eligibility<'a> {
        let counts = vec![RuleCount::default(); rules.len()];
        Eligibility {
            query,
            rules,
            removals_max,
            memo: RefCell::new(Memo {
                verdicts: Verdicts::taken(n_items),
                counts,
            }),
        }
    }

    /// True if every rule keeps the item. Items that do not exist are never kept.
    pub(crate) fn allows(&self, item: u32) -> bool {
        let known = self.memo.borrow().verdicts.get(item);
        match known {
            None => false,
            Some(UNKNOWN) => {
                let kept = self.ask(item);
                let verdict = if kept { KEPT } else { DROPPED };
                self.memo.borrow_mut().verdicts.set(item, verdict);
                kept
            }
            Some(verdict) => verdict == KEPT,
        }
    }

    fn ask(&self, item: u32) -> bool {
        // One guard for all rules of an item; the place says which of them panicked. The memo is not borrowed
        // while a rule runs.
        let place = Cell::new(0);
        let dropped = guarded(|| {
            for (at, rule) in self.rules.iter().enumerate() {
                place.set(at);
                if let Verdict::Drop(reason) = rule.check(self.query, item) {
                    return Ok(Some(reason));
                }
            }
            Ok(None)
        });
        let memo = &mut *self.memo.borrow_mut();
        let mut count = memo.counts.get_mut(place.get());
        if let Some(count) = &mut count {
            count.last += 1;
        }
        let (Some(count), Ok(Some(_)) | Err(_)) = (count, &dropped) else {
            return true;
        };
        let reason = match dropped {
            Ok(Some(reason)) => reason,
            _ => {
                count.failed += 1;
                RULE_FAILED
            }
        };
        count.dropped += 1;
        if count.first.len() < self.removals_max {
            count.first.push((item, reason));
        }
        false
    }

    /// Accounts of the rules, removals within the cap, and how many are left out.
    pub(crate) fn report(self, catalogue: &dyn CatalogueView) -> (Vec<StageReport>, Vec<Removal>, u32) {
        let counts = self.memo.into_inner().counts;
        let mut reports = Vec::new();
        // Whoever was asked last had all those before it asked too.
        let mut checked: u32 = counts.iter().map(|count| count.last).sum();
        for (rule, count) in self.rules.iter().zip(&counts) {
            let failed = format!("failed on {} items, which were removed", count.failed);
            reports.push(StageReport {
                stage: format!("rules/{}", rule.name()),
                input: checked,
                output: checked - count.dropped,
                error: (count.failed > 0).then_some(failed),
            });
            checked -= count.last;
        }
        let dropped: u32 = counts.iter().map(|count| count.dropped).sum();
        let lengths: Vec<usize> = counts.iter().map(|count| count.first.len()).collect();
        let shares = even_shares(&lengths, self.removals_max);
        let mut removals = Vec::new();
        for ((rule, count), share) in self.rules.iter().zip(&counts).zip(shares) {
            let mut first = count.first.clone();
            first.sort_unstable();
            removals.extend(first.iter().take(share).map(|(item, reason)| Removal {
                item_id: catalogue.item_id(*item).clone(),
                rule: rule.name().to_owned(),
                reason: rule.reason(reason).to_owned(),
            }));
        }
        let cut = dropped - removals.len() as u32;
        (reports, removals, cut)
    }
}

/// Shares of a cap, at most the lengths and as even as they allow, earlier ones first.
fn even_shares(lengths: &[usize], cap: usize) -> Vec<usize> {
    let mut shares = vec![0; lengths.len()];
    let mut left = cap;
    while left > 0 {
        let open: Vec<usize> = (0..lengths.len()).filter(|i| shares[*i] < lengths[*i]).collect();
        if open.is_empty() {
            break;
        }
        let step = (left / open.len()).max(1);
        for place in open {
            let more = step.min(lengths[place] - shares[place]).min(left);
            shares[place] += more;
            left -= more;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Against a verdict each, request after request of one thread, over catalogues that grow and shrink.
        #[test]
        fn verdicts_are_kept_apart_and_cleared(
            requests in proptest::collection::vec((0u32..40, proptest::collection::vec((0u32..45, 1u8..3), 0..30)), 1..6),
        ) {
            for (n_items, told) in requests {
                let mut verdicts = Verdicts::taken(n_items);
                let mut plain: Vec<Option<u8>> = (0..50).map(|item| (item < n_items).then_some(UNKNOWN)).collect();
                for (item, verdict) in told {
                    if plain[item as usize] == Some(UNKNOWN) {
                        verdicts.set(item, verdict);
                        plain[item as usize] = Some(verdict);
                    }
                }
                let got: Vec<Option<u8>> = (0..50).map(|item| verdicts.get(item)).collect();
                proptest::prop_assert_eq!(got, plain);
            }
        }
    }

    /// Also where a thread that has some comes to its end, in which there is nowhere left to keep them.
    #[test]
    fn two_at_once_and_the_end_of_a_thread() {
        let asked = std::thread::spawn(|| {
            let (mut one, mut other) = (Verdicts::taken(9), Verdicts::taken(5));
            one.set(8, KEPT);
            other.set(3, DROPPED);
            drop(one);
            drop(other);
            let next = Verdicts::taken(9);
            (0..9).all(|item| next.get(item) == Some(UNKNOWN))
        });
        assert_eq!(asked.join().ok(), Some(true));
    }

    #[test]
    fn shares_by_hand() {
        assert_eq!(even_shares(&[100, 2, 0, 100], 20), [9, 2, 0, 9]);
        assert_eq!(even_shares(&[5, 5], 20), [5, 5]);
        assert_eq!(even_shares(&[5, 5, 5], 2), [1, 1, 0]);
        assert_eq!(even_shares(&[], 2), Vec::<usize>::new());
    }
}
