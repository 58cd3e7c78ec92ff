//! Backups, the doctor, erasure.

use crate::world::{World, ask, event, ids};
use assembly::{RecommendRequest, Service, ServiceError, doctor, restore};
use domain::RawAttribute;

#[test]
fn a_backup_restores_to_the_same_answers_and_damage_is_refused() {
    let world = World::trained();
    let before = ids(&world.service.recommend(&ask("user-0002")).unwrap());
    let kept = tempfile::TempDir::new().unwrap();
    world.service.backup(kept.path()).unwrap();
    assert!(matches!(
        world.service.backup(kept.path()),
        Err(ServiceError::Input(_))
    ));
    // What comes later is not in it.
    world
        .service
        .ingest(vec![Ok(event("later", "item-0001", "click"))])
        .unwrap();
    let there = tempfile::TempDir::new().unwrap();
    let fresh = there.path().join("fresh");
    restore(kept.path(), &fresh).unwrap();
    assert!(doctor(&fresh).ok(), "{:?}", doctor(&fresh));
    let (service, report) = Service::open(&fresh, world.clock.clone()).unwrap();
    assert_eq!(report.events + 1, world.service.status().events);
    assert_eq!(ids(&service.recommend(&ask("user-0002")).unwrap()), before);
    assert!(matches!(restore(kept.path(), &fresh), Err(ServiceError::Input(p)) if p.field == "dir"));

    let victim = kept.path().join("catalogue.sqlite");
    let mut bytes = std::fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&victim, bytes).unwrap();
    let refused = restore(kept.path(), &there.path().join("other"));
    assert!(matches!(refused, Err(ServiceError::Input(p)) if p.got.contains("catalogue.sqlite")));
    assert!(!there.path().join("other").exists(), "nothing was half restored");
}

#[test]
fn the_doctor_names_what_is_not_whole() {
    let world = World::trained();
    let busy = doctor(world.dir.path());
    assert!(!busy.ok());
    let stores = busy.checks.iter().find(|check| check.name == "stores").unwrap();
    assert!(stores.detail.contains("in use"), "{stores:?}");
    world.service.recommend(&ask("user-0002")).unwrap();
    world.service.close().unwrap();
    let World {
        dir, service, clock, ..
    } = world;
    drop(service);
    // A second block, so that the first is not the last write.
    let (service, _) = Service::open(dir.path(), clock.clone()).unwrap();
    service.recommend(&ask("user-0003")).unwrap();
    service.close().unwrap();
    drop(service);
    let whole = doctor(dir.path());
    assert!(whole.ok(), "{whole:?}");
    let told = |name: &str| whole.checks.iter().find(|check| check.name == name).unwrap();
    assert_eq!(told("decision log").detail, "2 decisions in 1 files");
    let flip = |path: std::path::PathBuf, place: usize| {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[place] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    flip(dir.path().join("decisions/decisions-0000000001.log"), 40);
    flip(dir.path().join("lineage/lineage-00000001.jsonl"), 40);
    let (service, opened) = Service::open(dir.path(), clock).unwrap();
    assert!(
        opened
            .warnings
            .iter()
            .any(|warning| warning.contains("of the decision log")),
        "{opened:?}"
    );
    assert!(
        service
            .status()
            .warnings
            .iter()
            .any(|warning| warning.contains("of the decision log"))
    );
    service.close().unwrap();
    drop(service);
    let bundle = dir.path().join("models/bundle-00000001.cncg");
    let mut bytes = std::fs::read(&bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    std::fs::write(dir.path().join(assembly::CONFIG_FILE), "placement = 3").unwrap();
    let report = doctor(dir.path());
    let bad: Vec<_> = report
        .checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| check.name.as_str())
        .collect();
    assert_eq!(
        bad,
        ["configuration", "bundle-00000001.cncg", "decision log", "lineage"]
    );
    assert!(!doctor(&dir.path().join("nowhere")).ok());
}

#[test]
fn an_erased_user_is_gone_from_everywhere() {
    let world = World::trained();
    let user = assembly::UserInput {
        user_id: "user-0003".into(),
        attributes: [("city".to_owned(), RawAttribute::Text("Bern".into()))].into(),
    };
    world.service.put_users(vec![Ok(user)]).unwrap();
    world
        .service
        .ingest(vec![Ok(event("user-0003", "item-0030", "click"))])
        .unwrap();
    let decision = world.service.recommend(&ask("user-0003")).unwrap().decision_id;
    assert_eq!(
        world
            .service
            .decision(&decision)
            .unwrap()
            .decision
            .attributes
            .len(),
        1
    );
    let report = world.service.erase_user("user-0003").unwrap();
    assert!(
        report.attributes && report.events > 5 && report.decisions >= 1,
        "{report:?}"
    );
    let gone = |world: &World| {
        assert!(matches!(
            world.service.user("user-0003"),
            Err(ServiceError::NotFound { .. })
        ));
        assert!(matches!(
            world.service.decision(&decision),
            Err(ServiceError::NotFound { .. })
        ));
        assert!(world.service.recent_events("user-0003", 10).unwrap().is_empty());
        let n = Some(10);
        let nobody = RecommendRequest {
            n,
            user_id: None,
            ..ask("")
        };
        let (a, b) = (
            world.service.recommend(&ask("user-0003")),
            world.service.recommend(&nobody),
        );
        assert_eq!(ids(&a.unwrap()), ids(&b.unwrap()));
    };
    gone(&world);
    let (world, _) = world.reopened();
    gone(&world);
}
