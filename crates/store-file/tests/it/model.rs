//! Random operations, against a list.

use crate::common::{all, append, open, options, user};
use domain::{
    Attributes, DecisionId, Event, EventId, EventLog, EventRead, EventType, ItemId, NewEvent, RawAttribute,
    Receipt, Sequence, SessionId, StoredEvent, Timestamp,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use store_file::FileEventLog;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Event>),
    Seal,
    Erase(u8),
    Reopen,
    Read { from: u64, to: u64, of: u8, n: usize },
}

fn number() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |number| number.is_finite())
}

fn attribute() -> impl Strategy<Value = RawAttribute> {
    prop_oneof![
        any::<bool>().prop_map(RawAttribute::Flag),
        number().prop_map(RawAttribute::Number),
        any::<String>().prop_map(RawAttribute::Text),
        (number(), number()).prop_map(|(lat, lon)| RawAttribute::Geo { lat, lon }),
        prop::collection::vec(number(), 0..3).prop_map(RawAttribute::Numbers),
        prop::collection::vec(any::<String>(), 0..3).prop_map(RawAttribute::Texts),
    ]
}

fn context() -> impl Strategy<Value = Attributes> {
    let some = prop::collection::btree_map("[a-z\"{é]{1,3}", attribute(), 1..3);
    prop_oneof![3 => Just(Attributes::new()), 1 => some]
}

/// Few users, items and ids, so that the same ones come again.
fn event() -> impl Strategy<Value = Event> {
    let who = (0u8..4, 0u8..3, prop::option::of(0u16..60), 0i64..6);
    let rest = (
        prop::option::of(number()),
        prop::option::of(0u8..3),
        any::<bool>(),
        context(),
    );
    (who, rest).prop_map(
        |((user_id, item, id, moment), (value, session, is_decided, context))| Event {
            event_id: id.map(|id| EventId::new(format!("id {id}")).expect("an id")),
            user_id: user(&format!("user {user_id}")),
            item_id: ItemId::new(format!("ítem {item}")).expect("an id"),
            event_type: EventType::new(if is_decided { "view" } else { "click" }).expect("an id"),
            timestamp: Timestamp(moment - 3),
            value,
            session_id: session.map(|n| SessionId::new(format!("{n}")).expect("an id")),
            decision_id: is_decided.then(|| DecisionId::new("d").expect("an id")),
            context,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(event(), 0..12).prop_map(Step::Append),
        1 => Just(Step::Seal),
        1 => (0u8..5).prop_map(Step::Erase),
        2 => Just(Step::Reopen),
        2 => (0u64..60, 0u64..60, 0u8..5, 0usize..6)
            .prop_map(|(from, to, of, n)| Step::Read { from, to, of, n }),
    ]
}

/// What the log should be.
#[derive(Default)]
struct Model {
    events: Vec<StoredEvent>,
    keys: BTreeSet<u128>,
    ever: BTreeSet<u128>,
    head: u64,
}

impl Model {
    fn append(&mut self, batch: &[NewEvent]) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for new in batch {
            self.ever.insert(new.key.0);
            if !self.keys.insert(new.key.0) {
                receipts.push(Receipt::Duplicate);
                continue;
            }
            self.head += 1;
            let sequence = Sequence(self.head);
            receipts.push(Receipt::Accepted(sequence));
            let event = new.event.clone();
            self.events.push(StoredEvent { sequence, event });
        }
        receipts
    }

    fn erase(&mut self, name: &str) -> u64 {
        let before = self.events.len();
        self.events.retain(|stored| stored.event.user_id.as_str() != name);
        self.keys = self
            .events
            .iter()
            .map(|stored| signals::event_key(&stored.event).0)
            .collect();
        (before - self.events.len()) as u64
    }

    fn agrees(&self, log: &FileEventLog) -> Result<(), TestCaseError> {
        prop_assert_eq!(log.head(), Sequence(self.head));
        prop_assert_eq!(log.len(), self.events.len() as u64);
        prop_assert_eq!(&all(log), &self.events);
        for key in &self.ever {
            prop_assert_eq!(log.contains(domain::EventKey(*key)), self.keys.contains(key));
        }
        Ok(())
    }
}

fn read(
    log: &FileEventLog,
    model: &Model,
    from: u64,
    to: u64,
    of: u8,
    n: usize,
) -> Result<(), TestCaseError> {
    let scanned: Vec<StoredEvent> = log
        .scan(Sequence(from), Sequence(to))
        .expect("a scan begins")
        .flat_map(|batch| batch.expect("a scan goes on"))
        .collect();
    let within = |s: &&StoredEvent| s.sequence.0 >= from && s.sequence.0 <= to;
    let expected: Vec<StoredEvent> = model.events.iter().filter(within).cloned().collect();
    prop_assert_eq!(scanned, expected);
    let name = user(&format!("user {of}"));
    let mut of_user: Vec<StoredEvent> = model
        .events
        .iter()
        .filter(|s| s.event.user_id == name)
        .cloned()
        .collect();
    let last = of_user.split_off(of_user.len().saturating_sub(n));
    prop_assert_eq!(log.last_of_user(&name, n).expect("the log reads"), last);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_list(seal_bytes in 100u64..3000, steps in prop::collection::vec(step(), 1..28)) {
        let dir = tempfile::tempdir().expect("a folder");
        let reopened = || FileEventLog::open(dir.path(), options(seal_bytes)).expect("the log opens").0;
        let (mut log, mut model) = (reopened(), Model::default());
        for step in steps {
            match step {
                Step::Append(events) => {
                    let batch: Vec<NewEvent> =
                        events.into_iter().map(|event| signals::new_event(event, true)).collect();
                    prop_assert_eq!(append(&log, batch.clone()), model.append(&batch));
                }
                Step::Seal => log.seal().expect("the log is sealed"),
                Step::Erase(of) => {
                    let name = format!("user {of}");
                    let erasure = log.erase_user(&user(&name)).expect("the user is erased");
                    prop_assert_eq!(erasure.events, model.erase(&name));
                }
                Step::Reopen => {
                    drop(log);
                    log = reopened();
                    model.agrees(&log)?;
                }
                Step::Read { from, to, of, n } => read(&log, &model, from, to, of, n)?,
            }
            prop_assert_eq!((log.head().0, log.len()), (model.head, model.events.len() as u64));
        }
        model.agrees(&log)?;
        prop_assert_eq!(log.verify().expect("all is well").events, log.len());
        drop(log);
        model.agrees(&open(dir.path()))?;
    }
}
