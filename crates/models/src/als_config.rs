//! Configuration of implicit ALS.

use crate::ModelError;
use crate::als::NAME;
use crate::als_absence::Absence;
use crate::als_step::Side;
use crate::common::within;
use serde::{Deserialize, Serialize};

/// Factors up to which training solves for all of them at once.
pub(crate) const EXACT_MAX: usize = 32;

/// Steps of conjugate gradients with more factors than that.
pub(crate) const GRADIENTS: usize = 2;

/// What follows from data as dense as they come.
const REG_MAX: f32 = 0.01;
const UNOBSERVED_MAX: f32 = 0.2;

/// Of the mean number of entries of a row, those at which absence is half believed; and the least and most of them.
const HANDOVER_SHARE: f64 = 0.4;
const HANDOVER_MIN: f32 = 10.0;
const HANDOVER_MAX: f32 = 200.0;

/// How steeply what people did not take of an item comes to be believed.
const STEEPNESS: f32 = 2.0;
/// With more, powers of numbers of entries are out of range.
const STEEPNESS_MAX: f64 = 3.0;

/// How much attributes hold items of few entries beyond λ, in small dense data that they explain.
const PULL: f32 = 20.0;
/// Shares of pairs with an interaction between which it rises from nothing to that.
const PULL_DENSITIES: [f32; 2] = [0.005, 0.03];
/// Mean numbers of entries of an item between which it falls from that to nothing.
const PULL_ENTRIES: [f32; 2] = [75.0, 150.0];
/// Share of the differences between items that attributes must explain for it.
const PULL_EXPLAINED: f32 = 0.1;

/// Configuration of implicit ALS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlsConfig {
    /// Length of a factor (d). Default 64.
    pub factors: usize,
    /// Passes over users and items. Default 12.
    pub epochs: usize,
    /// Regularisation (λ before scaling). Default: a twentieth of the root of the density, 0.002 to 0.01.
    pub reg: Option<f32>,
    /// 1 scales λ by frequency, 0 not at all (ν). Default 1.
    pub reg_exponent: f32,
    /// Weight of a pair without interaction against one of mean strength (α₀). Default: the root of the density, that is of the
    /// share of pairs with an interaction, 0.005 to 0.2.
    pub unobserved_weight: Option<f32>,
    /// How much more it counts that people did not take what many take (η): of an item with k entries α₀ is (k/k̄)^η times as much, k̄ being their mean number. Default 0.
    pub unobserved_exponent: f32,
    /// Coordinates solved for at a time in training; `factors` or more solves for all at once, exactly. Default: all, unless `gradients` says otherwise.
    pub block: Option<usize>,
    /// Steps of conjugate gradients in each pass of training, from the factor of the pass before, instead of solving; 0 for none. Default: 2 above 32 factors unless `block` is given, else 0.
    pub gradients: Option<usize>,
    /// Latest events of a history that are folded in. Default 1000.
    pub history_max: usize,
    /// Draws factors of items towards a map of their attributes, so that a new one has a place at once. Default true.
    pub item_attributes: bool,
    /// The same for people. Default true.
    pub user_attributes: bool,
    /// Entries at which it is half believed who did not take an item with attributes (h). Default: two fifths of the mean number of entries
    /// of an item, 10 to 200. Artefacts of before have one number, under the other name.
    #[serde(alias = "handover")]
    pub item_handover: Option<f32>,
    /// The same for what people with attributes did not take.
    pub user_handover: Option<f32>,
    /// How steeply that is believed, of items with attributes, about `item_handover` (s): k entries count kˢ/(kˢ + hˢ), so that more keeps those of few entries nearer to
    /// what attributes say. Default 2.
    pub item_steepness: Option<f32>,
    /// How much more than λ holds an item at what its attributes say (κ): 1 + κ(1 − c) times, with k/(k + h) for c. Default: 20 in data of a density of 0.03 or more,
    /// falling to 0 at 0.005, where items have 75 entries or fewer, falling to 0 at 150, and less if attributes explain less than a tenth of the differences between items.
    pub item_pull: Option<f32>,
}

impl Default for AlsConfig {
    fn default() -> Self {
        AlsConfig {
            factors: 64,
            epochs: 12,
            reg: None,
            reg_exponent: 1.0,
            unobserved_weight: None,
            unobserved_exponent: 0.0,
            block: None,
            gradients: None,
            history_max: 1000,
            item_attributes: true,
            user_attributes: true,
            item_handover: None,
            user_handover: None,
            item_steepness: None,
            item_pull: None,
        }
    }
}

