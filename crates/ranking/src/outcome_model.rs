//! Heads over one set of features, combined into one score.

use crate::HeadWeight;
use serde::{Deserialize, Serialize};
use trees::{Feature, Forest, Scorer};

const MAGIC: &[u8; 4] = b"CNCR";
const VERSION: u16 = 1;

/// How a head's raw score is read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "form")]
pub enum Form {
    /// A probability: σ(slope × raw + intercept). Source: J. Platt (1999), "Probabilistic outputs for support vector machines".
    Probability {
        /// Above 0.
        slope: f64,
        /// Log-odds.
        intercept: f64,
    },
    /// An order; the raw score is taken as it is.
    Order,
}

/// One outcome.
#[derive(Debug, Clone)]
pub struct Head {
    /// Type of event, or `order`.
    pub outcome: String,
    /// Its worth.
    pub weight: HeadWeight,
    /// How its raw score is read.
    pub form: Form,
    /// Its trees.
    pub scorer: Scorer,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadInfo {
    outcome: String,
    weight: HeadWeight,
    form: Form,
}

/// What is written in front of the forests.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    weights_version: u32,
    heads: Vec<HeadInfo>,
}

/// Several outcomes predicted from the same features.
#[derive(Debug, Clone)]
pub struct OutcomeModel {
    /// The features of every head, in order.
    pub features: Vec<Feature>,
    /// At least one.
    pub heads: Vec<Head>,
    /// Number of the set of weights.
    pub weights_version: u32,
}

/// Bytes that are no ranker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ranker is damaged: {0}")]
pub struct DamagedRanker(pub String);

impl Form {
    fn value(self, raw: f64) -> f64 {
        match self {
            Form::Probability { slope, intercept } => 1.0 / (1.0 + (-(slope * raw + intercept)).exp()),
            Form::Order => raw,
        }
    }
}

impl Head {
    /// Its value for every row: a probability, or a place on the scale of the order.
    pub fn values(&self, rows: &[f32]) -> Vec<f64> {
        let width = self.scorer.forest().features().len();
        let mut raw = vec![0.0; rows.len() / width];
        self.scorer.score(rows, &mut raw);
        self.read(raw)
    }

    fn read(&self, raw: Vec<f32>) -> Vec<f64> {
        let value = |raw: f32| self.form.value(f64::from(raw));
        raw.into_iter().map(value).collect()
    }
}

impl OutcomeModel {
    /// The same with other weights for some outcomes.
    ///
    /// # Errors
    /// An outcome that has no head, or a model of an order, which has the weights in what it learnt; says what there is.
    pub fn with_weights(
        mut self,
        weights: impl IntoIterator<Item = (String, HeadWeight)>,
    ) -> Result<OutcomeModel, String> {
        for (outcome, weight) in weights {
            if self.heads.iter().any(|head| head.form == Form::Order) {
                return Err(
                    "the ranker learnt an order, and the weights are in what it learnt: train another"
                        .to_owned(),
                );
            }
            let known: Vec<String> = self
                .heads
                .iter()
                .map(|head| format!("{:?}", head.outcome))
                .collect();
            let Some(head) = self.heads.iter_mut().find(|head| head.outcome == outcome) else {
                return Err(format!(
                    "the ranker has no head for {outcome:?}; there are {}",
                    known.join(", ")
                ));
            };
            head.weight = weight;
        }
        Ok(self)
    }

    /// The score of every row: Σ weight × value.
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows.
    pub fn scores(&self, rows: &[f32]) -> Vec<f32> {
        self.combined(rows.len() / self.features.len(), |head| head.values(rows))
    }

    /// The same of rows whose values come feature after feature.
    ///
    /// # Panics
    /// As [`scores`](OutcomeModel::scores).
    pub fn scores_of_columns(&self, columns: &[f32]) -> Vec<f32> {
        let height = columns.len() / self.features.len();
        self.combined(height, |head| {
            let mut raw = vec![0.0; height];
            head.scorer.score_columns(columns, &mut raw);
            head.read(raw)
        })
    }

