//! Rules, with every version that they have had.

use domain::{RuleText, StoreError};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// One is in force from version `since` until before `until`.
const TABLE: &str = "
    CREATE TABLE rules (
        name TEXT NOT NULL, body TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER, PRIMARY KEY (name, since)
    ) STRICT;
    INSERT OR IGNORE INTO counters VALUES ('rules', 0);
";

/// Makes the table where it is not there: a file of an earlier program opens, and that program passes over the table.
pub(crate) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    let there = "SELECT count(*) FROM sqlite_master WHERE name = 'rules'";
    if connection.query_row(there, [], |row| row.get::<_, i64>(0))? == 0 {
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLE} COMMIT;"))?;
    }
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let query = "SELECT value FROM counters WHERE name = 'rules'";
    connection.query_row(query, [], |row| row.get(0))
}

/// The rules of a version, those in force if none is named; `None` for a version that has not been.
pub(crate) fn read(
    connection: &Connection,
    wanted: Option<u64>,
) -> rusqlite::Result<Option<(u64, Vec<RuleText>)>> {
    let last = version(connection)?;
    let wanted = match wanted.map(i64::try_from) {
        None => last,
        Some(Ok(wanted)) if wanted <= last => wanted,
        Some(_) => return Ok(None),
    };
    let query =
        "SELECT name, body FROM rules WHERE since <= ?1 AND (until IS NULL OR until > ?1) ORDER BY name";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map([wanted], |row| {
        Ok(RuleText {
            name: row.get(0)?,
            body: row.get(1)?,
        })
    })?;
    let rules = rows.collect::<rusqlite::Result<_>>()?;
    Ok(Some((wanted.unsigned_abs(), rules)))
}

/// Whether anything changed, and the version in force after it; or the name that is not there.
type Changed = Result<(bool, u64), StoreError>;

pub(crate) fn change(
    transaction: &Transaction<'_>,
    put: &[RuleText],
    delete: &[String],
) -> rusqlite::Result<Changed> {
    let next = version(transaction)? + 1;
    let body = "SELECT body FROM rules WHERE name = ?1 AND until IS NULL";
    let end = "UPDATE rules SET until = ?2 WHERE name = ?1 AND until IS NULL";
    let mut is_changed = false;
    for name in delete {
        if transaction.execute(end, params![name, next])? == 0 {
            return Ok(Err(StoreError::Input {
                field: "name".into(),
                got: name.clone(),
                expected: "the name of a rule".into(),
            }));
        }
        is_changed = true;
    }
    for rule in put {
        let stored: Option<String> = transaction
            .query_row(body, [&rule.name], |row| row.get(0))
            .optional()?;
        if stored.as_ref() == Some(&rule.body) {
            continue;
        }
        transaction.execute(end, params![rule.name, next])?;
        transaction.execute(
            "INSERT OR REPLACE INTO rules (name, body, since, until) VALUES (?1, ?2, ?3, NULL)",
            params![rule.name, rule.body, next],
        )?;
        is_changed = true;
    }
    if is_changed {
        transaction.execute("UPDATE counters SET value = ?1 WHERE name = 'rules'", [next])?;
    }
    let now = next - i64::from(!is_changed);
    Ok(Ok((is_changed, now.unsigned_abs())))
}
