//! The order in which vectors are laid out, so that those that lie near each other stand together.
//!
//! Items are cut in two again and again, down to runs: across the axis along which the vectors of a part differ most (the first principal axis of a
//! sample, by a few steps of power iteration), or by their lengths where these differ more or no axis stands out. Spaces of learnt factors have tastes, and then most runs
//! are far from any one request; spaces without end up ordered by length.
//!
//! Cost: a pass over the vectors for each of log₂(items / run) levels. Nothing is random: the same vectors give the same order.

use numeric::{dot, norm};

/// Vectors of a part that its axis is worked out from.
const SAMPLE: usize = 256;
/// An axis stands out if the vectors differ along it so many times as much as along axes on average; in a sample without any, the first reaches 2.25
/// with 64 numbers (Marchenko and Pastur 1967).
const STANDS_OUT: f32 = 3.0;
/// Steps of power iteration.
const STEPS: usize = 6;

/// Items in order; each run of `run` (the last one may be shorter) holds items that lie near each other. `vector` gives the numbers of each.
pub(crate) fn arranged<'v>(mut items: Vec<u32>, run: usize, vector: &impl Fn(u32) -> &'v [f32]) -> Vec<u32> {
    let mut keyed: Vec<(f32, u32)> = Vec::new();
    let mut open = vec![(0, items.len())];
    while let Some((start, end)) = open.pop() {
        let part = start..end;
        if part.len() <= run {
            continue;
        }
        // Whole runs on the left, so that only the very last run can be short.
        let half = (part.len().div_ceil(run) / 2) * run;
        let own = &mut items[part];
        let axis = axis(own, vector);
        keyed.clear();
        keyed.extend(own.iter().map(|item| {
            let key = match &axis {
                Some(axis) => dot(vector(*item), axis),
                // Longest first.
                None => -norm(vector(*item)),
            };
            (key, *item)
        }));
        keyed.select_nth_unstable_by(half, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (own, (_, item)) in own.iter_mut().zip(&keyed) {
            *own = *item;
        }
        open.push((start, start + half));
        open.push((start + half, end));
    }
    items
}

/// The axis along which these vectors differ most; `None` if it does not stand out, or if their lengths differ more.
fn axis<'v>(items: &[u32], vector: &impl Fn(u32) -> &'v [f32]) -> Option<Vec<f32>> {
    let step = items.len().div_ceil(SAMPLE);
    let sample: Vec<&[f32]> = items.iter().step_by(step).map(|item| vector(*item)).collect();
    let n = sample.len() as f32;
    let dims = sample[0].len();
    let mut mean = vec![0f32; dims];
    sample
        .iter()
        .for_each(|own| numeric::axpy(1.0 / n, own, &mut mean));
    // Begins where the sample reaches farthest from its middle.
    let from_mean = |own: &[f32]| -> Vec<f32> { own.iter().zip(&mean).map(|(a, b)| a - b).collect() };
    let whole: f32 = sample
        .iter()
        .map(|own| from_mean(own))
        .map(|own| dot(&own, &own))
        .sum();
    let far = sample
        .iter()
        .map(|own| from_mean(own))
        .max_by(|a, b| norm(a).total_cmp(&norm(b)))?;
    let mut axis = far;
    let mut spread = 0.0;
    for _ in 0..STEPS {
        let length = norm(&axis);
        if length <= f32::MIN_POSITIVE {
            return None;
        }
        axis.iter_mut().for_each(|a| *a /= length);
        let middle = dot(&mean, &axis);
        let mut next = vec![0f32; dims];
        spread = 0.0;
        for own in &sample {
            let along = dot(own, &axis) - middle;
            spread += along * along;
            numeric::axpy(along, own, &mut next);
        }
        // Σ along is 0 but for rounding, so taking the mean off each vector first would add nothing.
        axis = next;
    }
    let lengths: Vec<f32> = sample.iter().map(|own| norm(own)).collect();
    let middle = lengths.iter().sum::<f32>() / n;
    let of_lengths: f32 = lengths
        .iter()
        .map(|length| (length - middle) * (length - middle))
        .sum();
    let length = norm(&axis);
    let stands_out = spread * dims as f32 > STANDS_OUT * whole;
    if !stands_out || of_lengths >= spread || length <= f32::MIN_POSITIVE || !length.is_finite() {
        return None;
    }
    axis.iter_mut().for_each(|a| *a /= length);
    Some(axis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;

    /// Four tight groups far from each other: runs of the size of a group hold one group each.
    #[test]
    fn groups_come_apart() {
        let mut stream = SeededStream::new(3, 1);
        let mut corners = [[0f32; 16]; 4];
        (corners[0][0], corners[1][0], corners[1][1]) = (9.0, -9.0, 1.0);
        (corners[2][1], corners[2][2], corners[3][2]) = (9.0, 1.0, -9.0);
        let table: Vec<Vec<f32>> = (0..64)
            .map(|at| {
                corners[at % 4]
                    .iter()
                    .map(|x| x + 0.1 * stream.normal() as f32)
                    .collect()
            })
            .collect();
        let order = arranged((0..64).collect(), 16, &|item| table[item as usize].as_slice());
        for run in order.chunks(16) {
            assert!(run.iter().all(|item| item % 4 == run[0] % 4), "{run:?}");
        }
    }

    /// Directions that are alike everywhere: the lengths decide, the longest come first.
    #[test]
    fn without_groups_the_lengths_decide() {
        let table: Vec<Vec<f32>> = (0..100u32)
            .map(|at| {
                let length = 1.0 + (at * 37 % 100) as f32;
                (0..16)
                    .map(|dim| if dim == at % 16 { length } else { 0.0 })
                    .collect()
            })
            .collect();
        let order = arranged((0..100).collect(), 30, &|item| table[item as usize].as_slice());
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        let shortest = |half: &[u32]| {
            half.iter()
                .map(|item| norm(&table[*item as usize]))
                .fold(f32::MAX, f32::min)
        };
        let longest = |half: &[u32]| {
            half.iter()
                .map(|item| norm(&table[*item as usize]))
                .fold(0.0, f32::max)
        };
        assert!(shortest(&order[..60]) > longest(&order[60..]));
    }

    #[test]
    fn odd_parts() {
        let none: [u32; 0] = [];
        let zeros = vec![0f32; 4];
        assert_eq!(arranged(Vec::new(), 4, &|_| zeros.as_slice()), none);
        let mut all = arranged((0..11).collect(), 4, &|_| zeros.as_slice());
        all.sort_unstable();
        assert_eq!(all, (0..11).collect::<Vec<_>>());
    }
}
