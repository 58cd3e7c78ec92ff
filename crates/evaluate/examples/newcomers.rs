//! Judges learners by people of whom nothing was learnt, asked after their first events for what comes next.
//!
//! ```text
//! cargo run --release -p evaluate --example newcomers -- PAIRS.tsv USERS.tsv NAME[:{json}] ...
//! ```
//! PAIRS has no header; a line is `user<TAB>item<TAB>seconds`. USERS has a header and a line per user, `user<TAB>value...`, each value a category; `-` for no file. One of `OF`
//! (10) people, drawn by hash, is held out of training; those of them with at least `LEAST` (41) events are asked after each of `LENGTHS` (0,1,2,3,5,10,20) events. Prints NDCG@20 / Recall@20 of
//! the ten events that follow; of the ten after the longest length, which are the same for all lengths, by the first events and by as many right before; and of the last twenty. `THREADS` and `SEED` (1) are read from the environment.

#[path = "common/learner.rs"]
mod learner;

use evaluate::{Inputs, MetricSet, Prepared, Protocol, Row, measure, prepare};
use models::UserFeatures;
use numeric::{hash_bytes, mix};
use signals::TypedValue;
use std::collections::BTreeMap;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

/// Events that follow, and last ones, that are looked for.
const NEXT: usize = 10;
const LAST: usize = 20;

/// What is looked for after so many events.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    /// What follows them.
    Next,
    /// What follows the longest length, after the first events.
    AfterFirst,
    /// The same, after those right before it.
    AfterLatest,
    /// The end.
    Last,
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [pairs, users, learners @ ..] = args.as_slice() else {
        return Err("expected PAIRS USERS NAME[:{json}] ...".into());
    };
    let given = |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let threads: usize = given("THREADS", "2").parse()?;
    let seed: u64 = given("SEED", "1").parse()?;
    let of: u64 = given("OF", "10").parse()?;
    let least: usize = given("LEAST", "41").parse()?;
    let lengths = given("LENGTHS", "0,1,2,3,5,10,20");
    let lengths: Vec<usize> = lengths.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let longest = lengths.iter().max().copied().unwrap_or(0);
    let people = histories(pairs)?;
    let features = attributes(users)?;
    let is_held = |user: &str| {
        let drawn = mix(hash_bytes(user.as_bytes()) ^ seed.wrapping_mul(77));
        drawn.checked_rem(of) == Some(0)
    };
    let (held, trained): (Vec<_>, Vec<_>) = people.into_iter().partition(|(user, _)| is_held(user));
    let train: Vec<Row> = trained.into_iter().flat_map(|(_, rows)| rows).collect();
    let asked = |rows: &&Vec<Row>| rows.len() >= least.max(longest + NEXT).max(LAST);
    let asked: Vec<&Vec<Row>> = held.iter().map(|(_, rows)| rows).filter(asked).collect();
    let case = |length: usize, asked_for: Asked| -> Result<Prepared, Failure> {
        let start = if asked_for == Asked::AfterLatest {
            longest - length
        } else {
            0
        };
        let wanted = |rows: &&Vec<Row>| {
            let (from, n) = match asked_for {
                Asked::Next => (length, NEXT),
                Asked::AfterFirst | Asked::AfterLatest => (longest, NEXT),
                Asked::Last => (rows.len() - LAST, LAST),
            };
            rows[from..from + n].to_vec()
        };
        Ok(prepare(Inputs {
            train: train.clone(),
            valid: asked
                .iter()
                .flat_map(|rows| rows[start..start + length].to_vec())
                .collect(),
            test: asked.iter().flat_map(wanted).collect(),
            user_features: features.clone(),
            allow_overlap: true,
            ..Inputs::default()
        })?)
    };
    let cases = |asked_for: Asked| {
        lengths
            .iter()
            .map(|length| case(*length, asked_for))
            .collect::<Result<Vec<_>, _>>()
    };
    let cases = [
        ("next ten", cases(Asked::Next)?),
        ("ten after the longest, by the first", cases(Asked::AfterFirst)?),
        ("the same, by the latest", cases(Asked::AfterLatest)?),
        ("last twenty", cases(Asked::Last)?),
    ];
    let set = MetricSet::new(&[20], false)?;
    for learner in learners {
        let started = Instant::now();
        let model =
            learner::learner(learner)?.fit(&cases[0].1[0].training, &models::Run::new(seed, threads))?;
        println!(
            "{learner}, {} people, fit {:.1} s",
            asked.len(),
            started.elapsed().as_secs_f64()
        );
        for (what, cases) in &cases {
            print!("  {what}");
            for (length, prepared) in lengths.iter().zip(cases) {
                let found = measure(&*model, prepared, &set, &Protocol::Full, seed, threads, &|_| {})?;
                let of = |name: &str| found.metrics[name].mean;
                print!("  {length}: {:.4} / {:.4}", of("ndcg@20"), of("recall@20"));
            }
            println!();
        }
    }
    Ok(())
}

/// Rows by user in order of time, equal moments in an order drawn by hash.
fn histories(path: &str) -> Result<BTreeMap<String, Vec<Row>>, Failure> {
    let mut people: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for (at, line) in std::fs::read_to_string(path)?.lines().enumerate() {
        let wrong = || format!("{path}, line {}: expected user, item and seconds", at + 1);
        let mut fields = line.split('\t');
        let (Some(user), Some(item), Some(seconds)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(wrong().into());
        };
        let row = Row {
            user: domain::UserId::new(user).map_err(|_| wrong())?,
            item: domain::ItemId::new(item).map_err(|_| wrong())?,
            value: None,
            timestamp: domain::Timestamp(seconds.parse::<i64>().map_err(|_| wrong())?.saturating_mul(1_000)),
        };
        people.entry(user.to_owned()).or_default().push(row);
    }
    for (user, rows) in &mut people {
        let own = hash_bytes(user.as_bytes());
        rows.sort_by_key(|row| {
            (
                row.timestamp.0,
                mix(own ^ hash_bytes(row.item.as_str().as_bytes())),
            )
        });
    }
    Ok(people)
}

/// What is known of users; all columns are categories.
fn attributes(path: &str) -> Result<BTreeMap<domain::UserId, UserFeatures>, Failure> {
    if path == "-" {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').skip(1).collect();
    let one = |line: &str| -> Result<_, Failure> {
        let mut fields = line.split('\t');
        let user = domain::UserId::new(fields.next().unwrap_or_default()).map_err(|e| e.to_string())?;
        let values = fields.map(|value| TypedValue::Category(value.to_owned()));
        let named = names.iter().map(|name| (*name).to_owned());
        Ok((user, named.zip(values).collect()))
    };
    lines.map(one).collect()
}
