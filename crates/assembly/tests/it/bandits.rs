//! Placements that learn from rewards: what they learn, that it lasts, and that it can be learnt again from the logs.

use crate::world::{START, World, ask, event, ids, item};
use assembly::{
    BanditStatus, EventInput, FixedClock, RecommendRequest, RecommendResponse, ReplayRequest, SampleReport,
    Service, doctor,
};
use domain::{RawAttribute, Timestamp};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const CONFIG: &str = r#"
[training]
model = "popular"
fallbacks = []

[placements.home]

[placements.offer]
n = 1
exclude_seen = false
actions = { items = ["mug", "pen", "cap"] }
policy = { name = "lin-ucb", alpha = 0.5 }
[placements.offer.bandit]
learner = "linear"
rewards = { click = 1.0 }
window_hours = 1.0
own = [{ of = "context", name = "device", values = ["phone", "desk"] }]

[placements.banner]
n = 2
exclude_seen = false
actions = { filter = { attribute = "kind", any = ["even"] } }
policy = { name = "beta-thompson" }
[placements.banner.bandit]
learner = "counts"
rewards = { click = 1.0 }
window_hours = 1.0
"#;

fn open(dir: &TempDir, clock: &Arc<FixedClock>) -> Arc<Service> {
    Service::open(dir.path(), clock.clone()).unwrap().0
}

fn shop() -> World {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("concierge.toml"), CONFIG).unwrap();
    let clock = Arc::new(FixedClock::at(START));
    let service = open(&dir, &clock);
    let kinds = ["mug", "pen", "cap", "book", "lamp"]
        .iter()
        .zip(["even", "odd"].iter().cycle());
    let items = kinds.map(|(id, kind)| Ok(item(id, kind)));
    service.put_items(items.collect()).unwrap();
    World { dir, clock, service }
}

fn on(placement: &str, device: &str, seed: u64) -> RecommendRequest {
    RecommendRequest {
        placement: placement.into(),
        context: [("device".to_owned(), RawAttribute::Text(device.into()))].into(),
        seed: Some(seed),
        ..ask("someone")
    }
}

fn clicked(answer: &RecommendResponse, at: usize) -> EventInput {
    EventInput {
        decision_id: Some(answer.decision_id.clone()),
        ..event("someone", &answer.items[at].item_id, "click")
    }
}

/// On phones mugs are clicked, on desks pens; nothing else ever is.
fn live(world: &World, rounds: u64) {
    for round in 0..rounds {
        world.later(60_000);
        let device = if round % 2 == 0 { "phone" } else { "desk" };
        let answer = world.service.recommend(&on("offer", device, round)).unwrap();
        let wanted = if device == "phone" { "mug" } else { "pen" };
        if answer.items[0].item_id == wanted {
            // Told twice, as after a retry with another id: counts once.
            let again = EventInput {
                event_id: Some(format!("again-{round}")),
                ..clicked(&answer, 0)
            };
            world
                .service
                .ingest(vec![Ok(clicked(&answer, 0)), Ok(again)])
                .unwrap();
        }
        let banner = world.service.recommend(&on("banner", device, round)).unwrap();
        if let Some(at) = banner.items.iter().position(|item| item.item_id == "cap") {
            world.service.ingest(vec![Ok(clicked(&banner, at))]).unwrap();
        }
        world.service.absorb().unwrap();
    }
}

/// A copy of a data folder.
fn copied(from: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let to = TempDir::new().unwrap();
    copy(from, to.path());
    to
}

/// How the learners stand, without the check of contexts, which is kept for a while.
fn standing(service: &Service) -> Vec<BanditStatus> {
    let plain = |bandit: BanditStatus| BanditStatus {
        contexts: None,
        ..bandit
    };
    service.status().bandits.into_iter().map(plain).collect()
}

