//! Attributes to weighted terms.

use crate::artefact::{Reader, Writer};
use crate::{ItemFeatures, ModelError};
use hashbrown::HashMap;
use numeric::{Csr, parallel_chunks};
use signals::TypedValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Words that say nothing in English titles and descriptions.
const STOP: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "from", "has", "he", "her", "his", "in",
    "into", "is", "it", "its", "not", "of", "on", "or", "she", "that", "the", "their", "they", "this", "to",
    "was", "who", "will", "with",
];

/// Longest token kept, in characters: longer ones are keys or links.
const TOKEN_CHARS_MAX: usize = 40;
/// Tokens of one text that are looked at.
const TOKENS_MAX: usize = 5000;

/// Lower-case runs of letters and digits, stop words left out.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|t| !t.is_empty() && t.chars().count() <= TOKEN_CHARS_MAX)
        .map(str::to_lowercase)
        .filter(|t| !STOP.contains(&t.as_str()))
        .take(TOKENS_MAX)
        .collect()
}

/// Mean and spread of a quantity.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Spread {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, value: f64) {
        // Far beyond any real quantity, and its square stays finite.
        let value = value.clamp(-1e100, 1e100);
        self.n += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.n.max(1.0)
    }

    fn deviation(&self) -> f64 {
        (self.squares / self.n.max(1.0) - self.mean().powi(2))
            .max(0.0)
            .sqrt()
    }
}

/// What was seen of one attribute in training.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FieldStatistics {
    /// Of a quantity, of days, of latitudes, or of text lengths.
    first: Spread,
    /// Of longitudes.
    second: Spread,
}

impl FieldStatistics {
    pub(crate) fn add(&mut self, value: &TypedValue) {
        match value {
            TypedValue::Number(x) => self.first.add(*x),
            TypedValue::Timestamp(t) => self.first.add(t.0 as f64 / 86_400_000.0),
            TypedValue::Text(text) => self.first.add(tokens(text).len() as f64),
            TypedValue::Geo { lat, lon } => {
                self.first.add(*lat);
                self.second.add(*lon);
            }
            TypedValue::Category(_) | TypedValue::Tags(_) | TypedValue::Ids(_) | TypedValue::Embedding(_) => {
            }
        }
    }
}

/// Writes what was seen of every attribute.
pub(crate) fn write_fields(fields: &BTreeMap<String, FieldStatistics>, to: &mut Writer<'_>) {
    to.u64(fields.len() as u64);
    for (name, field) in fields {
        to.text(name);
        for spread in [&field.first, &field.second] {
            [spread.n, spread.sum, spread.squares]
                .into_iter()
                .for_each(|x| to.f64(x));
        }
    }
}

/// Reads what [`write_fields`] wrote.
pub(crate) fn load_fields(from: &mut Reader<'_>) -> Result<BTreeMap<String, FieldStatistics>, ModelError> {
    let spread = |from: &mut Reader<'_>| -> Result<Spread, ModelError> {
        Ok(Spread {
            n: from.f64()?,
            sum: from.f64()?,
            squares: from.f64()?,
        })
    };
    let mut fields = BTreeMap::new();
    for _ in 0..from.length(56)? {
        let name = from.text()?.to_owned();
        let statistics = FieldStatistics {
            first: spread(from)?,
            second: spread(from)?,
        };
        fields.insert(name, statistics);
    }
    Ok(fields)
}

/// A quantity as the grid points near it: spacing half a deviation, Gaussian weights of the same
/// width, so that the product of two is close to exp(−(difference in deviations)²).
fn grid(value: f64, spread: &Spread) -> Vec<(i64, f32)> {
    const SPACING: f64 = 0.5;
    let deviation = spread.deviation();
    let z = if deviation > 0.0 {
        (value - spread.mean()) / deviation
    } else {
        0.0
    };
    let z = z.clamp(-6.0, 6.0);
    let centre = (z / SPACING).round() as i64;
    (centre - 3..=centre + 3)
        .map(|k| {
            let distance = (z - k as f64 * SPACING) / SPACING;
            (k, (-0.5 * distance * distance).exp() as f32)
        })
        .collect()
}

fn grid_name(field: &str, k: i64, spread: &Spread) -> String {
    let value = spread.mean() + k as f64 * 0.5 * spread.deviation();
    format!("{field}\u{2248}{value:.4}")
}

/// Constants of BM25.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bm25 {
    pub(crate) k1: f32,
    pub(crate) b: f32,
}

