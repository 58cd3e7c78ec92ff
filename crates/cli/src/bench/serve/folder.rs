//! The folder that slates are asked of: made up, trained, with rules, and with a ranker that learnt from what simulated people did.

use super::people::People;
use super::{Args, FULL, LIGHT, round};
use crate::bulk::Bulk;
use crate::{folder, memory, progress};
use anyhow::ensure;
use assembly::{
    ChaosConfig, Clock as _, Config, FixedClock, PlacementConfig, RerankConfig, RuleForm, Service,
    SystemClock,
};
use dataset::Synthetic;
use domain::{Item, RawAttribute, Timestamp};
use import::Sink;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Rows put into a store at a time.
const ROWS: usize = 20_000;
const HOUR_MS: i64 = 3_600_000;
/// How long before the folder was made its events end, so that the window of the decisions that are then made has closed.
const EVENTS_END_MS: i64 = 30 * HOUR_MS;
/// When the simulated people come, before now.
const PEOPLE_COME_MS: i64 = 28 * HOUR_MS;
/// Brands of made-up items.
const BRANDS: u64 = 40;

/// Makes the folder, as far as it is not made yet, and trains models and ranker.
pub(super) fn prepare(args: &Args, dir: &Path) -> anyhow::Result<Value> {
    if folder::is_empty(dir) {
        let now = SystemClock::default().now();
        let synthetic = synthetic(args);
        let last = i64::from(synthetic.days) * 24 * HOUR_MS;
        let start = Timestamp((now.0 - EVENTS_END_MS - last) / HOUR_MS * HOUR_MS);
        crate::config_file::write_if_absent(dir, &config())?;
        fill(&Synthetic { start, ..synthetic }, &mut Bulk::open(dir)?)?;
    }
    memory::reset_peak();
    let started = Instant::now();
    let (service, _) = folder::open_or_create(folder::check(dir)?)?;
    let opened = started.elapsed().as_secs_f64();
    let mut trained = Value::Null;
    if service.status().trained_at.is_none() {
        let report = service.train(&|step| tracing::info!(step, "training"))?;
        trained = json!({ "seconds": report.seconds, "peak_memory_mb": memory::peak_mb() });
    }
    if service.rules(None)?.version == 0 {
        service.put_rules(rules()?, true)?;
    }
    let needs_ranker = !args.light && service.rankers()?.iter().all(|ranker| !ranker.in_service);
    service.close()?;
    drop(service);
    let ranker = match needs_ranker {
        true => learn_ranker(args, dir)?,
        false => Value::Null,
    };
    let (service, _) = folder::open_or_create(dir)?;
    let status = service.status();
    service.close()?;
    let models: u64 = status.models.iter().map(|(_, bytes)| bytes).sum();
    Ok(json!({
        "items": status.items,
        "users": status.users,
        "events": status.events,
        "seed": args.seed,
        "opened_seconds": round(opened),
        "models_mb": models as f64 / 1e6,
        "training": trained,
        "ranker": ranker,
    }))
}

pub(super) fn synthetic(args: &Args) -> Synthetic {
    Synthetic {
        users: args.users,
        items: args.items,
        events: args.events,
        tastes: 200,
        exponent: 0.8,
        seed: args.seed,
        ..Synthetic::default()
    }
}

/// Decisions are made and clicked on a day ago, then the ranker is learnt from them as `concierge train --ranker` does it.
fn learn_ranker(args: &Args, dir: &Path) -> anyhow::Result<Value> {
    let now = SystemClock::default().now();
    let clock = Arc::new(FixedClock::at(Timestamp(now.0 - PEOPLE_COME_MS)));
    let (service, _) = Service::open(dir, clock.clone())?;
    let started = Instant::now();
    let spinner = progress::spinner("simulated people click");
    let people = People::new(synthetic(args), args.seed);
    let clicks = people.come(&service, &clock, args.decisions)?;
    spinner.finish_and_clear();
    let came = started.elapsed().as_secs_f64();
    clock.set(now);
    let started = Instant::now();
    let report = service.train_ranker(FULL, &|step| tracing::info!(step, "learning the ranker"))?;
    service.close()?;
    ensure!(
        report.promoted && report.from == "decisions",
        "the ranker learnt from {} does not serve: {:?}, {:?}; ask for more --decisions",
        report.from,
        report.rows,
        report.comparison
    );
    Ok(json!({
        "decisions": args.decisions,
        "clicks": clicks,
        "made_seconds": round(came),
        "learnt_seconds": round(started.elapsed().as_secs_f64()),
        "trees": report.learning.heads.iter().map(|head| head.trees).sum::<usize>(),
        "comparison": report.comparison,
    }))
}

