//! Where the factors of implicit ALS are drawn to: a linear map of attributes.
//!
//! m = Bᵀa, with a the attributes as a sparse vector of length one (the terms of content neighbours) and one more
//! coordinate that is 1 for all. B minimises Σ eᵢ‖yᵢ − Bᵀaᵢ‖² + μ‖B‖² over the rows with attributes and entries, e
//! being how far a row's own entries are believed; the last coordinate is all but free of μ. μ is chosen from
//! [`PENALTIES`]: rows drawn by hash, every eighth of at most [`HELD_MAX`], are left out, and the map that tells
//! their factors best, measured where the other side looks (δᵀGδ, the squared error of the scores), is taken. How much less it misses there than
//! the mean of all rows is the share that attributes explain.
//!
//! Sources: Agarwal and Chen (2009), "Regression-based latent factor models", KDD; Rendle et al. (2021) for the
//! alternation. The prior of a row is the regression on its attributes, so a row without entries is its attributes
//! and one with many is its entries.
//!
//! Solved by conjugate gradients on the normal equations, all d columns side by side, preconditioned by the diagonal
//! and from the last solution on. Cost of an iteration: 4·d·(terms of all rows). Nothing is random.

use crate::artefact::{Reader, Writer};
use crate::content_terms::{
    Analyser, Bm25, Described, TermTable, TermVector, describe, load_fields, write_fields,
};
use crate::{ItemFeatures, ModelError};
use domain::AttributeKind;
use numeric::{Csr, add_rows, axpy, dot, dot_rows, gram, mix, parallel_chunks, parallel_rows_with};
use std::collections::BTreeMap;

/// μ tried, strongest first.
const PENALTIES: [f32; 9] = [300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03];
/// μ of the coordinate that all have.
const PENALTY_OF_ALL: f32 = 1e-3;
/// Rows left out to choose μ.
const HELD_MAX: usize = 4096;
/// Iterations for each μ tried, and for a solution that is kept.
const ITERATIONS_TRIED: usize = 8;
const ITERATIONS: usize = 20;
/// A squared residual below this share of where it began is small enough.
const SMALL: f64 = 1e-8;
/// Rows that have a term below which it is left out, unless there are few rows.
const TERM_ROWS_MIN: u32 = 2;
/// Terms kept, the most common ones.
const TERMS_MAX: usize = 100_000;

/// Reads attributes and says where they draw a factor to.
#[derive(Debug, Clone)]
pub(crate) struct FeatureMap {
    analyser: Analyser,
    table: TermTable,
    pub(crate) kinds: BTreeMap<String, AttributeKind>,
    d: usize,
    /// B: a row per term, then that of the coordinate that all have.
    weights: Vec<f32>,
}

impl FeatureMap {
    /// The attributes as a vector, if there are any that the training knew.
    fn vector(&self, features: &ItemFeatures) -> Option<TermVector> {
        self.says_of(features).then(|| {
            self.analyser.vector(features, |name| {
                let term = self.table.position(name)?;
                Some((term, self.table.rarity(term)))
            })
        })
    }

    /// True if there is an attribute that it knows.
    pub(crate) fn says_of(&self, features: &ItemFeatures) -> bool {
        features.keys().any(|name| self.kinds.contains_key(name))
    }

    fn row(&self, term: usize) -> &[f32] {
        &self.weights[term * self.d..(term + 1) * self.d]
    }

    /// Where these attributes draw to; `None` if none of them is known.
    pub(crate) fn mean(&self, features: &ItemFeatures) -> Option<Vec<f32>> {
        let vector = self.vector(features)?;
        let mut mean = self.row(self.table.len()).to_vec();
        for (term, weight) in vector.terms.iter().zip(&vector.weights) {
            axpy(*weight, self.row(*term as usize), &mut mean);
        }
        Some(mean)
    }

    /// The product of that with `direction`, taken apart by term; the part of what all have goes without a name.
    pub(crate) fn parts(&self, features: &ItemFeatures, direction: &[f32]) -> Vec<(Option<&str>, f32)> {
        let Some(vector) = self.vector(features) else {
            return Vec::new();
        };
        let mut parts = vec![(None, dot(direction, self.row(self.table.len())))];
        let terms = vector.terms.iter().zip(&vector.weights);
        parts.extend(terms.map(|(term, weight)| {
            let value = weight * dot(direction, self.row(*term as usize));
            (Some(self.table.name(*term)), value)
        }));
        parts
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.weights.len() * 4 + self.table.memory_bytes()
    }