/// Terms of one attribute with raw weights, and whether rare terms are to count more.
pub(crate) fn terms(
    field: &str,
    value: &TypedValue,
    statistics: &FieldStatistics,
    bm25: Bm25,
) -> (BTreeMap<String, f32>, bool) {
    let labels = |labels: &[String]| labels.iter().map(|l| (format!("{field}={l}"), 1.0)).collect();
    let first = &statistics.first;
    let on_grid = |x: f64| {
        grid(x, first)
            .into_iter()
            .map(|(k, w)| (grid_name(field, k, first), w))
            .collect()
    };
    match value {
        TypedValue::Category(label) => (BTreeMap::from([(format!("{field}={label}"), 1.0)]), true),
        TypedValue::Tags(tags) => (labels(tags), true),
        TypedValue::Ids(ids) => (labels(ids), true),
        TypedValue::Text(text) => (words(field, text, first.mean() as f32, bm25), true),
        TypedValue::Number(x) => (on_grid(*x), false),
        TypedValue::Timestamp(t) => (on_grid(t.0 as f64 / 86_400_000.0), false),
        TypedValue::Geo { lat, lon } => {
            let mut cells = BTreeMap::new();
            for (row, a) in grid(*lat, first) {
                for (column, b) in grid(*lon, &statistics.second) {
                    cells.insert(format!("{field}@{row},{column}"), a * b);
                }
            }
            (cells, false)
        }
        TypedValue::Embedding(vector) => {
            let dimension = |(k, x): (usize, &f32)| (format!("{field}[{k}]"), x.clamp(-1e12, 1e12));
            (vector.iter().enumerate().map(dimension).collect(), false)
        }
    }
}

fn words(field: &str, text: &str, mean_length: f32, bm25: Bm25) -> BTreeMap<String, f32> {
    let words = tokens(text);
    let length = words.len() as f32 / mean_length.max(1.0);
    let mut counts: BTreeMap<String, f32> = BTreeMap::new();
    for word in words {
        *counts.entry(format!("{field}={word}")).or_insert(0.0) += 1.0;
    }
    let Bm25 { k1, b } = bm25;
    for count in counts.values_mut() {
        *count = *count * (k1 + 1.0) / (*count + k1 * (1.0 - b + b * length));
    }
    counts
}

/// How much an attribute counts if the configuration does not say.
pub(crate) fn default_weight(value: &TypedValue) -> f32 {
    match value {
        TypedValue::Category(_)
        | TypedValue::Tags(_)
        | TypedValue::Ids(_)
        | TypedValue::Text(_)
        | TypedValue::Embedding(_) => 1.0,
        TypedValue::Geo { .. } => 0.5,
        TypedValue::Number(_) | TypedValue::Timestamp(_) => 0.25,
    }
}

/// A sparse vector of length one (or empty): terms ascending.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TermVector {
    pub(crate) terms: Vec<u32>,
    pub(crate) weights: Vec<f32>,
}

/// Names of terms, and in how many items of the training each was.
#[derive(Debug, Clone, Default)]
pub(crate) struct TermTable {
    names: Vec<Arc<str>>,
    positions: HashMap<Arc<str>, u32>,
    items: Vec<u32>,
    /// Items of the training.
    pub(crate) n_items: u32,
}

impl TermTable {
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn name(&self, term: u32) -> &str {
        &self.names[term as usize]
    }

    /// Position of a term; a new one counts as seen once.
    pub(crate) fn insert(&mut self, name: &str, items: u32) -> u32 {
        if let Some(position) = self.positions.get(name) {
            return *position;
        }
        let position = self.names.len() as u32;
        let name: Arc<str> = Arc::from(name);
        self.names.push(Arc::clone(&name));
        self.positions.insert(name, position);
        self.items.push(items);
        position
    }

    pub(crate) fn position(&self, name: &str) -> Option<u32> {
        self.positions.get(name).copied()
    }

    /// ln(1 + (N − n + ½) / (n + ½)), Robertson and Zaragoza 2009.
    pub(crate) fn rarity(&self, term: u32) -> f32 {
        let n = self.items[term as usize].min(self.n_items) as f32;
        (1.0 + (self.n_items as f32 - n + 0.5) / (n + 0.5)).ln()
    }