/// What is shown with which probability, for some seeds.
fn shown(service: &Service) -> Vec<(Vec<String>, Vec<f64>)> {
    let requests = (900..920).flat_map(|seed| {
        [
            on("offer", "phone", seed),
            on("offer", "desk", seed),
            on("banner", "desk", seed),
        ]
    });
    let answers = requests.map(|request| service.recommend(&request).unwrap());
    let told = answers.map(|answer| {
        (
            ids(&answer),
            answer.items.iter().map(|item| item.propensity).collect(),
        )
    });
    told.collect()
}

fn close_to(a: &[(Vec<String>, Vec<f64>)], b: &[(Vec<String>, Vec<f64>)]) {
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.0, b.0);
        let near = a.1.iter().zip(&b.1).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near, "{a:?} {b:?}");
    }
}

#[test]
fn offers_learn_who_wants_what_and_keep_it() {
    let world = shop();
    live(&world, 120);
    let of = |device: &str| ids(&world.service.recommend(&on("offer", device, 1)).unwrap());
    assert_eq!(
        (of("phone"), of("desk")),
        (vec!["mug".to_owned()], vec!["pen".to_owned()])
    );
    let status = world.service.status();
    let offer = status
        .bandits
        .iter()
        .find(|bandit| bandit.placement == "offer")
        .unwrap();
    // What never looks best need not be tried.
    assert!(
        (2..=3).contains(&offer.actions) && offer.sequence == status.sequence,
        "{offer:?}"
    );
    assert!(
        offer.decisions >= 120 && offer.rewards > 60 && offer.rewards <= 120,
        "{offer:?}"
    );
    // Two indicators that never change sides span no half-space: greedy is not safe.
    assert!(!offer.contexts.as_ref().unwrap().greedy_is_safe);
    // The record names the state that was used.
    let policy = world
        .service
        .recommend(&on("offer", "desk", 2))
        .unwrap()
        .policy
        .unwrap();
    assert_eq!(policy.name, "lin-ucb");
    assert!(
        policy.version.contains(&format!("-s{}-", offer.sequence)),
        "{}",
        policy.version
    );

    let World { dir, clock, service } = world;
    service.close().unwrap();
    let told = standing(&service);
    drop(service);
    let found = doctor(dir.path());
    assert!(found.ok(), "{found:?}");
    let about = found
        .checks
        .iter()
        .find(|check| check.name == "what offer has learnt")
        .unwrap();
    assert!(about.detail.contains("exploration is needed"), "{about:?}");
    // From the file; from the logs alone; from the logs, since the file is damaged.
    let (kept, bare, damaged) = (copied(dir.path()), copied(dir.path()), copied(dir.path()));
    std::fs::remove_dir_all(bare.path().join("bandits")).unwrap();
    for file in std::fs::read_dir(damaged.path().join("bandits")).unwrap() {
        std::fs::write(file.unwrap().path(), b"nonsense").unwrap();
    }
    let services = [&kept, &bare, &damaged].map(|dir| open(dir, &clock));
    for service in &services {
        assert_eq!(standing(service), told);
    }
    assert_eq!(services[2].status().warnings.len(), 2);
    let answers = services.map(|service| shown(&service));
    close_to(&answers[0], &answers[1]);
    close_to(&answers[0], &answers[2]);
}

#[test]
fn a_crash_loses_nothing_that_the_logs_have() {
    let world = shop();
    live(&world, 40);
    // The file is written here, and not again.
    world.service.close().unwrap();
    live(&world, 40);
    let told = standing(&world.service);
    let World { dir, clock, service } = world;
    // The decision log writes what it has when it is dropped; the learners do not.
    drop(service);
    let (stale, bare) = (copied(dir.path()), copied(dir.path()));
    std::fs::remove_dir_all(bare.path().join("bandits")).unwrap();
    let services = [&stale, &bare].map(|dir| open(dir, &clock));
    for service in &services {
        assert_eq!(standing(service), told);
    }
    let answers = services.map(|service| shown(&service));
    close_to(&answers[0], &answers[1]);
}

