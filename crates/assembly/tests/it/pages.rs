//! Pages: rows in the order of their worth, no item twice, each a decision of its own.

use crate::world::{START, World, event, item};
use assembly::{
    CONFIG_FILE, Config, FixedClock, ItemInput, PageRequest, PageResponse, Service, ServiceError,
};
use domain::Timestamp;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const PAGES: &str = r#"
[placements.home]
n = 5

[placements.soft]
n = 5
[placements.soft.policy]
name = "softmax"
temperature = 0.5

[pages.front]
rows_max = 3

[[pages.front.rows]]
name = "because"
title = "Because you took {item}"
placement = "home"
anchors = 2

[[pages.front.rows]]
name = "for-you"
title = "For you"
placement = "home"

[[pages.front.rows]]
name = "some-even"
title = "Something else"
placement = "soft"
filter = { attribute = "kind", equals = "even" }

[[pages.front.rows]]
name = "few"
title = "Only the best"
placement = "home"
relevance_min = 1.0
items_min = 6
"#;

fn world() -> World {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join(CONFIG_FILE), PAGES).unwrap();
    let clock = Arc::new(FixedClock::at(Timestamp(START.0 + 30 * 86_400_000)));
    let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
    let world = World { dir, clock, service };
    world.fill();
    world.service.train(&|_| {}).unwrap();
    world
}

fn page(world: &World, user: &str, rows: usize) -> PageResponse {
    let request = PageRequest {
        page: "front".into(),
        user_id: Some(user.into()),
        rows: Some(rows),
        seed: Some(4),
        ..PageRequest::default()
    };
    world.service.page(&request).unwrap()
}

#[test]
fn rows_are_apart_in_order_and_recorded() {
    let world = world();
    let whole = page(&world, "user-0001", 5);
    let mut met = BTreeSet::new();
    for (at, row) in whole.rows.iter().enumerate() {
        assert!(row.slate.items.len() >= 2 && row.slate.items.len() <= 5);
        for item in &row.slate.items {
            assert!(met.insert(item.item_id.clone()), "{} stands twice", item.item_id);
        }
        let kept = world.service.decision(&row.slate.decision_id).unwrap().decision;
        let place = kept.page.unwrap();
        assert_eq!(
            (place.page_id, place.row, place.place),
            (whole.page_id.clone(), row.row.clone(), at as u32 + 1)
        );
        assert_eq!(kept.item_id.map(|id| id.as_str().to_owned()), row.item_id);
    }
    assert!(
        whole.rows.is_sorted_by(|a, b| a.value >= b.value),
        "each the best of what was left"
    );
    let names: Vec<_> = whole.rows.iter().map(|row| row.row.as_str()).collect();
    assert_eq!(
        names.iter().filter(|name| **name == "because").count(),
        2,
        "{names:?}"
    );
    assert!(names.contains(&"some-even"), "{names:?}");
    let even = whole.rows.iter().find(|row| row.row == "some-even").unwrap();
    assert!(
        even.slate
            .items
            .iter()
            .all(|i| i.item_id.ends_with(['0', '2', '4', '6', '8']))
    );
    // A row of five that wants six.
    assert!(
        whole
            .left_out
            .iter()
            .any(|row| row.row == "few" && row.reason.contains("fewer than 6"))
    );
    for row in whole.rows.iter().filter(|row| row.row == "because") {
        let about = row.item_id.as_ref().unwrap();
        assert_eq!(row.title, format!("Because you took The {about}"));
        assert!(row.slate.items.iter().all(|item| item.item_id != *about));
    }
    let again = page(&world, "user-0001", 5);
    let ids = |page: &PageResponse| -> Vec<Vec<String>> {
        let rows = page.rows.iter();
        rows.map(|row| row.slate.items.iter().map(|i| i.item_id.clone()).collect())
            .collect()
    };
    assert_eq!(ids(&whole), ids(&again), "the same seed");
    assert_ne!(whole.page_id, again.page_id);
    let short = page(&world, "user-0001", 1);
    assert_eq!(ids(&short)[0], ids(&whole)[0]);
    assert!(short.left_out.iter().any(|row| row.reason.contains("worth less")));
}

