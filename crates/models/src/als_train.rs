//! The training of implicit ALS: entries, and epochs that go from side to side.

use crate::als::{Als, NAME};
use crate::als_absence::{gram_by, typical};
use crate::als_config::AlsConfig;
use crate::als_gradients;
use crate::als_prior::Fitting;
use crate::als_step::{Prior, Side, step};
use crate::als_variance::noise;
use crate::common::{parse, require_rows, shown};
use crate::memo::Memo;
use crate::{ItemFeatures, Model, ModelError, Run, Trainer, TrainingData};
use dataset::{Interaction, Interactions};
use numeric::{Csr, SeededStream, gram, hash_bytes, norm, parallel_chunks};
use std::collections::BTreeMap;
use std::sync::Arc;

const WEIGHT_MAX: f32 = 10.0;

/// Learns implicit ALS.
#[derive(Debug, Clone)]
pub struct AlsTrainer {
    config: AlsConfig,
}

impl AlsTrainer {
    pub(crate) fn build(config: &serde_json::Value) -> Result<Box<dyn Trainer>, ModelError> {
        Ok(Box::new(AlsTrainer::new(parse(NAME, config)?)?))
    }

    pub(crate) fn new(config: AlsConfig) -> Result<AlsTrainer, ModelError> {
        config.check()?;
        Ok(AlsTrainer { config })
    }

    pub(crate) fn train(&self, data: &TrainingData, run: &Run) -> Result<Als, ModelError> {
        let rows = &data.interactions;
        let (by_user, scale) = entries(rows, self.config.history_max);
        let taken = |of: &Csr| (0..of.n_rows()).filter(|row| !of.row(*row).0.is_empty()).count();
        if by_user.n_cells() == 0 {
            return Err(ModelError::Empty("no interactions other than zero".to_owned()));
        }
        let by_item = by_user.transpose();
        let (people, taken_items) = (taken(&by_user), taken(&by_item));
        let mut config = self.config.settled(by_user.n_cells(), people, taken_items);
        let each = by_user.n_cells() as f64 / taken_items as f64;
        let density = each / people as f64;
        let d = config.factors;
        let mut items = start(rows, &by_item, d, run.seed);
        let mut users = vec![0f32; rows.n_users() * d];
        let counts: Vec<u32> = (0..rows.n_items())
            .map(|item| by_item.row(item).0.len() as u32)
            .collect();
        let typical = typical(&counts);
        let shares = config.absence(typical).shares(&counts);
        let user_side = Side {
            others: shares.clone(),
            ..config.user_side(rows.n_items())
        };
        let mut item_side = config.item_side(rows.n_users(), typical);
        let map = |features: &[ItemFeatures], of: &Csr, side: &Side, wanted: bool| {
            let believed = |row| match of.row(row).0.len() {
                0 => 0.0,
                n => side.believed(n),
            };
            let believed: Vec<f32> = (0..of.n_rows()).map(believed).collect();
            wanted.then(|| Fitting::new(features, d, believed)).flatten()
        };
        let mut item_map = map(&data.features, &by_item, &item_side, config.item_attributes);
        let mut user_map = map(&data.user_features, &by_user, &user_side, config.user_attributes);
        let gradients = config.gradients();
        // Factors must have taken shape before a map of them says anything.
        let settled = (config.epochs / 3).max(1);
        let improve =
            |of: &Csr, other: &[f32], out: &mut [f32], side: &Side, prior: Option<Prior<'_>>| match gradients
            {
                0 => step(of, other, out, side, prior),
                steps => als_gradients::step(of, other, out, side, prior, steps),
            };
        for epoch in 0..config.epochs {
            let drawn = |map: &Option<Fitting>, of: &Csr| {
                let map = map.as_ref().filter(|_| epoch >= settled)?;
                Some(map.means(|row| !of.row(row).0.is_empty()))
            };
            let means = drawn(&user_map, &by_user);
            let prior = means.as_deref().map(|means| Prior { means });
            improve(&by_user, &items, &mut users, &user_side, prior);
            run.check()?;
            let means = drawn(&item_map, &by_item);
            let prior = means.as_deref().map(|means| Prior { means });
            improve(&by_item, &users, &mut items, &item_side, prior);
            run.check()?;
            if epoch + 1 >= settled {
                item_map.iter_mut().for_each(|map| map.refit(&items, &users));
                user_map.iter_mut().for_each(|map| map.refit(&users, &items));
                run.check()?;
            }
            if epoch + 1 == settled {
                let explained = item_map.as_ref().map(Fitting::explained);
                config.item_pull =
                    explained.map(|explained| config.pull(density as f32, each as f32, explained));
                item_side = config.item_side(rows.n_users(), typical);
            }
        }
        let gram_of_items = gram_by(shares.as_ref().map(|shares| shares.as_slice()), &items, d);
        let noise = noise(&by_user, &users, &items, d);
        let means = item_map.as_ref().map_or(Vec::new(), |map| map.means(|_| true));
        for (item, mean) in means
            .chunks_exact(d)
            .enumerate()
            .filter(|(item, _)| counts[*item] == 0)
        {
            items[item * d..(item + 1) * d].copy_from_slice(mean);
        }
        let shared = |map: Option<Fitting>| map.map(|map| Arc::new(map.finish()));
        Ok(Als {
            gram: gram_of_items,
            users_gram: Arc::new(gram(&users, d)),
            n_users: rows.n_users(),
            scale,
            noise,
            config,
            vocabulary: Arc::clone(&rows.items),
            norms: Arc::new(items.chunks_exact(d).map(norm).collect()),
            factors: Arc::new(items),
            counts: Arc::new(counts),
            typical,
            means: Arc::new(means),
            item_map: shared(item_map),
            user_map: shared(user_map),
            fresh: BTreeMap::new(),
            marks: Vec::new(),
            taking: 0,
            apart: Arc::default(),
            memo: Memo::default(),
        })
    }
}