impl AlsConfig {
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        within(NAME, "factors", self.factors as f64, 1.0, 1024.0)?;
        within(NAME, "epochs", self.epochs as f64, 1.0, 1000.0)?;
        within(NAME, "reg", f64::from(self.reg()), 1e-8, 1e6)?;
        within(NAME, "reg_exponent", f64::from(self.reg_exponent), 0.0, 2.0)?;
        within(
            NAME,
            "unobserved_weight",
            f64::from(self.unobserved_weight()),
            1e-8,
            1e3,
        )?;
        within(
            NAME,
            "unobserved_exponent",
            f64::from(self.unobserved_exponent),
            0.0,
            1.0,
        )?;
        within(NAME, "block", self.block.unwrap_or(1) as f64, 1.0, 1024.0)?;
        within(NAME, "gradients", self.gradients.unwrap_or(1) as f64, 0.0, 1000.0)?;
        if let (Some(block), Some(steps @ 1..)) = (self.block, self.gradients) {
            return Err(ModelError::Config {
                model: NAME.to_owned(),
                field: "gradients".to_owned(),
                got: format!("{steps} beside block {block}"),
                expected: "one of the two".to_owned(),
            });
        }
        within(NAME, "history_max", self.history_max as f64, 1.0, 1e6)?;
        for (field, handover) in [
            ("item_handover", self.item_handover),
            ("user_handover", self.user_handover),
        ] {
            within(
                NAME,
                field,
                f64::from(handover.unwrap_or(HANDOVER_MIN)),
                1e-3,
                1e6,
            )?;
        }
        within(
            NAME,
            "item_steepness",
            f64::from(self.item_steepness.unwrap_or(STEEPNESS)),
            0.1,
            STEEPNESS_MAX,
        )?;
        within(
            NAME,
            "item_pull",
            f64::from(self.item_pull.unwrap_or(PULL)),
            0.0,
            1e6,
        )?;
        Ok(())
    }

    /// With what follows from the data filled in: so many entries of so many people and items that have any.
    pub(crate) fn settled(&self, entries: usize, people: usize, items: usize) -> AlsConfig {
        let each = |rows: usize| entries as f64 / rows.max(1) as f64;
        let root = (each(people) / items.max(1) as f64).sqrt() as f32;
        let handover = |rows| ((HANDOVER_SHARE * each(rows)) as f32).clamp(HANDOVER_MIN, HANDOVER_MAX);
        AlsConfig {
            item_handover: self.item_handover.or(Some(handover(items))),
            user_handover: self.user_handover.or(Some(handover(people))),
            item_steepness: self.item_steepness.or(Some(STEEPNESS)),
            reg: self.reg.or(Some((root / 20.0).clamp(0.002, REG_MAX))),
            unobserved_weight: self.unobserved_weight.or(Some(root.clamp(0.005, UNOBSERVED_MAX))),
            ..self.clone()
        }
    }

    /// How much attributes hold items: as told, else by the share of pairs with an interaction, the mean number of an
    /// item's entries and what attributes explain.
    pub(crate) fn pull(&self, density: f32, entries: f32, explained: f32) -> f32 {
        let [none, all] = PULL_DENSITIES;
        let dense = ((density - none) / (all - none)).clamp(0.0, 1.0);
        let [few, many] = PULL_ENTRIES;
        let small = ((many - entries) / (many - few)).clamp(0.0, 1.0);
        let telling = (explained / PULL_EXPLAINED).clamp(0.0, 1.0);
        self.item_pull.unwrap_or(PULL * dense * small * telling)
    }

    pub(crate) fn reg(&self) -> f32 {
        self.reg.unwrap_or(REG_MAX)
    }

    pub(crate) fn unobserved_weight(&self) -> f32 {
        self.unobserved_weight.unwrap_or(UNOBSERVED_MAX)
    }

    /// Steps of conjugate gradients in training; 0 for none.
    pub(crate) fn gradients(&self) -> usize {
        let usual = if self.factors > EXACT_MAX && self.block.is_none() {
            GRADIENTS
        } else {
            0
        };
        self.gradients.unwrap_or(usual)
    }

    /// The constants of a step of people.
    pub(crate) fn user_side(&self, n_items: usize) -> Side {
        self.side(n_items, self.user_handover)
    }

    /// How much absence counts of items, of a mean number of entries.
    pub(crate) fn absence(&self, typical: f32) -> Absence {
        Absence::new(self.unobserved_exponent, typical)
    }

    /// The constants of a step of items, of a mean number of entries. Artefacts of before have no pull, and a steepness of 1.
    pub(crate) fn item_side(&self, n_users: usize, typical: f32) -> Side {
        Side {
            absence: self.absence(typical),
            steepness: self.item_steepness.unwrap_or(1.0),
            pull: self.item_pull.unwrap_or(0.0),
            ..self.side(n_users, self.item_handover)
        }
    }

    fn side(&self, n_other: usize, handover: Option<f32>) -> Side {
        Side {
            d: self.factors,
            block: self.block.unwrap_or(self.factors),
            handover: handover.unwrap_or(HANDOVER_MIN),
            unobserved: self.unobserved_weight(),
            absence: Absence::EVEN,
            others: None,
            reg: self.reg(),
            exponent: self.reg_exponent,
            n_other,
            steepness: 1.0,
            pull: 0.0,
        }
    }
}
