//! What was decided and why.

use crate::{Attributes, DecisionId, ItemId, Sequence, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// Which immutable bundle answered: counters, each rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SnapshotVersion {
    /// Published set of trained models; 0 before the first training.
    pub models: u64,
    /// Last event that the models of the snapshot have absorbed.
    pub absorbed: Sequence,
    /// Catalogue revision.
    pub catalogue: u64,
    /// The step by which this very snapshot came about: what it takes to make it again. 0 in records of older versions.
    #[serde(default)]
    pub step: u64,
}

impl std::fmt::Display for SnapshotVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "m{}-a{}-c{}", self.models, self.absorbed, self.catalogue)
    }
}

/// One source's word on one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceHit {
    /// Which source; shared, since every candidate of a source carries it.
    pub source: Arc<str>,
    /// Its place in that source's list, from 1.
    pub rank: u32,
    /// That source's score.
    pub score: f32,
}

/// An item under consideration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Candidate {
    /// Position in the snapshot's catalogue.
    pub item: u32,
    /// The ranker's score; zero before ranking.
    pub score: f32,
    /// Who proposed it.
    pub hits: Vec<SourceHit>,
}

/// What a part of a score comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ContributionSource {
    /// Something in the person's history (position of the item).
    History {
        /// Position of the item.
        item: u32,
    },
    /// A feature or attribute.
    Feature {
        /// Which.
        name: String,
    },
    /// What everyone likes, or any other part that is not personal.
    Base {
        /// Which.
        name: String,
    },
    /// That a source proposed the item, where and with which score.
    Source {
        /// Name of the source.
        name: String,
    },
    /// A rule of the product.
    Rule {
        /// Its name.
        name: String,
    },
    /// Chance: the item stands elsewhere than its score would place it. Its value is 0, since chance moves
    /// places and leaves scores alone.
    Exploration {
        /// Place that it had before chance, from 1.
        from: u32,
    },
}

/// A signed part of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Where it comes from.
    pub source: ContributionSource,
    /// Name of the model that said so.
    pub model: Cow<'static, str>,
    /// How much; the values of one explanation sum to the score.
    pub value: f32,
}

/// A score taken apart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// The parts, in no particular order.
    pub contributions: Vec<Contribution>,
}

impl Explanation {
    /// Sum of the parts, which is the score.
    pub fn total(&self) -> f32 {
        self.contributions.iter().map(|c| f64::from(c.value)).sum::<f64>() as f32
    }
}

/// One stage's account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Stage and component, as `retrieve/popular`.
    pub stage: String,
    /// Items that went in.
    pub input: u32,
    /// Items that came out.
    pub output: u32,
    /// What went wrong, if anything.
    pub error: Option<String>,
}

/// An item taken out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Which.
    pub item_id: ItemId,
    /// By which rule.
    pub rule: String,
    /// Why.
    pub reason: String,
}

/// A candidate as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionItem {
    /// Which.
    pub item_id: ItemId,
    /// The ranker's score.
    pub score: f32,
    /// Who proposed it.
    pub sources: Vec<SourceHit>,
}

/// An item as shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Which.
    pub item_id: ItemId,
    /// Place in the slate, from 1.
    pub rank: u32,
    /// The ranker's score.
    pub score: f32,
    /// Probability that it stood here, given those before it.
    pub propensity: f64,
    /// Probability that it stood here, whatever stood elsewhere; absent where there is no closed form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_propensity: Option<f64>,
    /// Names of the sources that proposed it.
    pub sources: Vec<String>,
    /// One-line reasons for a person.
    pub reasons: Vec<String>,
    /// The parts of the score, if asked for (`History` positions resolved to ids in `because`).
    pub explanation: Option<Explanation>,
}

/// What a ranker knew of what was shown, to learn from later: exactly these numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FeatureRecord {
    /// Names of the features.
    pub names: Vec<String>,
    /// Per item of the slate, the bits of its features one after the other, eight hexadecimal digits each.
    pub rows: Vec<String>,
}

impl FeatureRecord {
    /// A record of rows that stand one after the other in `values`, one value per name.
    pub fn new(names: Vec<String>, values: &[f32]) -> FeatureRecord {
        let row = |row: &[f32]| {
            let mut text = String::with_capacity(8 * row.len());
            for value in row {
                let bits = value.to_bits();
                text.extend(
                    (0..8)
                        .rev()
                        .map(|at| char::from(b"0123456789abcdef"[(bits >> (4 * at) & 15) as usize])),
                );
            }
            text
        };
        let rows = values.chunks(names.len().max(1)).map(row).collect();
        FeatureRecord { names, rows }
    }

