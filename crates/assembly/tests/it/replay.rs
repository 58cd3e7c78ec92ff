//! Decisions made again: after restarts, later events, newer models and changes of the catalogue.

use crate::world::{START, World, ask, event, ids, item};
use assembly::{
    CONFIG_FILE, Clock, EventInput, Moment, RankRequest, RecommendRequest, ReplayRequest, Service,
    ServiceError, SessionEvent,
};
use domain::{AttributeKind, EntityKind, RawAttribute, Timestamp};
use numeric::SeededStream;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const DAY_MS: i64 = 86_400_000;

/// Few events are kept of each person, so that histories overflow.
fn config(model: &str, epsilon: f64) -> String {
    format!(
        r#"history_events_max = 12
[training]
model = "{model}"
fallbacks = ["trending", "popular"]
[placements.home]
n = 6
[placements.open]
exclude_seen = false
n = 4
[placements.open.policy]
name = "epsilon-greedy"
epsilon = {epsilon}
[placements.soft.policy]
name = "softmax"
temperature = 0.5
pool = 15
[placements.soft.policy.new_items]
share = 0.3
days = 400.0
[placements.learns]
n = 3
exclude_seen = false
actions = {{ filter = {{ attribute = "kind", any = ["odd"] }} }}
policy = {{ name = "lin-ts", deviation = 0.3, draws = 64 }}
[placements.learns.bandit]
learner = "linear"
rewards = {{ click = 1.0, purchase = 3.0 }}
discount = 0.98
window_hours = 200.0
own = [{{ of = "context", name = "hour", scale = 24.0 }}]
shared = [{{ of = "score", prior = 0.1 }}, {{ of = "item", name = "price", scale = 9.0 }}, {{ of = "person", name = "age", scale = 90.0 }}]
"#
    )
}

const TYPES: [&str; 6] = [
    "purchase",
    "click",
    "view",
    "impression",
    "return",
    "never-heard-of",
];

fn some_event(stream: &mut SeededStream, now: Timestamp) -> EventInput {
    let below = |stream: &mut SeededStream, n: u64| stream.below(n);
    // A few people with much to do, and many with little.
    let user = if below(stream, 3) == 0 {
        below(stream, 3)
    } else {
        below(stream, 40)
    };
    let name = TYPES[below(stream, 6) as usize];
    EventInput {
        timestamp: (below(stream, 4) == 0)
            .then(|| Moment::Number((now.0 - below(stream, 20) as i64 * DAY_MS / 4) as f64)),
        value: (below(stream, 2) == 0).then(|| below(stream, 60) as f64),
        ..event(
            &format!("user-{user:04}"),
            &format!("item-{:04}", below(stream, 55)),
            name,
        )
    }
}

fn some_request(stream: &mut SeededStream, service: &Service) -> RecommendRequest {
    let pick = |stream: &mut SeededStream, n: u64| stream.below(n) as usize;
    let an_item = |stream: &mut SeededStream| format!("item-{:04}", pick(stream, 60));
    let mut request = ask(&format!("user-{:04}", pick(stream, 45)));
    request.placement = ["home", "open", "soft", "learns", "learns"][pick(stream, 5)].into();
    request.explain = pick(stream, 4) == 0;
    match pick(stream, 6) {
        0 => {
            request.user_id = None;
            request.session = (0..3)
                .map(|_| SessionEvent {
                    item_id: an_item(stream),
                    event_type: None,
                    timestamp: None,
                    value: None,
                })
                .collect();
        }
        1 => request.exclude = vec![an_item(stream), an_item(stream)],
        2 => request.filter = Some(json!({"attribute": "kind", "any": ["odd"]})),
        3 => request.n = Some(1 + pick(stream, 20)),
        4 => {
            let anchor = an_item(stream);
            let is_known = !service.find_items(&anchor, 1).is_empty();
            request.item_id = is_known.then_some(anchor);
            request.context = [("hour".to_owned(), RawAttribute::Number(7.0))].into();
        }
        _ => {}
    }
    request
}

