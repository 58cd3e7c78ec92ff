//! Steps of conjugate gradients for a diagonal plus weighted rows, (D + Σ wₖrₖrₖᵀ)x = c + Σ pₖrₖ, from a start.
//!
//! Hestenes and Stiefel (1952), "Methods of conjugate gradients for solving linear systems", preconditioned by the diagonal D: of the
//! matrix then differs from one only what the rows add, so that n rows need at most n + 1 steps, and far fewer come close. The matrix is never
//! made. Cost per step, and before the first: 2·rows·d multiplications; eight rows are gone through at a time, and come into the first-level
//! cache once for the product and the sum. Sums are taken in one order whatever the instructions, so the result is the same to the last bit.

use crate::kernels::{axpy_body, dot_body};
#[cfg(target_arch = "x86_64")]
use crate::{avx2, simd};

/// Rows of a table with what they weigh.
#[derive(Debug, Clone, Copy)]
pub struct WeightedRows<'a> {
    /// Where the rows are, one after the other.
    pub table: &'a [f32],
    /// Where each begins; what goes on beyond the weights is fetched ahead of time and not used.
    pub starts: &'a [usize],
    /// pₖ: what each adds to the right-hand side.
    pub pulls: &'a [f32],
    /// wₖ, at least zero.
    pub weights: &'a [f32],
}

impl WeightedRows<'_> {
    /// # Panics
    /// If lengths do not fit or a row is out of bounds.
    fn check(&self, d: usize) {
        assert_eq!(self.pulls.len(), self.weights.len(), "a pull per weight");
        assert!(self.weights.len() <= self.starts.len(), "a row per weight");
        let fits = |start: &usize| start.checked_add(d).is_some_and(|end| end <= self.table.len());
        assert!(self.starts[..self.weights.len()].iter().all(fits), "row bounds");
    }
}

/// Scratch space.
#[derive(Debug, Default, Clone)]
pub struct ApproachRoom {
    residual: Vec<f32>,
    direction: Vec<f32>,
    image: Vec<f32>,
    inverse: Vec<f32>,
}

