//! What steps and parts are worth, on worlds where the answer is known.

use crate::world::{START, World, event, item};
use assembly::{AblationReport, AblationRequest, EventInput, Measured, Moment, PartFigures, ServiceError};
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
    &report.parts.iter().find(|part| part.part == name).unwrap().figures
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
fn at(hours: i64, person: usize, item: usize, event_type: &str) -> Result<EventInput, assembly::RowProblem> {
    Ok(EventInput {
        timestamp: Some(Moment::Number((START.0 + hours * HOUR_MS) as f64)),
        ..event(&format!("user-{person:04}"), &item_name(item), event_type)
    })
}

/// Everyone clicks on items of all kinds alike and dismisses what is of one kind; what they purchase is of the others. So only dismissals tell
/// what someone will not take.
fn world_of_dislikes() -> World {
    let world = World::empty();
    let items = (0..ITEMS).map(|n| Ok(item(&item_name(n), KINDS[n % 4])));
    world.service.put_items(items.collect()).unwrap();
    let mut events = Vec::new();
    for person in 0..PEOPLE {
        let mut stream = SeededStream::new(5, person as u64);
        let disliked = person % 4;
        let mut draw = |kind: usize| stream.below(ITEMS as u64 / 4) as usize * 4 + kind;
        let begin = person as i64 * 2;
        for n in 0..8 {
            events.push(at(begin + n, person, draw(n as usize % 4), "click"));
        }
        for n in 0..4 {
            events.push(at(begin + n, person, draw(disliked), "dismiss"));
        }
        for n in 0..5 {
            events.push(at(begin + 12, person, draw((disliked + 1 + n % 3) % 4), "purchase"));
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
    let report = measured(&world);
    let steps: Vec<&str> = report.steps.iter().map(|step| step.step).collect();
    assert_eq!(steps, ["retrieval", "+ model", "+ ranker", "+ diversity"]);
    let figures = part(&report, "negative signals").get().unwrap();
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
    assert!(figures.difference.ndcg.low > 0.0, "{figures:?}");
    // A difference is that of the figures, and the whole is the last step.
    let difference = figures.with.ndcg.mean - figures.without.ndcg.mean;
    assert!((figures.difference.ndcg.mean - difference).abs() < 1e-9);
    let last = report.steps.last().unwrap().figures.get().unwrap();
    assert_eq!(figures.with, *last);
    let again = measured(&world);
    assert_eq!(report, again, "the same seed, the same figures");
}

#[test]
fn content_helps_where_items_are_new_and_mmr_makes_lists_varied() {
    let world = world_of_new_items();
    let report = measured(&world);
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
    let content = part(&report, "content").get().unwrap();
    assert!(content.difference.ndcg.low > 0.0, "{content:?}");
    let diversity = part(&report, "diversity").get().unwrap();
    let varied = diversity.difference.intra_list_diversity.unwrap();
    assert!(varied.low > 0.0, "{diversity:?}");
    // The step is the part: the same lists with the reranker and without.
    let step = |at: usize| *report.steps[at].figures.get().unwrap();
    assert_eq!((step(3), step(2)), (diversity.with, diversity.without));
    assert!(part(&report, "hybrid").get().is_some());
    assert!(part(&report, "context").get().is_some());
}