/// Any history of a folder. Gives the world at its end and how many decisions were made.
fn history(seed: u64) -> (World, u64) {
    let mut stream = SeededStream::new(seed, 77);
    let model = ["blend", "item-cosine", "als", "popular"][seed as usize % 4];
    let model = if models_has(model) { model } else { "blend" };
    let mut world = World::empty();
    let fallbacks = config(model, 0.3);
    let fallbacks = if model == "popular" {
        fallbacks.replace(", \"popular\"", "")
    } else {
        fallbacks
    };
    std::fs::write(world.dir.path().join(CONFIG_FILE), &fallbacks).unwrap();
    world = world.reopened().0;
    if stream.below(4) > 0 {
        world.fill();
    }
    let mut decided = 0;
    // What somebody may answer to.
    let mut shown: Vec<(String, String, String)> = Vec::new();
    for _ in 0..60 {
        world.later(1 + stream.below(3_600_000) as i64);
        let now = world.clock.now();
        let service = &world.service;
        match stream.below(16) {
            0..=3 => {
                let batch = (0..1 + stream.below(30)).map(|_| Ok(some_event(&mut stream, now)));
                let mut batch: Vec<_> = batch.collect();
                for (user, item, decision) in std::mem::take(&mut shown) {
                    let name = TYPES[stream.below(3) as usize];
                    batch.push(Ok(EventInput {
                        decision_id: Some(decision),
                        ..event(&user, &item, name)
                    }));
                }
                service.ingest(batch).unwrap();
            }
            4 | 5 => {
                service.absorb().unwrap();
            }
            6 => {
                let items = (0..1 + stream.below(4)).map(|_| {
                    let mut put = item(
                        &format!("item-{:04}", stream.below(70)),
                        ["odd", "even"][stream.below(2) as usize],
                    );
                    put.hidden = stream.below(5) == 0;
                    let price = RawAttribute::Number(stream.below(9) as f64);
                    put.attributes.insert("price".into(), price);
                    if stream.below(8) == 0 {
                        put.attributes
                            .insert("price".into(), RawAttribute::Text("ask".into()));
                    }
                    Ok(put)
                });
                let items: Vec<_> = items.collect();
                service.put_items(items).unwrap();
            }
            7 => {
                let kind =
                    [None, Some(AttributeKind::Text), Some(AttributeKind::Tags)][stream.below(3) as usize];
                // Refused while nothing has it.
                let _ = service.fix_kind(EntityKind::Item, "title", kind);
            }
            8 => {
                // Nothing to learn from is refused.
                let _ = service.train(&|_| {});
            }
            9 => {
                let users = (0..3).map(|n| {
                    Ok(assembly::UserInput {
                        user_id: format!("user-{n:04}"),
                        attributes: [("age".to_owned(), RawAttribute::Number(stream.below(90) as f64))]
                            .into(),
                    })
                });
                let users: Vec<_> = users.collect();
                service.put_users(users).unwrap();
            }
            10 => {
                let changed =
                    fallbacks.replace("epsilon = 0.3", &format!("epsilon = 0.{}", 1 + stream.below(9)));
                std::fs::write(world.dir.path().join(CONFIG_FILE), changed).unwrap();
                world = world.reopened().0;
            }
            11 => world = world.reopened().0,
            _ => {
                for _ in 0..3 {
                    let request = some_request(&mut stream, service);
                    match service.recommend(&request) {
                        Ok(answer) => {
                            decided += 1;
                            let user = request.user_id.clone().unwrap_or_else(|| "user-0001".into());
                            let told = answer.items.iter().filter(|_| stream.below(2) == 0);
                            shown.extend(told.map(|item| {
                                (user.clone(), item.item_id.clone(), answer.decision_id.clone())
                            }));
                        }
                        Err(error) => assert!(
                            matches!(&error, ServiceError::Input(_) | ServiceError::NotFound { .. }),
                            "{error}"
                        ),
                    }
                }
                let known = service
                    .find_items("item", 5)
                    .into_iter()
                    .map(|item| item.item_id.to_string());
                let candidates: Vec<String> = known.collect();
                if !candidates.is_empty() {
                    service
                        .rank(&RankRequest {
                            candidates,
                            placement: Some("soft".into()),
                            user_id: Some("user-0001".into()),
                            session: Vec::new(),
                            explain: true,
                        })
                        .unwrap();
                    decided += 1;
                }
            }
        }
    }
    (world, decided)
}

fn models_has(name: &str) -> bool {
    assembly::learners().iter().any(|(known, _)| *known == name)
}

