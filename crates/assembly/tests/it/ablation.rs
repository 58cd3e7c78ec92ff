//! What steps and parts are worth, on worlds where the answer is known.

use crate::world::{START, World, event, item};
use assembly::{
    AblationReport, AblationRequest, EventInput, Measured, Moment, PartFigures, Problem, ServiceError,
};
use numeric::SeededStream;

const KINDS: [&str; 4] = ["film", "book", "game", "song"];
const HOUR_MS: i64 = 3_600_000;
const PEOPLE: usize = 160;
const ITEMS: usize = 80;

fn request() -> AblationRequest {
    AblationRequest {
        placement: "home".into(),
        k: 5,
        users_max: 500,
        earlier_share: 0.7,
        diversity: None,
    }
}

fn measured(world: &World) -> AblationReport {
    world.service.ablation(&request(), &|_| {}).unwrap()
}

fn part<'a>(report: &'a AblationReport, name: &str) -> &'a Measured<PartFigures> {
    &report
        .parts
        .iter()
        .find(|part| part.part == name)
        .unwrap()
        .figures
}

/// Why a part is not measured.
fn why(report: &AblationReport, name: &str) -> String {
    match part(report, name) {
        Measured::NotMeasured(why) => why.clone(),
        Measured::Measured(figures) => panic!("{name}: {figures:?}"),
    }
}

fn item_name(n: usize) -> String {
    format!("item-{n:04}")
}

/// An event so many hours after the start.
fn at(hours: i64, person: usize, item: usize, event_type: &str) -> Result<EventInput, Problem> {
    Ok(EventInput {
        timestamp: Some(Moment::Number((START.0 + hours * HOUR_MS) as f64)),
        ..event(&format!("user-{person:04}"), &item_name(item), event_type)
    })
}

/// First everyone clicks on items of all kinds alike and dismisses some of three kinds; then one after the other purchases what is of the fourth. So only
/// dismissals tell what someone will take.
fn world_of_dislikes() -> World {
    let world = World::empty();
    let items = (0..ITEMS).map(|n| Ok(item(&item_name(n), KINDS[n % 4])));
    world.service.put_items(items.collect()).unwrap();
    let mut events = Vec::new();
    for person in 0..PEOPLE {
        let mut stream = SeededStream::new(5, person as u64);
        let liked = person % 4;
        let mut draw = |kind: usize| stream.below(ITEMS as u64 / 4) as usize * 4 + kind;
        for n in 0..4 {
            events.push(at(n as i64, person, draw(n), "click"));
        }
        for n in 0..6 {
            let kind = (liked + 1 + n % 3) % 4;
            events.push(at(n as i64, person, draw(kind), "dismiss"));
        }
        for _ in 0..6 {
            events.push(at(10 + person as i64, person, draw(liked), "purchase"));
        }
    }
    assert_eq!(world.service.ingest(events).unwrap().rejected, []);
    world
}

/// Everyone takes items of one kind, and every few days all items are new: of what people take next, nothing is known but its kind.
fn world_of_new_items() -> World {
    let world = World::empty();
    let items = (0..ITEMS).map(|n| Ok(item(&item_name(n), KINDS[n % 4])));
    world.service.put_items(items.collect()).unwrap();
    let mut events = Vec::new();
    for person in 0..PEOPLE {
        let mut stream = SeededStream::new(6, person as u64);
        for generation in 0..10 {
            let among = ITEMS / 10;
            for n in 0..2 {
                let of_kind = stream.below(among as u64 / 4) as usize * 4 + person % 4;
                let item = generation * among + of_kind;
                let hours = generation as i64 * 72 + stream.below(60) as i64 + n;
                events.push(at(hours, person, item, "purchase"));
            }
        }
    }
    assert_eq!(world.service.ingest(events).unwrap().rejected, []);
    world
}

#[test]
fn dismissals_help_where_nothing_else_tells_what_people_avoid() {
    let world = world_of_dislikes();
    // Varied lists would hide it: they have some of every kind.
    let plain = AblationRequest {
        diversity: Some(0.0),
        earlier_share: 0.85,
        ..request()
    };
    let report = world.service.ablation(&plain, &|_| {}).unwrap();
    let steps: Vec<&str> = report.steps.iter().map(|step| step.step).collect();
    assert_eq!(steps, ["retrieval", "+ model", "+ ranker", "+ diversity"]);
    let figures = part(&report, "negative signals").get().unwrap();
    assert!(figures.difference.ndcg.low > 0.0, "{figures:?}");
    // A difference is that of the figures, and the whole is the last step.
    let difference = figures.with.ndcg.mean - figures.without.ndcg.mean;
    assert!((figures.difference.ndcg.mean - difference).abs() < 1e-9);
    let last = report.steps.last().unwrap().figures.get().unwrap();
    assert_eq!(figures.with, *last);
    assert_eq!(
        part(&report, "diversity").get().unwrap().difference.ndcg.mean,
        0.0
    );
    let again = world.service.ablation(&plain, &|_| {}).unwrap();
    assert_eq!(report, again, "the same seed, the same figures");
}

