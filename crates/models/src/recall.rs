//! How much each event of a history counts by its place: share(r) = max(2^(−r / half-life), floor) for the r-th latest, counted from 0, of the
//! latest `most`; nothing for those before.
//!
//! What people took last says most of what they take next, but what they took long ago says who they are: without a floor long histories
//! are wasted, without fading they drown the last events. Places are counted, not days, so that a share stays the same until the next event. Events
//! that cannot be used have their places too. A share below a thousandth counts as none.

use crate::ModelError;
use crate::common::{is_timed, within};
use dataset::Interactions;
use domain::HistoryEvent;

/// Shares below this are not worth their cost.
const SHARE_MIN: f32 = 1e-3;

/// How events count by their place in a history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// Latest events that count at all.
    pub most: usize,
    /// Events after which one counts half; 0 if all count alike.
    pub half_life: f32,
    /// Least share that an event counts, 0 to 1.
    pub floor: f32,
}

/// What follows from data that says when events were.
pub(crate) const FADING: Recall = Recall {
    most: 200,
    half_life: 4.0,
    floor: 0.1,
};
/// Events that count where it does not: then the order of a history means nothing.
const ALL: usize = 1000;

impl Recall {
    /// The latest so many, all alike.
    pub(crate) fn latest(most: usize) -> Recall {
        Recall {
            most,
            half_life: 0.0,
            floor: FADING.floor,
        }
    }

    /// What was asked for, and otherwise what follows from the data. A number of events alone means these, all alike.
    pub(crate) fn of(
        history_max: Option<usize>,
        half_life: Option<f32>,
        floor: Option<f32>,
        data: &Interactions,
    ) -> Recall {
        let timed = is_timed(data);
        let usual = if timed && history_max.is_none() {
            FADING.half_life
        } else {
            0.0
        };
        Recall {
            most: history_max.unwrap_or(if timed { FADING.most } else { ALL }),
            half_life: half_life.unwrap_or(usual),
            floor: floor.unwrap_or(FADING.floor),
        }
    }

    /// The keys of a configuration that ask for it.
    pub(crate) fn settled(&self) -> serde_json::Map<String, serde_json::Value> {
        let keys = [
            ("history_max", self.most.into()),
            ("half_life_events", self.half_life.into()),
            ("floor", self.floor.into()),
        ];
        keys.map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }

    /// Whether events count differently.
    pub(crate) fn fades(&self) -> bool {
        self.half_life > 0.0
    }

    /// Whether it is one that can be.
    pub(crate) fn is_sane(&self) -> bool {
        (1..=1_000_000).contains(&self.most)
            && (0.0..=1e6).contains(&self.half_life)
            && (0.0..=1.0).contains(&self.floor)
    }

    fn share(&self, place: usize) -> f32 {
        if !self.fades() {
            return 1.0;
        }
        let share = (-(place as f32) / self.half_life).exp2().max(self.floor);
        if share < SHARE_MIN { 0.0 } else { share }
    }

    /// History events that can be used, oldest first: item at a known position, finite strength other than zero, and the share that it counts.
    pub(crate) fn used(
        self,
        history: &[HistoryEvent],
        n_items: usize,
    ) -> impl Iterator<Item = (u32, f32, f32)> + Clone {
        let recall = self;
        let n = history.len().min(recall.most);
        let latest = &history[history.len() - n..];
        let shared = latest.iter().zip((0..n).rev());
        shared
            .map(move |(event, place)| (event.item, event.weight, recall.share(place)))
            .filter(move |(item, weight, share)| {
                (*item as usize) < n_items && weight.is_finite() && *weight != 0.0 && *share > 0.0
            })
    }
}

/// Refuses what cannot be.
pub(crate) fn check(model: &str, half_life: Option<f32>, floor: Option<f32>) -> Result<(), ModelError> {
    within(
        model,
        "half_life_events",
        f64::from(half_life.unwrap_or(0.0)),
        0.0,
        1e6,
    )?;
    within(model, "floor", f64::from(floor.unwrap_or(0.0)), 0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn history(weights: &[f32]) -> Vec<HistoryEvent> {
        let event = |(item, weight): (u32, &f32)| HistoryEvent {
            item,
            weight: *weight,
            age_days: 1.0,
        };
        (0u32..).zip(weights).map(event).collect()
    }

    #[test]
    fn shares_by_hand() {
        let recall = Recall {
            most: 5,
            half_life: 2.0,
            floor: 0.3,
        };
        let used: Vec<_> = recall.used(&history(&[1.0; 7]), 100).collect();
        let root = 0.5f32.sqrt();
        let expected = [(2, 0.3), (3, 0.5 * root), (4, 0.5), (5, root), (6, 1.0)];
        assert_eq!(used.len(), expected.len());
        for ((item, weight, share), (at, own)) in used.into_iter().zip(expected) {
            assert_eq!((item, weight), (at, 1.0));
            assert!((share - own).abs() < 1e-6, "{item}: {share}, {own}");
        }
        // Without a floor what is far back is not looked at: 2^(-10) is below a thousandth.
        let sharp = Recall {
            most: 1000,
            half_life: 1.0,
            floor: 0.0,
        };
        assert_eq!(sharp.used(&history(&[1.0; 50]), 100).count(), 10);
    }

    proptest! {
        /// Against going through all events one by one.
        #[test]
        fn as_one_by_one(
            weights in proptest::collection::vec(prop_oneof![Just(0.0f32), Just(f32::NAN), -2.0f32..2.0], 0..40),
            n_items in 0usize..45,
            most in 1usize..50,
            half_life in prop_oneof![Just(0.0f32), 0.5f32..50.0],
            floor in prop_oneof![Just(0.0f32), 0.0f32..1.0],
        ) {
            let recall = Recall { most, half_life, floor };
            let history = history(&weights);
            let mut expected = Vec::new();
            for (at, event) in history.iter().enumerate() {
                let place = history.len() - 1 - at;
                let mut share = 1.0f32;
                if half_life > 0.0 {
                    share = floor.max((-(place as f32) / half_life).exp2());
                }
                let is_used = place < most && share >= 0.001 && at < n_items;
                if is_used && event.weight.is_finite() && event.weight != 0.0 {
                    expected.push((event.item, event.weight, share));
                }
            }
            prop_assert_eq!(recall.used(&history, n_items).collect::<Vec<_>>(), expected);
        }

        /// All alike, it is the window that there was before there was fading.
        #[test]
        fn without_fading_it_is_a_window(
            weights in proptest::collection::vec(-2.0f32..2.0, 0..40),
            most in 1usize..50,
        ) {
            let history = history(&weights);
            let windowed: Vec<_> = crate::common::usable(&history, 30, most).collect();
            let shared: Vec<_> = Recall::latest(most).used(&history, 30).collect();
            prop_assert!(shared.iter().all(|(.., share)| *share == 1.0));
            let shared: Vec<_> = shared.into_iter().map(|(item, weight, _)| (item, weight)).collect();
            prop_assert_eq!(shared, windowed);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(check("ease", Some(4.0), Some(0.1)).is_ok());
        for (half_life, floor, field) in [
            (Some(-1.0), None, "half_life_events"),
            (Some(f32::NAN), None, "half_life_events"),
            (None, Some(1.5), "floor"),
        ] {
            let error = check("ease", half_life, floor).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
