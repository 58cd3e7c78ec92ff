//! A simulated log whose truth is known: who looks where, and what suits whom.

use crate::ranker::weights;
use numeric::SeededStream;
use ranking::{
    Impression, PositionMode, RankObjective, RankRows, RankerConfig, by_expectation, by_interventions, learn,
};
use trees::{Feature, ndcg};

const PLACES: usize = 8;
const ITEMS: usize = 300;

fn theta(place: usize) -> f64 {
    1.0 / (place as f64).powf(0.8)
}

/// How well an item suits: follows its first feature alone.
fn suits(item: usize) -> f64 {
    let x = (item * 37 % ITEMS) as f64 / ITEMS as f64;
    0.05 + 0.6 * x * x
}

/// What the logging ranker goes by: nothing to do with how well it suits.
fn fancied(item: usize) -> f64 {
    (item * 101 % ITEMS) as f64 / ITEMS as f64
}

fn features_of(item: usize) -> [f32; 2] {
    [(item * 37 % ITEMS) as f32 / ITEMS as f32, fancied(item) as f32]
}

/// Slates in the order of what is fancied, with noise; if swaps are drawn, the first place is traded with another one half of the time.
fn log(n: usize, swaps: bool, seed: u64) -> (RankRows, Vec<Impression>) {
    let mut stream = SeededStream::new(seed, 0);
    let names = ["x", "fancied", "position"];
    let mut rows = RankRows {
        features: names.map(Feature::number).to_vec(),
        ..RankRows::default()
    };
    let mut clicks = Vec::new();
    let mut impressions = Vec::new();
    for _ in 0..n {
        let mut slate: Vec<(f64, usize)> = (0..PLACES)
            .map(|_| {
                let item = stream.below(ITEMS as u64) as usize;
                (fancied(item) + 0.25 * stream.normal(), item)
            })
            .collect();
        slate.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut order: Vec<(usize, usize)> = slate.iter().map(|(_, item)| *item).zip(1..).collect();
        if swaps && stream.uniform() < 0.5 {
            let other = 1 + stream.below(PLACES as u64 - 1) as usize;
            order.swap(0, other);
        }
        for (place, (item, rank)) in (1..).zip(&order) {
            let acted = stream.uniform() < theta(place) * suits(*item);
            rows.values.extend(features_of(*item));
            rows.values.push(place as f32);
            rows.positions.push(place as u32);
            clicks.push(f32::from(u8::from(acted)));
            let key = if swaps {
                (item * 100 + rank) as u64
            } else {
                *item as u64
            };
            impressions.push(Impression {
                key,
                place: place as u32,
                acted,
            });
        }
        rows.groups.push(PLACES as u32);
    }
    rows.outcomes.insert("click".to_owned(), clicks);
    (rows, impressions)
}

fn error(estimate: &[f64]) -> f64 {
    let errors = (1..=PLACES).map(|place| (estimate[place - 1] - theta(place)).abs());
    errors.fold(0.0, f64::max)
}

#[test]
fn examination_is_recovered_with_and_without_swaps() {
    // Standard errors of θ are about 0.02 at these sizes; the bounds are about four of them.
    let (_, impressions) = log(12_000, false, 1);
    let estimate = by_expectation(&impressions, 200).expect("items come at several places");
    assert!(error(&estimate) < 0.08, "{estimate:?}");
    let (_, impressions) = log(12_000, true, 2);
    let estimate = by_interventions(&impressions).expect("places are connected");
    assert!(error(&estimate) < 0.08, "{estimate:?}");
    // What is not identified is not guessed.
    let fixed: Vec<Impression> = (1..=5)
        .map(|place| Impression {
            key: u64::from(place),
            place,
            acted: place == 1,
        })
        .collect();
    assert_eq!(by_expectation(&fixed, 10), None);
    assert_eq!(by_interventions(&fixed), None);
    assert_eq!(by_expectation(&[], 10), None);
}

