//! Configurations of the item neighbourhoods.

use crate::common::{is_timed, parse, shown, within};
use crate::companions::UserLists;
use crate::item_knn::ItemKnnTrainer;
use crate::recall::{self, Recall};
use crate::{ModelError, Trainer};
use dataset::Interactions;
use serde::{Deserialize, Serialize};

pub(crate) const COSINE: &str = "item-cosine";
pub(crate) const BM25: &str = "item-bm25";
pub(crate) const SWING: &str = "swing";

/// Configuration of `item-cosine`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemCosineConfig {
    /// Similar items kept per item of the history. Default 50.
    pub neighbours: usize,
    /// Added to the denominator, users; draws similarities of rare items to zero. Default 10.
    pub shrinkage: f32,
    /// Items of one user that are counted together, the latest; null for 50 if most people's events have different moments, else 1,000.
    /// Default null.
    pub history_max: Option<usize>,
    /// Latest events of a history that are scored by; null for 200 if `history_max` is null and most people's events have different moments,
    /// else `history_max`. Default null.
    pub served_max: Option<usize>,
    /// Of these, events after which one counts half; 0 for all alike; null for 4 if `history_max` is null and most people's events have different
    /// moments, else 0. Default null.
    pub half_life_events: Option<f32>,
    /// Least share that an event counts, 0 to 1. Default 0.1.
    pub floor: Option<f32>,
    /// Companions kept per item, the most frequent. Default 1000.
    pub companions_max: usize,
    /// Memory that counting may take; training is refused beyond. Default 8192.
    pub memory_mb_max: u64,
}

impl Default for ItemCosineConfig {
    fn default() -> Self {
        ItemCosineConfig {
            neighbours: 50,
            shrinkage: 10.0,
            history_max: None,
            served_max: None,
            half_life_events: None,
            floor: None,
            companions_max: 1000,
            memory_mb_max: 8192,
        }
    }
}

/// Configuration of `item-bm25`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemBm25Config {
    /// Similar items kept per item of the history. Default 200.
    pub neighbours: usize,
    /// Added to the denominator. Default 5.
    pub shrinkage: f32,
    /// Items of one user that are counted together, the latest; null for 50 if most people's events have different moments, else 1,000.
    /// Default null.
    pub history_max: Option<usize>,
    /// Latest events of a history that are scored by; null for 200 if `history_max` is null and most people's events have different moments,
    /// else `history_max`. Default null.
    pub served_max: Option<usize>,
    /// Of these, events after which one counts half; 0 for all alike; null for 4 if `history_max` is null and most people's events have different
    /// moments, else 0. Default null.
    pub half_life_events: Option<f32>,
    /// Least share that an event counts, 0 to 1. Default 0.1.
    pub floor: Option<f32>,
    /// Companions kept per item, the strongest. Default 1000.
    pub companions_max: usize,
    /// Memory that counting may take; training is refused beyond. Default 8192.
    pub memory_mb_max: u64,
    /// How slowly strength saturates. Default 5.
    pub k1: f32,
    /// How much long lists count less, 0 to 1. Default 0.75.
    pub b: f32,
}

impl Default for ItemBm25Config {
    fn default() -> Self {
        ItemBm25Config {
            neighbours: 200,
            shrinkage: 5.0,
            history_max: None,
            served_max: None,
            half_life_events: None,
            floor: None,
            companions_max: 1000,
            memory_mb_max: 8192,
            k1: 5.0,
            b: 0.75,
        }
    }
}

/// Configuration of `swing`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SwingConfig {
    /// Similar items kept per item of the history. Default 200.
    pub neighbours: usize,
    /// Added to the number of shared items (α). Default 5.
    pub alpha: f32,
    /// Users compared per item. Default 100.
    pub users_max: usize,
    /// Items of one user that are counted together, the latest; null for 50 if most people's events have different moments, else 1,000.
    /// Default null.
    pub history_max: Option<usize>,
    /// Latest events of a history that are scored by; null for 200 if `history_max` is null and most people's events have different moments,
    /// else `history_max`. Default null.
    pub served_max: Option<usize>,
    /// Of these, events after which one counts half; 0 for all alike; null for 4 if `history_max` is null and most people's events have different
    /// moments, else 0. Default null.
    pub half_life_events: Option<f32>,
    /// Least share that an event counts, 0 to 1. Default 0.1.
    pub floor: Option<f32>,
    /// Memory that the rows may take; training is refused beyond. Default 8192.
    pub memory_mb_max: u64,
}

