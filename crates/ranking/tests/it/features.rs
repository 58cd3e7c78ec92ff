//! Every family by hand.

use domain::{Candidate, HistoryEvent, Query, RawAttribute, SourceHit, Timestamp};
use ranking::features::{
    CONTEXT_FAMILIES, FAMILIES, FactsSource, FeatureSet, ItemCounts, ItemFacts, Known, Moment,
};

const DAY: i64 = 86_400_000;

pub(crate) struct Facts(pub(crate) Vec<ItemFacts>);

impl FactsSource for Facts {
    fn facts(&self, item: u32) -> Option<&ItemFacts> {
        self.0.get(item as usize)
    }
}

/// Five films with prices and genres.
pub(crate) fn films() -> Facts {
    let film = |price: f64, genres: &[&str], studio: &str| {
        let mut facts = ItemFacts::added(Some(Timestamp(0)));
        facts.number("price", price);
        genres.iter().for_each(|genre| facts.value("genres", genre));
        facts.value("studio", studio);
        facts
    };
    Facts(vec![
        film(10.0, &["drama"], "a"),
        film(20.0, &["drama", "war"], "a"),
        film(30.0, &["comedy"], "b"),
        film(10.0, &["comedy", "war"], "b"),
        ItemFacts::default(),
    ])
}

pub(crate) fn known() -> Known {
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<String>>();
    Known {
        sources: words(&["popular", "als"]),
        item_numbers: words(&["price"]),
        item_categories: words(&["studio"]),
        item_tags: words(&["genres"]),
        user_categories: words(&["country"]),
        user_numbers: words(&["age"]),
        outcomes: words(&["click", "purchase"]),
        exposures: words(&["impression"]),
    }
}

fn event(item: u32, weight: f32, age_days: f32) -> HistoryEvent {
    HistoryEvent {
        item,
        weight,
        age_days,
    }
}

