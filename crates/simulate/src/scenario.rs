//! Scenario files: a world, variants of it, and what is expected of them.

use crate::SimulateError;
use crate::setup::{Setup, overlay};
use serde::{Deserialize, Serialize};

/// One way of doing it: what differs from the rest of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Keys of the scenario with their values for this variant, table by table.
    #[serde(default)]
    pub with: toml::Table,
}

/// What should come out. Exactly one of the four relations is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Which figure.
    pub metric: String,
    /// Of which variant.
    pub variant: String,
    /// Higher than that of this variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<String>,
    /// Lower than that of this variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
    /// Higher than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Lower than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

/// A scenario file.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in a sentence or two.
    pub summary: String,
    /// Seeds under which each variant is run.
    pub seeds: usize,
    /// The ways that are compared, each with its whole setup.
    pub variants: Vec<(String, Setup)>,
    /// What should come out.
    pub expect: Vec<Expectation>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: String,
    summary: String,
    #[serde(default = "ten")]
    seeds: usize,
    #[serde(default)]
    variants: Vec<Variant>,
    #[serde(default)]
    expect: Vec<Expectation>,
    /// What is smaller in the short form, which tests run.
    #[serde(default)]
    short: toml::Table,
}

fn ten() -> usize {
    10
}

const HEAD: [&str; 6] = ["name", "summary", "seeds", "variants", "expect", "short"];

impl Scenario {
    /// Reads a scenario and checks it whole, every variant with it; `file` is for messages. The short form has the keys under `short` in place of the others.
    ///
    /// # Errors
    /// The first key that cannot be, with what was there and what was expected.
    pub fn parse(text: &str, file: &str, short: bool) -> Result<Scenario, SimulateError> {
        let fail = |reason: String| SimulateError::Scenario {
            file: file.to_owned(),
            reason,
        };
        let mut base: toml::Table = text.parse().map_err(|e: toml::de::Error| fail(e.to_string()))?;
        let mut head = toml::Table::new();
        for key in HEAD {
            if let Some(value) = base.remove(key) {
                head.insert(key.to_owned(), value);
            }
        }
        let mut head: Head = head
            .try_into()
            .map_err(|e: toml::de::Error| fail(e.to_string()))?;
        if short {
            if let Some(seeds) = head.short.remove("seeds").and_then(|seeds| seeds.as_integer()) {
                head.seeds = usize::try_from(seeds).unwrap_or(0);
            }
            overlay(&mut base, &head.short);
        }
        if !(1..=1000).contains(&head.seeds) {
            return Err(fail(format!("seeds: got {}, expected 1 to 1000", head.seeds)));
        }
        if head.variants.is_empty() {
            head.variants.push(Variant {
                name: "as is".to_owned(),
                with: toml::Table::new(),
            });
        }
        let mut variants: Vec<(String, Setup)> = Vec::new();
        for Variant { name, with } in head.variants {
            if name.is_empty() || variants.iter().any(|(known, _)| *known == name) {
                return Err(fail(format!(
                    "variants.name: got {name:?}, expected each its own name"
                )));
            }
            let mut table = base.clone();
            overlay(&mut table, &with);
            let named = |reason: String| fail(format!("variant {name}: {reason}"));
            let setup: Setup = table
                .try_into()
                .map_err(|e: toml::de::Error| named(e.to_string()))?;
            setup.check().map_err(named)?;
            variants.push((name, setup));
        }
        for (at, expectation) in head.expect.iter().enumerate() {
            let known = |name: &String| variants.iter().any(|(variant, _)| variant == name);
            let others = [&expectation.above, &expectation.below];
            let relations = others.iter().filter(|other| other.is_some()).count()
                + usize::from(expectation.at_least.is_some())
                + usize::from(expectation.at_most.is_some());
            let mut names = others.into_iter().flatten().chain([&expectation.variant]);
            if relations != 1 {
                return Err(fail(format!(
                    "expect[{at}]: got {relations} relations, expected one of above, below, at_least, at_most"
                )));
            }
            if let Some(unknown) = names.find(|name| !known(name)) {
                return Err(fail(format!(
                    "expect[{at}]: got {unknown:?}, expected the name of a variant"
                )));
            }
            if !crate::measure::METRICS
                .iter()
                .any(|(name, _)| *name == expectation.metric)
            {
                let names: Vec<&str> = crate::measure::METRICS.iter().map(|(name, _)| *name).collect();
                return Err(fail(format!(
                    "expect[{at}].metric: got {:?}, expected one of {}",
                    expectation.metric,
                    names.join(", ")
                )));
            }
        }
        Ok(Scenario {
            name: head.name,
            summary: head.summary,
            seeds: head.seeds,
            variants,
            expect: head.expect,
        })
    }
}
