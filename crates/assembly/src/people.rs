//! Attributes of the people asked for lately, so that a slate need not wait for the store, which may be busy with a long batch.
//!
//! What is put or erased is dropped at once; a look that was under way meanwhile is not remembered. Bounded by count: a part that is full
//! begins anew.

use domain::{Attributes, Catalogue, StoreError, UserId};
use hashbrown::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts with a lock each.
const PARTS: usize = 16;
/// People remembered by each.
const PART_MAX: usize = 8192;

#[derive(Default)]
struct Part {
    known: HashMap<UserId, Arc<Attributes>>,
    /// Rises with everything that is dropped.
    version: u64,
}

/// See the head of the module.
#[derive(Default)]
pub(crate) struct People {
    parts: [Mutex<Part>; PARTS],
}

impl People {
    fn part(&self, user: &UserId) -> MutexGuard<'_, Part> {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        let part = &self.parts[hasher.finish() as usize % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is stored of someone; `read` is asked if it is not at hand.
    pub(crate) fn attributes(
        &self,
        user: &UserId,
        read: impl FnOnce() -> Result<Attributes, StoreError>,
    ) -> Result<Arc<Attributes>, StoreError> {
        let version = {
            let part = self.part(user);
            if let Some(known) = part.known.get(user) {
                return Ok(known.clone());
            }
            part.version
        };
        let found = Arc::new(read()?);
        let mut part = self.part(user);
        if part.version == version {
            if part.known.len() >= PART_MAX {
                part.known.clear();
            }
            part.known.insert(user.clone(), found.clone());
        }
        Ok(found)
    }

    /// What a catalogue keeps of someone, nothing for someone it does not know.
    pub(crate) fn stored(
        &self,
        catalogue: &dyn Catalogue,
        user: &UserId,
    ) -> Result<Arc<Attributes>, StoreError> {
        self.attributes(user, || {
            let stored = catalogue.user(user)?;
            Ok(stored.map(|stored| stored.attributes).unwrap_or_default())
        })
    }

    /// A number that rises when what is stored of someone changes (and now and then when it does not).
    pub(crate) fn version(&self, user: &UserId) -> u64 {
        self.part(user).version
    }

    /// Drops what is known of someone: to be called after the store has changed.
    pub(crate) fn changed(&self, user: &UserId) {
        let mut part = self.part(user);
        part.version += 1;
        part.known.remove(user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::RawAttribute;

    fn of(number: f64) -> Attributes {
        [("age".to_owned(), RawAttribute::Number(number))].into()
    }

    #[test]
    fn what_changes_during_a_look_is_not_remembered() {
        let people = People::default();
        let user = UserId::new("u").expect("an id");
        let fails = || Err(StoreError::InUse { path: "x".into() });
        assert!(people.attributes(&user, fails).is_err());
        let stale = people.attributes(&user, || {
            people.changed(&user);
            Ok(of(1.0))
        });
        assert_eq!(stale.expect("read"), Arc::new(of(1.0)));
        assert_eq!(
            people.attributes(&user, || Ok(of(2.0))).expect("read"),
            Arc::new(of(2.0))
        );
        assert_eq!(people.attributes(&user, fails).expect("known"), Arc::new(of(2.0)));
        people.changed(&user);
        assert_eq!(
            people.attributes(&user, || Ok(of(3.0))).expect("read"),
            Arc::new(of(3.0))
        );
    }
}