impl Default for SwingConfig {
    fn default() -> Self {
        SwingConfig {
            neighbours: 200,
            alpha: 5.0,
            users_max: 100,
            history_max: None,
            served_max: None,
            half_life_events: None,
            floor: None,
            memory_mb_max: 8192,
        }
    }
}

/// Which similarity, with what only it knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Cosine,
    Bm25 { k1: f32, b: f32 },
    Swing { alpha: f32, users_max: usize },
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Cosine => COSINE,
            Kind::Bm25 { .. } => BM25,
            Kind::Swing { .. } => SWING,
        }
    }
}

/// What a configuration says of histories.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Asked {
    history_max: Option<usize>,
    served_max: Option<usize>,
    half_life_events: Option<f32>,
    floor: Option<f32>,
}

/// Items of one user that are counted together where nothing else is asked for and the data says when events were: those taken near each other tell most,
/// and an event costs as many pairs.
const COUNTED: usize = 50;
/// The same where it does not.
const COUNTED_UNTIMED: usize = 1000;

/// What all similarities share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) kind: Kind,
    pub(crate) neighbours: usize,
    pub(crate) shrinkage: f32,
    /// Follows from the data if nothing else was asked for.
    pub(crate) history_max: usize,
    asked: Asked,
    pub(crate) companions_max: usize,
    memory_mb_max: u64,
}

impl Settings {
    pub(crate) fn parse(name: &'static str, config: &serde_json::Value) -> Result<Settings, ModelError> {
        let settings = match name {
            BM25 => Settings::bm25(parse(name, config)?),
            SWING => Settings::swing(parse(name, config)?),
            _ => Settings::cosine(parse(name, config)?),
        };
        let limit = |field, value, low, high| within(name, field, value, low, high);
        limit("neighbours", settings.neighbours as f64, 1.0, 1e5)?;
        limit("shrinkage", f64::from(settings.shrinkage), 0.0, 1e9)?;
        limit("history_max", settings.history_max as f64, 1.0, 1e6)?;
        limit(
            "served_max",
            settings.asked.served_max.unwrap_or(1) as f64,
            1.0,
            1e6,
        )?;
        recall::check(name, settings.asked.half_life_events, settings.asked.floor)?;
        limit("companions_max", settings.companions_max as f64, 1.0, 1e7)?;
        match settings.kind {
            Kind::Bm25 { k1, b } => {
                limit("k1", f64::from(k1), 0.0, 1e6)?;
                limit("b", f64::from(b), 0.0, 1.0)?;
            }
            Kind::Swing { alpha, users_max } => {
                limit("alpha", f64::from(alpha), 0.0, 1e6)?;
                limit("users_max", users_max as f64, 2.0, 1e6)?;
            }
            Kind::Cosine => {}
        }
        Ok(settings)
    }

    fn cosine(c: ItemCosineConfig) -> Settings {
        Settings {
            kind: Kind::Cosine,
            neighbours: c.neighbours,
            shrinkage: c.shrinkage,
            history_max: c.history_max.unwrap_or(1),
            asked: Asked {
                history_max: c.history_max,
                served_max: c.served_max,
                half_life_events: c.half_life_events,
                floor: c.floor,
            },
            companions_max: c.companions_max,
            memory_mb_max: c.memory_mb_max,
        }
    }

    fn bm25(c: ItemBm25Config) -> Settings {
        Settings {
            kind: Kind::Bm25 { k1: c.k1, b: c.b },
            neighbours: c.neighbours,
            shrinkage: c.shrinkage,
            history_max: c.history_max.unwrap_or(1),
            asked: Asked {
                history_max: c.history_max,
                served_max: c.served_max,
                half_life_events: c.half_life_events,
                floor: c.floor,
            },
            companions_max: c.companions_max,
            memory_mb_max: c.memory_mb_max,
        }
    }

    fn swing(c: SwingConfig) -> Settings {
        Settings {
            kind: Kind::Swing {
                alpha: c.alpha,
                users_max: c.users_max,
            },
            neighbours: c.neighbours,
            shrinkage: 0.0,
            history_max: c.history_max.unwrap_or(1),
            asked: Asked {
                history_max: c.history_max,
                served_max: c.served_max,
                half_life_events: c.half_life_events,
                floor: c.floor,
            },
            companions_max: c.neighbours,
            memory_mb_max: c.memory_mb_max,
        }
    }

