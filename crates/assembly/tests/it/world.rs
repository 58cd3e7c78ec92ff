//! A small shop in a folder of its own.

use assembly::{
    Clock, EventInput, FixedClock, ItemInput, Moment, RecommendRequest, RecommendResponse, Service,
};
use domain::{RawAttribute, Timestamp};
use std::sync::Arc;
use tempfile::TempDir;

/// The first moment of every world.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);
const DAY_MS: i64 = 86_400_000;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) service: Arc<Service>,
}

pub(crate) fn event(user: &str, item: &str, event_type: &str) -> EventInput {
    EventInput {
        event_id: None,
        user_id: user.into(),
        item_id: item.into(),
        event_type: event_type.into(),
        timestamp: None,
        value: None,
        session_id: None,
        decision_id: None,
        context: Default::default(),
    }
}

pub(crate) fn item(id: &str, kind: &str) -> ItemInput {
    let attributes = [
        ("title", RawAttribute::Text(format!("The {id}"))),
        ("kind", RawAttribute::Texts(vec![kind.to_owned()])),
    ];
    ItemInput {
        item_id: id.into(),
        attributes: attributes.map(|(name, value)| (name.to_owned(), value)).into(),
        hidden: false,
        added_at: Some(Moment::Number(1.6e9)),
    }
}

pub(crate) fn ask(user: &str) -> RecommendRequest {
    RecommendRequest {
        placement: "home".into(),
        user_id: Some(user.into()),
        ..RecommendRequest::default()
    }
}

pub(crate) fn ids(response: &RecommendResponse) -> Vec<String> {
    response.items.iter().map(|item| item.item_id.clone()).collect()
}

impl World {
    /// An empty folder.
    pub(crate) fn empty() -> World {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(FixedClock::at(Timestamp(START.0 + 30 * DAY_MS)));
        let (service, report) = Service::open(dir.path(), clock.clone()).unwrap();
        assert!(report.created);
        World { dir, clock, service }
    }

    /// People and things of two kinds, trained.
    pub(crate) fn trained() -> World {
        let world = World::empty();
        world.fill();
        world.service.train(&|_| {}).unwrap();
        world
    }

    pub(crate) fn fill(&self) {
        let board = testkit::worlds::checkerboard(60, 40, 10, 3);
        let items = board.items.iter().map(|(id, kind)| Ok(item(id, kind)));
        let report = self.service.put_items(items.collect()).unwrap();
        assert_eq!((report.created, report.rejected.len()), (40, 0));
        let events = board.rows.iter().map(|row| {
            Ok(EventInput {
                timestamp: Some(Moment::Number((START.0 + row.day * DAY_MS) as f64)),
                ..event(&row.user, &row.item, "purchase")
            })
        });
        let report = self.service.ingest(events.collect()).unwrap();
        assert_eq!(report.rejected, []);
        assert!(report.accepted > 400);
    }

    /// Closes the folder and opens it again.
    pub(crate) fn reopened(self) -> (World, assembly::OpenReport) {
        let World { dir, clock, service } = self;
        service.close().unwrap();
        drop(service);
        let (service, report) = Service::open(dir.path(), clock.clone()).unwrap();
        (World { dir, clock, service }, report)
    }

    /// How many of the best ten are of `kind`.
    pub(crate) fn of_kind(&self, response: &RecommendResponse, kind: &str) -> usize {
        let tagged = |id: &String| {
            let attributes = self.service.item(id).unwrap().attributes;
            attributes.get("kind") == Some(&RawAttribute::Texts(vec![kind.to_owned()]))
        };
        ids(response).iter().take(10).filter(|id| tagged(id)).count()
    }

    pub(crate) fn later(&self, ms: i64) {
        self.clock.set(Timestamp(self.clock.now().0 + ms));
    }
}
