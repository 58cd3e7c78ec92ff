//! How many bytes a decision takes, and how long it takes to record and to write: `cargo run --release -p feedback --example size -- [CANDIDATES] [DECISIONS] [ITEMS] [THREADS]`.
//!
//! Decisions are made up: a catalogue of 20,000 items (or `ITEMS`), some far more popular than others, four sources that propose overlapping parts of the candidates with scores of their own, 40 events of history, 10 items
//! shown with reasons. Scores are noise, as those of models are.

use domain::{
    Decision, DecisionId, DecisionItem, ItemId, PolicyRecord, Removal, Sequence, Shown, SnapshotVersion,
    SourceHit, StageReport, Timestamp, UserId,
};
use feedback::{DecisionLog, DecisionLogOptions, StoredDecision};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn unit(&mut self) -> f32 {
        self.roll(1 << 24) as f32 / (1 << 24) as f32
    }
}

fn decision(
    number: u64,
    candidates: usize,
    items: &[ItemId],
    sources: &[Arc<str>; 4],
) -> Result<StoredDecision, Box<dyn std::error::Error>> {
    let mut dice = Dice(number);
    // Some far more often than others.
    let item = |dice: &mut Dice| items[(dice.unit().powi(3) * items.len() as f32) as usize].clone();
    let mut considered = Vec::new();
    for place in 0..candidates {
        let mut hits = Vec::new();
        for (at, source) in sources.iter().enumerate() {
            // The first half from one source alone, the rest from several.
            if at == place % 4 || (place >= candidates / 2 && dice.roll(3) == 0) {
                hits.push(SourceHit {
                    source: source.clone(),
                    rank: 0,
                    score: dice.unit(),
                });
            }
        }
        considered.push(DecisionItem {
            item_id: item(&mut dice),
            score: dice.unit(),
            sources: hits,
        });
    }
    considered.sort_by(|a, b| b.score.total_cmp(&a.score));
    for source in sources {
        let mut own: Vec<&mut SourceHit> = considered
            .iter_mut()
            .flat_map(|item| &mut item.sources)
            .filter(|hit| hit.source == *source)
            .collect();
        own.sort_by(|a, b| b.score.total_cmp(&a.score));
        own.into_iter().zip(1..).for_each(|(hit, rank)| hit.rank = rank);
    }
    let shown = considered.iter().take(10).zip(1..).map(|(item, rank)| Shown {
        item_id: item.item_id.clone(),
        rank,
        score: item.score,
        propensity: f64::from(dice.unit()),
        position_propensity: Some(f64::from(dice.unit())),
        sources: item.sources.iter().map(|hit| hit.source.to_string()).collect(),
        reasons: vec!["Because you watched The Third Man".to_owned()],
        explanation: None,
    });
    let shown = shown.collect();
    let mut history = Vec::new();
    for _ in 0..40 {
        history.push((item(&mut dice), [0.2, 1.0, 0.4, 0.05][dice.roll(4) as usize]));
    }
    let mut removals = Vec::new();
    for _ in 0..20 {
        removals.push(Removal {
            item_id: item(&mut dice),
            rule: "seen".to_owned(),
            reason: "already seen".to_owned(),
        });
    }
    let report = |stage: String| StageReport {
        stage,
        input: 200,
        output: 150,
        error: None,
    };
    let stages = sources.iter().map(|source| report(format!("retrieve/{source}")));
    let stages = stages
        .chain(["rank/blend", "rerank/top", "choose/softmax", "rule/seen"].map(|s| report(s.to_owned())));
    let timings = ["retrieve/als", "retrieve/popular", "rank/blend", "total"];
    Ok(StoredDecision {
        decision: Decision {
            decision_id: DecisionId::new(format!("d018bcfe5680{number:016x}"))?,
            now: Timestamp(1_700_000_000_000 + number as i64),
            placement: "home".to_owned(),
            user_id: Some(UserId::new(format!("user-{}", dice.roll(10_000)))?),
            snapshot: SnapshotVersion::default(),
            sequence: Sequence(number),
            seed: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            config_hash: "0123abcd".to_owned(),
            n: 10,
            attributes: Default::default(),
            context: Default::default(),
            item_id: None,
            history,
            stages: stages.collect(),
            considered,
            considered_cut: 0,
            removals,
            removals_cut: 0,
            policy: Some(PolicyRecord {
                name: "softmax".to_owned(),
                version: "1-0123abcd".to_owned(),
                slate_propensity: 1e-9,
            }),
            features: None,
            rules: None,
            constraints: Vec::new(),
            page: None,
            shown,
            degraded: Vec::new(),
            arms: Vec::new(),
        },
        timings_us: timings
            .iter()
            .map(|name| ((*name).to_owned(), dice.roll(2000)))
            .collect(),
        request: Some(serde_json::json!({"recommend": {"placement": "home", "user_id": "user-1", "n": 10}})),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let candidates = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let n: u64 = arguments.next().map_or(Ok(2_000), |text| text.parse())?;
    let dir = std::env::temp_dir().join(format!("concierge-size-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let log = DecisionLog::open(
        &dir,
        DecisionLogOptions {
            retention_bytes: u64::MAX,
            ..DecisionLogOptions::default()
        },
    )?;
    // As in a catalogue, every mention of an item shares its id.
    let n_items: u64 = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let items = (0..n_items).map(|number| ItemId::new(format!("item-{number}")));
    let items: Vec<ItemId> = items.collect::<Result<_, _>>()?;
    let sources = ["als", "item-cosine", "trending", "popular"].map(Arc::from);
    let all: Vec<StoredDecision> = (0..n)
        .map(|number| decision(number, candidates, &items, &sources))
        .collect::<Result<_, _>>()?;
    let mut json = 0;
    for stored in all.iter().take(100) {
        json += serde_json::to_vec(stored)?.len();
    }
    let threads = arguments
        .next()
        .map_or(Ok(1), |text| text.parse::<usize>())?
        .max(1);
    let mut parts: Vec<Vec<StoredDecision>> = (0..threads).map(|_| Vec::new()).collect();
    for (at, stored) in all.into_iter().enumerate() {
        parts[at % threads].push(stored);
    }
    let start = Instant::now();
    let record = |part: Vec<StoredDecision>| {
        for stored in part {
            assert!(log.record(stored), "the log takes them all");
        }
        start.elapsed()
    };
    let took = std::thread::scope(|scope| {
        let all: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || record(part)))
            .collect();
        all.into_iter()
            .map(|one| one.join().expect("a thread that does not panic"))
            .sum::<Duration>()
    });
    log.flush()?;
    let written = start.elapsed();
    let bytes = log.stats().bytes;
    println!(
        "{n} decisions with {candidates} candidates: {} bytes each (as JSON {}); {:.1} us each to record on {threads} threads, {:.1} us with writing",
        bytes / n.max(1),
        json / 100,
        took.as_secs_f64() * 1e6 / n as f64,
        written.as_secs_f64() * 1e6 / n as f64
    );
    drop(log);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
