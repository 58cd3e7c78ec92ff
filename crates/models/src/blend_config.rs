//! What a blend is made of, as configured.

use crate::blend_unit::Normalise;
use serde::{Deserialize, Serialize};

/// One part of a blend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlendPart {
    /// Name of the learner.
    pub model: String,
    /// Its configuration; `null` for the default.
    #[serde(default)]
    pub config: serde_json::Value,
}

/// Configuration of the blend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlendConfig {
    /// What is blended. Default: ease, spectral, als, item-bm25, content, popular. Those without data, or that would need
    /// more memory than they may, are left out.
    pub parts: Vec<BlendPart>,
    /// With more items than this `ease`, whose training grows with their cube, regresses each item on its nearest 100 only, unless its configuration says on how
    /// many; with more than ten times as many it is left out then. Default 6000.
    pub ease_items_max: usize,
    /// Items taken from each part before exact scoring. Default 300.
    pub depth: usize,
    /// People whose last events are held out to fit the weights; up to a third as many others (a tenth of all at most) are held out entirely, by whom weights for up to
    /// nine events are fitted. 0 keeps the default weights. Default 1500.
    pub validation_users: usize,
    /// What scores of parts are divided by: typical, best or spread (`blend_unit.rs`); null for what does best on the held-out events, typical
    /// unless another is clearly better. Default null.
    pub normalise: Option<Normalise>,
}

impl Default for BlendConfig {
    fn default() -> Self {
        let part = |model: &str| BlendPart {
            model: model.to_owned(),
            config: serde_json::Value::Null,
        };
        BlendConfig {
            parts: ["ease", "spectral", "als", "item-bm25", "content", "popular"]
                .map(part)
                .to_vec(),
            ease_items_max: 6000,
            depth: 300,
            validation_users: 1500,
            normalise: None,
        }
    }
}
