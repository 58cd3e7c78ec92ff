//! Counts from which kinds are inferred, for items or for users.

use domain::{AttributeKind, AttributeSchema, Attributes, KindOrigin, Schema};
use signals::KindTally;
use std::collections::BTreeMap;

/// Counts by attribute.
#[derive(Debug, Default)]
pub(crate) struct Tallies(BTreeMap<String, KindTally>);

impl Tallies {
    pub(crate) fn add(&mut self, attributes: &Attributes) {
        for (name, value) in attributes {
            if let Some(tally) = self.0.get_mut(name) {
                tally.add(value);
            } else {
                self.0.entry(name.clone()).or_default().add(value);
            }
        }
    }

    pub(crate) fn remove(&mut self, attributes: &Attributes) {
        for (name, value) in attributes {
            if let Some(tally) = self.0.get_mut(name) {
                tally.remove(value);
                if tally.is_empty() {
                    self.0.remove(name);
                }
            }
        }
    }

    /// Kinds of everything that is there, and of what is fixed although nothing is there.
    pub(crate) fn schema(&self, fixed: &BTreeMap<String, AttributeKind>) -> Schema {
        let mut schema = Schema::new();
        for (name, tally) in &self.0 {
            if let Some(kind) = tally.kind() {
                let entry = AttributeSchema {
                    kind,
                    origin: KindOrigin::Inferred,
                    present: tally.len() as u64,
                };
                schema.insert(name.clone(), entry);
            }
        }
        for (name, kind) in fixed {
            let present = schema.get(name).map_or(0, |entry| entry.present);
            let entry = AttributeSchema {
                kind: *kind,
                origin: KindOrigin::Fixed,
                present,
            };
            schema.insert(name.clone(), entry);
        }
        schema
    }
}
