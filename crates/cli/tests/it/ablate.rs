//! Steps and parts of a placement, from files to tables.

use crate::folders::on;
use std::fmt::Write;
use tempfile::tempdir;

#[test]
fn steps_and_parts_are_told_and_what_is_not_measured_says_why() {
    let root = tempdir().expect("a folder");
    let shop = root.path().join("shop");
    on(&shop, &["init"]).code(0);
    let mut items = "item_id\ttags\n".to_owned();
    for item in 0..20 {
        writeln!(
            items,
            "i{item}\t{}|all",
            if item % 2 == 0 { "even" } else { "odd" }
        )
        .expect("it fits");
    }
    let mut events = "user_id,item_id,event_type,timestamp\n".to_owned();
    for n in 0..400 {
        let (user, item) = (n % 40, (n * 7 + n / 40) % 10 * 2 + n % 2);
        writeln!(events, "u{user},i{item},purchase,{}", 1_700_000_000 + n * 3600).expect("it fits");
    }
    let (items_file, events_file) = (root.path().join("items.tsv"), root.path().join("events.csv"));
    std::fs::write(&items_file, items).expect("it is written");
    std::fs::write(&events_file, events).expect("it is written");
    let (items, events) = (items_file.to_string_lossy(), events_file.to_string_lossy());
    on(
        &shop,
        &["import", "--items", &items, "--events", &events, "--yes"],
    )
    .code(0);
    let told = on(&shop, &["ablate", "--k", "3"]).code(0).out;
    for words in [
        "NDCG@3",
        "+ model",
        "Δ NDCG@3",
        "hybrid taken out: ",
        "diversity taken out: without mmr over tags",
        "not measured: + ranker: no ranker could be learnt",
        "not measured: context: no ranker could be learnt",
        "not measured: event weights: one positive type of event in the earlier part: purchase",
        "not measured: position correction: 0 decisions",
    ] {
        assert!(told.contains(words), "{words} in {told}");
    }
    let report = on(&shop, &["ablate", "--k", "3", "--diversity", "0.5", "--json"])
        .code(0)
        .json();
    assert_eq!(report["request"]["diversity"], 0.5);
    assert!(
        report["steps"][0]["measured"]["ndcg"]["low"].is_number(),
        "{report:#}"
    );
    assert!(report["parts"][0]["measured"]["difference"]["recall"]["mean"].is_number());
    assert!(report["parts"][5]["not_measured"].is_string());
    on(&shop, &["ablate", "--diversity", "1.5"])
        .code(2)
        .says(&["diversity", "1.5", "0 to 1"]);
}