/// The order that slates were shown in is what a plain NDCG of clicks finds best, since what stands first is clicked. Weighed by examination it is the order of what suits.
#[test]
fn rankers_are_compared_by_what_suits_and_not_by_where_it_stood() {
    let (rows, _) = log(6000, false, 4);
    let weights = weights(&[("click", 1.0)]);
    let as_shown: Vec<f32> = rows.positions.iter().map(|place| -(*place as f32)).collect();
    // How well an item suits rises with its first feature.
    let as_it_suits = rows.column("x");
    let examination: Vec<f64> = (1..=PLACES).map(theta).collect();
    let mean = |scores: &[f32], examination: &[f64]| {
        let values = rows.ndcgs_of(scores, &weights, examination);
        numeric::mean(&values)
    };
    let plain = [mean(&as_shown, &[]), mean(&as_it_suits, &[])];
    assert!(plain[0] > plain[1] + 0.01, "{plain:?}");
    let weighed = [mean(&as_shown, &examination), mean(&as_it_suits, &examination)];
    assert!(weighed[1] > weighed[0] + 0.05 && weighed[1] <= 1.0, "{weighed:?}");
    // What would be found if everybody looked at everything.
    let mut sums = [0.0; 3];
    for (row, values) in rows.values.chunks(3).enumerate() {
        let (place, suits) = (row % PLACES, 0.05 + 0.6 * f64::from(values[0]).powi(2));
        sums[0] += suits / (place as f64 + 2.0).log2();
    }
    for slate in rows.values.chunks(3 * PLACES) {
        let mut suits: Vec<f64> = slate
            .chunks(3)
            .map(|v| 0.05 + 0.6 * f64::from(v[0]).powi(2))
            .collect();
        suits.sort_by(|a, b| b.total_cmp(a));
        let dcg = suits
            .iter()
            .enumerate()
            .map(|(rank, s)| s / (rank as f64 + 2.0).log2());
        sums[1] += dcg.sum::<f64>();
    }
    // Ratios of DCGs of two orders are those of the truth, whatever ideal both are divided by.
    let (found, truth) = (weighed[0] / weighed[1], sums[0] / sums[1]);
    assert!((found - truth).abs() < 0.04, "{found} {truth}");
}

/// NDCG@8 of a model's order of random items by how well they suit.
fn truth_found(position: PositionMode, objective: RankObjective, clip: f64) -> f64 {
    let (rows, impressions) = log(5000, false, 3);
    let config = RankerConfig {
        position,
        objective,
        clip,
        trees: 80,
        leaves: 8,
        ..RankerConfig::default()
    };
    let examination = by_expectation(&impressions, 200).expect("items come at several places");
    let (model, _) =
        learn(&rows, &weights(&[("click", 1.0)]), &config, &examination, 5).expect("there is enough");
    let mut stream = SeededStream::new(9, 0);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    let n_groups = 400;
    for _ in 0..n_groups * 20 {
        let item = stream.below(ITEMS as u64) as usize;
        values.extend(features_of(item));
        if position == PositionMode::Feature {
            values.push(1.0);
        }
        labels.push((1.0 + 10.0 * suits(item)).log2() as f32);
    }
    let scores: Vec<f64> = model.scores(&values).into_iter().map(f64::from).collect();
    ndcg(&scores, &labels, &[], &vec![20; n_groups], 8, false).expect("groups")
}

#[test]
fn what_is_learnt_with_care_for_places_is_nearer_to_the_truth() {
    for objective in [RankObjective::Outcomes, RankObjective::Order] {
        let naive = truth_found(PositionMode::None, objective, 20.0);
        let ips = truth_found(PositionMode::Ips, objective, 20.0);
        let robust = truth_found(PositionMode::DoublyRobust, objective, 20.0);
        let feature = truth_found(PositionMode::Feature, objective, 20.0);
        println!(
            "{objective:?}: naive {naive:.4}, ips {ips:.4}, doubly robust {robust:.4}, feature {feature:.4}"
        );
        assert!(ips > naive + 0.01, "{objective:?}: {naive} {ips}");
        assert!(robust > naive + 0.01, "{objective:?}: {naive} {robust}");
        assert!(feature > naive + 0.01, "{objective:?}: {naive} {feature}");
    }
}

/// Clipped at 1.5, weights leave most of the bias of places in; the imputation takes it out.
#[test]
fn an_imputation_makes_up_for_what_clipping_cuts_off() {
    let naive = truth_found(PositionMode::None, RankObjective::Outcomes, 1.5);
    let ips = truth_found(PositionMode::Ips, RankObjective::Outcomes, 1.5);
    let robust = truth_found(PositionMode::DoublyRobust, RankObjective::Outcomes, 1.5);
    println!("naive {naive:.4}, ips {ips:.4}, doubly robust {robust:.4}");
    assert!(robust > ips, "{naive} {ips} {robust}");
}
