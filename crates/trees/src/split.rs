//! The best split of a leaf.

use crate::bins::Cuts;
use crate::grow::Grower;
use crate::histogram::{Packed, Scale, halves};
use crate::{Monotone, TreesConfig};

/// What a leaf is, as far as its splits are concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafSums {
    /// Its gradients and hessians, rounded.
    pub(crate) total: Packed,
    /// Its rows.
    pub(crate) rows: usize,
    /// What its answer may be, from monotone constraints above it.
    pub(crate) bounds: (f64, f64),
}

/// A split and what it gains.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Split {
    pub(crate) gain: f64,
    pub(crate) feature: usize,
    /// By bin: whether rows go left.
    pub(crate) left: LeftBins,
    /// Whether bin 0 (missing) goes left.
    pub(crate) missing_left: bool,
    /// Answers of both sides before the learning rate; they bound what comes below if constrained.
    pub(crate) answers: (f64, f64),
}

/// Bins that go left.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LeftBins {
    /// Those from 1 to this.
    UpTo(u8),
    /// These, ascending.
    Set(Vec<u8>),
}

/// What splits of one leaf are compared by.
struct Judge<'a> {
    config: &'a TreesConfig,
    scale: Scale,
    leaf: LeafSums,
    /// Rows per rounded hessian.
    rows_per_hessian: f64,
}

/// The answer that is best alone.
fn answer(g: f64, h: f64, reg: f64, bounds: (f64, f64)) -> f64 {
    (-g / (h + reg).max(f64::MIN_POSITIVE)).clamp(bounds.0, bounds.1)
}

impl Judge<'_> {
    fn enough(&self, part: Packed) -> bool {
        let (_, h) = halves(part);
        h * self.rows_per_hessian + 0.5 >= self.config.leaf_rows_min as f64
            && h * self.scale.hessian >= self.config.leaf_hessian_min
    }

    /// Gain of a part with a given answer: −2 of the change of the loss.
    fn worth(&self, part: Packed, reg: f64, bounds: (f64, f64)) -> (f64, f64) {
        let (g, h) = self.scale.unpack(part);
        let answer = answer(g, h, reg, bounds);
        (-(2.0 * g * answer + (h + reg) * answer * answer), answer)
    }

    /// Gain and answers of a split, if it may be.
    fn gain(&self, left: Packed, reg: f64, monotone: Monotone) -> Option<(f64, (f64, f64))> {
        let right = self.leaf.total - left;
        if !self.enough(left) || !self.enough(right) {
            return None;
        }
        let bounds = self.leaf.bounds;
        let (worth_left, left) = self.worth(left, reg, bounds);
        let (worth_right, right) = self.worth(right, reg, bounds);
        let may = match monotone {
            Monotone::Free => true,
            Monotone::Rising => left <= right,
            Monotone::Falling => left >= right,
        };
        may.then_some((worth_left + worth_right, (left, right)))
    }
}

