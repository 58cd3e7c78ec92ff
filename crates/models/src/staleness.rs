//! How far what people did since a training has moved what a model rests on, without the model showing it.
//!
//! The unit is an *entry*: a pair of person and item that counts fully. Its level is the pair's summed strength over the
//! mean strength, within 0 … 1. An event *moves* content by as much as it changes the level of its pair: the first purchase by
//! one, the tenth click on the same item by nothing, a return of a purchase by one, an erased pair by its level. So what
//! counts is change of content and not the number of events.

use crate::UpdateReport;
use dataset::{Interaction, Interactions};
use domain::HistoryEvent;
use numeric::SeededStream;
use serde::{Deserialize, Serialize};

/// Events of a large batch that are looked at.
const SAMPLE: usize = 512;

/// Content that a training had, and content moved since that its model does not reflect, in entries.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Staleness {
    /// Entries of the training.
    pub trained: f64,
    /// Entries moved since and not reflected.
    pub moved: f64,
}

impl Staleness {
    /// That of a model just trained on these rows.
    pub fn fresh(data: &Interactions) -> Staleness {
        let mut sums = Vec::new();
        for user in 0..data.n_users() {
            sums.extend(crate::common::summed(data, user).into_iter().map(|(_, sum)| sum));
        }
        sums.retain(|sum| *sum > 0.0);
        let unit = mean(&sums);
        Staleness {
            trained: sums.iter().map(|sum| level(*sum, unit)).sum(),
            moved: 0.0,
        }
    }

    /// moved / (trained + moved): 0 for a model that reflects everything, towards 1 as nothing of what it rests on is left.
    pub fn share(&self) -> f64 {
        if self.moved <= 0.0 {
            return 0.0;
        }
        self.moved / (self.trained + self.moved)
    }
}

fn mean(sums: &[f32]) -> f32 {
    (sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() / sums.len().max(1) as f64) as f32
}