    /// The numbers of one item; `None` if it is not there or is not what [`new`](FeatureRecord::new) writes.
    pub fn row(&self, at: usize) -> Option<Vec<f32>> {
        let text = self.rows.get(at)?;
        let (digits, rest) = text.as_bytes().as_chunks::<8>();
        let value = |digits: &[u8; 8]| {
            let text = std::str::from_utf8(digits).ok()?;
            u32::from_str_radix(text, 16).ok().map(f32::from_bits)
        };
        let values: Option<Vec<f32>> = digits.iter().map(value).collect();
        values.filter(|values| rest.is_empty() && values.len() == self.names.len())
    }
}

/// Who chose the slate, and how probable it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// Name of the policy that chose; `greedy` where the configured one failed.
    pub name: String,
    /// Its version: code and settings.
    pub version: String,
    /// Probability of the slate as chosen, in this order: the product of the items' propensities.
    pub slate_propensity: f64,
}

/// Something that was cut or skipped, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degradation {
    /// Stage.
    pub stage: String,
    /// Why.
    pub reason: String,
}

/// What a rule did to an item that it did not remove.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleEffect {
    /// Name of the rule.
    pub rule: String,
    /// To which item.
    pub item_id: ItemId,
    /// What.
    #[serde(flatten)]
    pub change: RuleChange,
}

/// A change other than a removal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum RuleChange {
    /// The score was raised (or, below zero, lowered).
    Score {
        /// By how much.
        by: f32,
    },
    /// It was put at a place of the slate.
    Pinned {
        /// Which, from 1.
        slot: u32,
    },
    /// It was passed over on the slate although its place in the order was good enough.
    PassedOver {
        /// Place that it had in the order, from 1.
        from: u32,
    },
}

/// What the rules of the product did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RulesRecord {
    /// Version of the set of rules.
    pub version: u64,
    /// Those that applied to this request; what they removed is among `removals`.
    pub active: Vec<String>,
    /// What they changed, up to the record's cap for removals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<RuleEffect>,
    /// How many changes were left out by the cap.
    #[serde(default)]
    pub effects_cut: u32,
}

/// The place of a decision on a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRow {
    /// Id that the decisions of one page share.
    pub page_id: String,
    /// Name of the row in the configuration of the page.
    pub row: String,
    /// Place on the page, from 1.
    pub place: u32,
}

/// What became of a constraint on the slate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConstraintRecord {
    /// Its name.
    pub name: String,
    /// Whether a slate of these candidates can keep it together with those before it.
    pub feasible: bool,
    /// Whether it holds.
    pub kept: bool,
    /// Score given up for it: the best slate under the others less that under all.
    pub given_up: f32,
    /// The prices that it put on candidates, for a constraint on the exposures of many slates; those of 0 are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<PriceRecord>,
}

/// A price of exposure, as a slate was made under it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriceRecord {
    /// Of which item, by id, or of which value of an attribute.
    pub of: String,
    /// Standard deviations of the candidates' scores that were taken from the score of each; below 0 if they were added.
    pub price: f32,
}

/// The record of a decision: everything needed to see what was done and why. Timings are kept
/// beside it, since they differ from run to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its id.
    pub decision_id: DecisionId,
    /// The moment it was made for.
    pub now: Timestamp,
    /// Placement that was asked.
    pub placement: String,
    /// For whom, if known.
    pub user_id: Option<UserId>,
    /// The bundle that answered.
    pub snapshot: SnapshotVersion,
    /// Last event that the user's state included.
    pub sequence: Sequence,
    /// Source of all randomness.
    pub seed: u64,
    /// Hash of the effective placement configuration, hexadecimal.
    pub config_hash: String,
    /// The request as resolved: items asked for.
    pub n: u32,
    /// What was known of the person: stored attributes and those of the request.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// Circumstances of the request.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub context: Attributes,
    /// The item that the placement was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<ItemId>,
    /// History used: item and strength, oldest first.
    pub history: Vec<(ItemId, f32)>,
    /// Stage by stage.
    pub stages: Vec<StageReport>,
    /// Candidates that survived the rules, best first, up to the record's cap.
    pub considered: Vec<DecisionItem>,
    /// How many candidates were left out of `considered` by the cap.
    pub considered_cut: u32,
    /// Removals, up to the record's cap.
    pub removals: Vec<Removal>,
    /// How many removals were left out by the cap.
    pub removals_cut: u32,
    /// Who chose; absent in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRecord>,
    /// What the rules of the product did; absent where none applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesRecord>,
    /// What became of the constraints of the placement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<ConstraintRecord>,
    /// The page that this is a row of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<PageRow>,
    /// What was shown.
    pub shown: Vec<Shown>,
    /// What the ranker knew of each item of `shown` that it scored, in that order; absent if it keeps no features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<FeatureRecord>,
    /// Empty if all went as configured.
    pub degraded: Vec<Degradation>,
    /// Experiment arms, by experiment.
    pub arms: Vec<(String, String)>,
}