#[test]
fn only_actions_are_shown_and_rewards_count_within_the_window() {
    let world = shop();
    let many = RecommendRequest {
        n: Some(10),
        ..on("offer", "desk", 1)
    };
    let answer = world.service.recommend(&many).unwrap();
    let mut all = ids(&answer);
    all.sort_unstable();
    assert_eq!(all, ["cap", "mug", "pen"]);
    let banner = RecommendRequest {
        placement: "banner".into(),
        ..many
    };
    let mut even = ids(&world.service.recommend(&banner).unwrap());
    even.sort_unstable();
    assert_eq!(even, ["cap", "lamp", "mug"]);
    let rewards = || {
        world
            .service
            .status()
            .bandits
            .iter()
            .map(|bandit| bandit.rewards)
            .sum::<u64>()
    };
    let tell = |event: EventInput| {
        world.service.ingest(vec![Ok(event)]).unwrap();
        world.service.absorb().unwrap();
        rewards()
    };
    assert_eq!(tell(clicked(&answer, 0)), 1);
    // Not shown, of no decision, of a type that is worth nothing, too late: nothing.
    let other = EventInput {
        item_id: "book".into(),
        ..clicked(&answer, 0)
    };
    assert_eq!(tell(other), 1);
    assert_eq!(tell(event("someone", "mug", "click")), 1);
    let cart = EventInput {
        event_type: "cart".into(),
        ..clicked(&answer, 1)
    };
    assert_eq!(tell(cart), 1);
    world.clock.set(Timestamp(START.0 + 3_600_001));
    assert_eq!(tell(clicked(&answer, 1)), 1);
    // Forgotten with the person.
    let answer = world.service.recommend(&on("offer", "desk", 5)).unwrap();
    world.service.absorb().unwrap();
    world.service.erase_user("someone").unwrap();
    assert!(
        world
            .service
            .status()
            .bandits
            .iter()
            .all(|bandit| bandit.open == 0)
    );
    assert_eq!(tell(clicked(&answer, 0)), 1);
}