#[test]
fn every_decision_of_any_history_comes_out_the_same() {
    let (mut all, mut learnt) = (0, 0);
    for seed in 0..6 {
        let (world, decided) = history(seed);
        let bandits = world.service.status().bandits;
        learnt += bandits.iter().map(|bandit| bandit.rewards).sum::<u64>();
        let check = |world: &World, when: &str| {
            let report = world.service.replay_sample(usize::MAX, 1, &|_| {}).unwrap();
            assert_eq!(report.kept, decided, "seed {seed} {when}");
            assert_eq!(
                (report.identical, report.replayed),
                (decided, decided),
                "seed {seed} {when}: {report:#?}"
            );
        };
        check(&world, "as it is");
        world
            .service
            .ingest(vec![Ok(event("user-0001", "item-0001", "purchase"))])
            .unwrap();
        let _ = world.service.train(&|_| {});
        let (world, _) = world.reopened();
        check(&world, "after one more training and a restart");
        all += decided;
    }
    assert!(all > 200 && learnt > 50, "{all} decisions, {learnt} rewards");
}

#[test]
fn one_decision_is_told_part_by_part_and_what_if_shows_the_other_slate() {
    let world = World::trained();
    let answer = world.service.recommend(&ask("user-0004")).unwrap();
    world
        .service
        .ingest(vec![Ok(event("user-0004", &ids(&answer)[0], "purchase"))])
        .unwrap();
    world.service.absorb().unwrap();
    let exact = world
        .service
        .replay(&answer.decision_id, &ReplayRequest::default())
        .unwrap();
    assert!(exact.identical && exact.differences.is_empty() && exact.what_if.is_none());
    assert_eq!(exact.parts.len(), 7);
    assert!(exact.parts.iter().all(|part| part.same));
    let with = |placement: serde_json::Value| ReplayRequest {
        placement: Some(placement),
        ..ReplayRequest::default()
    };
    let other = with(json!({"policy": {"name": "epsilon-greedy", "epsilon": 1.0}, "sources": ["popular"]}));
    let report = world.service.replay(&answer.decision_id, &other).unwrap();
    let what_if = report.what_if.unwrap();
    assert!(
        !report.identical && what_if.entered > 0 && what_if.entered == what_if.left,
        "{what_if:?}"
    );
    assert_eq!(report.decision.policy.unwrap().name, "epsilon-greedy");
    assert!(
        report
            .decision
            .considered
            .iter()
            .all(|item| item.sources.iter().all(|hit| &*hit.source == "popular"))
    );
    let again = world.service.replay(&answer.decision_id, &other).unwrap();
    assert_eq!(
        again.decision.shown, report.decision.shown,
        "the seed is the recorded one"
    );
    // Today the bought item is not shown any more, then it was: but the state is that of then.
    let today = ReplayRequest {
        today: true,
        ..ReplayRequest::default()
    };
    let report = world.service.replay(&answer.decision_id, &today).unwrap();
    assert!(report.what_if.is_some());
    for bad in [
        json!({"n": 0}),
        json!({"no-such-key": 1}),
        json!({"policy": {"name": "best"}}),
    ] {
        let refused = world.service.replay(&answer.decision_id, &with(bad)).unwrap_err();
        assert!(
            matches!(&refused, ServiceError::Input(at) if at.field == "placement"),
            "{refused}"
        );
    }
    assert!(matches!(
        world.service.replay("nothing", &ReplayRequest::default()),
        Err(ServiceError::NotFound { .. })
    ));
}