    pub(crate) fn write(&self, to: &mut Writer<'_>) {
        to.u32(self.n_items);
        to.u32s(&self.items);
        self.names.iter().for_each(|name| to.text(name));
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<TermTable, ModelError> {
        let mut table = TermTable {
            n_items: from.u32()?,
            ..TermTable::default()
        };
        for (position, items) in from.u32s()?.into_iter().enumerate() {
            let name = from.text()?;
            from.expect(
                table.insert(name, items) as usize == position,
                "a term is there twice",
            )?;
        }
        Ok(table)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.names.iter().map(|n| n.len() + 60).sum()
    }
}

/// Reads items' attributes as terms, by what the training saw.
#[derive(Debug, Clone)]
pub(crate) struct Analyser {
    pub(crate) bm25: Bm25,
    pub(crate) weights: BTreeMap<String, f32>,
    pub(crate) fields: BTreeMap<String, FieldStatistics>,
}

impl Analyser {
    /// All terms of an item with weights that already hold the field's share, but not its norm.
    /// `position` names a term and gives its rarity, or passes it over.
    pub(crate) fn vector(
        &self,
        features: &ItemFeatures,
        mut position: impl FnMut(&str) -> Option<(u32, f32)>,
    ) -> TermVector {
        let unseen = FieldStatistics::default();
        let mut all: Vec<(u32, f32)> = Vec::new();
        for (field, value) in features {
            let share = self
                .weights
                .get(field)
                .copied()
                .unwrap_or_else(|| default_weight(value));
            let (terms, rare_counts_more) =
                terms(field, value, self.fields.get(field).unwrap_or(&unseen), self.bm25);
            let start = all.len();
            for (name, weight) in terms {
                if let Some((term, rarity)) = position(&name) {
                    all.push((term, if rare_counts_more { weight * rarity } else { weight }));
                }
            }
            let length = length(&all[start..]);
            if length > 0.0 && share > 0.0 {
                let factor = f64::from(share).sqrt() / length;
                all[start..]
                    .iter_mut()
                    .for_each(|e| e.1 = (f64::from(e.1) * factor) as f32);
            } else {
                all.truncate(start);
            }
        }
        all.sort_unstable_by_key(|entry| entry.0);
        // Two attributes can spell the same term; it then counts once, the first.
        all.dedup_by_key(|entry| entry.0);
        all.retain(|entry| entry.1 != 0.0);
        let length = length(&all).max(1e-30);
        let (terms, weights) = all
            .into_iter()
            .map(|(t, w)| (t, (f64::from(w) / length) as f32))
            .unzip();
        TermVector { terms, weights }
    }
}

/// Attributes of many, as vectors over their terms.
pub(crate) struct Described {
    pub(crate) analyser: Analyser,
    pub(crate) table: TermTable,
    /// Row per one described; columns are terms.
    pub(crate) vectors: Csr,
}

/// Reads the attributes of `n`, of which `features` gives those of each; `analyser` is made from what is seen of every
/// attribute. Terms of fewer than `least` are left out, and the rarest beyond `most` terms. `None` if nobody has
/// attributes. In parallel.
pub(crate) fn describe<'a>(
    n: usize,
    features: impl Fn(usize) -> &'a ItemFeatures + Sync,
    analyser: impl FnOnce(BTreeMap<String, FieldStatistics>) -> Analyser,
    least: u32,
    most: usize,
) -> Option<Described> {
    let mut fields: BTreeMap<String, FieldStatistics> = BTreeMap::new();
    for (name, value) in (0..n).flat_map(&features) {
        fields.entry(name.clone()).or_default().add(value);
    }
    if fields.is_empty() {
        return None;
    }
    let analyser = analyser(fields);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for (name, value) in (0..n).flat_map(&features) {
        let terms = terms(name, value, &analyser.fields[name], analyser.bm25).0;
        for term in terms.into_keys() {
            *counts.entry(term).or_insert(0) += 1;
        }
    }
    counts.retain(|_, count| *count >= least);
    if counts.len() > most {
        let mut by_count: Vec<u32> = counts.values().copied().collect();
        let bound = *by_count.select_nth_unstable_by(most, |a, b| b.cmp(a)).1;
        counts.retain(|_, count| *count > bound);
    }
    let mut table = TermTable {
        n_items: n as u32,
        ..TermTable::default()
    };
    for (term, count) in &counts {
        table.insert(term, *count);
    }
    let known = |name: &str| table.position(name).map(|term| (term, table.rarity(term)));
    let vectors = parallel_chunks(n, 256, |range| {
        let of = |one| analyser.vector(features(one), known);
        range.map(of).collect::<Vec<_>>()
    });
    let vectors = rows_of(vectors.into_iter().flatten(), table.len());
    Some(Described {
        analyser,
        table,
        vectors,
    })
}

/// Vectors as the rows of a matrix.
pub(crate) fn rows_of(vectors: impl Iterator<Item = TermVector>, n_terms: usize) -> Csr {
    let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    for vector in vectors {
        columns.extend(vector.terms);
        values.extend(vector.weights);
        offsets.push(columns.len());
    }
    Csr::from_parts(n_terms, offsets, columns, values).expect("vectors are ascending and finite")
}

fn length(entries: &[(u32, f32)]) -> f64 {
    entries.iter().map(|e| f64::from(e.1).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_without_stop_words_and_signs() {
        assert_eq!(
            tokens("The Lord of the Rings: Two-Towers (2002)"),
            ["lord", "rings", "two", "towers", "2002"]
        );
        assert_eq!(tokens("ÄRGER—№5"), ["ärger", "5"]);
        assert!(tokens(" the ").is_empty());
    }

    #[test]
    fn near_quantities_are_alike_and_far_ones_are_not() {
        let mut spread = Spread::default();
        (0..=20).for_each(|x| spread.add(f64::from(x)));
        let likeness = |a: f64, b: f64| {
            let (a, b) = (grid(a, &spread), grid(b, &spread));
            let product = |a: &[(i64, f32)], b: &[(i64, f32)]| -> f32 {
                let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (x, y)));
                pairs.filter(|(x, y)| x.0 == y.0).map(|(x, y)| x.1 * y.1).sum()
            };
            product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
        };
        let deviation = spread.deviation();
        for z in [0f64, 0.3, 1.0, 2.0] {
            let expected = (-z * z).exp();
            let got = f64::from(likeness(10.0, 10.0 + z * deviation));
            assert!((got - expected).abs() < 0.03, "{z}: {got} {expected}");
        }
    }
}