#[test]
fn what_cannot_be_learnt_is_refused_by_name() {
    let check = |change: (&str, &str), says: &str| {
        let text = CONFIG.replacen(change.0, change.1, 1);
        assert_ne!(text, CONFIG);
        let error = assembly::Config::parse(&text, std::path::Path::new("c.toml"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{change:?}: {error}");
    };
    check(
        ("lin-ucb\", alpha = 0.5", "lin-ucb\", alpha = -1.0"),
        "alpha: got -1",
    );
    check(("lin-ucb\", alpha", "lin-ucb\", beta"), "unknown field `beta`");
    check(
        ("lin-ucb\", alpha", "lin-ucb\", over = \"places\", alpha"),
        "over: got \"places\"",
    );
    check(
        ("name = \"lin-ucb\", alpha = 0.5", "name = \"best\""),
        "got \"best\", expected one of greedy",
    );
    check(("learner = \"linear\"", "learner = \"counts\""), "expected");
    check(
        ("rewards = { click = 1.0 }", "rewards = { clack = 1.0 }"),
        "rewards.clack: got clack",
    );
    check(
        ("window_hours = 1.0", "window_hours = 0.0"),
        "window_hours: got 0",
    );
    check(
        ("items = [\"mug\", \"pen\", \"cap\"]", "items = []"),
        "actions: got",
    );
    check(("of = \"context\", name", "of = \"item\", name"), "own[0].of");
    check(("own = [{", "colour = 1\nown = [{"), "unknown field `colour`");
    check(
        ("name = \"beta-thompson\"", "name = \"lin-ts\""),
        "a learner that is linear",
    );
}

#[test]
fn a_placement_starts_from_what_models_say_and_rewards_overrule_it() {
    let world = shop();
    let World { dir, clock, service } = world;
    service.close().unwrap();
    drop(service);
    let own = "own = [{ of = \"context\", name = \"device\", values = [\"phone\", \"desk\"] }]";
    let text = CONFIG.replacen(own, "shared = [{ of = \"score\", prior = 0.1 }]", 1);
    assert_ne!(text, CONFIG);
    std::fs::write(
        dir.path().join("concierge.toml"),
        text.replace("alpha = 0.5", "alpha = 0.1"),
    )
    .unwrap();
    let service = open(&dir, &clock);
    let bought = |item: &str, n: usize| {
        (0..n)
            .map(move |at| Ok(event(&format!("{item}-{at}"), item, "purchase")))
            .collect()
    };
    service.ingest(bought("pen", 9)).unwrap();
    service.ingest(bought("cap", 2)).unwrap();
    service.train(&|_| {}).unwrap();
    let world = World { dir, clock, service };
    let top = |seed: u64| {
        let answer = world.service.recommend(&on("offer", "desk", seed)).unwrap();
        (ids(&answer).remove(0), answer)
    };
    // Nothing tried yet: what sells best stands first.
    assert_eq!(top(0).0, "pen");
    // Nobody clicks it; everybody clicks the cap.
    let mut last = Vec::new();
    for round in 1..80 {
        world.later(60_000);
        let (first, answer) = top(round);
        if first == "cap" {
            world.service.ingest(vec![Ok(clicked(&answer, 0))]).unwrap();
        }
        world.service.absorb().unwrap();
        last.push(first);
    }
    assert_eq!(last[70..], vec!["cap".to_owned(); 9][..]);
}

#[test]
fn a_look_at_what_would_be_shown_is_no_trial() {
    let world = shop();
    let trials = |world: &World| -> Vec<u64> {
        world.service.absorb().unwrap();
        standing(&world.service)
            .iter()
            .map(|status| status.trials)
            .collect()
    };
    for seed in 0..5 {
        world.service.preview(&on("offer", "phone", seed)).unwrap();
    }
    assert_eq!(trials(&world), [0, 0]);
    world.service.recommend(&on("offer", "phone", 9)).unwrap();
    assert_eq!(trials(&world), [0, 1]);
}

/// Every decision kept, made again.
fn all_again(service: &Service) -> SampleReport {
    let report = service.replay_sample(usize::MAX, 1, &|_| {}).unwrap();
    assert_eq!(
        report.replayed + report.gone.values().sum::<u64>(),
        report.kept,
        "{report:?}"
    );
    report
}

#[test]
fn decisions_that_learnt_state_chose_come_out_the_same() {
    let world = shop();
    live(&world, 40);
    // The folder as a kill would leave it: nothing was closed.
    let killed = copied(world.dir.path());
    let again = all_again(&open(&killed, &world.clock));
    assert_eq!(
        (again.identical, again.kept, again.gone.len()),
        (80, 80, 0),
        "{again:?}"
    );
    // After a restart, a model, a generation that ends for its age, and more events.
    let World { dir, clock, service } = world;
    service.close().unwrap();
    drop(service);
    let world = World {
        service: open(&dir, &clock),
        dir,
        clock,
    };
    let files = || {
        std::fs::read_dir(world.dir.path().join("bandits"))
            .unwrap()
            .count()
    };
    let before = files();
    world.later(25 * 3_600_000);
    live(&world, 40);
    assert!(files() > before);
    world.service.train(&|_| {}).unwrap();
    live(&world, 10);
    let again = all_again(&world.service);
    assert_eq!(
        (again.identical, again.kept, again.gone.len()),
        (180, 180, 0),
        "{again:?}"
    );
    // Whoever only looks leaves nothing behind.
    let looked = copied(world.dir.path());
    let count = || std::fs::read_dir(looked.path().join("bandits")).unwrap().count();
    drop(open(&looked, &world.clock));
    let before = count();
    for _ in 0..3 {
        let service = open(&looked, &world.clock);
        service.preview(&on("offer", "desk", 1)).unwrap();
        service.close().unwrap();
    }
    assert_eq!(count(), before);
    // What was learnt is what chose: without the journal nothing can be said, and it is.
    let bare = copied(world.dir.path());
    std::fs::remove_dir_all(bare.path().join("bandits")).unwrap();
    let again = all_again(&open(&bare, &world.clock));
    assert_eq!(again.gone, [("learner".to_owned(), 180)].into());
    // A journal that is cut short tells the beginning.
    let cut = copied(world.dir.path());
    for file in std::fs::read_dir(cut.path().join("bandits")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "journal") {
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }
    }
    let service = open(&cut, &world.clock);
    live(
        &World {
            service: service.clone(),
            dir: copied(cut.path()),
            clock: world.clock.clone(),
        },
        5,
    );
    let again = all_again(&service);
    assert_eq!(again.identical, again.replayed);
    assert!(again.replayed > 60 && again.gone["learner"] > 60, "{again:?}");
}

#[test]
fn what_a_placement_had_learnt_answers_what_if() {
    let world = shop();
    live(&world, 4);
    let asked = on("offer", "phone", 7);
    let answer = world.service.recommend(&asked).unwrap();
    live(&world, 60);
    let again = |placement: serde_json::Value, today: bool| {
        let request = ReplayRequest {
            placement: Some(placement),
            today,
            ..ReplayRequest::default()
        };
        world.service.replay(&answer.decision_id, &request)
    };
    // The same policy by another way: the belief is that of then.
    let same = again(serde_json::json!({ "policy": { "alpha": 0.5 } }), false).unwrap();
    assert_eq!(same.what_if.unwrap().moved, 0);
    assert_eq!(same.decision.shown[0].propensity, 1.0);
    // Draws from the same belief, and from that of today, which is surer.
    let draws = serde_json::json!({ "policy": { "name": "lin-ts", "deviation": 0.5 } });
    let chance = |today: bool| {
        let report = again(draws.clone(), today).unwrap();
        let mug = report
            .decision
            .shown
            .iter()
            .find(|shown| shown.item_id.as_str() == "mug");
        mug.map_or(0.0, |shown| shown.propensity)
    };
    assert!(chance(true) > chance(false), "{} {}", chance(true), chance(false));
    let other = serde_json::json!({ "bandit": { "rewards": { "cart": 1.0 } } });
    let error = again(other, false).unwrap_err().to_string();
    assert!(error.contains("placement.bandit"), "{error}");
}

#[test]
fn someone_erased_takes_along_what_was_learnt_from_them() {
    let world = shop();
    live(&world, 20);
    let other = RecommendRequest {
        user_id: Some("other".to_owned()),
        ..on("offer", "desk", 3)
    };
    world.service.recommend(&other).unwrap();
    world.service.absorb().unwrap();
    world.service.erase_user("other").unwrap();
    let holds = |name: &str| {
        let files = std::fs::read_dir(world.dir.path().join("bandits")).unwrap();
        let mut all = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        all.any(|bytes| {
            let frames = bytes.windows(4).enumerate();
            let mut starts = frames.filter(|(_, window)| *window == [0x28, 0xb5, 0x2f, 0xfd]);
            starts.any(|(at, _)| {
                let mut text = Vec::new();
                let _ = std::io::Read::read_to_end(
                    &mut zstd::Decoder::new(&bytes[at..]).unwrap().single_frame(),
                    &mut text,
                );
                String::from_utf8_lossy(&text).contains(name)
            })
        })
    };
    assert!(!holds("\"other\"") && holds("someone"));
    let again = all_again(&world.service);
    // The offers go with the person, the banners, which were never shown to them, stay.
    assert_eq!((again.identical, again.gone["learner"]), (20, 20), "{again:?}");
    live(&world, 5);
    assert_eq!(all_again(&world.service).identical, 30);
}