#[test]
fn every_family_says_what_it_should() {
    // A Tuesday, 18:00.
    let now = Timestamp(19_675 * DAY + DAY * 3 / 4);
    let query = Query {
        now,
        history: vec![
            event(3, -1.0, 9.0),
            event(0, 3.0, 7.0),
            event(2, 1.0, 0.01),
            event(1, 1.0, 0.001),
        ],
        user_attributes: [("age".to_owned(), RawAttribute::Number(33.0))].into(),
        context: [("device".to_owned(), RawAttribute::Text("phone".into()))].into(),
        anchor: Some(1),
        ..Query::default()
    };
    let mut counts = ItemCounts::new(["click", "impression"]);
    let at = |days_ago: i64| Timestamp(now.0 - days_ago * DAY);
    for _ in 0..10 {
        counts.add(1, "impression", at(0));
        counts.add(2, "impression", at(3));
    }
    counts.add(1, "click", at(0));
    counts.add(1, "click", at(3));
    counts.add(1, "click", at(20));
    counts.add(2, "click", at(3));
    // After the moment: counts for nobody.
    counts.add(1, "click", Timestamp(now.0 + DAY));
    let hit = |source: &str, rank| SourceHit {
        source: source.into(),
        rank,
        score: 0.5,
    };
    let candidates = [
        Candidate {
            item: 1,
            hits: vec![hit("als", 4), hit("popular", 40)],
            score: 0.0,
        },
        Candidate {
            item: 2,
            ..Candidate::default()
        },
        Candidate {
            item: 4,
            ..Candidate::default()
        },
    ];
    let facts = films();
    let moment = Moment {
        query: &query,
        counts: &counts,
        facts: &facts,
        model_scores: &[2.0, 1.0, 0.0],
        positions: &[3, 1, 2],
    };
    let nan = f32::NAN;
    // Clicks per impression over all items in 7 days: 3 of 20.
    let rate = |own: f32, shown: f32| (own + 20.0 * 0.15) / (shown + 20.0);
    let expected: &[(&str, [f32; 3])] = &[
        ("model_score", [2.0, 1.0, 0.0]),
        ("source_score:als", [0.5, nan, nan]),
        ("source_rank:popular", [40.0, nan, nan]),
        ("sources", [2.0, 0.0, 0.0]),
        ("best_rank", [4.0, nan, nan]),
        ("fused_rank", [1.0 / 64.0 + 0.01, 0.0, 0.0]),
        ("position", [3.0, 1.0, 2.0]),
        ("item_number:price", [20.0, 30.0, nan]),
        ("item_age_days", [19_675.75, 19_675.75, nan]),
        ("user_number:age", [33.0; 3]),
        ("hour", [18.0; 3]),
        ("weekday", [1.0; 3]),
        ("count:click:1", [2f32.ln(), 0.0, 0.0]),
        ("count:click:7", [3f32.ln(), 2f32.ln(), 0.0]),
        ("count:click:30", [4f32.ln(), 2f32.ln(), 0.0]),
        ("count:purchase:30", [nan; 3]),
        (
            "rate:click:impression:7",
            [rate(2.0, 10.0), rate(1.0, 10.0), rate(0.0, 0.0)],
        ),
        (
            "trend:click",
            [
                (1.5f32 / 2.0 / (3.5 / 30.0)).ln(),
                (0.5f32 / 2.0 / (1.5 / 30.0)).ln(),
                (0.25f32 * 60.0).ln(),
            ],
        ),
        ("history_items", [5f32.ln(); 3]),
        ("history_strength", [1.0; 3]),
        ("days_since_event", [0.001; 3]),
        ("events_within:7", [2.0; 3]),
        ("session_items", [2.0; 3]),
        ("item_strength", [1.0, 1.0, 0.0]),
        ("item_days_since", [0.001, 0.01, nan]),
        // Of 5: drama 4, war 1, comedy 1.
        ("affinity:genres", [0.5, 0.2, nan]),
        ("affinity:studio", [0.8, 0.2, nan]),
        ("affinity_session:genres", [0.5, 0.5, nan]),
        ("dislike:genres", [0.5, 1.0, nan]),
        // Prices 10 (3), 30 (1), 20 (1): mean 16, deviation 8.
        ("usual:price", [0.5, 1.75, nan]),
        ("anchor_share:genres", [1.0, 0.0, nan]),
    ];
    for (name, expected) in expected {
        let got = FeatureSet::new(&[name])
            .expect("a feature")
            .read(&moment, &candidates);
        for (got, expected) in got.iter().zip(expected) {
            let same = (got - expected).abs() <= 1e-5 * expected.abs().max(1.0)
                || (got.is_nan() && expected.is_nan());
            assert!(same, "{name}: {got}, expected {expected}");
        }
    }
    let categories = ["item_category:studio", "context_category:device"];
    let set = FeatureSet::new(&categories).expect("features");
    let values = set.read(&moment, &candidates);
    assert!(values[0] != values[2] && values[4].is_nan(), "{values:?}");
    assert!(values[1] == values[3] && values[1] >= 0.0);
    let set = FeatureSet::new(&["affinity_recent:genres"]).expect("a feature");
    let faded = set.read(&moment, &candidates)[1];
    assert!(faded > 0.2 && faded < 0.5, "the drama is a week old: {faded}");
}

#[test]
fn every_family_has_features_and_names_are_definitions() {
    let set = FeatureSet::all(&known());
    let names = set.names();
    for family in FAMILIES {
        let prefix = format!("{}:", family.name);
        let has = names
            .iter()
            .any(|name| name == family.name || name.starts_with(&prefix));
        assert!(has || family.name == "context_number", "{}", family.name);
    }
    assert!((45..=255).contains(&names.len()), "{}", names.len());
    assert_eq!(
        FeatureSet::new(&names).expect("they are features").features(),
        set.features()
    );
    for wrong in [
        "nonsense",
        "affinity",
        "count:click",
        "count:click:0",
        "count:click:99",
        "hour:7",
        "events_within:x",
    ] {
        assert!(FeatureSet::new(&[wrong]).is_err(), "{wrong}");
    }
    assert!(FeatureSet::new(&["hour", "hour"]).is_err());
}

#[test]
fn rows_without_context_keep_all_else() {
    for name in CONTEXT_FAMILIES {
        assert!(
            FAMILIES.iter().any(|family| family.name == *name),
            "{name} is a family"
        );
    }
    let rows = ranking::RankRows {
        features: ["hour", "count:click:7", "affinity_session:kind", "affinity:kind"]
            .map(trees::Feature::number)
            .to_vec(),
        values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        groups: vec![2],
        weights: vec![1.0, 9.0],
        ..ranking::RankRows::default()
    };
    let left = rows.without(CONTEXT_FAMILIES);
    let names: Vec<&str> = left.features.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["count:click:7", "affinity:kind"]);
    assert_eq!(left.values, [2.0, 4.0, 6.0, 8.0]);
    assert_eq!((left.groups, left.weights), (rows.groups, rows.weights));
}