fn level(sum: f32, unit: f32) -> f64 {
    let level = f64::from(sum) / f64::from(unit.max(1e-20));
    if level.is_finite() {
        level.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// How far an event moves content, given what its user did before; `unit` is the mean strength of a pair in training.
pub(crate) fn moved(row: &Interaction, history: &[HistoryEvent], unit: f32) -> f64 {
    let before = before(row.item, history);
    if row.weight.is_finite() {
        (level(before + row.weight, unit) - level(before, unit)).abs()
    } else {
        0.0
    }
}

/// The summed strength of an item in a history. Nearly all events are of other items, so that eight are looked at together: every
/// event of every batch goes through this.
fn before(item: u32, history: &[HistoryEvent]) -> f32 {
    let mut sum = 0.0;
    let (eights, rest) = history.as_chunks::<8>();
    for events in eights.iter().map(<[_; 8]>::as_slice).chain([rest]) {
        if events.iter().fold(false, |found, h| found | (h.item == item)) {
            let same = events.iter().filter(|h| h.item == item && h.weight.is_finite());
            sum += same.map(|h| h.weight).sum::<f32>();
        }
    }
    sum
}

/// How far a batch of events moves content. From twice [`SAMPLE`] events on it is estimated from one in each of so many stretches of
/// the batch, drawn by chance but always the same: looking through everybody's history for every event would cost more than some models take
/// to learn from it. The estimate is off by at most 1/√`SAMPLE`·½ of the batch (one standard deviation), by much less in the long run.
pub(crate) fn moved_by(events: &[(&Interaction, &[HistoryEvent])], unit: f32) -> f64 {
    let of = |at: usize| moved(events[at].0, events[at].1, unit);
    let n = events.len();
    if n < 2 * SAMPLE {
        return (0..n).map(of).sum();
    }
    let mut stream = SeededStream::new(n as u64, 0);
    let stretch = |at: usize| at * n / SAMPLE..(at + 1) * n / SAMPLE;
    let looked_at = (0..SAMPLE).map(stretch).map(|stretch| {
        let at = stretch.start + stream.below(stretch.len() as u64) as usize;
        of(at) * stretch.len() as f64
    });
    looked_at.sum()
}

/// What a model reports that passes events over until the next training.
pub(crate) fn passed_over(
    interactions: &[Interaction],
    histories: &[Vec<HistoryEvent>],
    unit: f32,
) -> UpdateReport {
    let history = |n: usize| histories.get(n).map_or(&[] as &[HistoryEvent], |h| h);
    let events: Vec<_> = (interactions.iter().enumerate())
        .map(|(n, row)| (row, history(n)))
        .collect();
    UpdateReport {
        ignored: interactions.len(),
        moved: moved_by(&events, unit),
        ..UpdateReport::default()
    }
}

/// What a model reports that cannot take out what one person did until the next training.
pub(crate) fn kept(events: &[Interaction], unit: f32) -> UpdateReport {
    UpdateReport {
        ignored: events.len(),
        moved: by_item(events).iter().map(|(_, sum)| level(*sum, unit)).sum(),
        ..UpdateReport::default()
    }
}

/// One person's summed strengths by item, in the order of first appearance.
pub(crate) fn by_item(events: &[Interaction]) -> Vec<(u32, f32)> {
    let mut sums: Vec<(u32, f32)> = Vec::new();
    let mut places: hashbrown::HashMap<u32, usize> = hashbrown::HashMap::new();
    for row in events.iter().filter(|row| row.weight.is_finite()) {
        let place = *places.entry(row.item).or_insert_with(|| {
            sums.push((row.item, 0.0));
            sums.len() - 1
        });
        sums[place].1 += row.weight;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;

    fn row(item: u32, weight: f32) -> Interaction {
        Interaction {
            user: 0,
            item,
            weight,
            timestamp: Timestamp(0),
        }
    }

    fn history(item: u32, weight: f32) -> [HistoryEvent; 1] {
        [HistoryEvent {
            item,
            weight,
            age_days: 0.0,
        }]
    }

    #[test]
    fn large_batches_are_estimated_and_small_ones_counted() {
        let mut stream = SeededStream::new(3, 0);
        // A third does again what they did before, most of them in the second half of the batch.
        for n in [1, 600, 1023, 1024, 5000, 20_000] {
            let own = history(1, 1.0);
            let draw = |at: usize| stream.below(3 * n as u64) < (2 * at as u64).min(3 * n as u64);
            let again: Vec<bool> = (0..n).map(draw).collect();
            let event = row(1, 1.0);
            let known = |again: &bool| if *again { &own[..] } else { &[] };
            let events: Vec<_> = again.iter().map(|again| (&event, known(again))).collect();
            let exact = again.iter().filter(|again| !**again).count() as f64;
            let found = moved_by(&events, 1.0);
            if n < 2 * SAMPLE {
                assert_eq!(found, exact);
            } else {
                assert!((found - exact).abs() < 0.06 * n as f64, "{n}: {found} {exact}");
            }
            assert_eq!(found, moved_by(&events, 1.0));
        }
    }

    #[test]
    fn content_counts_and_not_the_number_of_events() {
        assert_eq!(moved(&row(1, 1.0), &[], 1.0), 1.0, "a first event");
        assert_eq!(
            moved(&row(1, 1.0), &history(2, 1.0), 1.0),
            1.0,
            "on something else"
        );
        assert_eq!(moved(&row(1, 1.0), &history(1, 1.0), 1.0), 0.0, "once more");
        assert_eq!(moved(&row(1, 0.25), &[], 0.5), 0.5, "half of the mean");
        assert_eq!(moved(&row(1, -1.0), &history(1, 1.0), 1.0), 1.0, "a return");
        assert_eq!(
            moved(&row(1, -0.5), &[], 1.0),
            0.0,
            "a dismissal of what was not taken"
        );
        // Anywhere in a long history, and what is not finite does not count.
        for place in 0..20 {
            let mut long: Vec<HistoryEvent> = (0..20).flat_map(|_| history(7, 1.0)).collect();
            (long[place].item, long[place].weight) = (1, 0.25);
            assert_eq!(moved(&row(1, 1.0), &long, 1.0), 0.75, "{place}");
            (long[0].item, long[0].weight) = (1, f32::NAN);
            assert_eq!(
                moved(&row(1, 1.0), &long, 1.0),
                if place == 0 { 1.0 } else { 0.75 }
            );
        }
        let events = [row(1, 1.0), row(2, 0.5), row(1, 3.0), row(3, -1.0)];
        assert_eq!(kept(&events, 1.0).moved, 1.5);
        let stale = Staleness {
            trained: 90.0,
            moved: 10.0,
        };
        assert_eq!(stale.share(), 0.1);
        assert_eq!(Staleness::default().share(), 0.0);
    }
}