    pub(crate) fn write(&self, to: &mut Writer<'_>) {
        write_fields(&self.analyser.fields, to);
        let kinds = serde_json::to_value(&self.kinds).expect("names and words");
        to.json(&kinds);
        self.table.write(to);
        to.f32s(&self.weights);
    }

    pub(crate) fn load(from: &mut Reader<'_>, d: usize) -> Result<FeatureMap, ModelError> {
        let fields = load_fields(from)?;
        let kinds = serde_json::from_value(from.json()?).map_err(|e| from.damaged(e.to_string()))?;
        let table = TermTable::load(from)?;
        let weights = from.f32s()?;
        from.expect(
            weights.len() == (table.len() + 1) * d && weights.iter().all(|w| w.abs() < 1e12),
            "a row of the map per term expected",
        )?;
        Ok(FeatureMap {
            analyser: analyser(fields),
            table,
            kinds,
            d,
            weights,
        })
    }
}

/// Attributes weigh as they do for content neighbours by default.
fn analyser(fields: BTreeMap<String, crate::content_terms::FieldStatistics>) -> Analyser {
    Analyser {
        bm25: Bm25 { k1: 1.2, b: 0.75 },
        weights: BTreeMap::new(),
        fields,
    }
}

/// One side's map in the making.
pub(crate) struct Fitting {
    described: Described,
    kinds: BTreeMap<String, AttributeKind>,
    d: usize,
    /// Row per row of the side; the last column is the one that all described rows have.
    rows: Csr,
    columns: Csr,
    /// How far each row's own entries are believed; zero for rows without attributes or entries.
    believed: Vec<f32>,
    weights: Vec<f32>,
    penalty: Option<f32>,
    explained: f32,
}

impl Fitting {
    /// Reads the attributes of one side; `None` if there are none, or nobody who has any has entries. `believed` says for each row how far its
    /// entries are believed, 0 to 1.
    pub(crate) fn new(features: &[ItemFeatures], d: usize, mut believed: Vec<f32>) -> Option<Fitting> {
        let none = ItemFeatures::new();
        let of = |row: usize| features.get(row).unwrap_or(&none);
        let n_rows = believed.len();
        (0..n_rows)
            .filter(|row| of(*row).is_empty())
            .for_each(|row| believed[row] = 0.0);
        if believed.iter().all(|e| *e == 0.0) {
            return None;
        }
        let least = if n_rows < 100 { 1 } else { TERM_ROWS_MIN };
        let described = describe(n_rows, of, analyser, least, TERMS_MAX)?;
        let mut kinds = BTreeMap::new();
        for (name, value) in (0..n_rows).flat_map(of) {
            kinds.entry(name.clone()).or_insert(value.kind());
        }
        let last = described.table.len() as u32;
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in 0..n_rows {
            if !of(row).is_empty() {
                let (terms, weights) = described.vectors.row(row);
                columns.extend(terms.iter().copied().chain([last]));
                values.extend(weights.iter().copied().chain([1.0]));
            }
            offsets.push(columns.len());
        }
        let rows = Csr::from_parts(last as usize + 1, offsets, columns, values)
            .expect("terms are ascending and below the last column");
        Some(Fitting {
            columns: rows.transpose(),
            weights: vec![0.0; rows.n_columns() * d],
            rows,
            described,
            kinds,
            d,
            believed,
            penalty: None,
            explained: 0.0,
        })
    }

    /// Fits the map to the factors of this side as they are; `other` are those of the other side.
    pub(crate) fn refit(&mut self, factors: &[f32], other: &[f32]) {
        let penalty = match self.penalty {
            Some(penalty) => penalty,
            None => {
                let (penalty, explained) = self.choose(factors, other);
                self.explained = explained;
                *self.penalty.insert(penalty)
            }
        };
        self.weights = self.solve(factors, &self.believed, penalty, &self.weights, ITERATIONS);
    }

