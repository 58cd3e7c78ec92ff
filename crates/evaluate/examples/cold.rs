//! Judges learners by people and items that they know little or nothing of, with nothing else linked in.
//!
//! ```text
//! cargo run --release -p evaluate --example cold -- PROTOCOL TRAIN.tsv TEST.tsv ITEMS.tsv USERS.tsv NAME[:{json}] ...
//! ```
//! PROTOCOL is one of `full`, `unseen-item`, `few-shot-item`, `unseen-user`, `few-shot-user`, the item ones with `/all` to rank within the
//! whole catalogue instead of the held-out items, all with `@SHARE` for the share held out (0: items without training rows). TRAIN and TEST are as for
//! `split`. ITEMS and USERS have a header `id<TAB>name:kind…` with kinds `tags`, `category`, `number`, `text`; values of
//! tags are separated by `|`; `-` for no file. Prints NDCG@20, Recall@20 and Recall@100 for each case. `THREADS`, `SEED`
//! and `SHOTS` (0,1,2,3,5,10,20) are read from the environment.

#[path = "common/learner.rs"]
mod learner;
#[path = "common/rows.rs"]
mod rows;

use evaluate::{Among, Inputs, MetricSet, Protocol, Scheme, measure};
use signals::TypedValue;
use std::collections::BTreeMap;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [protocol, train, test, items, users, learners @ ..] = args.as_slice() else {
        return Err("expected PROTOCOL TRAIN TEST ITEMS USERS NAME[:{json}] ...".into());
    };
    let given = |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let threads: usize = given("THREADS", "2").parse()?;
    let seed: u64 = given("SEED", "0").parse()?;
    let shots = given("SHOTS", "0,1,2,3,5,10,20");
    let shots: Vec<usize> = shots.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let features = attributes(items)?
        .into_iter()
        .map(|(id, a)| Ok((domain::ItemId::new(&id).map_err(|e| e.to_string())?, a)));
    let people = attributes(users)?
        .into_iter()
        .map(|(id, a)| Ok((domain::UserId::new(&id).map_err(|e| e.to_string())?, a)));
    let inputs = Inputs {
        train: rows::rows(train)?,
        test: rows::rows(test)?,
        features: features.collect::<Result<_, String>>()?,
        user_features: people.collect::<Result<_, String>>()?,
        allow_overlap: true,
        ..Inputs::default()
    };
    let cases = scheme(protocol, shots)?.cases(inputs, seed)?;
    let set = MetricSet::new(&[20, 100], false)?;
    for learner in learners {
        let trainer = learner::learner(learner)?;
        let mut fitted: Option<(std::sync::Arc<dataset::Interactions>, Box<dyn models::Model>)> = None;
        for case in &cases {
            let started = Instant::now();
            let data = &case.prepared.training;
            if !fitted
                .as_ref()
                .is_some_and(|(of, _)| std::sync::Arc::ptr_eq(of, &data.interactions))
            {
                let model = trainer.fit(data, &models::Run::new(seed, threads))?;
                fitted = Some((data.interactions.clone(), model));
            }
            let seconds = started.elapsed().as_secs_f64();
            let Some((_, model)) = &fitted else { continue };
            let measured = measure(
                model.as_ref(),
                &case.prepared,
                &set,
                &Protocol::Full,
                seed,
                threads,
                &|_| {},
            )?;
            let of = |name: &str| measured.metrics[name].mean;
            println!(
                "{learner}\t{}\t{} users\tndcg@20 {:.4}\trecall@20 {:.4}\trecall@100 {:.4}\tfit {seconds:.1} s",
                case.label,
                case.prepared.users.len(),
                of("ndcg@20"),
                of("recall@20"),
                of("recall@100"),
            );
        }
    }
    Ok(())
}

fn scheme(text: &str, shots: Vec<usize>) -> Result<Scheme, Failure> {
    let (text, share) = match text.split_once('@') {
        Some((text, share)) => (text, share.parse()?),
        None => (text, 0.1),
    };
    let (name, among) = match text.strip_suffix("/all") {
        Some(name) => (name, Among::All),
        None => (text, Among::HeldOut),
    };
    Ok(match name {
        "full" => Scheme::Everyone,
        "unseen-item" => Scheme::UnseenItem { share, among },
        "few-shot-item" => Scheme::FewShotItem { share, shots, among },
        "unseen-user" => Scheme::UnseenUser {
            share,
            history: 1.0,
            beside: false,
        },
        "few-shot-user" => Scheme::FewShotUser {
            share,
            shots,
            following: false,
        },
        other => return Err(format!("no protocol {other}").into()),
    })
}

/// Attributes by id.
fn attributes(path: &str) -> Result<BTreeMap<String, BTreeMap<String, TypedValue>>, Failure> {
    if path == "-" {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines();
    let header: Vec<(&str, &str)> = lines
        .next()
        .ok_or("an empty file")?
        .split('\t')
        .skip(1)
        .map(|column| {
            column
                .split_once(':')
                .ok_or_else(|| format!("{path}: expected name:kind, got {column}"))
        })
        .collect::<Result<_, _>>()?;
    let mut all = BTreeMap::new();
    for line in lines {
        let mut cells = line.split('\t');
        let id = cells.next().unwrap_or_default().to_owned();
        let mut own = BTreeMap::new();
        for ((name, kind), cell) in header.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
            let value = match *kind {
                "tags" => TypedValue::Tags(cell.split('|').map(str::to_owned).collect()),
                "number" => TypedValue::Number(cell.parse()?),
                "text" => TypedValue::Text(cell.to_owned()),
                _ => TypedValue::Category(cell.to_owned()),
            };
            own.insert((*name).to_owned(), value);
        }
        all.insert(id, own);
    }
    Ok(all)
}