/// Two placements: the whole pipeline, and one without learnt ranker, rules and diversity. Neighbours by attributes are part of the model and
/// do not propose, since in made-up catalogues tens of thousands of items have the same attributes.
pub(super) fn config() -> Config {
    let sources = ["item-bm25", "als", "popular", "trending", "recent"];
    let light = PlacementConfig {
        sources: sources.map(str::to_owned).to_vec(),
        source_quota: 125,
        ..PlacementConfig::default()
    };
    // So slow that 300 trees do not overfit: at 0.02 the validation rows stop at 130 to 170.
    let ranker = json!({
        "kind": "trees",
        "weights": { "click": { "weight": 1.0, "min": 0.0, "max": 10.0 } },
        "learning_rate": 0.008,
        "leaf_rows_min": 50,
    });
    let diversity = json!({ "attributes": ["tastes", "brand"], "diversity": 0.2 });
    let full = PlacementConfig {
        quotas: [("item-bm25", 200), ("als", 200)]
            .map(|(name, quota)| (name.to_owned(), quota))
            .into(),
        source_quota: 75,
        rerank: RerankConfig {
            name: "mmr".to_owned(),
            settings: diversity.as_object().cloned().unwrap_or_default(),
        },
        ranker: serde_json::from_value(ranker).expect("a ranker's configuration"),
        ..light.clone()
    };
    let mut config = Config {
        placements: BTreeMap::from([(FULL.to_owned(), full), (LIGHT.to_owned(), light)]),
        chaos: Some(ChaosConfig::asked_for()),
        ..Config::default()
    };
    // The types that there are, so that no feature is of one that never comes.
    let used = ["click", "view", "cart", "purchase", "impression"];
    config
        .event_types
        .0
        .retain(|name, _| used.contains(&name.as_str()));
    config.training.every_minutes = 0;
    let part = |model: &str, settings: Value| json!({ "model": model, "config": settings });
    config.training.model_config = Some(json!({
        "parts": [
            part("item-bm25", json!({ "neighbours": 100 })),
            part("als", json!({ "epochs": 6 })),
            part("content", json!({})),
            part("popular", json!({})),
        ],
        // The weights are those that come without data: speed is what is measured here.
        "validation_users": 0,
    }));
    config
}

/// Rules of every kind, at the full placement alone.
fn rules() -> anyhow::Result<Vec<RuleForm>> {
    let rule = |name: &str, kind: &str, condition: &str, more: Value| -> anyhow::Result<RuleForm> {
        let mut form =
            json!({ "name": name, "kind": kind, "where": condition, "reason": name, "placements": [FULL] });
        let more: Map<String, Value> = more.as_object().cloned().unwrap_or_default();
        form.as_object_mut().expect("an object").extend(more);
        Ok(serde_json::from_value(form)?)
    };
    Ok(vec![
        rule("in-stock", "filter", "item.stock > 0", json!({}))?,
        rule(
            "not-too-dear",
            "exclude",
            "item.price >= 480 && context.device == \"phone\"",
            json!({}),
        )?,
        rule(
            "house-brand",
            "boost",
            "item.brand == \"brand-07\"",
            json!({ "strength": 0.3 }),
        )?,
        rule(
            "nearly-sold-out",
            "bury",
            "item.stock < 3",
            json!({ "strength": 0.5 }),
        )?,
        rule(
            "few-of-a-brand",
            "quota",
            "true",
            json!({ "max": 3, "per": "brand" }),
        )?,
        rule("some-cheap-ones", "quota", "item.price < 20", json!({ "min": 1 }))?,
        rule(
            "not-again",
            "frequency_cap",
            "true",
            json!({ "times": 3, "window_hours": 24 }),
        )?,
        rule(
            "of-the-week",
            "pin",
            "item.stock > 0",
            json!({ "slot": 5, "items": ["i000010", "i000011", "i000012"] }),
        )?,
    ])
}

/// Brand, price and stock of an item.
pub(super) fn brand_of(item: u32) -> u64 {
    numeric::mix(u64::from(item)) % BRANDS
}

pub(super) fn price_of(item: u32) -> f64 {
    let unit = numeric::mix(u64::from(item) ^ 0x9e37) as f64 / u64::MAX as f64;
    // 5 to 500, as many of each magnitude.
    (5.0 * 100f64.powf(unit) * 100.0).round() / 100.0
}

fn dressed(rank: u32, mut item: Item) -> Item {
    let stock = numeric::mix(u64::from(rank) ^ 0x5707) % 40;
    item.attributes.insert(
        "brand".to_owned(),
        RawAttribute::Text(format!("brand-{:02}", brand_of(rank))),
    );
    item.attributes
        .insert("price".to_owned(), RawAttribute::Number(price_of(rank)));
    item.attributes
        .insert("stock".to_owned(), RawAttribute::Number(stock as f64));
    item
}

fn fill(synthetic: &Synthetic, bulk: &mut Bulk) -> anyhow::Result<()> {
    let failed = |reason: String| anyhow::anyhow!("filling the folder: {reason}");
    let spinner = progress::spinner("making up items and events");
    let mut items = synthetic.items().zip(0..).map(|(item, rank)| dressed(rank, item));
    loop {
        let rows: Vec<_> = items.by_ref().take(ROWS).collect();
        if rows.is_empty() {
            break;
        }
        bulk.items(rows).map_err(failed)?;
    }
    let mut events = synthetic.events();
    loop {
        let rows: Vec<_> = events
            .by_ref()
            .take(ROWS)
            .map(|event| signals::new_event(event, true))
            .collect();
        if rows.is_empty() {
            break;
        }
        bulk.events(rows).map_err(failed)?;
    }
    spinner.finish_and_clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one_that_can_be() {
        let text = config().to_toml();
        Config::parse(&text, Path::new("concierge.toml")).expect("it parses");
        assert_eq!(rules().expect("they are forms").len(), 8);
    }

    #[test]
    fn items_differ_in_brand_and_price() {
        let brands: std::collections::BTreeSet<u64> = (0..1000).map(brand_of).collect();
        assert_eq!(brands.len(), BRANDS as usize);
        assert!(
            (0..1000)
                .map(price_of)
                .all(|price| (5.0..=500.0).contains(&price))
        );
        let cheap = (0..10_000).filter(|item| price_of(*item) < 50.0).count();
        assert!(
            (4_700..5_300).contains(&cheap),
            "half are below the middle magnitude: {cheap}"
        );
    }
}