#[test]
fn content_helps_where_items_are_new_and_mmr_makes_lists_varied() {
    let world = world_of_new_items();
    let report = measured(&world);
    let content = part(&report, "content").get().unwrap();
    assert!(content.difference.ndcg.low > 0.0, "{content:?}");
    let diversity = part(&report, "diversity").get().unwrap();
    let varied = diversity.difference.intra_list_diversity.unwrap();
    assert!(varied.low > 0.0, "{diversity:?}");
    // The step is the part: the same lists with the reranker and without.
    let step = |at: usize| *report.steps[at].figures.get().unwrap();
    assert_eq!((step(3), step(2)), (diversity.with, diversity.without));
    assert_eq!(report.steps[3].added, Some(diversity.difference));
    assert_eq!((report.steps[0].added, report.newcomers), (None, 0));
    assert!(part(&report, "hybrid").get().is_some());
    assert!(part(&report, "context").get().is_some());
}

#[test]
fn what_the_data_say_nothing_about_is_not_measured_and_says_why() {
    let world = World::empty();
    world.fill();
    let report = measured(&world);
    assert_eq!(
        why(&report, "event weights"),
        "one positive type of event in the earlier part: purchase"
    );
    assert_eq!(
        why(&report, "negative signals"),
        "no event of a type with a negative weight (dismiss, return) in the earlier part"
    );
    assert_eq!(
        why(&report, "position correction"),
        "0 decisions with places and features before the cut and 0 outcomes of them, expected at least 500 and 50"
    );
    // Nothing is known of items: no content, and nothing by which a list could be varied.
    let bare = World::empty();
    let mut events = Vec::new();
    for person in 0..60 {
        let mut stream = SeededStream::new(7, person as u64);
        for n in 0..12 {
            events.push(at(
                person as i64 + n * 24,
                person,
                stream.below(30) as usize,
                "purchase",
            ));
        }
    }
    assert_eq!(bare.service.ingest(events).unwrap().rejected, []);
    let report = measured(&bare);
    assert_eq!(why(&report, "content"), "items have no attributes");
    let reason = "no attribute of items is a category, tags or references";
    assert_eq!(why(&report, "diversity"), reason);
    let last = report.steps.last().unwrap();
    assert_eq!(last.figures, Measured::NotMeasured(reason.to_owned()));
    let model = report.steps[1].figures.get().unwrap();
    assert_eq!(model.intra_list_diversity, None);
    let told = serde_json::to_value(last).unwrap();
    assert_eq!(
        told,
        serde_json::json!({"step": "+ diversity", "not_measured": reason})
    );
    let parts: Vec<&str> = report.parts.iter().map(|part| part.part).collect();
    assert_eq!(
        parts,
        [
            "hybrid",
            "event weights",
            "content",
            "context",
            "diversity",
            "negative signals",
            "position correction"
        ]
    );
}

#[test]
fn position_correction_is_measured_where_decisions_are_in_the_log() {
    let world = crate::ranker::world();
    crate::ranker::live(&world, 8);
    let report = measured(&world);
    let figures = part(&report, "position correction").get().unwrap();
    assert!(
        figures
            .taken_out
            .starts_with("position feature against none, rankers learnt from "),
        "{}",
        figures.taken_out
    );
    // Two rankers that were learnt otherwise than the whole.
    assert_ne!(figures.with, figures.without);
}

#[test]
fn requests_that_cannot_be_are_refused_by_field() {
    let world = World::empty();
    let refused = |request: AblationRequest, field: &str| match world.service.ablation(&request, &|_| {}) {
        Err(ServiceError::Input(problem)) => assert_eq!(problem.field, field),
        other => panic!("{other:?}"),
    };
    let of = |change: fn(&mut AblationRequest)| {
        let mut request = request();
        change(&mut request);
        request
    };
    refused(of(|r| r.placement = "nowhere".into()), "placement");
    refused(of(|r| r.k = 0), "k");
    refused(of(|r| r.users_max = 0), "users_max");
    refused(of(|r| r.earlier_share = 0.99), "earlier_share");
    refused(of(|r| r.diversity = Some(2.0)), "diversity");
}
