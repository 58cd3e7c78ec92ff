//! The import itself: decoding, conversion and the sink side by side, in order.

use crate::convert::Converter;
use crate::{BadRow, Batch, Consumed, ImportError, Kind, Plan, RowSource};
use domain::{Item, NewEvent, User};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Rows decoded and stored at a time.
const BATCH_ROWS: usize = 32_768;
/// Batches that wait between two steps.
const WAITING: usize = 2;
/// Rows in the rejects file; further ones are only counted.
const REJECTS_MAX: u64 = 100_000;

/// What a failure says that comes after rows were stored.
const STORED: &str = "the good rows before it are stored; mend the file and import it again, or allow more";

/// What became of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Stored: new, or changed.
    pub accepted: u64,
    /// Already there.
    pub duplicate: u64,
}

/// Where rows go. A call stores all that it is given, durably, or fails.
pub trait Sink {
    /// Stores events.
    ///
    /// # Errors
    /// Why they could not be stored, in words.
    fn events(&mut self, events: Vec<NewEvent>) -> Result<Counts, String>;
    /// Stores items.
    ///
    /// # Errors
    /// Why they could not be stored, in words.
    fn items(&mut self, items: Vec<Item>) -> Result<Counts, String>;
    /// Stores users.
    ///
    /// # Errors
    /// Why they could not be stored, in words.
    fn users(&mut self, users: Vec<User>) -> Result<Counts, String>;
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows stored or found bad.
    pub rows: u64,
    /// Of these, bad ones.
    pub bad: u64,
    /// How far the file is read.
    pub consumed: Consumed,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// Rows read.
    pub rows: u64,
    /// Stored: new, or changed.
    pub accepted: u64,
    /// Already there.
    pub duplicate: u64,
    /// Passed over.
    pub bad: u64,
    /// Bad rows that the rejects file leaves out, which has 100,000 at most.
    pub rejects_left_out: u64,
    /// Bad rows by cause.
    pub causes: BTreeMap<String, u64>,
}

enum Rows {
    Events(Vec<NewEvent>),
    Items(Vec<Item>),
    Users(Vec<User>),
}

/// Rows on their way to the sink.
struct Converted {
    rows: Rows,
    bad: Vec<Rejected>,
    count: u64,
    consumed: Consumed,
}

/// A bad row on its way to the rejects file.
struct Rejected {
    line: u64,
    bad: BadRow,
    row: serde_json::Value,
}

/// A batch on its way to conversion, with the columns known when it was read.
type Decoded = Result<(Batch, Vec<String>, Consumed), ImportError>;

fn converted(
    converter: &mut Converter<'_>,
    kind: Kind,
    batch: &Batch,
    columns: &[String],
    consumed: Consumed,
) -> Converted {
    let mut out = Converted {
        rows: match kind {
            Kind::Events => Rows::Events(Vec::with_capacity(batch.rows.len())),
            Kind::Items => Rows::Items(Vec::with_capacity(batch.rows.len())),
            Kind::Users => Rows::Users(Vec::with_capacity(batch.rows.len())),
        },
        bad: Vec::new(),
        count: batch.rows.len() as u64,
        consumed,
    };
    converter.meet(columns);
    for (place, row) in batch.rows.iter().enumerate() {
        let cells = batch.cells_of(place);
        let result = match (&row.bad, &mut out.rows) {
            (Some(bad), _) => Err((**bad).clone()),
            (None, Rows::Events(events)) => converter.event(cells, columns).map(|event| events.push(event)),
            (None, Rows::Items(items)) => converter.item(cells, columns).map(|item| items.push(item)),
            (None, Rows::Users(users)) => converter.user(cells, columns).map(|user| users.push(user)),
        };
        if let Err(bad) = result {
            out.bad.push(Rejected {
                line: row.line,
                bad,
                row: Converter::shown(batch, place, columns),
            });
        }
    }
    out
}