    /// Share of the differences between rows that attributes explain, 0 to 1, as of the first fit.
    pub(crate) fn explained(&self) -> f32 {
        self.explained
    }

    /// The penalty whose map tells rows best that it was not fitted to, and the share that it explains.
    fn choose(&self, factors: &[f32], other: &[f32]) -> (f32, f32) {
        let d = self.d;
        let candidates = (0..self.believed.len()).filter(|row| self.believed[*row] > 0.0);
        let mut held: Vec<usize> = candidates
            .filter(|row| mix(*row as u64).is_multiple_of(8))
            .collect();
        held.truncate(HELD_MAX);
        let mut believed = self.believed.clone();
        held.iter().for_each(|row| believed[*row] = 0.0);
        let gram = gram(other, d);
        let loss = |weights: &[f32]| -> f64 {
            let losses = parallel_chunks(held.len(), 64, |range| {
                let (mut sum, mut turned) = (0f64, vec![0f32; d]);
                for row in &held[range] {
                    let mut miss = self.mean(weights, *row);
                    axpy(-1.0, &factors[row * d..(row + 1) * d], &mut miss);
                    dot_rows(&gram, &miss, &mut turned);
                    sum += f64::from(self.believed[*row] * dot(&miss, &turned));
                }
                sum
            });
            losses.iter().sum()
        };
        let mut best = (f64::INFINITY, PENALTIES[0]);
        let mut weights = vec![0.0; self.weights.len()];
        let mut worse = 0;
        for penalty in PENALTIES {
            weights = self.solve(factors, &believed, penalty, &weights, ITERATIONS_TRIED);
            let loss = loss(&weights);
            if loss < best.0 {
                best = (loss, penalty);
                worse = 0;
            } else {
                worse += 1;
            }
            if worse == 2 {
                break;
            }
        }
        let total: f32 = believed.iter().sum();
        let mut alike = vec![0.0; self.weights.len()];
        let of_all = alike.len() - d;
        for (factor, e) in factors.chunks_exact(d).zip(&believed) {
            axpy(e / total.max(f32::MIN_POSITIVE), factor, &mut alike[of_all..]);
        }
        let unexplained = best.0 / loss(&alike);
        let explained = (1.0 - unexplained).clamp(0.0, 1.0) as f32;
        (best.1, if explained.is_finite() { explained } else { 0.0 })
    }

    fn mean(&self, weights: &[f32], row: usize) -> Vec<f32> {
        let d = self.d;
        let mut mean = vec![0f32; d];
        let (terms, values) = self.rows.row(row);
        for (term, value) in terms.iter().zip(values) {
            let term = *term as usize;
            axpy(*value, &weights[term * d..(term + 1) * d], &mut mean);
        }
        mean
    }

    /// Where each row of the side is drawn to; zero for rows that `wanted` does not name, and those without attributes.
    pub(crate) fn means(&self, wanted: impl Fn(usize) -> bool + Sync + Send) -> Vec<f32> {
        let mut means = vec![0f32; self.believed.len() * self.d];
        self.spread(&self.weights, &mut means, |row| f32::from(u8::from(wanted(row))));
        means
    }

    /// The map as fitted last.
    pub(crate) fn finish(self) -> FeatureMap {
        FeatureMap {
            analyser: self.described.analyser,
            table: self.described.table,
            kinds: self.kinds,
            d: self.d,
            weights: self.weights,
        }
    }

    /// out ← diag(factor)·A·P.
    fn spread(&self, p: &[f32], out: &mut [f32], factor: impl Fn(usize) -> f32 + Sync + Send) {
        sparse_product(&self.rows, p, out, self.d, factor);
    }

