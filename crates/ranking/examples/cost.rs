//! What a learnt ranker costs per request: features of 500 candidates for someone with a history of 200 items, and one head of 300 trees.
//!
//! `cargo run --release -p ranking --example cost`

use domain::{Candidate, HistoryEvent, Query, SourceHit, Timestamp};
use numeric::SeededStream;
use ranking::features::{FactsSource, FeatureSet, ItemCounts, ItemFacts, Known, Moment};
use std::time::Instant;
use trees::{Objective, Rows, Scorer, TreesConfig, train};

struct Facts(Vec<ItemFacts>);

impl FactsSource for Facts {
    fn facts(&self, item: u32) -> Option<&ItemFacts> {
        self.0.get(item as usize)
    }
}

fn main() {
    let (n_items, n_candidates, n_history) = (20_000u64, 500, 200);
    let mut stream = SeededStream::new(1, 0);
    let facts = (0..n_items).map(|_| {
        let mut facts = ItemFacts::added(Some(Timestamp(0)));
        facts.number("price", stream.uniform() * 100.0);
        facts.value("brand", &format!("brand {}", stream.below(200)));
        (0..3).for_each(|_| facts.value("tags", &format!("tag {}", stream.below(50))));
        facts
    });
    let facts = Facts(facts.collect());
    let day = 86_400_000;
    let now = Timestamp(20_000 * day);
    let types = ["click", "purchase", "impression"];
    let mut counts = ItemCounts::new(types);
    for _ in 0..2_000_000 {
        // Some are a hundred times as popular as others.
        let item = (n_items as f64 * stream.uniform().powi(3)) as u32;
        let at = now.0 - stream.below(31 * day as u64) as i64;
        counts.add(item, types[stream.below(3) as usize], Timestamp(at));
    }
    let history = (0..n_history).map(|at| HistoryEvent {
        item: stream.below(n_items) as u32,
        weight: 0.2 + stream.uniform() as f32,
        age_days: (n_history - at) as f32 * 0.1,
    });
    let query = Query {
        now,
        history: history.collect(),
        n: 10,
        ..Query::default()
    };
    let sources = ["blend", "als", "item-knn", "ease", "trending", "popular"].map(str::to_owned);
    let known = Known {
        sources: sources.to_vec(),
        item_numbers: vec!["price".into()],
        item_categories: vec!["brand".into()],
        item_tags: vec!["tags".into()],
        outcomes: vec!["click".into(), "purchase".into()],
        exposures: vec!["impression".into()],
        ..Known::default()
    };
    let set = FeatureSet::all(&known);
    let hit = |source: &String, rank: u32| SourceHit {
        source: source.as_str().into(),
        rank,
        score: 1.0 / rank as f32,
    };
    let candidates: Vec<Candidate> = (0..n_candidates)
        .map(|_| Candidate {
            item: stream.below(n_items) as u32,
            hits: sources
                .iter()
                .take(1 + stream.below(4) as usize)
                .map(|s| hit(s, 1 + stream.below(100) as u32))
                .collect(),
            score: 0.0,
        })
        .collect();
    let scores: Vec<f32> = candidates.iter().map(|_| stream.uniform() as f32).collect();
    let moment = Moment {
        query: &query,
        counts: &counts,
        facts: &facts,
        model_scores: &scores,
        positions: &[],
    };
    let best = |work: &mut dyn FnMut()| {
        let mut times: Vec<f64> = (0..100)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        (times[0], times[50])
    };
    let values = set.read(&moment, &candidates);
    let mut columns = Vec::new();
    let (least, median) = best(&mut || set.read_columns(&moment, &candidates, &mut columns));
    println!(
        "{} features of {n_candidates} candidates: best {least:.3} ms, median {median:.3} ms",
        set.len()
    );
    let labels: Vec<f32> = values
        .chunks(set.len())
        .map(|row| f32::from(row[0] + row[1] > 0.9))
        .collect();
    let many: Vec<f32> = values.iter().copied().cycle().take(values.len() * 20).collect();
    let labels: Vec<f32> = labels.iter().copied().cycle().take(labels.len() * 20).collect();
    let rows = Rows {
        features: set.features(),
        values: &many,
        labels: &labels,
        weights: &[],
        groups: &[],
    };
    let config = TreesConfig {
        objective: Objective::LogLoss,
        leaf_rows_min: 5,
        learning_rate: 0.02,
        ..TreesConfig::default()
    };
    let forest = train(&rows, None, &config).expect("rows are fine").forest;
    println!(
        "{} trees, {} splits",
        forest.trees().len(),
        forest.splits_by_feature().iter().sum::<u32>()
    );
    let scorer = Scorer::from(forest);
    let mut out = vec![0.0; n_candidates];
    let (least, median) = best(&mut || scorer.score_columns(&columns, &mut out));
    println!("scores of {n_candidates} candidates: best {least:.3} ms, median {median:.3} ms");
    let row = &values[..set.len()];
    let (least, median) = best(&mut || drop(scorer.forest().contributions(row)));
    println!("contributions of one candidate: best {least:.3} ms, median {median:.3} ms");
}
