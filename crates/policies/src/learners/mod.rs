//! What learns from rewards: counts per action, linear bandits for placements with features per action, and the check that says when exploring can be left out.

mod counts;
mod diversity;
mod linear;
mod spd;

pub use counts::{CountBandit, Counted};
pub use diversity::{Diversity, DiversityOptions, diversity};
pub use linear::{Context, LinearBandit, LinearBanditConfig, Posterior};