/// Rules of any version in place of those of then: by hand, what each of them takes out.
#[test]
fn other_rules_are_tried_on_a_past_decision() {
    let world = World::trained();
    let put = |name: &str, kind: &str| {
        let rule = json!({"name": name, "kind": "exclude", "reason": "a test", "where": format!("\"{kind}\" in item.kind")});
        let rule = serde_json::from_value(rule).unwrap();
        world.service.put_rules(vec![rule], false).unwrap().version
    };
    let without_even = put("no-even", "even");
    let answer = world.service.recommend(&ask("user-0004")).unwrap();
    let without_both = put("no-odd", "odd");
    assert!(without_even < without_both);
    let shown = |rules: Option<u64>, today: bool| {
        let request = ReplayRequest {
            rules,
            today,
            ..ReplayRequest::default()
        };
        let report = world.service.replay(&answer.decision_id, &request).unwrap();
        assert_eq!(report.what_if.is_some(), rules.is_some() || today);
        let ids = report.decision.shown.iter().map(|item| item.item_id.to_string());
        ids.collect::<Vec<String>>()
    };
    // It is somebody who takes even ones.
    let is_even = |id: &String| id.rsplit('-').next().unwrap().parse::<u32>().unwrap() % 2 == 0;
    assert_eq!(shown(None, false), ids(&answer));
    assert!(!ids(&answer).is_empty() && !ids(&answer).iter().any(is_even));
    assert_eq!(shown(Some(without_even), false), ids(&answer));
    assert!(shown(Some(0), false).iter().any(is_even), "no rules at all");
    assert!(shown(Some(without_both), false).is_empty());
    assert!(shown(None, true).is_empty(), "today's rules are today's");
    let unknown = ReplayRequest {
        rules: Some(99),
        ..ReplayRequest::default()
    };
    assert!(matches!(
        world.service.replay(&answer.decision_id, &unknown),
        Err(ServiceError::NotFound {
            what: "version of the rules",
            ..
        })
    ));
}

