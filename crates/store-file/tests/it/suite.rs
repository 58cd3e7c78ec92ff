//! The suite of event logs.

use domain::EventLog;
use store_file::{FileEventLog, LogOptions};
use tempfile::TempDir;
use testkit::stores::LogHome;

struct Home {
    dir: TempDir,
    log: FileEventLog,
}

/// Small segments, so that sealing happens by itself too.
fn options() -> LogOptions {
    LogOptions {
        seal_bytes: 2000,
        ..LogOptions::default()
    }
}

impl LogHome for Home {
    fn log(&self) -> &dyn EventLog {
        &self.log
    }

    fn reopened(self: Box<Self>) -> Box<dyn LogHome> {
        let Home { dir, log } = *self;
        drop(log);
        let (log, report) = FileEventLog::open(dir.path(), options()).unwrap();
        assert!(report.truncated.is_none());
        Box::new(Home { dir, log })
    }
}

#[test]
fn event_log() {
    let fresh = || {
        let dir = TempDir::new().unwrap();
        let (log, _) = FileEventLog::open(dir.path(), options()).unwrap();
        Box::new(Home { dir, log }) as Box<dyn LogHome>
    };
    testkit::stores::event_log(&fresh, &|event| signals::new_event(event, true));
}
