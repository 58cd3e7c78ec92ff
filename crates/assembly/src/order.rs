//! The reranker of a placement, from configuration, and whether it goes with the placement's policy.

use crate::catalogue::LiveCatalogue;
use crate::choice::{Over, PolicyConfig};
use crate::exposures::Prices;
use domain::{AttributeKind, Reranker, Schema, Timestamp};
use rerank::{
    Arrivals, AttributeSource, AttributeValue, ExposureTerms, Ground, Names, RerankError, TopReranker,
    UnderChance,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What stands between ranking and choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RerankConfig {
    /// Name of the reranker.
    pub name: String,
    /// Its own settings (`attributes`, say); what it does not know is refused.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl Default for RerankConfig {
    fn default() -> Self {
        RerankConfig {
            name: "top".to_owned(),
            settings: Map::new(),
        }
    }
}

/// Nothing to stand on, for a check of settings alone.
struct Nowhere;

impl AttributeSource for Nowhere {
    fn value(&self, _: u32, _: &str) -> Option<AttributeValue<'_>> {
        None
    }
}

impl Arrivals for Nowhere {
    fn added_at(&self, _: u32) -> Option<Timestamp> {
        None
    }
}

impl Names for Nowhere {
    fn name(&self, _: u32) -> Option<&str> {
        None
    }
}

impl Arrivals for LiveCatalogue {
    fn added_at(&self, item: u32) -> Option<Timestamp> {
        self.get(item)?.added_at
    }
}

fn wrong(field: &str, got: impl ToString, expected: impl ToString) -> RerankError {
    RerankError {
        field: field.to_owned(),
        got: got.to_string(),
        expected: expected.to_string(),
    }
}

impl RerankConfig {
    fn entry(&self) -> Result<&'static rerank::RerankerEntry, RerankError> {
        rerank::reranker(&self.name).ok_or_else(|| {
            let names: Vec<_> = rerank::rerankers().iter().map(|entry| entry.name).collect();
            wrong(
                "name",
                format!("{:?}", self.name),
                format!("one of {}", names.join(", ")),
            )
        })
    }

    fn build(&self, policy: &PolicyConfig, ground: &Ground) -> Result<Arc<dyn Reranker>, RerankError> {
        let entry = self.entry()?;
        let mut settings = self.settings.clone();
        if entry.under_chance == UnderChance::Order
            && policy.name != "greedy"
            && !settings.contains_key("depth")
        {
            // The policy chooses among the pool by place, so all of the pool is put in order.
            settings.insert("depth".to_owned(), policy.pool.into());
        }
        (entry.build)(&Value::Object(settings), ground)
    }

    pub(crate) fn check(&self, policy: &PolicyConfig) -> Result<(), RerankError> {
        let nowhere = Arc::new(Nowhere);
        let ground = Ground {
            attributes: nowhere.clone(),
            arrivals: nowhere.clone(),
            names: nowhere,
            prices: Default::default(),
            tie_keys: Default::default(),
        };
        self.build(policy, &ground)?;
        let by_chance = policy.name != "greedy" || policy.new_items.is_some();
        if self.exposure_terms().is_some() && policy.name != "greedy" && policy.over == Over::Scores {
            let expected = "policy.over = \"places\" beside max_exposure and min_exposure, or the policy greedy: a policy over scores forgets \
                their prices";
            return Err(wrong(
                "constraints",
                format!("some on exposures beside policy {:?}", policy.name),
                expected,
            ));
        }
        match self.entry()?.under_chance {
            UnderChance::Lost if by_chance => {
                let expected = "a reranker whose bounds the choice can keep, such as constrained, or the policy greedy without new_items: \
                    chance would put items where its bound does not hold";
                Err(wrong(
                    "name",
                    format!("{:?} beside policy {:?}", self.name, policy.name),
                    expected,
                ))
            }
            UnderChance::Order if policy.name != "greedy" && policy.over == Over::Scores => {
                let expected = "policy.over = \"places\" beside it, or the policy greedy: a policy over scores forgets the order";
                Err(wrong(
                    "name",
                    format!("{:?} beside policy {:?}", self.name, policy.name),
                    expected,
                ))
            }
            _ => Ok(()),
        }
    }

    /// What it says of exposures, if anything.
    pub(crate) fn exposure_terms(&self) -> Option<ExposureTerms> {
        rerank::exposure_terms(&self.name, &Value::Object(self.settings.clone()))
    }

    /// Attributes of items that it looks at.
    fn attributes(&self) -> Vec<&str> {
        let listed = self.settings.get("attributes").and_then(Value::as_array);
        let constraints = self.settings.get("constraints").and_then(Value::as_array);
        let per = constraints.into_iter().flatten().filter_map(|one| one.get("per"));
        listed
            .into_iter()
            .flatten()
            .chain(per)
            .filter_map(Value::as_str)
            .collect()
    }

    /// What an operator should know: attributes that no item has, or that have no values to count.
    pub(crate) fn warnings(&self, placement: &str, schema: &Schema) -> Vec<String> {
        use AttributeKind::{Category, Ids, Tags, Text};
        let unfit = self.attributes().into_iter().filter(|name| {
            let kind = schema.get(*name).map(|known| known.kind);
            !kind.is_some_and(|kind| matches!(kind, Category | Ids | Tags | Text))
        });
        unfit
            .map(|name| {
                format!(
                    "placements.{placement}.rerank: {name} is no category, tags, ids or text that items have"
                )
            })
            .collect()
    }
}

/// The reranker of a placement, which goes by these prices.
pub(crate) fn orderer(
    placement: &str,
    config: &RerankConfig,
    policy: &PolicyConfig,
    catalogue: &Arc<LiveCatalogue>,
    prices: &Prices,
) -> Arc<dyn Reranker> {
    let ground = Ground {
        attributes: catalogue.clone(),
        arrivals: catalogue.clone(),
        names: catalogue.clone(),
        prices: Arc::new(prices.get(placement).cloned().unwrap_or_default()),
        tie_keys: catalogue.tie_keys.clone(),
    };
    // Checked when the configuration was read.
    config
        .build(policy, &ground)
        .unwrap_or_else(|_| Arc::new(TopReranker::new(catalogue.tie_keys.clone())))
}