    /// Solves (AᵀEA + μ)B = AᵀEY from `start` on.
    fn solve(
        &self,
        factors: &[f32],
        believed: &[f32],
        penalty: f32,
        start: &[f32],
        iterations: usize,
    ) -> Vec<f32> {
        let d = self.d;
        let n = self.rows.n_columns();
        let penalty_of = |term: usize| if term + 1 == n { PENALTY_OF_ALL } else { penalty };
        let inverse_diagonal: Vec<f32> = (0..n)
            .map(|term| {
                let (rows, values) = self.columns.row(term);
                let squares = rows.iter().zip(values);
                let sum: f32 = squares.map(|(row, v)| believed[*row as usize] * v * v).sum();
                1.0 / (sum + penalty_of(term))
            })
            .collect();
        let mut wide = vec![0f32; factors.len()];
        let apply = |p: &[f32], wide: &mut [f32], out: &mut [f32]| {
            self.spread(p, wide, |row| believed[row]);
            sparse_product(&self.columns, wide, out, d, |_| 1.0);
            let own = out.chunks_exact_mut(d).zip(p.chunks_exact(d)).enumerate();
            own.for_each(|(term, (out, p))| axpy(penalty_of(term), p, out));
        };
        let mut x = start.to_vec();
        let mut product = vec![0f32; n * d];
        apply(&x, &mut wide, &mut product);
        let weighted = factors.chunks_exact(d).zip(wide.chunks_exact_mut(d));
        for ((factor, wide), e) in weighted.zip(believed) {
            wide.iter_mut().zip(factor).for_each(|(w, f)| *w = e * f);
        }
        let mut residual = vec![0f32; n * d];
        sparse_product(&self.columns, &wide, &mut residual, d, |_| 1.0);
        axpy(-1.0, &product, &mut residual);
        let precondition = |r: &[f32]| -> Vec<f32> {
            let rows = r.chunks_exact(d).zip(&inverse_diagonal);
            rows.flat_map(|(r, inverse)| r.iter().map(move |r| r * inverse))
                .collect()
        };
        let mut z = precondition(&residual);
        let mut p = z.clone();
        let mut rz = column_products(&residual, &z, d);
        let first = rz.clone();
        for _ in 0..iterations {
            if rz.iter().zip(&first).all(|(now, first)| *now <= SMALL * first) {
                break;
            }
            apply(&p, &mut wide, &mut product);
            let curvature = column_products(&p, &product, d);
            let ratio = |a: &f64, b: &f64| if *b > 0.0 { (a / b) as f32 } else { 0.0 };
            let alpha: Vec<f32> = rz.iter().zip(&curvature).map(|(a, b)| ratio(a, b)).collect();
            for at in 0..n {
                let range = at * d..(at + 1) * d;
                for (k, i) in range.enumerate() {
                    x[i] += alpha[k] * p[i];
                    residual[i] -= alpha[k] * product[i];
                }
            }
            z = precondition(&residual);
            let next = column_products(&residual, &z, d);
            let beta: Vec<f32> = next.iter().zip(&rz).map(|(a, b)| ratio(a, b)).collect();
            for (p, z) in p.chunks_exact_mut(d).zip(z.chunks_exact(d)) {
                let both = p.iter_mut().zip(z).zip(&beta);
                both.for_each(|((p, z), beta)| *p = z + beta * *p);
            }
            rz = next;
        }
        x
    }
}

/// out ← diag(factor)·A·P with A sparse and P `columns × d`; in parallel, row by row.
fn sparse_product(
    a: &Csr,
    p: &[f32],
    out: &mut [f32],
    d: usize,
    factor: impl Fn(usize) -> f32 + Sync + Send,
) {
    parallel_rows_with(
        out,
        d,
        32,
        || (Vec::new(), Vec::new()),
        |(starts, values), row, out| {
            out.fill(0.0);
            let factor = factor(row);
            if factor == 0.0 {
                return;
            }
            let (columns, own) = a.row(row);
            starts.clear();
            values.clear();
            starts.extend(columns.iter().map(|column| *column as usize * d));
            values.extend(own.iter().map(|value| value * factor));
            add_rows(p, starts, values, out);
        },
    );
}

/// For each column, the product of the two matrices' columns. Runs of rows are summed in order.
fn column_products(a: &[f32], b: &[f32], d: usize) -> Vec<f64> {
    let sums = parallel_chunks(a.len() / d, 1024, |rows| {
        let mut sums = vec![0f64; d];
        for row in rows {
            let both = a[row * d..(row + 1) * d].iter().zip(&b[row * d..(row + 1) * d]);
            sums.iter_mut()
                .zip(both)
                .for_each(|(sum, (a, b))| *sum += f64::from(a * b));
        }
        sums
    });
    let mut total = vec![0f64; d];
    for one in sums {
        total.iter_mut().zip(one).for_each(|(total, one)| *total += one);
    }
    total
}