/// Gains of all thresholds of an unconstrained number: `prefix[i]` goes left. Written so that it becomes vector code.
#[inline(always)]
fn gains_body(prefix: &[Packed], out: &mut [f64], total: Packed, scale: Scale, reg: f64, least: f64) {
    let (total_g, total_h) = halves(total);
    let squared = scale.gradient * scale.gradient;
    for (out, left) in out.iter_mut().zip(prefix) {
        let (gl, hl) = halves(*left);
        let (gr, hr) = (total_g - gl, total_h - hl);
        let gain =
            gl * gl * squared / (hl * scale.hessian + reg) + gr * gr * squared / (hr * scale.hessian + reg);
        let few = hl < least || hr < least;
        *out = if few { f64::NEG_INFINITY } else { gain };
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn gains_wide(prefix: &[Packed], out: &mut [f64], total: Packed, scale: Scale, reg: f64, least: f64) {
    gains_body(prefix, out, total, scale, reg, least);
}

fn gains(prefix: &[Packed], out: &mut [f64], total: Packed, scale: Scale, reg: f64, least: f64) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
    {
        // SAFETY: the machine has what the function is compiled for.
        return unsafe { gains_wide(prefix, out, total, scale, reg, least) };
    }
    gains_body(prefix, out, total, scale, reg, least);
}

impl Judge<'_> {
    /// The best threshold of a number.
    fn number(&self, bins: &[Packed], monotone: Monotone, has_missing: bool) -> Option<Candidate> {
        let n = bins.len();
        if n < 3 && !has_missing {
            return None;
        }
        let mut prefix = [0 as Packed; 256];
        let mut sum = 0;
        // The last threshold leaves only the missing ones on the right.
        let n_thresholds = if has_missing { n - 1 } else { n - 2 };
        for (prefix, bin) in prefix.iter_mut().zip(&bins[1..]).take(n_thresholds) {
            sum += bin;
            *prefix = sum;
        }
        let free = monotone == Monotone::Free && self.leaf.bounds == (f64::NEG_INFINITY, f64::INFINITY);
        let mut best: Option<Candidate> = None;
        let passes: &[bool] = if has_missing && bins[0] != 0 {
            &[false, true]
        } else {
            &[false]
        };
        for missing_left in passes {
            if *missing_left {
                prefix[..n_thresholds].iter_mut().for_each(|p| *p += bins[0]);
            }
            let last = if *missing_left {
                n_thresholds.min(n - 2)
            } else {
                n_thresholds
            };
            let prefix = &prefix[..last];
            let mut consider = |at: usize, gain: f64, answers| {
                if best.as_ref().is_none_or(|b| gain > b.gain) && gain > f64::NEG_INFINITY {
                    best = Some(Candidate {
                        gain,
                        left: LeftBins::UpTo(at as u8 + 1),
                        missing_left: *missing_left,
                        answers,
                    });
                }
            };
            if free {
                let rows = (self.config.leaf_rows_min as f64 - 0.5) / self.rows_per_hessian;
                let least = rows
                    .max(self.config.leaf_hessian_min / self.scale.hessian)
                    .max(1.0);
                let mut out = [0.0f64; 256];
                let out = &mut out[..last];
                gains(prefix, out, self.leaf.total, self.scale, self.config.reg, least);
                let top = out
                    .iter()
                    .enumerate()
                    .fold((0, f64::NEG_INFINITY), |top, (at, gain)| {
                        if *gain > top.1 { (at, *gain) } else { top }
                    });
                consider(top.0, top.1, (0.0, 0.0));
            } else {
                for (at, left) in prefix.iter().enumerate() {
                    if let Some((gain, answers)) = self.gain(*left, self.config.reg, monotone) {
                        consider(at, gain, answers);
                    }
                }
            }
        }
        let mut best = best?;
        // Where nothing was missing, what will be missing goes with the larger side.
        if !has_missing || bins[0] == 0 {
            let LeftBins::UpTo(last) = best.left else {
                return None;
            };
            let (_, left) = halves(bins[1..=usize::from(last)].iter().sum());
            let (_, total) = halves(self.leaf.total);
            best.missing_left = left * 2.0 >= total;
        }
        Some(best)
    }

    /// The best set of categories: one against the rest while they are few, else a run from either end of the order by
    /// gradient over hessian. Source: W. Fisher (1958), "On grouping for maximum homogeneity", JASA.
    fn category(&self, bins: &[Packed]) -> Option<Candidate> {
        let reg = self.config.reg + self.config.category_reg;
        let present = |bin: &usize| halves(bins[*bin]).1 > 0.0;
        let mut used: Vec<usize> = (1..bins.len()).filter(present).collect();
        let mut best: Option<Candidate> = None;
        let mut consider = |gain: Option<(f64, (f64, f64))>, set: &[usize]| {
            let Some((gain, answers)) = gain else { return };
            if best.as_ref().is_none_or(|b| gain > b.gain) {
                let mut left: Vec<u8> = set.iter().map(|bin| *bin as u8).collect();
                left.sort_unstable();
                best = Some(Candidate {
                    gain,
                    left: LeftBins::Set(left),
                    missing_left: false,
                    answers,
                });
            }
        };
        if used.len() <= 4 {
            for bin in &used {
                consider(self.gain(bins[*bin], self.config.reg, Monotone::Free), &[*bin]);
            }
            return best;
        }
        let ratio = |bin: &usize| {
            let (g, h) = self.scale.unpack(bins[*bin]);
            g / (h + self.config.category_smooth)
        };
        used.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)).then(a.cmp(b)));
        let longest = self.config.category_values_max.min(used.len().div_ceil(2));
        for backwards in [false, true] {
            if backwards {
                used.reverse();
            }
            let mut left = 0;
            for at in 0..longest {
                left += bins[used[at]];
                consider(self.gain(left, reg, Monotone::Free), &used[..=at]);
            }
        }
        best
    }
}

struct Candidate {
    gain: f64,
    left: LeftBins,
    missing_left: bool,
    answers: (f64, f64),
}

/// The best split of a leaf over the given features, in parallel over runs of them; of equal ones that of the first feature.
pub(crate) fn best_split(
    grower: &Grower<'_>,
    used: &[usize],
    histogram: &[Packed],
    scale: Scale,
    leaf: LeafSums,
) -> Option<Split> {
    let Grower {
        config,
        features,
        binned,
        layout,
    } = *grower;
    let (_, hessian) = halves(leaf.total);
    if leaf.rows < 2 * config.leaf_rows_min || hessian <= 0.0 {
        return None;
    }
    let judge = Judge {
        config,
        scale,
        leaf,
        rows_per_hessian: leaf.rows as f64 / hessian,
    };
    let (parent, _) = judge.worth(leaf.total, config.reg, leaf.bounds);
    let found = numeric::parallel_chunks(used.len(), 64, |range| {
        let mut best: Option<Split> = None;
        for feature in &used[range] {
            let bins = &histogram[layout.of(*feature)];
            let candidate = match &binned.cuts[*feature] {
                Cuts::Number(_) => judge.number(bins, features[*feature].monotone, binned.missing[*feature]),
                Cuts::Category { .. } => judge.category(bins),
            };
            let Some(Candidate {
                gain,
                left,
                missing_left,
                answers,
            }) = candidate
            else {
                continue;
            };
            let gain = gain - parent;
            if gain > config.gain_min && best.as_ref().is_none_or(|b| gain > b.gain) {
                best = Some(Split {
                    gain,
                    feature: *feature,
                    left,
                    missing_left,
                    answers,
                });
            }
        }
        best
    });
    found
        .into_iter()
        .flatten()
        .reduce(|a, b| if b.gain > a.gain { b } else { a })
}