fn decode(source: &mut dyn RowSource, to: &SyncSender<Decoded>) {
    loop {
        let next = source.next_batch(BATCH_ROWS);
        let columns = source.columns().to_vec();
        let sent = match next {
            Ok(None) => return,
            Ok(Some(batch)) => to.send(Ok((batch, columns, source.consumed()))),
            Err(error) => {
                let _ = to.send(Err(error));
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn convert(plan: &Plan, from: &Receiver<Decoded>, to: &SyncSender<Result<Converted, ImportError>>) {
    let mut converter = Converter::new(plan);
    for decoded in from {
        let converted = decoded.map(|(batch, columns, consumed)| {
            converted(&mut converter, plan.kind, &batch, &columns, consumed)
        });
        let ended = converted.is_err();
        if to.send(converted).is_err() || ended {
            return;
        }
    }
}

/// Tallies, rejects and the first bad row.
struct Tally<'a> {
    plan: &'a Plan,
    summary: Summary,
    first: Option<(u64, BadRow)>,
    rejects: Option<&'a mut dyn Write>,
}

impl Tally<'_> {
    fn take(&mut self, converted: &[Rejected], rows: u64) -> Result<(), ImportError> {
        self.summary.rows += rows;
        for rejected in converted {
            self.summary.bad += 1;
            *self.summary.causes.entry(rejected.bad.cause()).or_default() += 1;
            if self.first.is_none() {
                self.first = Some((rejected.line, rejected.bad.clone()));
            }
            let Some(rejects) = self.rejects.as_mut() else {
                continue;
            };
            if self.summary.bad > REJECTS_MAX {
                self.summary.rejects_left_out += 1;
            } else {
                let line = serde_json::json!({
                    "line": rejected.line,
                    "field": rejected.bad.field,
                    "got": rejected.bad.got,
                    "expected": rejected.bad.expected,
                    "row": rejected.bad.raw.as_ref().map_or_else(|| rejected.row.clone(), |raw| raw.as_str().into()),
                });
                let written = writeln!(rejects, "{line}");
                written.map_err(|e| ImportError::Sink(format!("writing the rejects: {e}")))?;
            }
        }
        Ok(())
    }

    fn judge(&self, written: &'static str) -> Result<(), ImportError> {
        self.judge_of(self.summary.rows, written)
    }

    /// Fails if too many of so many rows are already bad.
    fn judge_of(&self, rows: u64, written: &'static str) -> Result<(), ImportError> {
        let share = self.summary.bad as f64 / rows.max(1) as f64;
        match &self.first {
            Some((line, first)) if share > self.plan.max_bad_share => Err(ImportError::TooManyBad {
                name: self.plan.name.clone(),
                bad: self.summary.bad,
                rows: self.summary.rows,
                max_share: self.plan.max_bad_share,
                written,
                line: *line,
                first: Box::new(first.clone()),
            }),
            _ => Ok(()),
        }
    }
}

fn store(sink: &mut dyn Sink, rows: Rows, summary: &mut Summary) -> Result<(), ImportError> {
    let counts = match rows {
        Rows::Events(events) if !events.is_empty() => sink.events(events),
        Rows::Items(items) if !items.is_empty() => sink.items(items),
        Rows::Users(users) if !users.is_empty() => sink.users(users),
        _ => Ok(Counts::default()),
    };
    let counts = counts.map_err(ImportError::Sink)?;
    summary.accepted += counts.accepted;
    summary.duplicate += counts.duplicate;
    Ok(())
}

/// Imports everything: the rows that [`plan`](crate::plan) read, then the rest of the source.
///
/// The first rows (up to 20,000) are judged before anything is stored: if too many of them are
/// bad, nothing is. The share of the whole file is judged at its end, or as soon as it cannot be kept any
/// more where the number of rows is known; what was stored by then stays, and importing again after
/// mending the file adds only what was missing.
///
/// # Errors
/// A source that cannot be read further, too many bad rows, or a sink that fails.
pub fn run<'a>(
    mut source: Box<dyn RowSource>,
    plan: &'a Plan,
    first: Vec<Batch>,
    sink: &mut dyn Sink,
    rejects: Option<&'a mut dyn Write>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Summary, ImportError> {
    let mut tally = Tally {
        plan,
        summary: Summary::default(),
        first: None,
        rejects,
    };
    let mut converter = Converter::new(plan);
    let (columns, consumed) = (source.columns().to_vec(), source.consumed());
    let mut begun: Vec<Converted> = Vec::new();
    for batch in first {
        let converted = converted(&mut converter, plan.kind, &batch, &columns, consumed);
        tally.take(&converted.bad, converted.count)?;
        begun.push(converted);
    }
    tally.judge("nothing was stored")?;
    for converted in begun {
        store(sink, converted.rows, &mut tally.summary)?;
    }
    let report = |tally: &Tally<'_>, consumed: Consumed, progress: &mut dyn FnMut(&Progress)| {
        progress(&Progress {
            rows: tally.summary.rows,
            bad: tally.summary.bad,
            consumed,
        });
    };
    report(&tally, consumed, progress);
    std::thread::scope(|scope| {
        let (to_convert, decoded) = sync_channel(WAITING);
        let (to_store, ready) = sync_channel(WAITING);
        scope.spawn(move || decode(source.as_mut(), &to_convert));
        scope.spawn(move || convert(plan, &decoded, &to_store));
        for converted in ready {
            let converted = converted?;
            tally.take(&converted.bad, converted.count)?;
            store(sink, converted.rows, &mut tally.summary)?;
            report(&tally, converted.consumed, progress);
            if let Some(total) = converted.consumed.total.filter(|_| converted.consumed.are_rows) {
                tally.judge_of(total, STORED)?;
            }
        }
        Ok::<(), ImportError>(())
    })?;
    tally.judge(STORED)?;
    if tally.summary.rows == tally.summary.bad {
        let hint = ": every row is bad".to_owned();
        return Err(ImportError::Empty {
            name: plan.name.clone(),
            hint,
        });
    }
    Ok(tally.summary)
}
