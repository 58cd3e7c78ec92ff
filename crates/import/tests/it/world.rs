//! A sink that remembers, and an import in one call.

use domain::{Item, NewEvent, User};
use import::{Counts, ImportError, Options, Plan, Sink, Summary, TextOptions, open_text, plan, run};
use std::collections::HashSet;

#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) events: Vec<NewEvent>,
    pub(crate) items: Vec<Item>,
    pub(crate) users: Vec<User>,
    keys: HashSet<u128>,
}

impl Sink for Kept {
    fn events(&mut self, events: Vec<NewEvent>) -> Result<Counts, String> {
        let mut counts = Counts::default();
        for event in events {
            if self.keys.insert(event.key.0) {
                counts.accepted += 1;
                self.events.push(event);
            } else {
                counts.duplicate += 1;
            }
        }
        Ok(counts)
    }

    fn items(&mut self, items: Vec<Item>) -> Result<Counts, String> {
        let accepted = items.len() as u64;
        self.items.extend(items);
        Ok(Counts {
            accepted,
            duplicate: 0,
        })
    }

    fn users(&mut self, users: Vec<User>) -> Result<Counts, String> {
        let accepted = users.len() as u64;
        self.users.extend(users);
        Ok(Counts {
            accepted,
            duplicate: 0,
        })
    }
}

pub(crate) struct Imported {
    pub(crate) plan: Plan,
    pub(crate) summary: Summary,
    pub(crate) rejects: String,
}

pub(crate) fn import_with(
    bytes: &[u8],
    options: &Options,
    text: &TextOptions,
    kept: &mut Kept,
) -> Result<Imported, ImportError> {
    let input = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let mut source = open_text(input, "file", Some(bytes.len() as u64), text)?;
    let (plan, first) = plan(source.as_mut(), "file", options)?;
    let mut rejects = Vec::new();
    let summary = run(source, &plan, first, kept, Some(&mut rejects), &mut |_| {})?;
    Ok(Imported {
        plan,
        summary,
        rejects: String::from_utf8(rejects).unwrap(),
    })
}

pub(crate) fn import(bytes: &[u8], options: &Options, kept: &mut Kept) -> Result<Imported, ImportError> {
    import_with(bytes, options, &TextOptions::default(), kept)
}