    fn combined(&self, height: usize, values: impl Fn(&Head) -> Vec<f64>) -> Vec<f32> {
        let mut sums = vec![0.0f64; height];
        for head in &self.heads {
            let values = values(head);
            sums.iter_mut()
                .zip(values)
                .for_each(|(sum, value)| *sum += f64::from(head.weight.weight) * value);
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }

    /// What each feature adds to the score of a row, and what it is without any; the sum of all is the score.
    ///
    /// A head's Shapley values are those of its raw score; for a probability they are scaled by the ratio of what the probability and
    /// what the raw score differ from their means, so that they sum to it. (Scaling keeps signs and proportions; it is not the Shapley value of the probability itself.)
    pub fn contributions(&self, row: &[f32]) -> (Vec<f64>, f64) {
        let (mut values, mut base) = (vec![0.0; row.len()], 0.0);
        for head in &self.heads {
            let weight = f64::from(head.weight.weight);
            let (of_raw, raw_base) = head.scorer.forest().contributions(row);
            let change: f64 = of_raw.iter().sum();
            let (from, to) = (head.form.value(raw_base), head.form.value(raw_base + change));
            base += weight * from;
            if change.abs() < 1e-12 {
                // All parts cancel: there is nothing to share out but rounding.
                base += weight * (to - from);
                continue;
            }
            let scale = weight * (to - from) / change;
            values
                .iter_mut()
                .zip(of_raw)
                .for_each(|(value, part)| *value += scale * part);
        }
        (values, base)
    }

    /// The model as bytes: `magic | version u16 | CRC-32 | head length u32, head as JSON | per head: length u64, forest`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let info = Info {
            weights_version: self.weights_version,
            heads: self
                .heads
                .iter()
                .map(|head| HeadInfo {
                    outcome: head.outcome.clone(),
                    weight: head.weight,
                    form: head.form,
                })
                .collect(),
        };
        let info = serde_json::to_vec(&info).expect("text and finite numbers are valid JSON");
        let mut payload = (info.len() as u32).to_le_bytes().to_vec();
        payload.extend(info);
        for head in &self.heads {
            let forest = head.scorer.forest().to_bytes();
            payload.extend((forest.len() as u64).to_le_bytes());
            payload.extend(forest);
        }
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(crc32fast::hash(&payload).to_le_bytes());
        out.extend(payload);
        out
    }

    /// The model that was written to these bytes.
    ///
    /// # Errors
    /// Bytes that are not those of a model, cut short or changed.
    pub fn from_bytes(bytes: &[u8]) -> Result<OutcomeModel, DamagedRanker> {
        let damaged = |reason: &str| DamagedRanker(reason.to_owned());
        let cut = || damaged("cut short");
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("not a ranker"))?;
        let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        let version = u16::from_le_bytes(*version);
        if version != VERSION {
            return Err(DamagedRanker(format!(
                "format version {version}, expected {VERSION}"
            )));
        }
        let (sum, payload) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        if u32::from_le_bytes(*sum) != crc32fast::hash(payload) {
            return Err(damaged("its checksum is not the one written"));
        }
        let (length, rest) = payload.split_first_chunk::<4>().ok_or_else(cut)?;
        let (info, mut rest) = rest
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .ok_or_else(cut)?;
        let info: Info = serde_json::from_slice(info).map_err(|e| DamagedRanker(e.to_string()))?;
        let mut heads = Vec::new();
        for HeadInfo {
            outcome,
            weight,
            form,
        } in info.heads
        {
            let (length, after) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
            let (forest, after) = after.split_at_checked(length).ok_or_else(cut)?;
            rest = after;
            let forest = Forest::from_bytes(forest).map_err(|e| DamagedRanker(e.to_string()))?;
            heads.push(Head {
                outcome,
                weight,
                form,
                scorer: Scorer::from(forest),
            });
        }
        let features = heads
            .first()
            .ok_or_else(|| damaged("no heads"))?
            .scorer
            .forest()
            .features()
            .to_vec();
        if heads
            .iter()
            .any(|head| head.scorer.forest().features() != features)
            || !rest.is_empty()
        {
            return Err(damaged("its heads do not fit together"));
        }
        Ok(OutcomeModel {
            features,
            heads,
            weights_version: info.weights_version,
        })
    }
}
