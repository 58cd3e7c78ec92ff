//! What each step of a placement adds and what each part of it is worth, measured on the past: models and ranker learn from the earlier part of the log, people of the later part are asked at the
//! moment before their first later event, and what they did afterwards is the truth.
//!
//! Steps add up: the ranks of the sources, the model, the ranker that is learnt, the reranker. Parts are taken out one at a time: the whole placement against the same without the part, models
//! and ranker learnt anew where they had a share in it, on the same people with the same truth; the difference is paired by person. What marks an item as seen stays as it is throughout.
//!
//! The ranker is learnt from the event log in all of them, since features that decisions noted hold what is to be taken out; position correction alone, of which the event log knows nothing, compares two
//! rankers learnt from decisions. Cost: models are trained twice for the whole (for the ranker's rows, and for the lists) and twice for each of event weights, content and negative signals.

mod figures;
mod parts;
mod run;
mod world;

pub use figures::{Estimate, Figures};

use crate::ranker_history::{EARLIER_SHARE, moment_at};
use crate::service::lock;
use crate::{Service, ServiceError};
use domain::Timestamp;
use ranking::RankerKind;
use run::Run;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use world::Asking;

/// What is measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationRequest {
    /// Whose sources and rules.
    pub placement: String,
    /// Length of the lists.
    pub k: usize,
    /// People asked at most.
    pub users_max: usize,
    /// Share of the events that are the earlier part.
    pub earlier_share: f64,
    /// Weight of unlikeness against relevance in `mmr`, 0 to 1; absent for the placement's own reranker, or for `mmr` with its default where the placement has none.
    pub diversity: Option<f64>,
}

/// A result, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured<T> {
    /// The result.
    Measured(T),
    /// Why there is none.
    NotMeasured(String),
}

impl<T> Measured<T> {
    /// The result, if there is one.
    pub fn get(&self) -> Option<&T> {
        match self {
            Measured::Measured(result) => Some(result),
            Measured::NotMeasured(_) => None,
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationStep {
    /// Which.
    pub step: &'static str,
    /// What lists come to with it and all before it.
    #[serde(flatten)]
    pub figures: Measured<Figures>,
    /// The same less what they came to before it, paired by person; absent for the first and for what is not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<Figures>,
}

/// A placement with a part and without it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartFigures {
    /// What was taken out, and what is left in its place.
    pub taken_out: String,
    /// The whole.
    pub with: Figures,
    /// The same without the part.
    pub without: Figures,
    /// The one less the other, paired by person.
    pub difference: Figures,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationPart {
    /// Which.
    pub part: &'static str,
    /// What it is worth.
    #[serde(flatten)]
    pub figures: Measured<PartFigures>,
}

/// Steps and parts on the same people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationReport {
    /// What was asked.
    pub request: AblationRequest,
    /// Source of all randomness.
    pub seed: u64,
    /// The moment that parts the earlier events from the later ones.
    pub cut: Timestamp,
    /// Events before it.
    pub earlier_events: u64,
    /// People asked.
    pub users: u64,
    /// Those of them without any history at that moment.
    pub newcomers: u64,
    /// Items in the catalogue.
    pub items: u64,
    /// Rows that the ranker was learnt from.
    pub ranker_rows: u64,
    /// Steps in order.
    pub steps: Vec<AblationStep>,
    /// Parts, each taken out alone.
    pub parts: Vec<AblationPart>,
}

impl AblationRequest {
    fn check(&self) -> Result<(), ServiceError> {
        let wrong = |field: &str, got: String, expected: &str| Err(ServiceError::input(field, got, expected));
        if !(1..=1000).contains(&self.k) {
            return wrong("k", self.k.to_string(), "1 to 1000");
        }
        if self.users_max == 0 {
            return wrong("users_max", "0".to_owned(), "at least 1");
        }
        if !(0.2..=0.95).contains(&self.earlier_share) {
            return wrong("earlier_share", self.earlier_share.to_string(), "0.2 to 0.95");
        }
        match self.diversity {
            Some(weight) if !(0.0..=1.0).contains(&weight) => {
                wrong("diversity", weight.to_string(), "0 to 1")
            }
            _ => Ok(()),
        }
    }
}

impl Service {
    /// Measures steps and parts of a placement; see the head of the module. Blocks; nothing is published.
    ///
    /// # Errors
    /// A request that cannot be, another training under way, or too little to learn from.
    pub fn ablation(
        &self,
        request: &AblationRequest,
        progress: &dyn Fn(&str),
    ) -> Result<AblationReport, ServiceError> {
        request.check()?;
        if !self.config.placements.contains_key(&request.placement) {
            let known: Vec<&str> = self.config.placements.keys().map(String::as_str).collect();
            let expected = format!("one of {}", known.join(", "));
            return Err(ServiceError::input(
                "placement",
                request.placement.as_str(),
                expected,
            ));
        }
        if self.is_training.swap(true, Ordering::SeqCst) {
            return Err(ServiceError::Busy("a training is under way".into()));
        }
        let _under = crate::learn::Under(self);
        let cancel = Arc::new(AtomicBool::new(false));
        lock(&self.training).cancel = cancel.clone();
        let mut full = self.setup(&request.placement);
        full.placement.ranker.kind = RankerKind::Trees;
        full.placement.n = request.k;
        let liked = full.weights.iter().filter(|(_, head)| head.weight > 0.0);
        let liked: Vec<(String, f64)> = liked
            .map(|(name, head)| (name.clone(), f64::from(head.weight)))
            .collect();
        progress("reading events");
        let events = self.past()?;
        let cut = moment_at(&events, request.earlier_share)?;
        let earlier = &events[..events.partition_point(|(at, ..)| *at < cut)];
        let run = Run {
            service: self,
            early_cut: moment_at(earlier, EARLIER_SHARE)?,
            asking: Asking {
                events: &events,
                cut,
                liked: &liked,
                users_max: request.users_max,
                k: request.k,
            },
            earlier,
            progress,
            cancel,
        };
        run.report(request, &full)
    }
}