/// Improves `x` by so many steps; the diagonal is above zero, `constant` is c.
///
/// # Panics
/// If lengths do not fit or a row is out of bounds.
pub fn approach(
    x: &mut [f32],
    diagonal: &[f32],
    constant: &[f32],
    rows: WeightedRows<'_>,
    steps: usize,
    room: &mut ApproachRoom,
) {
    let d = x.len();
    assert!(diagonal.len() == d && constant.len() == d, "as long as x");
    rows.check(d);
    for part in [
        &mut room.residual,
        &mut room.direction,
        &mut room.image,
        &mut room.inverse,
    ] {
        part.resize(d, 0.0);
    }
    #[cfg(target_arch = "x86_64")]
    if simd::available() {
        // SAFETY: the machine has the features, which is all that the call asks for.
        return unsafe { approach_avx512(x, diagonal, constant, rows, steps, room) };
    }
    #[cfg(target_arch = "x86_64")]
    if avx2::available() {
        // SAFETY: as above.
        return unsafe { approach_avx2(x, diagonal, constant, rows, steps, room) };
    }
    approach_plain(x, diagonal, constant, rows, steps, room);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn approach_avx512(
    x: &mut [f32],
    diagonal: &[f32],
    constant: &[f32],
    rows: WeightedRows<'_>,
    steps: usize,
    room: &mut ApproachRoom,
) {
    let project = |first: bool, x: &[f32], out: &mut [f32]| simd::project(rows, first, x, out);
    let dot = |a: &[f32], b: &[f32]| simd::dot(a, b);
    approach_body(x, diagonal, constant, steps, room, project, dot);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn approach_avx2(
    x: &mut [f32],
    diagonal: &[f32],
    constant: &[f32],
    rows: WeightedRows<'_>,
    steps: usize,
    room: &mut ApproachRoom,
) {
    let project = |first: bool, x: &[f32], out: &mut [f32]| avx2::project(rows, first, x, out);
    let dot = |a: &[f32], b: &[f32]| avx2::dot(a, b);
    approach_body(x, diagonal, constant, steps, room, project, dot);
}

fn approach_plain(
    x: &mut [f32],
    diagonal: &[f32],
    constant: &[f32],
    rows: WeightedRows<'_>,
    steps: usize,
    room: &mut ApproachRoom,
) {
    let project = |first: bool, x: &[f32], out: &mut [f32]| project_body(rows, first, x, out);
    approach_body(x, diagonal, constant, steps, room, project, dot_body);
}

/// out ← out + Σ (pₖ − wₖ(rₖ·x))rₖ the first time, and Σ wₖ(rₖ·x)rₖ after that.
#[inline(always)]
fn project_body(rows: WeightedRows<'_>, first: bool, x: &[f32], out: &mut [f32]) {
    let terms = rows.pulls.iter().zip(rows.weights);
    for (start, (pull, weight)) in rows.starts.iter().zip(terms) {
        let row = &rows.table[*start..start + x.len()];
        let product = weight * dot_body(row, x);
        axpy_body(if first { pull - product } else { product }, row, out);
    }
}

#[inline(always)]
fn approach_body(
    x: &mut [f32],
    diagonal: &[f32],
    constant: &[f32],
    steps: usize,
    room: &mut ApproachRoom,
    project: impl Fn(bool, &[f32], &mut [f32]),
    dot: impl Fn(&[f32], &[f32]) -> f32,
) {
    let (residual, direction, image) = (&mut room.residual, &mut room.direction, &mut room.image);
    let inverse = &mut room.inverse;
    for (inverse, g) in inverse.iter_mut().zip(diagonal) {
        *inverse = 1.0 / g;
    }
    for (((r, c), g), x) in residual.iter_mut().zip(constant).zip(diagonal).zip(x.iter()) {
        *r = c - g * x;
    }
    project(true, x, residual);
    for ((p, r), inverse) in direction.iter_mut().zip(residual.iter()).zip(inverse.iter()) {
        *p = r * inverse;
    }
    let mut left = dot(residual, direction);
    for step in 0..steps {
        if left.is_nan() || left <= 1e-20 {
            break;
        }
        for ((q, g), p) in image.iter_mut().zip(diagonal).zip(direction.iter()) {
            *q = g * p;
        }
        project(false, direction, image);
        let length = left / dot(direction, image);
        if !(length.is_finite() && length > 0.0) {
            break;
        }
        axpy_body(length, direction, x);
        if step + 1 == steps {
            break;
        }
        axpy_body(-length, image, residual);
        // The image is not needed any more: it becomes the residual over the diagonal.
        for ((z, r), inverse) in image.iter_mut().zip(residual.iter()).zip(inverse.iter()) {
            *z = r * inverse;
        }
        let now = dot(residual, image);
        let share = now / left;
        left = now;
        for (p, z) in direction.iter_mut().zip(image.iter()) {
            *p = share.mul_add(*p, *z);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededStream;
    use proptest::prelude::*;

    struct Case {
        table: Vec<f32>,
        starts: Vec<usize>,
        pulls: Vec<f32>,
        weights: Vec<f32>,
        diagonal: Vec<f32>,
        constant: Vec<f32>,
        x: Vec<f32>,
    }

    fn case(d: usize, n: usize, seed: u64) -> Case {
        let mut stream = SeededStream::new(seed, 5);
        let mut drawn = |n: usize| (0..n).map(|_| stream.normal() as f32).collect::<Vec<f32>>();
        let above = |x: Vec<f32>| x.into_iter().map(|x| 0.1 + x.abs()).collect::<Vec<f32>>();
        Case {
            table: drawn(d * 40),
            // More than there are weights: what comes next.
            starts: (0..n + 20).map(|at| at * 7 % 40 * d).collect(),
            pulls: drawn(n),
            weights: above(drawn(n)),
            diagonal: above(drawn(d)),
            constant: drawn(d),
            x: drawn(d),
        }
    }

    type Way = fn(&mut [f32], &[f32], &[f32], WeightedRows<'_>, usize, &mut ApproachRoom);

    /// Those that this machine has.
    fn by_hand() -> Vec<Way> {
        let mut ways: Vec<Way> = vec![approach];
        #[cfg(target_arch = "x86_64")]
        if avx2::available() {
            // SAFETY: the machine has the features.
            ways.push(|x, g, c, rows, steps, room| unsafe { approach_avx2(x, g, c, rows, steps, room) });
        }
        ways
    }

    impl Case {
        fn rows(&self) -> WeightedRows<'_> {
            WeightedRows {
                table: &self.table,
                starts: &self.starts,
                pulls: &self.pulls,
                weights: &self.weights,
            }
        }

        fn after(&self, steps: usize, way: Way) -> Vec<f32> {
            let mut x = self.x.clone();
            let zeros = || vec![0f32; x.len()];
            let mut room = ApproachRoom {
                residual: zeros(),
                direction: zeros(),
                image: zeros(),
                inverse: zeros(),
            };
            way(
                &mut x,
                &self.diagonal,
                &self.constant,
                self.rows(),
                steps,
                &mut room,
            );
            x
        }

        /// The largest part of the residual, in double precision.
        fn residual(&self, x: &[f32]) -> f64 {
            let d = x.len();
            let mut left: Vec<f64> = (0..d)
                .map(|i| f64::from(self.constant[i]) - f64::from(self.diagonal[i]) * f64::from(x[i]))
                .collect();
            for (k, weight) in self.weights.iter().enumerate() {
                let row = &self.table[self.starts[k]..self.starts[k] + d];
                let product: f64 = row
                    .iter()
                    .zip(x)
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum();
                let factor = f64::from(self.pulls[k]) - f64::from(*weight) * product;
                left.iter_mut()
                    .zip(row)
                    .for_each(|(left, r)| *left += factor * f64::from(*r));
            }
            left.iter().fold(0.0, |most, left| most.max(left.abs()))
        }
    }

    proptest! {
        #[test]
        fn wide_and_plain_agree_to_the_last_bit(d in 1usize..70, n in 0usize..30, seed in 0u64..1000) {
            let case = case(d, n, seed);
            let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
            for steps in [0, 1, 3] {
                for way in by_hand() {
                    prop_assert_eq!(bits(case.after(steps, way)), bits(case.after(steps, approach_plain)));
                }
            }
        }

        #[test]
        fn enough_steps_solve_it(d in 1usize..40, n in 0usize..20, seed in 0u64..1000) {
            let case = case(d, n, seed);
            let before = case.residual(&case.x);
            let after = case.residual(&case.after(80, approach));
            prop_assert!(after < 2e-3 * (1.0 + before), "{} {}", before, after);
        }
    }

    #[test]
    fn without_rows_one_step_divides_by_the_diagonal() {
        let mut case = case(5, 0, 1);
        case.diagonal = vec![2.0; 5];
        let expected: Vec<f32> = case.constant.iter().map(|c| c / 2.0).collect();
        let found = case.after(1, approach);
        assert!(
            found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{found:?} {expected:?}"
        );
    }

    #[test]
    #[should_panic(expected = "row bounds")]
    fn a_row_beyond_the_table_is_refused() {
        let mut case = case(8, 3, 1);
        case.starts[2] = 39 * 8 + 1;
        case.after(1, approach);
    }
}
