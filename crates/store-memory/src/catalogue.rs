//! The catalogue as two lists.

use domain::{
    AttributeKind, AttributeSchema, Attributes, Catalogue, CatalogueHistory, EntityKind, Item, ItemChange,
    ItemId, KindChange, KindOrigin, PutOutcome, RawAttribute, RuleText, Schema, StoreError, User, UserId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Lists {
    items: Vec<Item>,
    users: Vec<User>,
    fixed: BTreeMap<(EntityKind, String), AttributeKind>,
    revision: u64,
    history: CatalogueHistory,
    history_from: u64,
    /// Every version of the rules, the first one after version 0.
    rules: Vec<Vec<RuleText>>,
}

/// A catalogue that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryCatalogue(Mutex<Lists>);

/// Puts entities into a list; the last of one id wins.
fn put<T: Clone + PartialEq, I: PartialEq>(
    list: &mut Vec<T>,
    batch: &[T],
    id: impl Fn(&T) -> &I,
) -> PutOutcome {
    let mut outcome = PutOutcome::default();
    for (n, new) in batch.iter().enumerate() {
        if batch[n + 1..].iter().any(|later| id(later) == id(new)) {
            continue;
        }
        match list.iter_mut().find(|known| id(known) == id(new)) {
            Some(known) if known == new => outcome.unchanged += 1,
            Some(known) => {
                *known = new.clone();
                outcome.updated += 1;
            }
            None => {
                list.push(new.clone());
                outcome.created += 1;
            }
        }
    }
    outcome
}

impl Lists {
    fn attributes(&self, of: EntityKind) -> Vec<(&str, &Attributes)> {
        match of {
            EntityKind::Item => self
                .items
                .iter()
                .map(|i| (i.item_id.as_str(), &i.attributes))
                .collect(),
            EntityKind::User => self
                .users
                .iter()
                .map(|u| (u.user_id.as_str(), &u.attributes))
                .collect(),
        }
    }

    fn values(&self, of: EntityKind, attribute: &str) -> Vec<(&str, &RawAttribute)> {
        let all = self.attributes(of).into_iter();
        all.filter_map(|(id, attributes)| Some((id, attributes.get(attribute)?)))
            .collect()
    }
}

impl MemoryCatalogue {
    /// An empty catalogue.
    pub fn new() -> MemoryCatalogue {
        MemoryCatalogue::default()
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep_kind(lists: &mut Lists, of: EntityKind, attribute: &str, before: Option<AttributeKind>) {
    if of == EntityKind::Item {
        let revision = lists.revision;
        lists.history.kinds.push(KindChange {
            revision,
            attribute: attribute.to_owned(),
            before,
        });
    }
}

fn raised(lists: &mut Lists, outcome: PutOutcome) -> PutOutcome {
    lists.revision += u64::from(outcome.created + outcome.updated > 0);
    outcome
}

impl Catalogue for MemoryCatalogue {
    fn put_items(&self, items: &[Item]) -> Result<PutOutcome, StoreError> {
        let mut lists = self.lists();
        let before = lists.items.clone();
        let outcome = put(&mut lists.items, items, |item| &item.item_id);
        let outcome = raised(&mut lists, outcome);
        let revision = lists.revision;
        let after = lists.items.clone();
        // Nothing is ever removed, so that places stay.
        for (place, item) in after.into_iter().enumerate() {
            if before.get(place) != Some(&item) {
                lists.history.items.push(ItemChange {
                    revision,
                    item_id: item.item_id,
                    before: before.get(place).cloned(),
                });
            }
        }
        Ok(outcome)
    }

    fn put_users(&self, users: &[User]) -> Result<PutOutcome, StoreError> {
        let mut lists = self.lists();
        let outcome = put(&mut lists.users, users, |user| &user.user_id);
        Ok(raised(&mut lists, outcome))
    }

    fn item(&self, id: &ItemId) -> Result<Option<Item>, StoreError> {
        Ok(self
            .lists()
            .items
            .iter()
            .find(|item| item.item_id == *id)
            .cloned())
    }

    fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        Ok(self
            .lists()
            .users
            .iter()
            .find(|user| user.user_id == *id)
            .cloned())
    }

    fn for_each_item(&self, visit: &mut dyn FnMut(Item)) -> Result<(), StoreError> {
        let items = self.lists().items.clone();
        items.into_iter().for_each(visit);
        Ok(())
    }

    fn for_each_user(&self, visit: &mut dyn FnMut(User)) -> Result<(), StoreError> {
        let users = self.lists().users.clone();
        users.into_iter().for_each(visit);
        Ok(())
    }

    fn counts(&self) -> Result<(u64, u64), StoreError> {
        let lists = self.lists();
        Ok((lists.items.len() as u64, lists.users.len() as u64))
    }

    fn schema(&self, of: EntityKind) -> Result<Schema, StoreError> {
        let lists = self.lists();
        let stored = lists.attributes(of);
        let mut names: BTreeSet<&String> = stored
            .iter()
            .flat_map(|(_, attributes)| attributes.keys())
            .collect();
        names.extend(
            lists
                .fixed
                .keys()
                .filter(|(kind, _)| *kind == of)
                .map(|(_, name)| name),
        );
        let mut schema = Schema::new();
        for name in names {
            let values = lists.values(of, name);
            let fixed = lists.fixed.get(&(of, name.clone())).copied();
            let inferred = signals::infer_kind(values.iter().map(|(_, value)| *value));
            if let Some(kind) = fixed.or(inferred) {
                let origin = if fixed.is_some() {
                    KindOrigin::Fixed
                } else {
                    KindOrigin::Inferred
                };
                let present = values.len() as u64;
                schema.insert(
                    name.clone(),
                    AttributeSchema {
                        kind,
                        origin,
                        present,
                    },
                );
            }
        }
        Ok(schema)
    }

    fn fix_kind(
        &self,
        of: EntityKind,
        attribute: &str,
        kind: Option<AttributeKind>,
    ) -> Result<(), StoreError> {
        let mut lists = self.lists();
        let key = (of, attribute.to_owned());
        let Some(kind) = kind else {
            let was = lists.fixed.remove(&key);
            lists.revision += u64::from(was.is_some());
            if was.is_some() {
                keep_kind(&mut lists, of, attribute, was);
            }
            return Ok(());
        };
        let values = lists.values(of, attribute);
        if values.is_empty() {
            return Err(StoreError::Input {
                field: "attribute".into(),
                got: attribute.to_owned(),
                expected: "an attribute that is there".into(),
            });
        }
        for (id, value) in values {
            if let Err(expected) = signals::typed(value, kind) {
                return Err(StoreError::Input {
                    field: format!("{id}.attributes.{attribute}"),
                    got: format!("{value:?}"),
                    expected: expected.to_owned(),
                });
            }
        }
        let was = lists.fixed.insert(key, kind);
        lists.revision += u64::from(was != Some(kind));
        if was != Some(kind) {
            keep_kind(&mut lists, of, attribute, was);
        }
        Ok(())
    }

    fn erase_user(&self, user: &UserId) -> Result<bool, StoreError> {
        let mut lists = self.lists();
        let before = lists.users.len();
        lists.users.retain(|known| known.user_id != *user);
        let is_gone = lists.users.len() < before;
        lists.revision += u64::from(is_gone);
        Ok(is_gone)
    }

    fn revision(&self) -> Result<u64, StoreError> {
        Ok(self.lists().revision)
    }

    fn history(&self, revision: u64) -> Result<CatalogueHistory, StoreError> {
        let lists = self.lists();
        if revision < lists.history_from {
            return Err(StoreError::Input {
                field: "revision".into(),
                got: revision.to_string(),
                expected: format!("at least {}", lists.history_from),
            });
        }
        let mut history = lists.history.clone();
        history.items.retain(|change| change.revision > revision);
        history.kinds.retain(|change| change.revision > revision);
        Ok(history)
    }

    fn forget_history(&self, revision: u64) -> Result<(), StoreError> {
        let mut lists = self.lists();
        lists.history_from = lists.history_from.max(revision);
        lists.history.items.retain(|change| change.revision > revision);
        lists.history.kinds.retain(|change| change.revision > revision);
        Ok(())
    }

    fn rules(&self, version: Option<u64>) -> Result<Option<(u64, Vec<RuleText>)>, StoreError> {
        let lists = self.lists();
        let version = version.unwrap_or(lists.rules.len() as u64);
        Ok(match version {
            0 => Some((0, Vec::new())),
            _ => usize::try_from(version - 1)
                .ok()
                .and_then(|at| lists.rules.get(at))
                .map(|rules| (version, rules.clone())),
        })
    }

    fn change_rules(&self, put: &[RuleText], delete: &[String]) -> Result<u64, StoreError> {
        let mut lists = self.lists();
        let before = lists.rules.last().cloned().unwrap_or_default();
        let mut rules: BTreeMap<String, String> = before
            .iter()
            .cloned()
            .map(|rule| (rule.name, rule.body))
            .collect();
        for name in delete {
            if rules.remove(name).is_none() {
                return Err(StoreError::Input {
                    field: "name".into(),
                    got: name.clone(),
                    expected: "the name of a rule".into(),
                });
            }
        }
        rules.extend(put.iter().cloned().map(|rule| (rule.name, rule.body)));
        let rules: Vec<RuleText> = rules
            .into_iter()
            .map(|(name, body)| RuleText { name, body })
            .collect();
        if rules != before {
            lists.rules.push(rules);
            lists.revision += 1;
        }
        Ok(lists.rules.len() as u64)
    }
}
