//! The tables and the contract of `domain`.

use crate::errors::{damaged, sql};
use crate::json::{from_json, to_json};
use crate::rules;
use crate::schema::Tallies;
use domain::{
    AttributeKind, Attributes, Catalogue, CatalogueHistory, EntityKind, Item, ItemChange, ItemId, KindChange,
    PutOutcome, RuleText, Schema, StoreError, Timestamp, User, UserId,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Marks the file as one of ours: "CNCG".
const APPLICATION_ID: i64 = 0x434e_4347;
const VERSION: i64 = 2;
const TABLES: &str = "
    CREATE TABLE items (
        position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, attributes TEXT NOT NULL,
        hidden INTEGER NOT NULL, added_at INTEGER, created INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE users (
        position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, attributes TEXT NOT NULL
    ) STRICT;
    CREATE TABLE kinds (
        entity TEXT NOT NULL, attribute TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (entity, attribute)
    ) STRICT;
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    INSERT INTO counters VALUES ('revision', 0), ('history_from', 0);
";
/// What was there before each change.
const HISTORY: &str = "
    CREATE TABLE item_history (
        revision INTEGER NOT NULL, position INTEGER NOT NULL, attributes TEXT NOT NULL,
        hidden INTEGER NOT NULL, added_at INTEGER, PRIMARY KEY (revision, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE kind_history (
        revision INTEGER NOT NULL, attribute TEXT NOT NULL, kind TEXT, PRIMARY KEY (revision, attribute)
    ) STRICT, WITHOUT ROWID;
";
/// From version 1, which kept no changes: those from now on are kept.
const FROM_1: &str = "
    ALTER TABLE items ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
    INSERT INTO counters SELECT 'history_from', value FROM counters WHERE name = 'revision';
";

/// The catalogue in one SQLite file. See the head of the crate.
pub struct SqliteCatalogue {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    connection: Connection,
    /// Items, users; `None` until asked for.
    tallies: [Option<Tallies>; 2],
}

fn at(of: EntityKind) -> usize {
    match of {
        EntityKind::Item => 0,
        EntityKind::User => 1,
    }
}

fn table(of: EntityKind) -> &'static str {
    match of {
        EntityKind::Item => "items",
        EntityKind::User => "users",
    }
}

/// What a put knows of one entity.
struct Putting<'a> {
    id: &'a str,
    attributes: &'a Attributes,
    hidden: bool,
    added_at: Option<i64>,
}

impl SqliteCatalogue {
    /// Opens the catalogue, making it if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the file is not a catalogue or one of a newer program,
    /// [`StoreError::InUse`] if another process is writing to it, [`StoreError::Io`] if the disk refuses.
    pub fn open(path: &Path) -> Result<SqliteCatalogue, StoreError> {
        let fail = sql("opening", path);
        let connection = Connection::open(path).map_err(&fail)?;
        connection.set_prepared_statement_cache_capacity(32);
        prepare(&connection, path)?;
        Ok(SqliteCatalogue {
            path: path.to_owned(),
            inner: Mutex::new(Inner {
                connection,
                tallies: [None, None],
            }),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a whole copy, as of now, to a file that is not there yet; durable on return.
    ///
    /// # Errors
    /// The disk's.
    pub fn backup_to(&self, to: &Path) -> Result<(), StoreError> {
        let fail = sql("copying to", to);
        let inner = self.inner();
        inner
            .connection
            .execute("VACUUM INTO ?1", [to.to_string_lossy()])
            .map_err(&fail)?;
        let flushed = std::fs::File::open(to).and_then(|file| file.sync_all());
        flushed.map_err(|e| StoreError::Io {
            action: "flushing",
            path: to.display().to_string(),
            reason: e.to_string(),
        })
    }

    /// Checks the file's structure and every row; what is wrong, in words.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot even be read.
    pub fn quick_check(&self) -> Result<Vec<String>, StoreError> {
        let fail = sql("checking", &self.path);
        let mut problems: Vec<String> = {
            let inner = self.inner();
            let mut statement = inner
                .connection
                .prepare("PRAGMA integrity_check")
                .map_err(&fail)?;
            let rows = statement
                .query_map([], |row| row.get::<_, String>(0))
                .map_err(&fail)?;
            rows.collect::<Result<_, _>>().map_err(&fail)?
        };
        problems.retain(|line| line != "ok");
        for result in [self.for_each_item(&mut |_| {}), self.for_each_user(&mut |_| {})] {
            problems.extend(result.err().map(|e| e.to_string()));
        }
        Ok(problems)
    }

    fn put(
        &self,
        of: EntityKind,
        rows: &mut dyn Iterator<Item = Putting<'_>>,
    ) -> Result<PutOutcome, StoreError> {
        let fail = sql("writing to", &self.path);
        let mut inner = self.inner();
        let Inner { connection, tallies } = &mut *inner;
        let mut gone: Vec<Attributes> = Vec::new();
        let mut come: Vec<Attributes> = Vec::new();
        let mut outcome = PutOutcome::default();
        // The last put of an id wins: only it is made.
        let rows: Vec<Putting<'_>> = rows.collect();
        let last: BTreeMap<&str, usize> = rows.iter().enumerate().map(|(n, row)| (row.id, n)).collect();
        let transaction = connection.transaction().map_err(&fail)?;
        let revision = counter(&transaction, "revision").map_err(&fail)? + 1;
        for (_, row) in rows.iter().enumerate().filter(|(n, row)| last[row.id] == *n) {
            let stored = stored(&transaction, of, row.id).map_err(&fail)?;
            let json = to_json(row.attributes);
            let same = stored.as_ref().is_some_and(|(attributes, hidden, added_at)| {
                *attributes == json && *hidden == row.hidden && *added_at == row.added_at
            });
            if same {
                outcome.unchanged += 1;
                continue;
            }
            write(&transaction, of, row, &json, stored.is_some(), revision).map_err(&fail)?;
            if let Some((attributes, ..)) = stored {
                outcome.updated += 1;
                gone.push(
                    from_json(&attributes).map_err(|e| damaged(&self.path, format!("{}: {e}", row.id)))?,
                );
            } else {
                outcome.created += 1;
            }
            come.push(row.attributes.clone());
        }
        if outcome.created + outcome.updated > 0 {
            raise_revision(&transaction).map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)?;
        if let Some(tallies) = &mut tallies[at(of)] {
            gone.iter().for_each(|attributes| tallies.remove(attributes));
            come.iter().for_each(|attributes| tallies.add(attributes));
        }
        Ok(outcome)
    }

    fn read_item(&self, row: &Row<'_>) -> Result<Item, StoreError> {
        let fail = sql("reading", &self.path);
        let id: String = row.get(0).map_err(&fail)?;
        let attributes: String = row.get(1).map_err(&fail)?;
        Ok(Item {
            attributes: from_json(&attributes).map_err(|e| damaged(&self.path, format!("item {id}: {e}")))?,
            item_id: ItemId::new(&id).map_err(|e| damaged(&self.path, e.to_string()))?,
            hidden: row.get(2).map_err(&fail)?,
            added_at: row.get::<_, Option<i64>>(3).map_err(&fail)?.map(Timestamp),
        })
    }

    fn read_user(&self, row: &Row<'_>) -> Result<User, StoreError> {
        let fail = sql("reading", &self.path);
        let id: String = row.get(0).map_err(&fail)?;
        let attributes: String = row.get(1).map_err(&fail)?;
        Ok(User {
            attributes: from_json(&attributes).map_err(|e| damaged(&self.path, format!("user {id}: {e}")))?,
            user_id: UserId::new(&id).map_err(|e| damaged(&self.path, e.to_string()))?,
        })
    }

    /// Visits rows in pages, so that the lock is not held while the caller looks at them.
    fn for_each<T>(
        &self,
        query: &str,
        read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
        visit: &mut dyn FnMut(T),
    ) -> Result<(), StoreError> {
        const PAGE: usize = 4096;
        let fail = sql("reading", &self.path);
        let mut after = 0i64;
        loop {
            let mut page = Vec::with_capacity(PAGE);
            {
                let inner = self.inner();
                let mut statement = inner.connection.prepare_cached(query).map_err(&fail)?;
                let mut rows = statement.query(params![after, PAGE as i64]).map_err(&fail)?;
                while let Some(row) = rows.next().map_err(&fail)? {
                    page.push(read(row)?);
                    after = row.get("position").map_err(&fail)?;
                }
            }
            let done = page.len() < PAGE;
            page.into_iter().for_each(&mut *visit);
            if done {
                return Ok(());
            }
        }
    }

    fn fixed(&self, inner: &Inner, of: EntityKind) -> Result<BTreeMap<String, AttributeKind>, StoreError> {
        let fail = sql("reading", &self.path);
        let query = "SELECT attribute, kind FROM kinds WHERE entity = ?1";
        let mut statement = inner.connection.prepare_cached(query).map_err(&fail)?;
        let rows = statement.query_map([table(of)], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
        let mut fixed = BTreeMap::new();
        for row in rows.map_err(&fail)? {
            let (attribute, kind): (String, String) = row.map_err(&fail)?;
            let kind = serde_json::from_value(serde_json::Value::String(kind.clone()))
                .map_err(|_| damaged(&self.path, format!("there is no kind {kind:?}")))?;
            fixed.insert(attribute, kind);
        }
        Ok(fixed)
    }

    /// Counts the values of every row, if that has not been done.
    fn count(&self, of: EntityKind) -> Result<(), StoreError> {
        if self.inner().tallies[at(of)].is_some() {
            return Ok(());
        }
        let fail = sql("reading", &self.path);
        // Under one lock, so that no put slips in between.
        let mut inner = self.inner();
        let mut tallies = Tallies::default();
        {
            let query = format!("SELECT attributes FROM {} ORDER BY position", table(of));
            let mut statement = inner.connection.prepare(&query).map_err(&fail)?;
            let mut rows = statement.query([]).map_err(&fail)?;
            while let Some(row) = rows.next().map_err(&fail)? {
                let json: String = row.get(0).map_err(&fail)?;
                tallies.add(&from_json(&json).map_err(|e| damaged(&self.path, e))?);
            }
        }
        inner.tallies[at(of)] = Some(tallies);
        Ok(())
    }

    /// Refuses a kind that a stored value cannot be read as.
    fn check_kind(&self, of: EntityKind, attribute: &str, kind: AttributeKind) -> Result<(), StoreError> {
        let mut found = false;
        let mut wrong: Option<StoreError> = None;
        let mut look = |id: &str, attributes: &Attributes| {
            let Some(value) = attributes.get(attribute) else {
                return;
            };
            found = true;
            if let (None, Err(expected)) = (&wrong, signals::typed(value, kind)) {
                wrong = Some(StoreError::Input {
                    field: format!("{}.{id}.attributes.{attribute}", table(of)),
                    got: format!("{value:?}").chars().take(120).collect(),
                    expected: expected.to_owned(),
                });
            }
        };
        match of {
            EntityKind::Item => {
                self.for_each_item(&mut |item| look(item.item_id.as_str(), &item.attributes))?
            }
            EntityKind::User => {
                self.for_each_user(&mut |user| look(user.user_id.as_str(), &user.attributes))?
            }
        }
        if !found {
            return Err(StoreError::Input {
                field: "attribute".into(),
                got: attribute.to_owned(),
                expected: format!("an attribute that one of the {} has", table(of)),
            });
        }
        wrong.map_or(Ok(()), Err)
    }
}

/// Sets the connection up and makes or checks the tables.
fn prepare(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let fail = sql("opening", path);
    connection
        .busy_timeout(std::time::Duration::from_secs(5))
        .map_err(&fail)?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (
        pragma("application_id").map_err(&fail)?,
        pragma("user_version").map_err(&fail)?,
    );
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .map_err(&fail)?;
    let fresh = tables == 0 && application == 0 && version == 0;
    if !fresh && application != APPLICATION_ID {
        return Err(damaged(path, "it is a database of some other program"));
    }
    if !fresh && !(1..=VERSION).contains(&version) {
        let reason = format!("its format is version {version}, this program reads version {VERSION}");
        return Err(damaged(path, reason));
    }
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(&fail)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(&fail)?;
    // What is deleted or replaced is overwritten.
    connection
        .pragma_update(None, "secure_delete", "ON")
        .map_err(&fail)?;
    if fresh {
        let make = format!(
            "BEGIN IMMEDIATE; {TABLES} {HISTORY} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
        );
        connection.execute_batch(&make).map_err(&fail)?;
    } else if version == 1 {
        let lift = format!("BEGIN IMMEDIATE; {FROM_1} {HISTORY} PRAGMA user_version = {VERSION}; COMMIT;");
        connection.execute_batch(&lift).map_err(&fail)?;
    }
    rules::prepare(connection).map_err(&fail)?;
    Ok(())
}

type StoredRow = (String, bool, Option<i64>);

fn stored(connection: &Connection, of: EntityKind, id: &str) -> rusqlite::Result<Option<StoredRow>> {
    match of {
        EntityKind::Item => connection
            .prepare_cached("SELECT attributes, hidden, added_at FROM items WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))),
        EntityKind::User => connection
            .prepare_cached("SELECT attributes FROM users WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, false, None))),
    }
    .optional()
}

fn write(
    connection: &Connection,
    of: EntityKind,
    row: &Putting<'_>,
    json: &str,
    is_there: bool,
    revision: i64,
) -> rusqlite::Result<()> {
    if of == EntityKind::Item && is_there {
        let keep = "INSERT INTO item_history SELECT ?2, position, attributes, hidden, added_at FROM items WHERE id = ?1";
        connection
            .prepare_cached(keep)?
            .execute(params![row.id, revision])?;
    }
    match (of, is_there) {
        (EntityKind::Item, false) => connection
            .prepare_cached(
                "INSERT INTO items (id, attributes, hidden, added_at, created) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![row.id, json, row.hidden, row.added_at, revision]),
        (EntityKind::Item, true) => connection
            .prepare_cached("UPDATE items SET attributes = ?2, hidden = ?3, added_at = ?4 WHERE id = ?1")?
            .execute(params![row.id, json, row.hidden, row.added_at]),
        (EntityKind::User, false) => connection
            .prepare_cached("INSERT INTO users (id, attributes) VALUES (?1, ?2)")?
            .execute(params![row.id, json]),
        (EntityKind::User, true) => connection
            .prepare_cached("UPDATE users SET attributes = ?2 WHERE id = ?1")?
            .execute(params![row.id, json]),
    }
    .map(|_| ())
}

fn counter(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT value FROM counters WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
}

fn kind_name(kind: AttributeKind) -> Option<String> {
    serde_json::to_value(kind).ok()?.as_str().map(str::to_owned)
}

fn raise_revision(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE counters SET value = value + 1 WHERE name = 'revision'")?
        .execute([])
        .map(|_| ())
}

impl Catalogue for SqliteCatalogue {
    fn put_items(&self, items: &[Item]) -> Result<PutOutcome, StoreError> {
        let mut rows = items.iter().map(|item| Putting {
            id: item.item_id.as_str(),
            attributes: &item.attributes,
            hidden: item.hidden,
            added_at: item.added_at.map(|at| at.0),
        });
        self.put(EntityKind::Item, &mut rows)
    }

    fn put_users(&self, users: &[User]) -> Result<PutOutcome, StoreError> {
        let mut rows = users.iter().map(|user| Putting {
            id: user.user_id.as_str(),
            attributes: &user.attributes,
            hidden: false,
            added_at: None,
        });
        self.put(EntityKind::User, &mut rows)
    }

    fn item(&self, id: &ItemId) -> Result<Option<Item>, StoreError> {
        let fail = sql("reading", &self.path);
        let inner = self.inner();
        let query = "SELECT id, attributes, hidden, added_at FROM items WHERE id = ?1";
        let mut statement = inner.connection.prepare_cached(query).map_err(&fail)?;
        let mut rows = statement.query([id.as_str()]).map_err(&fail)?;
        rows.next()
            .map_err(&fail)?
            .map(|row| self.read_item(row))
            .transpose()
    }

    fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let fail = sql("reading", &self.path);
        let inner = self.inner();
        let query = "SELECT id, attributes FROM users WHERE id = ?1";
        let mut statement = inner.connection.prepare_cached(query).map_err(&fail)?;
        let mut rows = statement.query([id.as_str()]).map_err(&fail)?;
        rows.next()
            .map_err(&fail)?
            .map(|row| self.read_user(row))
            .transpose()
    }

    fn for_each_item(&self, visit: &mut dyn FnMut(Item)) -> Result<(), StoreError> {
        let query = "SELECT id, attributes, hidden, added_at, position FROM items WHERE position > ?1
                     ORDER BY position LIMIT ?2";
        self.for_each(query, |row| self.read_item(row), visit)
    }

    fn for_each_user(&self, visit: &mut dyn FnMut(User)) -> Result<(), StoreError> {
        let query =
            "SELECT id, attributes, position FROM users WHERE position > ?1 ORDER BY position LIMIT ?2";
        self.for_each(query, |row| self.read_user(row), visit)
    }

    fn counts(&self) -> Result<(u64, u64), StoreError> {
        let fail = sql("reading", &self.path);
        let inner = self.inner();
        let query = "SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM users)";
        let counts = inner
            .connection
            .query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)));
        let (items, users): (i64, i64) = counts.map_err(&fail)?;
        Ok((items.unsigned_abs(), users.unsigned_abs()))
    }

    fn schema(&self, of: EntityKind) -> Result<Schema, StoreError> {
        self.count(of)?;
        let inner = self.inner();
        let fixed = self.fixed(&inner, of)?;
        Ok(inner.tallies[at(of)]
            .as_ref()
            .map(|tallies| tallies.schema(&fixed))
            .unwrap_or_default())
    }

    fn fix_kind(
        &self,
        of: EntityKind,
        attribute: &str,
        kind: Option<AttributeKind>,
    ) -> Result<(), StoreError> {
        let fail = sql("writing to", &self.path);
        if let Some(kind) = kind {
            self.check_kind(of, attribute, kind)?;
        }
        let mut inner = self.inner();
        let before = self.fixed(&inner, of)?.get(attribute).copied();
        let transaction = inner.connection.transaction().map_err(&fail)?;
        let changed = match kind {
            None => transaction.execute(
                "DELETE FROM kinds WHERE entity = ?1 AND attribute = ?2",
                [table(of), attribute],
            ),
            Some(kind) => {
                let name = kind_name(kind).unwrap_or_default();
                transaction.execute(
                    "INSERT INTO kinds VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET kind = excluded.kind
                     WHERE kind <> excluded.kind",
                    [table(of), attribute, &name],
                )
            }
        };
        if changed.map_err(&fail)? > 0 {
            if of == EntityKind::Item {
                let revision = counter(&transaction, "revision").map_err(&fail)? + 1;
                let keep = "INSERT INTO kind_history VALUES (?1, ?2, ?3)";
                let kept =
                    transaction.execute(keep, params![revision, attribute, before.and_then(kind_name)]);
                kept.map_err(&fail)?;
            }
            raise_revision(&transaction).map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)
    }

    fn erase_user(&self, user: &UserId) -> Result<bool, StoreError> {
        let fail = sql("erasing from", &self.path);
        let mut inner = self.inner();
        let Inner { connection, tallies } = &mut *inner;
        let transaction = connection.transaction().map_err(&fail)?;
        let Some((attributes, ..)) = stored(&transaction, EntityKind::User, user.as_str()).map_err(&fail)?
        else {
            return Ok(false);
        };
        transaction
            .execute("DELETE FROM users WHERE id = ?1", [user.as_str()])
            .map_err(&fail)?;
        raise_revision(&transaction).map_err(&fail)?;
        transaction.commit().map_err(&fail)?;
        // Freed space was overwritten; the journal still holds what was written before.
        connection
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")
            .map_err(&fail)?;
        if let (Some(tallies), Ok(attributes)) = (&mut tallies[at(EntityKind::User)], from_json(&attributes))
        {
            tallies.remove(&attributes);
        }
        Ok(true)
    }

    fn revision(&self) -> Result<u64, StoreError> {
        let fail = sql("reading", &self.path);
        let inner = self.inner();
        let value = counter(&inner.connection, "revision").map_err(&fail)?;
        Ok(value.unsigned_abs())
    }

    fn history(&self, revision: u64) -> Result<CatalogueHistory, StoreError> {
        let fail = sql("reading", &self.path);
        let inner = self.inner();
        let from = counter(&inner.connection, "history_from").map_err(&fail)?;
        let after = i64::try_from(revision).unwrap_or(i64::MAX);
        if after < from {
            return Err(StoreError::Input {
                field: "revision".into(),
                got: revision.to_string(),
                expected: format!("at least {from}: earlier changes of the catalogue are not kept"),
            });
        }
        let mut items: Vec<(i64, i64, ItemChange)> = Vec::new();
        let query = "SELECT id, h.attributes, h.hidden, h.added_at, h.revision, h.position
                     FROM item_history h JOIN items i ON i.position = h.position WHERE h.revision > ?1
                     UNION ALL
                     SELECT id, NULL, 0, NULL, created, position FROM items WHERE created > ?1";
        let mut statement = inner.connection.prepare_cached(query).map_err(&fail)?;
        let mut rows = statement.query([after]).map_err(&fail)?;
        while let Some(row) = rows.next().map_err(&fail)? {
            let (revision, position): (i64, i64) = (row.get(4).map_err(&fail)?, row.get(5).map_err(&fail)?);
            let was_there = row.get::<_, Option<String>>(1).map_err(&fail)?.is_some();
            let id: String = row.get(0).map_err(&fail)?;
            let change = ItemChange {
                revision: revision.unsigned_abs(),
                item_id: ItemId::new(&id).map_err(|e| damaged(&self.path, e.to_string()))?,
                before: was_there.then(|| self.read_item(row)).transpose()?,
            };
            items.push((revision, position, change));
        }
        items.sort_unstable_by_key(|(revision, position, _)| (*revision, *position));
        let mut kinds = Vec::new();
        let query =
            "SELECT revision, attribute, kind FROM kind_history WHERE revision > ?1 ORDER BY revision";
        let mut statement = inner.connection.prepare_cached(query).map_err(&fail)?;
        let mut rows = statement.query([after]).map_err(&fail)?;
        while let Some(row) = rows.next().map_err(&fail)? {
            let name: Option<String> = row.get(2).map_err(&fail)?;
            let before = name.map(|name| {
                serde_json::from_value(serde_json::Value::String(name.clone()))
                    .map_err(|_| damaged(&self.path, format!("there is no kind {name:?}")))
            });
            kinds.push(KindChange {
                revision: row.get::<_, i64>(0).map_err(&fail)?.unsigned_abs(),
                attribute: row.get(1).map_err(&fail)?,
                before: before.transpose()?,
            });
        }
        Ok(CatalogueHistory {
            items: items.into_iter().map(|(_, _, change)| change).collect(),
            kinds,
        })
    }

    fn forget_history(&self, revision: u64) -> Result<(), StoreError> {
        let fail = sql("writing to", &self.path);
        let mut inner = self.inner();
        let up_to = i64::try_from(revision).unwrap_or(i64::MAX);
        let transaction = inner.connection.transaction().map_err(&fail)?;
        if counter(&transaction, "history_from").map_err(&fail)? >= up_to {
            return Ok(());
        }
        for forget in [
            "DELETE FROM item_history WHERE revision <= ?1",
            "DELETE FROM kind_history WHERE revision <= ?1",
            "UPDATE counters SET value = ?1 WHERE name = 'history_from'",
        ] {
            transaction.execute(forget, [up_to]).map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)
    }

    fn rules(&self, version: Option<u64>) -> Result<Option<(u64, Vec<RuleText>)>, StoreError> {
        rules::read(&self.inner().connection, version).map_err(sql("reading", &self.path))
    }

    fn change_rules(&self, put: &[RuleText], delete: &[String]) -> Result<u64, StoreError> {
        let fail = sql("writing to", &self.path);
        let mut inner = self.inner();
        let transaction = inner.connection.transaction().map_err(&fail)?;
        let (is_changed, version) = rules::change(&transaction, put, delete).map_err(&fail)??;
        if is_changed {
            raise_revision(&transaction).map_err(&fail)?;
            transaction.commit().map_err(&fail)?;
        }
        Ok(version)
    }
}
