//! All rerankers that a placement may name.

use crate::calibrated::CalibratedReranker;
use crate::constrained::{Arrivals, ConstrainedReranker, Constraint};
use crate::dpp::DppReranker;
use crate::exposure::{ExposurePrices, ExposureTerms, Names, STEP, WINDOW_HOURS};
use crate::labels::{AttributeLabels, Labels};
use crate::mmr::MmrReranker;
use crate::window::WindowReranker;
use crate::{AttributeSource, TopReranker};
use domain::Reranker;
use numeric::Chunked;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// What rerankers stand on.
#[derive(Clone)]
pub struct Ground {
    /// Attributes of items.
    pub attributes: Arc<dyn AttributeSource>,
    /// When items came.
    pub arrivals: Arc<dyn Arrivals>,
    /// Under which names items stand among prices.
    pub names: Arc<dyn Names>,
    /// Prices of exposure, for the constraints that have some.
    pub prices: Arc<ExposurePrices>,
    /// By position: decides between equal scores.
    pub tie_keys: Chunked<u32>,
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: got {got}, expected {expected}")]
pub struct RerankError {
    /// Which.
    pub field: String,
    /// What was there.
    pub got: String,
    /// What should have been.
    pub expected: String,
}

/// How far what a reranker does survives a choice by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderChance {
    /// There is nothing to survive: it goes by the scores.
    Scores,
    /// Its order is what the choice starts from, if the policy goes by places.
    Order,
    /// It hands on limits, which the choice keeps.
    Limits,
    /// It does not.
    Lost,
}

/// Makes a reranker from settings.
type Build = fn(&Value, &Ground) -> Result<Arc<dyn Reranker>, RerankError>;

/// One reranker.
#[derive(Debug, Clone, Copy)]
pub struct RerankerEntry {
    /// Its name in configurations.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What holds after a choice by chance.
    pub under_chance: UnderChance,
    /// Makes it.
    pub build: Build,
}

static RERANKERS: [RerankerEntry; 6] = [
    RerankerEntry {
        name: "top",
        summary: "the order of the scores",
        under_chance: UnderChance::Scores,
        build: |settings, ground| {
            read::<Nothing>(settings)?;
            Ok(Arc::new(TopReranker::new(ground.tie_keys.clone())))
        },
    },
    RerankerEntry {
        name: "mmr",
        summary: "relevance less likeness to what stands already (Carbonell and Goldstein 1998)",
        under_chance: UnderChance::Order,
        build: |settings, ground| {
            let Mmr {
                attributes,
                diversity,
                pool,
                depth,
            } = read(settings)?;
            let diversity = within("diversity", diversity, 0.0, 1.0)?;
            let labels = labels(attributes, ground)?;
            let pool = sized("pool", pool)?;
            Ok(Arc::new(MmrReranker {
                labels,
                diversity,
                pool,
                depth,
            }))
        },
    },
    RerankerEntry {
        name: "dpp",
        summary: "greedy maximum of a determinantal point process (Chen and others 2018)",
        under_chance: UnderChance::Order,
        build: |settings, ground| {
            let Dpp {
                attributes,
                weight,
                pool,
                depth,
            } = read(settings)?;
            let weight = within("weight", weight, 0.0, 100.0)?;
            let labels = labels(attributes, ground)?;
            let pool = sized("pool", pool)?;
            Ok(Arc::new(DppReranker {
                labels,
                weight,
                pool,
                depth,
            }))
        },
    },
    RerankerEntry {
        name: "calibrated",
        summary: "the person's mix of interests on the slate (Steck 2018)",
        under_chance: UnderChance::Order,
        build: |settings, ground| {
            let Calibrated {
                attributes,
                weight,
                pool,
                depth,
            } = read(settings)?;
            let weight = within("weight", weight, 0.0, 1.0)?;
            let labels = labels(attributes, ground)?;
            let pool = sized("pool", pool)?;
            Ok(Arc::new(CalibratedReranker {
                labels,
                weight,
                pool,
                depth,
            }))
        },
    },
    RerankerEntry {
        name: "window",
        summary: "at most so many of a kind within any run of places",
        under_chance: UnderChance::Lost,
        build: |settings, ground| {
            let Window {
                attributes,
                window,
                max,
            } = read(settings)?;
            if !(2..=100).contains(&window) {
                return Err(wrong("window", window, "2 to 100"));
            }
            if max == 0 || max >= window {
                return Err(wrong(
                    "max",
                    max,
                    format!("1 to window − 1, which is {}", window - 1),
                ));
            }
            let labels = labels(attributes, ground)?;
            Ok(Arc::new(WindowReranker { labels, window, max }))
        },
    },
    RerankerEntry {
        name: "constrained",
        summary: "the best slate under shares, new items, variety and exposures, with what each costs",
        under_chance: UnderChance::Limits,
        build: |settings, ground| {
            let Constrained {
                constraints,
                pool,
                window_hours,
                step,
            } = read(settings)?;
            if constraints.is_empty() || constraints.len() > 20 {
                let got = format!("{} of them", constraints.len());
                return Err(wrong("constraints", got, "1 to 20"));
            }
            for (at, constraint) in constraints.iter().enumerate() {
                let check = constraint.check();
                check.map_err(|(field, got, expected)| {
                    wrong(&format!("constraints[{at}].{field}"), got, expected)
                })?;
                if constraints[..at].contains(constraint) {
                    return Err(wrong(
                        &format!("constraints[{at}]"),
                        constraint.name(),
                        "each once",
                    ));
                }
            }
            let is_of_exposures = constraints.iter().any(Constraint::is_of_exposures);
            for (field, given) in [("window_hours", window_hours), ("step", step)] {
                if let Some(given) = given.filter(|_| !is_of_exposures) {
                    let expected =
                        "a constraint max_exposure or min_exposure beside it, which alone goes by it";
                    return Err(wrong(field, given, expected));
                }
            }
            if let Some(hours) = window_hours.filter(|hours| !(*hours > 0.0 && *hours <= 8784.0)) {
                return Err(wrong("window_hours", hours, "above 0, at most 8784"));
            }
            if let Some(step) = step.filter(|step| !(*step > 0.0 && *step <= 10.0)) {
                return Err(wrong("step", step, "above 0, at most 10"));
            }
            Ok(Arc::new(ConstrainedReranker {
                attributes: ground.attributes.clone(),
                arrivals: ground.arrivals.clone(),
                names: ground.names.clone(),
                prices: ground.prices.clone(),
                constraints,
                pool: sized("pool", pool)?,
            }))
        },
    },
];

