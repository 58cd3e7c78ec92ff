//! The distribution function of normal values, by a table and a Taylor series, at eight points at once.

use crate::wide::widest;
use std::sync::OnceLock;

/// Points at once.
pub const NORMAL_POINTS: usize = 8;

/// Points to a standard deviation.
const PER_UNIT: f64 = 32.0;
/// Beyond, the function is 0 or 1 to 1e-17.
const END: f64 = 8.5;
/// A power of two, so that any place is within it by its lower bits.
const POINTS: usize = 1024;
/// A number plus this is rounded to a whole one, which stands in the lower bits of the sum.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// A normal value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormalValue {
    /// Its mean.
    pub mean: f64,
    /// One over its standard deviation.
    pub precision: f64,
}

/// The function and the density, 0 in the middle.
type Table = [[f64; 2]; POINTS];

fn table() -> &'static Table {
    static TABLE: OnceLock<Box<Table>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Box::new([[0.0; 2]; POINTS]);
        let middle = POINTS / 2;
        let mut above = 0.5;
        table[middle] = [0.5, density(0.0)];
        for at in 1..=middle {
            let z = at as f64 / PER_UNIT;
            // What lies between two points, by twelve terms of the series from the nearer to the middle.
            above -= between(z - 1.0 / PER_UNIT, 1.0 / PER_UNIT);
            let beyond = if z < END { above.max(0.0) } else { 0.0 };
            table[(middle + at) % POINTS] = [1.0 - beyond, density(z)];
            table[middle - at] = [beyond, density(z)];
        }
        table
    })
}

fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt()
}

/// Integral of the density over `step` from `z` on: the derivatives are Hermite polynomials times the density.
fn between(z: f64, step: f64) -> f64 {
    let (mut before, mut hermite, mut power, mut sum) = (0.0, 1.0, step, 0.0);
    for k in 0..12 {
        sum += hermite * power;
        (before, hermite) = (hermite, -z * hermite - k as f64 * before);
        power *= step / (k + 2) as f64;
    }
    density(z) * sum
}

/// The nearest point of the table, and what lies between.
#[inline(always)]
fn nearest(table: &Table, z: f64) -> ([f64; 2], f64, f64) {
    let z = z.clamp(-END, END);
    let rounded = z * PER_UNIT + ROUND;
    let at = (rounded.to_bits() as usize).wrapping_add(POINTS / 2) % POINTS;
    let near = (rounded - ROUND) * (1.0 / PER_UNIT);
    (table[at], near, z - near)
}

/// By five terms of the series; 1e-13 off at most.
#[inline(always)]
fn below([below, density]: [f64; 2], near: f64, t: f64) -> f64 {
    let square = near * near;
    let fourth = (3.0 - square) * near * (1.0 / 24.0);
    let fifth = ((square - 6.0) * square + 3.0) * (1.0 / 120.0);
    let third = (square - 1.0) * (1.0 / 6.0);
    below + density * t * (1.0 + t * (near * -0.5 + t * (third + t * (fourth + t * fifth))))
}

/// By seven terms of an exponential series of at most 0.14; 1e-11 of it off at most.
#[inline(always)]
fn density_at([_, density]: [f64; 2], near: f64, t: f64) -> f64 {
    let x = -t * (near + 0.5 * t);
    let series = 1.0 + x * (1.0 / 6.0) * (1.0 + x * (1.0 / 7.0));
    let series = 1.0 + x * (1.0 / 4.0) * (1.0 + x * (1.0 / 5.0) * series);
    density * (1.0 + x * (1.0 + x * 0.5 * (1.0 + x * (1.0 / 3.0) * series)))
}

/// The probability that a standard normal value lies below `z`, to 1e-13. Cost: some 2 ns.
pub fn normal_below(z: f64) -> f64 {
    let (point, near, t) = nearest(table(), z);
    below(point, near, t)
}

/// Of one value at each of the points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormalAt {
    /// The probability that it lies below.
    pub below: [f64; NORMAL_POINTS],
    /// Its density there; nothing beyond 8.5 standard deviations.
    pub density: [f64; NORMAL_POINTS],
}

