//! The table of policies. One line registers one; configuration, documents and tests walk the table.

use crate::{
    PolicyError, SlatePolicy, beta_thompson, epsilon_greedy, greedy, plackett_luce, swaps, thompson,
};

/// A policy that can be asked for by name.
#[derive(Debug, Clone, Copy)]
pub struct PolicyEntry {
    /// Its name in configurations and records.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Builds it from its settings (`null` for the defaults); unknown keys are refused.
    pub build: fn(&serde_json::Value) -> Result<Box<dyn SlatePolicy>, PolicyError>,
}

/// All policies, simplest first.
pub fn policies() -> &'static [PolicyEntry] {
    POLICIES
}

/// The policy with this name.
pub fn policy(name: &str) -> Option<&'static PolicyEntry> {
    POLICIES.iter().find(|entry| entry.name == name)
}

static POLICIES: &[PolicyEntry] = &[
    greedy::ENTRY,
    epsilon_greedy::ENTRY,
    plackett_luce::ENTRY,
    thompson::ENTRY,
    beta_thompson::ENTRY,
    swaps::ENTRY,
];