/// What the settings of a reranker say of exposures; `None` if nothing, or if they cannot be.
pub fn exposure_terms(name: &str, settings: &Value) -> Option<ExposureTerms> {
    if name != "constrained" {
        return None;
    }
    let settings: Constrained = read(settings).ok()?;
    let constraints: Vec<Constraint> = settings
        .constraints
        .into_iter()
        .filter(Constraint::is_of_exposures)
        .collect();
    (!constraints.is_empty()).then(|| ExposureTerms {
        constraints,
        window_hours: settings.window_hours.unwrap_or(WINDOW_HOURS),
        step: settings.step.unwrap_or(STEP),
    })
}

/// All rerankers.
pub fn rerankers() -> &'static [RerankerEntry] {
    &RERANKERS
}

/// The reranker of this name.
pub fn reranker(name: &str) -> Option<&'static RerankerEntry> {
    RERANKERS.iter().find(|entry| entry.name == name)
}

fn wrong(field: &str, got: impl ToString, expected: impl ToString) -> RerankError {
    RerankError {
        field: field.to_owned(),
        got: got.to_string(),
        expected: expected.to_string(),
    }
}

fn read<T: DeserializeOwned>(settings: &Value) -> Result<T, RerankError> {
    let settings = match settings {
        Value::Null => Value::Object(serde_json::Map::new()),
        other => other.clone(),
    };
    serde_json::from_value(settings).map_err(|e| wrong("settings", e, "settings of this reranker"))
}

fn within(field: &str, value: f64, low: f64, high: f64) -> Result<f64, RerankError> {
    match value >= low && value <= high {
        true => Ok(value),
        false => Err(wrong(field, value, format!("{low} to {high}"))),
    }
}

fn sized(field: &str, value: usize) -> Result<usize, RerankError> {
    match (1..=2000).contains(&value) {
        true => Ok(value),
        false => Err(wrong(field, value, "1 to 2000")),
    }
}

fn labels(attributes: Vec<String>, ground: &Ground) -> Result<Arc<dyn Labels>, RerankError> {
    if attributes.is_empty() || attributes.len() > 20 {
        let got = format!("{} of them", attributes.len());
        return Err(wrong("attributes", got, "1 to 20 names of attributes"));
    }
    Ok(Arc::new(AttributeLabels::new(
        ground.attributes.clone(),
        attributes,
    )))
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Candidates looked at if nobody says.
fn pool() -> usize {
    200
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mmr {
    attributes: Vec<String>,
    #[serde(default = "third")]
    diversity: f64,
    #[serde(default = "pool")]
    pool: usize,
    #[serde(default)]
    depth: usize,
}

fn third() -> f64 {
    0.3
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dpp {
    attributes: Vec<String>,
    #[serde(default = "four")]
    weight: f64,
    #[serde(default = "pool")]
    pool: usize,
    #[serde(default)]
    depth: usize,
}

fn four() -> f64 {
    4.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Calibrated {
    attributes: Vec<String>,
    #[serde(default = "half")]
    weight: f64,
    #[serde(default = "pool")]
    pool: usize,
    #[serde(default)]
    depth: usize,
}

fn half() -> f64 {
    0.5
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    attributes: Vec<String>,
    window: usize,
    max: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Constrained {
    constraints: Vec<Constraint>,
    #[serde(default = "pool")]
    pool: usize,
    /// Hours in which exposures count, above 0, at most 8,784; 24 if absent.
    window_hours: Option<f64>,
    /// How fast prices of exposure move (η), above 0, at most 10; 0.5 if absent.
    step: Option<f64>,
}
