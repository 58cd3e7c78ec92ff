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
    within(model, "half_life_events", f64::from(half_life.unwrap_or(0.0)), 0.0, 1e6)?;
    within(model, "floor", f64::from(floor.unwrap_or(0.0)), 0.0, 1.0)
}