impl Trainer for AlsTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        shown(&self.config)
    }

    fn fit(&self, data: &TrainingData, run: &Run) -> Result<Box<dyn Model>, ModelError> {
        require_rows(&data.interactions)?;
        run.check()?;
        let model = numeric::on_threads(run.threads, || self.train(data, run))?;
        Ok(Box::new(model))
    }
}

/// Entries by user, in units of the mean strength, of the last `most` items of each; and that unit's inverse. In parallel.
fn entries(data: &Interactions, most: usize) -> (Csr, f32) {
    let parts = parallel_chunks(data.n_users(), 2048, |users| {
        let (mut lengths, mut columns, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut list = Vec::new();
        for user in users {
            let before = columns.len();
            latest(data.of_user(user), most, &mut list);
            columns.extend(list.iter().map(|own| own.item));
            values.extend(list.iter().map(|own| own.sum));
            lengths.push(columns.len() - before);
        }
        (lengths, columns, values)
    });
    let n_cells = parts.iter().map(|part| part.1.len()).sum();
    let mut offsets = Vec::with_capacity(data.n_users() + 1);
    let (mut columns, mut values) = (Vec::with_capacity(n_cells), Vec::with_capacity(n_cells));
    offsets.push(0);
    let mut end = 0;
    for (lengths, own_columns, own_values) in parts {
        offsets.extend(lengths.iter().map(|length| {
            end += length;
            end
        }));
        columns.extend(own_columns);
        values.extend(own_values);
    }
    let total: f64 = values.iter().map(|v: &f32| f64::from(v.abs())).sum();
    let scale = if total > 0.0 {
        (values.len() as f64 / total) as f32
    } else {
        1.0
    };
    values.iter_mut().for_each(|v| *v = entry(*v, scale));
    let entries = Csr::from_parts(data.n_items(), offsets, columns, values)
        .expect("items of a user are summed, sorted and within the vocabulary, and sums are clamped");
    (entries, scale)
}

/// One item of a user.
struct Own {
    item: u32,
    /// Place of its first row.
    first: u32,
    sum: f32,
}

/// The summed strengths of a user's items by item, of the `most` that came in last; sums of zero are left out.
fn latest(rows: &[Interaction], most: usize, into: &mut Vec<Own>) {
    into.clear();
    let sound = (0u32..).zip(rows).filter(|(_, row)| row.weight.is_finite());
    into.extend(sound.map(|(first, row)| Own {
        item: row.item,
        first,
        sum: row.weight,
    }));
    into.sort_unstable_by_key(|own| (own.item, own.first));
    into.dedup_by(|next, kept| {
        let same = next.item == kept.item;
        if same {
            kept.sum += next.sum;
        }
        same
    });
    into.retain(|own| own.sum != 0.0);
    if into.len() > most {
        into.sort_unstable_by_key(|own| own.first);
        into.drain(..into.len() - most);
        into.sort_unstable_by_key(|own| own.item);
    }
}

/// Signed weight of an entry with this strength.
pub(crate) fn entry(strength: f32, scale: f32) -> f32 {
    (strength * scale).clamp(-WEIGHT_MAX, WEIGHT_MAX)
}

/// Small random factors for items that have entries.
fn start(data: &Interactions, by_item: &Csr, d: usize, seed: u64) -> Vec<f32> {
    let size = 0.1 / (d as f64).sqrt();
    let mut items = vec![0f32; data.n_items() * d];
    for (item, factor) in items.chunks_exact_mut(d).enumerate() {
        if by_item.row(item).0.is_empty() {
            continue;
        }
        let id = data.items.id(item as u32).as_str();
        let mut stream = SeededStream::new(seed, hash_bytes(id.as_bytes()));
        factor
            .iter_mut()
            .for_each(|f| *f = (stream.normal() * size) as f32);
    }
    items
}