widest! {
    /// Multiplies into `product` the probabilities that each of the values lies below `x`. The same to the last bit on every machine, given the same table.
    pub fn multiply_normal_below(values: &[NormalValue], x: &[f64; NORMAL_POINTS], product: &mut [f64; NORMAL_POINTS]) {
        let table = table();
        let mut own = *product;
        for value in values {
            for (own, x) in own.iter_mut().zip(x) {
                let (point, near, t) = nearest(table, (x - value.mean) * value.precision);
                *own *= below(point, near, t);
            }
        }
        *product = own;
    }

    /// Writes for each of the values what it is at `x`, in place of what was in `out`.
    pub fn normals_at(values: &[NormalValue], x: &[f64; NORMAL_POINTS], out: &mut Vec<NormalAt>) {
        let table = table();
        out.clear();
        for value in values {
            let mut at = NormalAt { below: [0.0; NORMAL_POINTS], density: [0.0; NORMAL_POINTS] };
            for ((own_below, own_density), x) in at.below.iter_mut().zip(&mut at.density).zip(x) {
                let z = (x - value.mean) * value.precision;
                let (point, near, t) = nearest(table, z);
                *own_below = below(point, near, t);
                let density = density_at(point, near, t) * value.precision;
                *own_density = if z.abs() < END { density } else { 0.0 };
            }
            out.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // Abramowitz and Stegun, table 26.1, and erfc by many digits for the tails.
        for (z, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.96, 0.024_997_895_148_220_4),
            (2.33, 0.990_096_924_440_836),
            (-5.0, 2.866_515_718_791_939e-7),
            (0.2, 0.579_259_709_439_103),
        ] {
            let found = normal_below(z);
            assert!((found - expected).abs() < 1e-13, "{z}: {found} {expected}");
        }
        assert_eq!((normal_below(-40.0), normal_below(40.0)), (0.0, 1.0));
        assert_eq!(
            (normal_below(f64::NEG_INFINITY), normal_below(f64::INFINITY)),
            (0.0, 1.0)
        );
    }

    #[test]
    fn agrees_with_the_integral_of_the_density() {
        // Simpson's rule in steps of a thousandth.
        let step = 1e-3;
        let mut sum = 0.0;
        for at in 0..17_000 {
            let z = -8.5 + at as f64 * step;
            sum += step / 6.0 * (density(z) + 4.0 * density(z + step / 2.0) + density(z + step));
            let found = normal_below(z + step);
            assert!((found - sum).abs() < 2e-13, "{}: {found} {sum}", z + step);
        }
    }

    #[test]
    fn many_at_once_are_as_one() {
        let values =
            [(0.3, 2.0), (-1.0, 0.5), (4.0, 100.0)].map(|(mean, precision)| NormalValue { mean, precision });
        let x = std::array::from_fn(|at| at as f64 - 3.0);
        let mut product = [0.5; NORMAL_POINTS];
        multiply_normal_below(&values, &x, &mut product);
        let mut each = Vec::new();
        normals_at(&values, &x, &mut each);
        for at in 0..NORMAL_POINTS {
            let z = |value: &NormalValue| (x[at] - value.mean) * value.precision;
            for (value, each) in values.iter().zip(&each) {
                assert_eq!(each.below[at], normal_below(z(value)));
                let expected = density(z(value)) * value.precision;
                assert!(
                    (each.density[at] - expected).abs() <= 1e-11 * expected + 1e-14,
                    "{value:?} {}",
                    x[at]
                );
            }
            let expected: f64 = 0.5 * values.iter().map(|value| normal_below(z(value))).product::<f64>();
            assert!((product[at] - expected).abs() < 1e-16);
        }
    }

    #[test]
    fn densities_are_known_between_the_points() {
        let mut out = Vec::new();
        for at in 0..2000 {
            let x = std::array::from_fn(|lane| -8.4 + 16.8 * (at * 8 + lane) as f64 / 16_000.0);
            normals_at(
                &[NormalValue {
                    mean: 0.0,
                    precision: 1.0,
                }],
                &x,
                &mut out,
            );
            for (x, found) in x.iter().zip(out[0].density) {
                assert!((found / density(*x) - 1.0).abs() < 1e-11, "{x}: {found}");
            }
        }
    }
}
