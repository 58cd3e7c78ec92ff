//! Estimators against figures of another implementation, planted worlds with known truth, and laws.

mod coverage;
mod files;
mod laws;
mod own_log;
mod reference;
mod steep;
mod support;
mod worlds;