    /// The same with what follows from the data.
    pub(crate) fn of_data(&self, data: &Interactions) -> Settings {
        let asked = self.asked;
        let counted = || if is_timed(data) { COUNTED } else { COUNTED_UNTIMED };
        let history_max = asked.history_max.unwrap_or_else(counted);
        let mut recall = Recall::of(asked.history_max, asked.half_life_events, asked.floor, data);
        recall.most = asked.served_max.unwrap_or(recall.most);
        Settings {
            history_max,
            ..self.clone()
        }
        .with_recall(recall)
    }

    /// How events of a history count by their place. Artefacts from before there was fading say nothing of it: then all count alike.
    pub(crate) fn recall(&self) -> Recall {
        let latest = Recall::latest(self.asked.served_max.unwrap_or(self.history_max));
        Recall {
            half_life: self.asked.half_life_events.unwrap_or(latest.half_life),
            floor: self.asked.floor.unwrap_or(latest.floor),
            ..latest
        }
    }

    /// The same with another.
    pub(crate) fn with_recall(&self, recall: Recall) -> Settings {
        Settings {
            asked: Asked {
                history_max: Some(self.history_max),
                served_max: Some(recall.most),
                half_life_events: Some(recall.half_life),
                floor: Some(recall.floor),
            },
            ..self.clone()
        }
    }

    /// The configuration that parses to this.
    pub(crate) fn config(&self) -> serde_json::Value {
        let Settings {
            kind,
            neighbours,
            shrinkage,
            asked,
            companions_max,
            memory_mb_max,
            ..
        } = *self;
        let Asked {
            history_max,
            served_max,
            half_life_events,
            floor,
        } = asked;
        match kind {
            Kind::Cosine => shown(&ItemCosineConfig {
                neighbours,
                shrinkage,
                history_max,
                served_max,
                half_life_events,
                floor,
                companions_max,
                memory_mb_max,
            }),
            Kind::Bm25 { k1, b } => shown(&ItemBm25Config {
                neighbours,
                shrinkage,
                history_max,
                served_max,
                half_life_events,
                floor,
                companions_max,
                memory_mb_max,
                k1,
                b,
            }),
            Kind::Swing { alpha, users_max } => shown(&SwingConfig {
                neighbours,
                alpha,
                users_max,
                history_max,
                served_max,
                half_life_events,
                floor,
                memory_mb_max,
            }),
        }
    }

    /// Refuses to count what would not fit: an upper bound of the pairs, 8 bytes each.
    pub(crate) fn check_memory(&self, lists: &UserLists, n_items: usize) -> Result<(), ModelError> {
        let mut pairs = vec![0u64; n_items];
        for user in 0..lists.n_users() {
            let range = lists.range(user);
            let companions = range.len().min(2 * self.history_max) as u64;
            lists.items[range]
                .iter()
                .for_each(|i| pairs[*i as usize] += companions);
        }
        let most = self.companions_max.min(n_items) as u64;
        let needed_mb = pairs.iter().map(|p| (*p).min(most) * 8).sum::<u64>() / (1 << 20);
        if needed_mb > self.memory_mb_max {
            return Err(ModelError::TooLarge {
                model: self.kind.name().to_owned(),
                needed_mb,
                limit_mb: self.memory_mb_max,
            });
        }
        Ok(())
    }
}

/// Builds the trainer of `item-cosine`.
pub(crate) fn build_cosine(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
    Ok(Box::new(ItemKnnTrainer::new(Settings::parse(COSINE, config)?)))
}

/// Builds the trainer of `item-bm25`.
pub(crate) fn build_bm25(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
    Ok(Box::new(ItemKnnTrainer::new(Settings::parse(BM25, config)?)))
}

/// Builds the trainer of `swing`.
pub(crate) fn build_swing(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
    Ok(Box::new(ItemKnnTrainer::new(Settings::parse(SWING, config)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_artefact_does_not_say_is_as_it_was() {
        // As artefacts had it before there was fading.
        let old = serde_json::json!({"neighbours": 50, "shrinkage": 10.0, "history_max": 30, "companions_max": 1000,
            "memory_mb_max": 8192});
        let settings = Settings::parse(COSINE, &old).unwrap();
        assert_eq!(settings.recall(), Recall::latest(30));
        assert_eq!(settings.history_max, 30);
        let fading = Recall {
            most: 70,
            half_life: 3.0,
            floor: 0.25,
        };
        let faded = settings.with_recall(fading);
        assert_eq!((faded.recall(), faded.history_max), (fading, 30));
        let read = Settings::parse(COSINE, &faded.config()).unwrap();
        assert_eq!((read.recall(), read.history_max), (fading, 30));
    }
}
