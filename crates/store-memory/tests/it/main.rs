//! The suites of the stores, on those that keep nothing.

use domain::{Catalogue, EventLog};
use store_memory::{MemoryCatalogue, MemoryEventLog};
use testkit::catalogues::CatalogueHome;
use testkit::stores::LogHome;

struct Log(MemoryEventLog);

impl LogHome for Log {
    fn log(&self) -> &dyn EventLog {
        &self.0
    }

    fn reopened(self: Box<Self>) -> Box<dyn LogHome> {
        self
    }
}

struct Items(MemoryCatalogue);

impl CatalogueHome for Items {
    fn catalogue(&self) -> &dyn Catalogue {
        &self.0
    }

    fn reopened(self: Box<Self>) -> Box<dyn CatalogueHome> {
        self
    }
}

#[test]
fn event_log() {
    let fresh = || Box::new(Log(MemoryEventLog::new())) as Box<dyn LogHome>;
    testkit::stores::event_log(&fresh, &|event| signals::new_event(event, true));
}

#[test]
fn catalogue() {
    testkit::catalogues::catalogue(&|| Box::new(Items(MemoryCatalogue::new())));
}