#[test]
fn a_page_never_speaks_of_what_is_hidden_and_takes_strangers() {
    let world = world();
    let about = |page: &PageResponse| -> Vec<String> {
        page.rows.iter().filter_map(|row| row.item_id.clone()).collect()
    };
    world.later(1000);
    world
        .service
        .ingest(vec![Ok(event("user-0001", "item-0020", "purchase"))])
        .unwrap();
    assert!(
        about(&page(&world, "user-0001", 5)).contains(&"item-0020".to_owned()),
        "in the next request"
    );
    let hide = ItemInput {
        hidden: true,
        ..item("item-0020", "even")
    };
    world.service.put_items(vec![Ok(hide)]).unwrap();
    let told = page(&world, "user-0001", 5);
    assert!(!about(&told).contains(&"item-0020".to_owned()));
    assert!(!format!("{told:?}").contains("item-0020"), "nowhere");
    let stranger = page(&world, "nobody-yet", 5);
    assert!(about(&stranger).is_empty() && !stranger.rows.is_empty());
    let unknown = PageRequest {
        page: "back".into(),
        ..PageRequest::default()
    };
    match world.service.page(&unknown) {
        Err(ServiceError::Input(problem)) => assert_eq!(
            (problem.field.as_str(), problem.expected.as_str()),
            ("page", "one of front")
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pages_and_orders_that_cannot_be_are_refused() {
    let check = |text: &str, expected: &str| {
        let error = Config::parse(text, Path::new("c.toml"))
            .expect_err(text)
            .to_string();
        assert!(error.contains(expected), "{text}\n{error}");
    };
    let page = |row: &str| format!("[pages.x]\n[[pages.x.rows]]\nname = \"a\"\n{row}");
    check("[pages.x]", "pages.x.rows.length: got 0, expected 1 to 20");
    check(
        &page("title = \"T\"\nplacement = \"cellar\""),
        "rows[0].placement: got \"cellar\", expected one of home",
    );
    check(
        &page("title = \"{item}\"\nplacement = \"home\""),
        "rows[0].title: got",
    );
    check(
        &page("title = \"T\"\nplacement = \"home\"\nanchors = 9"),
        "rows[0].anchors: got 9, expected 0 to 5",
    );
    check(
        "[placements.home.rerank]\nname = \"magic\"",
        "rerank.name: got \"magic\", expected one of top, mmr",
    );
    check(
        "[placements.home.rerank]\nname = \"mmr\"",
        "rerank.settings: got missing field `attributes`",
    );
    check(
        "[placements.home.reasons]\nbecause = \"{item}\"",
        "reasons.because: got \"{item}\", expected at most 200 bytes with {items}",
    );
    let window =
        "[placements.home.rerank]\nname = \"window\"\nattributes = [\"kind\"]\nwindow = 3\nmax = 1\n";
    let mmr = "[placements.home.rerank]\nname = \"mmr\"\nattributes = [\"kind\"]\n";
    let soft = "[placements.home.policy]\nname = \"softmax\"\n";
    assert!(Config::parse(window, Path::new("c")).is_ok() && Config::parse(mmr, Path::new("c")).is_ok());
    check(
        &format!("{window}{soft}"),
        "chance would put items where its bound does not hold",
    );
    check(&format!("{mmr}{soft}"), "a policy over scores forgets the order");
    let places = format!("{mmr}{soft}over = \"places\"\n");
    assert!(Config::parse(&places, Path::new("c")).is_ok());
}

/// Blocks of the guide that are marked so, in their order.
fn blocks(mark: &str) -> Vec<String> {
    let guide = include_str!("../../../../docs/guides/rules.md");
    let fence = format!("```{mark}\n");
    let found = guide.split(fence.as_str()).skip(1);
    found
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn configurations_of_the_guide_are_read() {
    let all = blocks("toml config");
    assert!(all.len() >= 5, "{}", all.len());
    for text in all {
        Config::parse(&text, Path::new("guide")).unwrap_or_else(|e| panic!("{text}\n{e}"));
    }
}

#[test]
fn nothing_is_recommended_because_of_what_was_hardly_taken_to() {
    let world = world();
    let told = |item: &str, name: &str| {
        world.later(1000);
        world
            .service
            .ingest(vec![Ok(event("somebody", item, name))])
            .unwrap();
    };
    told("item-0003", "purchase");
    told("item-0004", "purchase");
    told("item-0005", "view");
    let because = page(&world, "somebody", 5);
    let about = because
        .rows
        .iter()
        .filter(|row| row.title.starts_with("Because you took"));
    let titles: Vec<&str> = about.map(|row| row.title.as_str()).collect();
    assert_eq!(titles.len(), 2, "{titles:?}");
    assert!(titles.iter().all(|title| !title.contains("0005")), "{titles:?}");
}
