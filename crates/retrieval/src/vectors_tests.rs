//! Tests of the index over vectors.

use super::*;
use numeric::SeededStream;
use proptest::prelude::*;

fn vector(stream: &mut SeededStream, dims: usize) -> Vec<f32> {
    let length = (0.5 * stream.normal()).exp();
    (0..dims).map(|_| (stream.normal() * length) as f32).collect()
}

/// Best n by products, ties by item.
fn best(n: usize, items: impl Iterator<Item = u32>, of: impl Fn(u32) -> f32) -> Vec<(u32, f32)> {
    numeric::top_k(n, items.map(|item| (item, of(item))))
}

fn check(index: &VectorIndex, table: &[Option<Vec<f32>>], asked: &[(Vec<f32>, usize, Option<ItemSet>)]) {
    for measure in [Measure::Product, Measure::Cosine] {
        check_by(measure, index, table, asked);
    }
}

fn check_by(
    measure: Measure,
    index: &VectorIndex,
    table: &[Option<Vec<f32>>],
    asked: &[(Vec<f32>, usize, Option<ItemSet>)],
) {
    let wanted: Vec<Wanted<'_>> = asked
        .iter()
        .map(|(vector, n, within)| Wanted {
            vector,
            n: *n,
            within: within.as_ref(),
            measure,
        })
        .collect();
    for (list, wanted) in index.shortlists(&wanted).iter().zip(&wanted) {
        let of = |item: u32| {
            let own = table[item as usize].as_ref().expect("only what is in the index");
            match measure {
                Measure::Product => numeric::dot(own, wanted.vector),
                Measure::Cosine => numeric::dot(own, wanted.vector) / numeric::norm(own),
            }
        };
        let admitted = |item: &u32| {
            let own = table[*item as usize].as_ref();
            own.is_some_and(|own| measure == Measure::Product || numeric::norm(own) > 0.0)
                && wanted.within.is_none_or(|within| within.contains(*item))
        };
        let all = || (0..table.len() as u32).filter(admitted);
        let mut sorted = list.items.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), list.items.len(), "no item twice");
        // A small set is handed back as it is, those without a length included.
        sorted.retain(|item| {
            let has_length = table[*item as usize]
                .as_ref()
                .is_some_and(|own| numeric::norm(own) > 0.0);
            measure == Measure::Product || has_length
        });
        assert!(sorted.iter().all(admitted), "nothing that was not asked for");
        if list.is_whole {
            assert_eq!(sorted, all().collect::<Vec<_>>());
        }
        assert_eq!(best(wanted.n, sorted.into_iter(), of), best(wanted.n, all(), of));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Puts, changes and removals in any order; every request gets the same as by looking at everything.
    #[test]
    fn equals_looking_at_everything(dims in 1usize..40, size in 1usize..700, seed in 0u64..10_000) {
        let mut stream = SeededStream::new(seed, 3);
        let mut table: Vec<Option<Vec<f32>>> = (0..size)
            .map(|_| (stream.uniform() < 0.9).then(|| vector(&mut stream, dims)))
            .collect();
        let mut index = VectorIndex::of(dims, 0..size as u32, |item| table[item as usize].as_deref());
        let untouched = index.clone();
        let first = table.clone();
        for _ in 0..size / 2 {
            let item = (stream.uniform() * (size as f64 + 5.0)) as usize;
            table.resize(table.len().max(item + 1), None);
            table[item] = (stream.uniform() < 0.6).then(|| vector(&mut stream, dims));
            match &table[item] {
                Some(vector) => index.put(item as u32, vector),
                None => { index.remove(item as u32); }
            }
        }
        prop_assert_eq!(index.len(), table.iter().flatten().count());
        let n_asked = 1 + (seed % 11) as usize;
        let asked: Vec<_> = (0..n_asked)
            .map(|_| {
                let share = stream.uniform();
                let set: ItemSet = (0..size as u32).filter(|_| stream.uniform() < share).collect();
                let n = (stream.uniform() * 30.0) as usize;
                (vector(&mut stream, dims), n, (stream.uniform() < 0.7).then_some(set))
            })
            .collect();
        check(&index, &table, &asked);
        check(&untouched, &first, &asked);
    }
}

/// Shares of 0.01 %, 1 %, 10 %, 50 % and all of 20,000 items with long-tailed lengths, sixteen requests in one pass.
#[test]
fn any_share_of_many_items() {
    let (dims, size) = (32, 20_000);
    let mut stream = SeededStream::new(7, 0);
    let table: Vec<_> = (0..size).map(|_| Some(vector(&mut stream, dims))).collect();
    let index = VectorIndex::of(dims, 0..size as u32, |item| table[item as usize].as_deref());
    let mut asked = Vec::new();
    for share in [0.0001, 0.01, 0.1, 0.5] {
        let set: ItemSet = (0..size as u32).filter(|_| stream.uniform() < share).collect();
        asked.extend((0..4).map(|_| (vector(&mut stream, dims), 100, Some(set.clone()))));
    }
    asked.extend((0..4).map(|_| (vector(&mut stream, dims), 100, None)));
    check(&index, &table, &asked);
}

/// Vectors in groups, so that most runs are passed over; then some move from one group to another, so that bounds widen.
#[test]
fn groups_are_passed_over_and_nothing_is_lost() {
    let (dims, size) = (16, 9_000);
    let mut stream = SeededStream::new(5, 1);
    let middles: Vec<Vec<f32>> = (0..20).map(|_| vector(&mut stream, dims)).collect();
    let mut near = |group: usize| -> Vec<f32> {
        middles[group]
            .iter()
            .map(|x| x + 0.1 * stream.normal() as f32)
            .collect()
    };
    let mut table: Vec<_> = (0..size).map(|item| Some(near(item % 20))).collect();
    let mut index = VectorIndex::of(dims, 0..size as u32, |item| table[item as usize].as_deref());
    let asked: Vec<_> = (0..6).map(|group| (near(group), 30, None)).collect();
    let rough = Rough::new(&asked[0].0, index.groups);
    let bounds = index.bounds(&rough, Measure::Product, index.used.div_ceil(RUN));
    let best = table
        .iter()
        .flatten()
        .map(|own| numeric::dot(own, &asked[0].0))
        .fold(0.0, f32::max);
    let open = bounds.iter().filter(|bound| **bound >= 0.9 * best).count();
    assert!(
        open * 4 < bounds.len(),
        "{open} of {} runs could hold the best",
        bounds.len()
    );
    check(&index, &table, &asked);
    for item in (0..size).step_by(40) {
        table[item] = Some(near((item + 7) % 20));
        index.put(item as u32, table[item].as_deref().unwrap_or_default());
    }
    check(&index, &table, &asked);
}

#[test]
fn odd_vectors() {
    let table = vec![
        Some(vec![0.0, 0.0]),
        Some(vec![1.0, 0.0]),
        Some(vec![-1.0, 1e-30]),
        None,
    ];
    let index = VectorIndex::of(2, 0..4, |item| table[item as usize].as_deref());
    let asked = |x, y, n| (vec![x, y], n, None);
    check(
        &index,
        &table,
        &[
            asked(0.0, 0.0, 2),
            asked(-1.0, 0.0, 1),
            asked(1.0, 1.0, 0),
            asked(1.0, 0.0, 9),
        ],
    );
    assert!(
        VectorIndex::new(2).shortlists(&[Wanted {
            vector: &[1.0, 2.0],
            n: 3,
            within: None,
            measure: Measure::Product,
        }])[0]
            .items
            .is_empty()
    );
}
