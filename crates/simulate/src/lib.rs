//! Closed loops with known truth: a seeded population with latent tastes is shown slates, reacts, and what it did is learnt from.
//!
//! A [`Scenario`] is a TOML file: a world (catalogue, people, how they react), the configuration of the service, variants of it that are compared, and what is
//! expected of them. [`simulate`] runs one variant under one seed against a [`Target`]: the real engine in this process ([`Engine`]), with a clock of its own, or whatever else
//! answers, a server say. Since tastes are known, the best slate is too, and [`Measured`] has regret beside reward. [`compare`] runs all variants and seeds and gives a
//! [`Report`] with intervals over seeds and paired differences.
//!
//! The same scenario and seed give the same report at any number of threads: every visit draws from a stream of its own, all visits of a tick see the same state, and what
//! they did is taken in in a fixed order. Against a server only the population is seeded: the server has its own clock and absorbs when it likes.
//!
//! What this crate does not know: HTTP, terminals, the machine's clock, how anything is recommended.

mod catalogue;
mod engine;
mod measure;
mod people;
mod reaction;
mod report;
mod run;
mod scenario;
mod setup;
mod target;

pub use engine::Engine;
pub use measure::{Measured, Round};
pub use report::{Difference, Expected, Figure, MakeTarget, Report, VariantReport, compare};
pub use run::simulate;
pub use scenario::{Expectation, Scenario, Variant};
pub use setup::{Behaviour, CatalogueSetup, ClickModel, HistorySetup, People, Rewards, RunSetup, Setup};
pub use target::{Shown, Target, Visit};

/// Why a simulation cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The scenario cannot be: which key, what was there, what was expected.
    #[error("{file}: {reason}")]
    Scenario {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// What answers does not.
    #[error("{doing}: {reason}")]
    Target {
        /// What it was asked to do.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
}

/// Milliseconds of a day.
pub(crate) const DAY_MS: f64 = 86_400_000.0;
