//! Choice under uncertainty: which of the items that may be shown are shown, and with what probability.
//!
//! A [`SlatePolicy`] fills a slate position by position from a list of [`Arms`]. It is asked for [`Chances`], and these say what
//! stands next given what stands before: as a distribution ([`Chances::next`]), as a draw, and as the probability of a slate that is already there
//! ([`Chances::conditionals`]). The product of the conditional probabilities is the probability of the slate. What an item's probability is at a position
//! *whatever stands elsewhere* (its marginal) comes in closed form where there is one ([`Chances::marginals`]), else by enumeration
//! ([`enumerated_marginals`]) or by simulation with its standard error ([`simulated_marginals`]).
//!
//! Policies are in the table of [`policies`], one file each; [`NewItemFloor`] wraps any of them, and [`EnsembleThompson`] takes draws from any
//! posterior. [`learners`] has what learns from rewards: linear bandits, disjoint and hybrid, and the check of diverse contexts.
//!
//! What this crate does not know: item ids, models, decisions, files, the clock. Arms that may not be shown (`open` is false) have probability exactly 0.

mod arms;
mod beta;
mod beta_thompson;
mod contract;
mod ensemble;
mod epsilon_greedy;
mod gauss;
mod greedy;
pub mod learners;
mod marginals;
mod new_items;
mod normal_race;
mod plackett_luce;
mod race;
mod registry;
mod settings;
mod swaps;
mod thompson;

pub use arms::{Arm, Arms, Samples};
pub use beta_thompson::BetaThompson;
pub use contract::{Chances, Drawn, PolicyError, SlatePolicy, slate_propensity};
pub use ensemble::EnsembleThompson;
pub use epsilon_greedy::EpsilonGreedy;
pub use greedy::Greedy;
pub use marginals::{Marginals, enumerated_marginals, simulated_marginals};
pub use new_items::{NewItemFloor, NewItems};
pub use plackett_luce::PlackettLuce;
pub use registry::{PolicyEntry, policies, policy};
pub use swaps::{SwapKind, Swaps};
pub use thompson::GaussianThompson;