fn gone(world: &World, decision: &str) -> &'static str {
    match world.service.replay(decision, &ReplayRequest::default()) {
        Err(ServiceError::Gone { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_input_that_is_gone_is_named() {
    let world = World::trained();
    let decide = |world: &World| world.service.recommend(&ask("user-0004")).unwrap().decision_id;
    let early = decide(&world);
    world
        .service
        .put_items(vec![Ok(item("one-more", "odd"))])
        .unwrap();
    world
        .service
        .ingest(vec![Ok(event("gone", "item-0003", "purchase"))])
        .unwrap();
    world.service.absorb().unwrap();
    let late = decide(&world);
    let exact = |id: &str| {
        world
            .service
            .replay(id, &ReplayRequest::default())
            .unwrap()
            .identical
    };
    assert!(exact(&early) && exact(&late));
    world.service.erase_user("gone").unwrap();
    assert_eq!(gone(&world, &late), "events");
    assert!(exact(&early), "it knew nothing of them");
    let configurations = world.dir.path().join("configurations");
    let aside = world.dir.path().join("aside");
    std::fs::rename(&configurations, &aside).unwrap();
    assert_eq!(gone(&world, &early), "configuration");
    std::fs::rename(&aside, &configurations).unwrap();
    let bundle = world.dir.path().join("models/bundle-00000001.cncg");
    std::fs::rename(&bundle, &aside).unwrap();
    assert_eq!(gone(&world, &early), "bundle");
    std::fs::rename(&aside, &bundle).unwrap();
    let positions = world.dir.path().join("positions.txt");
    let text = std::fs::read_to_string(&positions).unwrap();
    let lines: Vec<&str> = text.lines().rev().collect();
    let (world, _) = {
        let World { dir, clock, service } = world;
        drop(service);
        std::fs::write(&positions, format!("{}\n", lines.join("\n"))).unwrap();
        let (service, report) = Service::open(dir.path(), clock.clone()).unwrap();
        (World { dir, clock, service }, report)
    };
    assert_eq!(gone(&world, &early), "positions");
    std::fs::remove_dir_all(world.dir.path().join("lineage")).unwrap();
    assert_eq!(gone(&world, &early), "lineage");
}

#[test]
fn retention_of_models_prunes_what_they_were_needed_for() {
    let world = World::empty();
    std::fs::write(
        world.dir.path().join(CONFIG_FILE),
        "[training]\nmodel = \"popular\"\nfallbacks = []\nkeep = 2\nkeep_mb = 0\n",
    )
    .unwrap();
    let (world, _) = world.reopened();
    world.fill();
    let untrained = world.service.recommend(&ask("user-0004")).unwrap().decision_id;
    let mut decisions = Vec::new();
    for round in 0..4 {
        world
            .service
            .put_items(vec![Ok(item(&format!("new-{round}"), "odd"))])
            .unwrap();
        world.service.train(&|_| {}).unwrap();
        decisions.push(world.service.recommend(&ask("user-0004")).unwrap().decision_id);
    }
    let exact = |id: &str| {
        world
            .service
            .replay(id, &ReplayRequest::default())
            .is_ok_and(|report| report.identical)
    };
    assert_eq!(gone(&world, &decisions[0]), "bundle");
    assert_eq!(gone(&world, &decisions[1]), "bundle");
    assert!(exact(&decisions[2]) && exact(&decisions[3]));
    assert_eq!(gone(&world, &untrained), "lineage");
}

#[test]
fn another_configuration_is_judged_by_making_its_decisions_again() {
    let world = World::empty();
    std::fs::write(world.dir.path().join(CONFIG_FILE), config("item-cosine", 0.4)).unwrap();
    let (world, _) = world.reopened();
    world.fill();
    world.service.train(&|_| {}).unwrap();
    for round in 0..60 {
        let mut request = ask(&format!("user-{:04}", round % 40));
        request.placement = "open".into();
        let answer = world.service.recommend(&request).unwrap();
        let click = EventInput {
            decision_id: Some(answer.decision_id.clone()),
            ..event(&format!("user-{:04}", round % 40), &ids(&answer)[0], "click")
        };
        world.service.ingest(vec![Ok(click)]).unwrap();
        if round % 20 == 0 {
            world.service.absorb().unwrap();
        }
    }
    world.later(2 * DAY_MS);
    let join = assembly::JoinRequest {
        placement: "open".into(),
        rewards: [("click".to_owned(), 1.0)].into(),
        window_hours: None,
    };
    let (world, _) = world.reopened();
    // Under the configuration of then the probabilities are those recorded, to the last bit.
    let (same, report, gone) = world
        .service
        .joined_under(&join, &ReplayRequest::default())
        .unwrap();
    assert_eq!((same.len(), report.with_outcome, gone.len()), (60, 60, 0));
    assert!(
        same.iter()
            .all(|(slate, told)| told.conditionals == slate.propensities)
    );
    for (slate, told) in &same {
        let told = told.marginals.as_deref().unwrap_or_default();
        assert_eq!(told.len(), slate.shown.len());
        for (told, recorded) in told.iter().zip(&slate.position_propensities) {
            let recorded = recorded.expect("a policy with a closed form");
            assert!((told - recorded).abs() < 1e-9, "{told} {recorded}");
        }
    }
    assert!(same.iter().any(|(slate, _)| slate.propensities[0] < 0.5));
    // Under greed, certain or impossible: the best candidate that is left stands there, or not.
    let greedy = ReplayRequest {
        placement: Some(json!({"policy": {"name": "greedy"}})),
        ..ReplayRequest::default()
    };
    let (under, ..) = world.service.joined_under(&join, &greedy).unwrap();
    for (slate, target) in &under {
        let anyhow = target.marginals.as_deref().unwrap_or_default();
        for (at, chance) in target.conditionals.iter().enumerate() {
            assert_eq!(anyhow[at], f64::from(u8::from(slate.shown[at] == at as u32)));
            let best = (0u32..).find(|place| !slate.shown[..at].contains(place));
            assert_eq!(*chance, f64::from(u8::from(best == Some(slate.shown[at]))));
        }
    }
    assert!(under.iter().any(|(_, target)| target.conditionals[0] == 0.0));
    // Of sources that propose other items nothing shown is possible.
    let narrow = ReplayRequest {
        placement: Some(json!({"sources": ["recent"]})),
        ..ReplayRequest::default()
    };
    assert_eq!(world.service.joined_under(&join, &narrow).unwrap().0.len(), 60);
    let wrong = ReplayRequest {
        placement: Some(json!({"sources": 7})),
        ..ReplayRequest::default()
    };
    assert!(matches!(
        world.service.joined_under(&join, &wrong),
        Err(ServiceError::Input(at)) if at.field == "placement"
    ));
}

#[test]
fn decisions_are_found_and_what_came_of_them_is_counted() {
    use assembly::DecisionQuery;
    let world = World::empty();
    std::fs::write(
        world.dir.path().join(CONFIG_FILE),
        "[outcomes.windows]\npurchase = 72.0\n[placements.home]\n[placements.cart]\n",
    )
    .unwrap();
    let (world, _) = world.reopened();
    world.fill();
    let mut decisions = Vec::new();
    for n in 0..5 {
        world.later(1000);
        let mut request = ask(&format!("user-{n:04}"));
        request.placement = ["home", "cart"][n % 2].into();
        decisions.push(world.service.recommend(&request).unwrap());
    }
    let tell = |n: usize, event_type: &str| {
        let told = EventInput {
            decision_id: Some(decisions[n].decision_id.clone()),
            ..event(&format!("user-{n:04}"), &ids(&decisions[n])[1], event_type)
        };
        world.service.ingest(vec![Ok(told)]).unwrap();
    };
    tell(0, "click");
    tell(0, "purchase");
    world.later(2 * DAY_MS);
    // Too late for a click, in time for a purchase.
    tell(1, "click");
    tell(2, "purchase");
    let stray = EventInput {
        decision_id: Some("another".into()),
        ..event("user-0000", "item-0001", "click")
    };
    world.service.ingest(vec![Ok(stray)]).unwrap();
    let rate = world.service.join_rate();
    let told = (
        rate.decisions,
        rate.with_outcome,
        rate.events,
        rate.joined,
        rate.outside_window,
        rate.unknown,
    );
    assert_eq!(told, (5, 2, 5, 3, 1, 1));
    assert_eq!(world.service.status().outcomes, rate);
    let find = |query: DecisionQuery| {
        let page = world.service.find_decisions(&query).unwrap();
        let ids: Vec<String> = page.decisions.into_iter().map(|one| one.decision_id).collect();
        (ids, page.next)
    };
    let id = |n: usize| decisions[n].decision_id.clone();
    let all = DecisionQuery::default();
    assert_eq!(find(all.clone()), ((0..5).rev().map(id).collect(), None));
    let cart = DecisionQuery {
        placement: Some("cart".into()),
        ..all.clone()
    };
    assert_eq!(find(cart).0, [id(3), id(1)]);
    let of_user = DecisionQuery {
        user_id: Some("user-0002".into()),
        policy: Some("greedy".into()),
        ..all.clone()
    };
    assert_eq!(find(of_user).0, [id(2)]);
    let two = DecisionQuery {
        limit: Some(2),
        ..all.clone()
    };
    let (first, next) = find(two.clone());
    let (second, _) = find(DecisionQuery { after: next, ..two });
    assert_eq!([first, second].concat(), [id(4), id(3), id(2), id(1)]);
    for bad in [
        DecisionQuery {
            limit: Some(0),
            ..all.clone()
        },
        DecisionQuery {
            after: Some("x".into()),
            ..all.clone()
        },
        DecisionQuery {
            from: Some(Moment::Text("soon".into())),
            ..all.clone()
        },
    ] {
        assert!(
            matches!(world.service.find_decisions(&bad), Err(ServiceError::Input(_))),
            "{bad:?}"
        );
    }
    let exported = world.service.export_decisions(&all).unwrap();
    assert_eq!(exported.len(), 5);
    let outcomes = |n: usize| exported[4 - n].1[1].clone();
    assert_eq!(
        outcomes(0),
        [("click".to_owned(), 1), ("purchase".to_owned(), 1)].into()
    );
    assert_eq!(outcomes(1), Default::default());
    assert_eq!(outcomes(2), [("purchase".to_owned(), 1)].into());
}

/// A clock on which every look costs ten milliseconds.
struct Slow(AtomicU64);

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        Timestamp(START.0 + 31 * DAY_MS)
    }

    fn micros(&self) -> u64 {
        self.0.fetch_add(10_000, Ordering::SeqCst)
    }
}

#[test]
fn what_was_skipped_for_want_of_time_is_skipped_again() {
    let world = World::trained();
    let dir = world.dir;
    drop(world.service);
    let text = "[placements.home]\ndeadline_ms = 25\n";
    std::fs::write(dir.path().join(CONFIG_FILE), text).unwrap();
    let (service, _) = Service::open(dir.path(), Arc::new(Slow(AtomicU64::new(0)))).unwrap();
    let answer = service.recommend(&ask("user-0004")).unwrap();
    assert!(
        answer
            .degraded
            .iter()
            .any(|cut| cut.reason.contains("out of time")),
        "{:?}",
        answer.degraded
    );
    let report = service
        .replay(&answer.decision_id, &ReplayRequest::default())
        .unwrap();
    assert!(report.identical, "{:#?}", report.differences);
}
