//! `concierge demo`: a recommender of films from an empty folder.
//!
//! The data is MovieLens ml-latest-small, carried in this program under its own conditions (see
//! `demo-data/NOTE.md`): no commercial use.

use crate::bulk::Bulk;
use crate::config_file;
use crate::failure::bad_input;
use crate::folder;
use crate::output::{self, count};
use crate::serve::{self, Listening};
use crate::train;
use anyhow::Context;
use assembly::{Config, PageConfig, RecommendRequest, RowConfig, Service, TrainingConfig};
use domain::ItemId;
use import::Kind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

pub(crate) const FILMS: &[u8] = include_bytes!("../demo-data/movies.csv.gz");
const RATINGS: &[u8] = include_bytes!("../demo-data/ratings.csv.gz");
/// Says that a folder is the demo's, and how far it came.
const MARK: &str = "demo";
const READY: &str = "ready\n";
const PLACEMENT: &str = "home";
const SHOWN: usize = 8;

/// Try it on films, from an empty folder to a page
///
/// Imports MovieLens ml-latest-small, trains, shows a list with reasons, and serves:
/// 100,836 ratings of 9,742 films by 610 people, carried in this program. The data belongs to GroupLens
/// and is not for commercial use; see crates/cli/demo-data/README.txt. A second start is at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge demo --data films --listen 127.0.0.1:7800")]
pub(crate) struct Args {
    /// Data folder; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "concierge-demo")]
    data: PathBuf,
    #[command(flatten)]
    listen: serve::ListenArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let service = prepare(&args.data)?;
    let json = args.listen.json;
    if !json {
        output::line(format!("ready after {:.1} s", started.elapsed().as_secs_f64()))?;
    }
    let user = sample(&service).context("the demo has no users")?;
    if !json {
        show(&service, &user)?;
    }
    serve::until_stopped(service, &args.listen, |listening| {
        if json {
            listening.tell()
        } else {
            invite(listening, &user)
        }
    })
}

/// Makes the demo's data folder, as far as it is not made yet, and opens it.
pub(crate) fn prepare(dir: &Path) -> anyhow::Result<Arc<Service>> {
    let mark = dir.join(MARK);
    let state = std::fs::read_to_string(&mark).ok();
    if state.is_none() && !folder::is_empty(dir) {
        return Err(bad_input(
            "--data",
            format!("{}, which holds something else", dir.display()),
            "an empty folder, one that is not there yet, or the demo's",
        ));
    }
    let note =
        |text: &str| std::fs::write(&mark, text).with_context(|| format!("writing {}", mark.display()));
    if state.is_none() {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        note("importing\n")?;
    }
    if state.as_deref() != Some(READY) {
        load(dir)?;
    }
    let (service, _) = folder::open_or_create(dir)?;
    if service.status().trained_at.is_none() {
        train::with_progress(&service)?;
    }
    if state.as_deref() != Some(READY) {
        note(READY)?;
    }
    Ok(service)
}

/// The default configuration with a page of rows.
fn config() -> Config {
    let row = |name: &str, title: &str, anchors: usize| RowConfig {
        name: name.to_owned(),
        title: title.to_owned(),
        placement: "home".to_owned(),
        anchors,
        n: Some(6),
        items_min: 3,
        relevance_min: (anchors > 0).then_some(0.2),
        filter: None,
    };
    let page = PageConfig {
        rows_max: 4,
        rows: vec![
            row("for-you", "For you", 0),
            row("because", "Because you watched {item}", 3),
        ],
    };
    // Ready sooner than with all parts and as many people to judge them by; `concierge evaluate` says what the others would add.
    let parts = ["als", "item-bm25", "content", "popular"].map(|model| serde_json::json!({"model": model}));
    let training = TrainingConfig {
        model_config: Some(serde_json::json!({"parts": parts, "validation_users": 300})),
        ..TrainingConfig::default()
    };
    Config {
        pages: [("home".to_owned(), page)].into(),
        training,
        ..Config::default()
    }
}

/// Films and ratings into the folder. What is there already, as after an interruption, is not stored again.
fn load(dir: &Path) -> anyhow::Result<()> {
    config_file::write_if_absent(dir, &config())?;
    let mut bulk = Bulk::open(dir)?;
    for (kind, name, bytes) in [
        (Kind::Items, "movies.csv.gz", FILMS),
        (Kind::Events, "ratings.csv.gz", RATINGS),
    ] {
        let loaded = bulk.load_bytes(kind, name, bytes)?;
        tracing::info!(
            "{name}: {} rows in {:.1} s",
            count(loaded.summary.rows),
            loaded.seconds
        );
    }
    Ok(())
}

/// Someone with a history of middling length, always the same.
fn sample(service: &Service) -> Option<String> {
    let mut users = service.sample_users(50);
    users.sort_by_key(|(_, events)| events.abs_diff(60));
    users.into_iter().next().map(|(id, _)| id)
}

fn show(service: &Service, user: &str) -> anyhow::Result<()> {
    let status = service.status();
    output::line(format!(
        "{} ratings, {} films, {} people; models: {}",
        count(status.events),
        count(status.items),
        count(status.users),
        status
            .models
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    ))?;
    let mut liked = service.recent_events(user, 200)?;
    liked.sort_by(|a, b| b.value.unwrap_or(0.0).total_cmp(&a.value.unwrap_or(0.0)));
    let titles: Vec<String> = liked
        .iter()
        .take(3)
        .map(|event| film(service, &event.item_id))
        .collect();
    output::line(format!(
        "\nperson {user} rated {} films, most of all {}",
        liked.len(),
        titles.join("; ")
    ))?;
    let request = RecommendRequest {
        placement: PLACEMENT.to_owned(),
        user_id: Some(user.to_owned()),
        n: Some(SHOWN),
        seed: Some(1),
        ..RecommendRequest::default()
    };
    let response = service.recommend(&request)?;
    let rows = response.items.iter().map(|item| {
        vec![
            item.rank.to_string(),
            crate::recommend::title(service, &item.item_id),
            item.reasons.join("; "),
        ]
    });
    output::table(&["", "for this person", "because"], rows.collect())
}

fn film(service: &Service, id: &ItemId) -> String {
    crate::recommend::title(service, id.as_str())
}

/// Where it is, and what to try.
fn invite(listening: &Listening, user: &str) -> anyhow::Result<()> {
    let url = listening.url();
    let key = if listening.needs_key {
        " -H \"authorization: Bearer $CONCIERGE_API_KEY\""
    } else {
        ""
    };
    let json = "-H 'content-type: application/json'";
    let lines = [
        format!(
            "curl -s{key} {json} {url}/v1/recommend -d '{{\"placement\":\"{PLACEMENT}\",\"user_id\":\"{user}\",\"n\":5}}'"
        ),
        format!(
            "curl -s{key} {json} {url}/v1/events -d '{{\"user_id\":\"newcomer\",\"item_id\":\"260\",\"event_type\":\"rating\",\"value\":5}}'"
        ),
        format!(
            "curl -s{key} {json} {url}/v1/recommend -d '{{\"placement\":\"{PLACEMENT}\",\"user_id\":\"newcomer\",\"n\":5}}'"
        ),
    ];
    output::line(
        "\ntry (the second gives someone new a rating of Star Wars, the third is what follows from it):",
    )?;
    for line in lines {
        output::line(format!("  {line}"))?;
    }
    listening.tell()
}
