//! Stage 5, inside: runs the stages over their traits and writes down what happened.
//!
//! [`decide`] takes a [`Pipeline`] (the stages of one placement), a [`CatalogueView`], a
//! [`DecideRequest`] and a [`Clock`] and gives a [`Decided`]: the slate with its full record, and
//! timings. It is a pure function: the same inputs, readings of the clock among them, give the
//! same bytes of the record.
//!
//! Stages are not trusted: every call is timed, counted and checked against the promises of its
//! trait, and a stage that fails, panics, breaks a promise or would start after the deadline is
//! replaced by its fallback and named in `degraded`. A request never fails. Rules are hard: a rule that
//! panics removes the item.
//!
//! What this crate does not know: any component, the catalogue's content, models, files, HTTP, the machine's
//! clock. Entry point: [`decide`].

mod decide;
mod eligibility;
mod greedy;
mod guard;
mod ladder;
mod limits;
mod pipeline;
mod positions;
mod select;
mod sources;
mod steer;

pub use decide::{SlateChances, decide, slate_chances};
pub use greedy::GreedyPolicy;
pub use limits::Keeping;
pub use pipeline::{
    Budgets, Caps, CatalogueView, Clock, DecideRequest, Decided, Pipeline, PipelineError, Reasoner, Source,
};
