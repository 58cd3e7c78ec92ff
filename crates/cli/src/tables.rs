//! Files of interactions, lists, negatives and attributes, read whole for measuring. Every row must be
//! sound: a figure over part of a file would be another figure.

use crate::failure::InputError;
use crate::files;
use domain::{Attributes, Item, ItemId, NewEvent, RawAttribute, User, UserId};
use evaluate::{Listed, Row};
use import::{Batch, Cell, Counts, ImportError, Kind, Options, RowSource, Sink};
use models::{ItemFeatures, UserFeatures};
use signals::{KindTally, TypedValue};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Names of the columns that say who and with what, ours first.
const USER: &[&str] = &["user_id", "user", "userId"];
const ITEM: &[&str] = &["item_id", "item", "itemId", "movieId"];

/// Keeps everything.
#[derive(Default)]
struct Collected {
    rows: Vec<Row>,
    items: Vec<Item>,
    users: Vec<User>,
}

impl Sink for Collected {
    fn events(&mut self, events: Vec<NewEvent>) -> Result<Counts, String> {
        let accepted = events.len() as u64;
        self.rows.extend(events.into_iter().map(|new| Row {
            user: new.event.user_id,
            item: new.event.item_id,
            value: new.event.value,
            timestamp: new.event.timestamp,
        }));
        Ok(Counts {
            accepted,
            duplicate: 0,
        })
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

/// What is wrong with a file, in words of a command that measures: it stores nothing, and has none of the options of `import`.
fn fail(error: ImportError) -> InputError {
    InputError(match error {
        ImportError::TooManyBad {
            name, line, first, ..
        } => format!(
            "{name}: line {line}: {first}; every row must be sound, or figures would be of a part of the file"
        ),
        ImportError::NoColumn { name, field, columns } => {
            format!("{name}: no column for {field}; there are {columns}. Name the one that holds it {field}")
        }
        error => error.to_string(),
    })
}

fn collected(path: &Path, mut options: Options, map: &[(&str, &[&str])]) -> Result<Collected, InputError> {
    let mut source = files::open_plainly(path)?;
    options.max_bad_share = 0.0;
    // JSON lines have no columns before rows were read.
    let first = source.next_batch(4096).map_err(fail)?;
    let columns = source.columns().to_vec();
    for (field, names) in map {
        if let Some(name) = names
            .iter()
            .find(|name| columns.iter().any(|column| column == **name))
        {
            options.map.push(((*field).to_owned(), (*name).to_owned()));
        }
    }
    let mut source: Box<dyn RowSource> = Box::new(Again { first, source });
    let name = path.display().to_string();
    let (plan, first) = import::plan(source.as_mut(), &name, &options).map_err(fail)?;
    let mut sink = Collected::default();
    import::run(source, &plan, first, &mut sink, None, &mut |_| ()).map_err(fail)?;
    Ok(sink)
}

/// A source of which a batch was read, with that batch put back.
struct Again {
    first: Option<Batch>,
    source: Box<dyn RowSource>,
}

impl RowSource for Again {
    fn columns(&self) -> &[String] {
        self.source.columns()
    }

    fn describe(&self) -> String {
        self.source.describe()
    }

    fn next_batch(&mut self, max: usize) -> Result<Option<Batch>, ImportError> {
        match self.first.take() {
            Some(batch) => Ok(Some(batch)),
            None => self.source.next_batch(max),
        }
    }

    fn consumed(&self) -> import::Consumed {
        self.source.consumed()
    }
}

/// Rows of who did what. The value is in the first column there is of `values`; rows without moment
/// have moment zero.
pub(crate) fn interactions(path: &Path, values: &[&str]) -> Result<Vec<Row>, InputError> {
    let mut options = Options::new(Kind::Events);
    options.untimed_at = Some(0);
    Ok(collected(path, options, &[("value", values)])?.rows)
}

/// Attributes by item, each read by the kind that fits all of its values. Several rows of one item are one: what they
/// say of an attribute is a list of labels.
pub(crate) fn item_features(path: &Path) -> Result<BTreeMap<ItemId, ItemFeatures>, InputError> {
    let items = collected(path, Options::new(Kind::Items), &[("item_id", ITEM)])?.items;
    let items = merged(items.into_iter().map(|item| (item.item_id, item.attributes)));
    let read = features(items.values());
    Ok(items.into_keys().zip(read).collect())
}

/// The same by user.
pub(crate) fn user_features(path: &Path) -> Result<BTreeMap<UserId, UserFeatures>, InputError> {
    let users = collected(path, Options::new(Kind::Users), &[("user_id", USER)])?.users;
    let users = merged(users.into_iter().map(|user| (user.user_id, user.attributes)));
    let read = features(users.values());
    Ok(users.into_keys().zip(read).collect())
}

/// One set of attributes per id. An attribute that some id has several values of is a list of labels for all.
fn merged<I: Ord>(rows: impl Iterator<Item = (I, Attributes)>) -> BTreeMap<I, Attributes> {
    let mut lists: BTreeMap<I, BTreeMap<String, Vec<RawAttribute>>> = BTreeMap::new();
    let mut listed: BTreeSet<String> = BTreeSet::new();
    for (id, attributes) in rows {
        let own = lists.entry(id).or_default();
        for (name, value) in attributes {
            let values = own.entry(name.clone()).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
            if values.len() > 1 {
                listed.insert(name);
            }
        }
    }
    let labels = |value: RawAttribute| match value {
        RawAttribute::Texts(labels) => labels,
        RawAttribute::Text(label) => vec![label],
        RawAttribute::Number(number) => vec![number.to_string()],
        RawAttribute::Flag(flag) => vec![flag.to_string()],
        other => vec![format!("{other:?}")],
    };
    let one = |(name, mut values): (String, Vec<RawAttribute>)| {
        let value = if listed.contains(&name) {
            RawAttribute::Texts(values.into_iter().flat_map(labels).collect())
        } else {
            values.pop()?
        };
        Some((name, value))
    };
    let whole =
        |(id, own): (I, BTreeMap<String, Vec<RawAttribute>>)| (id, own.into_iter().filter_map(one).collect());
    lists.into_iter().map(whole).collect()
}

/// Attributes read by the kinds that fit all of their values, in the order given.
fn features<'a>(all: impl Iterator<Item = &'a Attributes> + Clone) -> Vec<BTreeMap<String, TypedValue>> {
    let mut tallies: BTreeMap<&String, KindTally> = BTreeMap::new();
    for (name, value) in all.clone().flatten() {
        tallies.entry(name).or_default().add(value);
    }
    let kinds: BTreeMap<&String, _> = tallies
        .into_iter()
        .filter_map(|(name, tally)| Some((name, tally.kind()?)))
        .collect();
    let read = |attributes: &Attributes| {
        let read = attributes.iter().filter_map(|(name, raw)| {
            let value = signals::typed(raw, *kinds.get(name)?).ok()?;
            Some((name.clone(), value))
        });
        read.collect()
    };
    all.map(read).collect()
}

/// Calls `visit` with the cells of every row at the places of `wanted`, each a choice of names; the
/// inner option is `None` where no such column is there.
fn each_row(
    path: &Path,
    wanted: &[&[&str]],
    mut visit: impl FnMut(&[Option<&Cell>]) -> Result<(), String>,
) -> Result<(), InputError> {
    let name = path.display();
    let mut source = files::open_plainly(path)?;
    let mut rows = 0u64;
    while let Some(batch) = source.next_batch(32_768).map_err(|e| InputError(e.to_string()))? {
        let columns = source.columns();
        let places: Vec<Option<usize>> = wanted
            .iter()
            .map(|names| {
                names
                    .iter()
                    .find_map(|name| columns.iter().position(|column| column == name))
            })
            .collect();
        for (names, place) in wanted.iter().zip(&places).take(2) {
            if place.is_none() {
                let columns = columns.join(", ");
                return Err(InputError(format!(
                    "{name}: no column {}; there are {columns}",
                    names[0]
                )));
            }
        }
        for (at, row) in batch.rows.iter().enumerate() {
            let line = row.line;
            if let Some(bad) = &row.bad {
                return Err(InputError(format!("{name}: line {line}: {bad}")));
            }
            let cells = batch.cells_of(at);
            let picked: Vec<Option<&Cell>> = places
                .iter()
                .map(|place| place.and_then(|place| cells.get(place)))
                .collect();
            visit(&picked).map_err(|why| InputError(format!("{name}: line {line}: {why}")))?;
            rows += 1;
        }
    }
    if rows == 0 {
        return Err(InputError(format!("{name}: got 0 rows, expected at least one")));
    }
    Ok(())
}

fn text<'a>(cells: &[Option<&'a Cell>], at: usize) -> std::borrow::Cow<'a, str> {
    cells[at].and_then(Cell::as_text).unwrap_or_default()
}

/// Lists by user: rows of `user_id`, `item_id` and `rank` (from 1) or else `score` (the higher the
/// better; ties keep the order of the file).
pub(crate) fn lists(path: &Path) -> Result<Vec<Listed>, InputError> {
    let mut by_user: BTreeMap<UserId, Vec<(f64, ItemId)>> = BTreeMap::new();
    each_row(path, &[USER, ITEM, &["rank"], &["score"]], |cells| {
        let user = UserId::new(text(cells, 0)).map_err(|e| e.to_string())?;
        let item = ItemId::new(text(cells, 1)).map_err(|e| e.to_string())?;
        let number = |cell: Option<&Cell>, field: &str| match cell {
            None => Ok(None),
            Some(cell) => match cell.as_number() {
                Some(number) => Ok(Some(number)),
                None => Err(format!("{field}: got {}, expected a finite number", cell.shown())),
            },
        };
        let key = match (number(cells[2], "rank")?, cells[3]) {
            (Some(rank), _) => rank,
            (None, score) => match number(score, "score")? {
                Some(score) => -score,
                None => return Err("expected a column rank or a column score".to_owned()),
            },
        };
        by_user.entry(user).or_default().push((key, item));
        Ok(())
    })?;
    let listed = by_user.into_iter().map(|(user, mut items)| {
        items.sort_by(|a, b| a.0.total_cmp(&b.0));
        Listed {
            user,
            items: items.into_iter().map(|(_, item)| item).collect(),
        }
    });
    Ok(listed.collect())
}

/// Negatives by user: rows of `user_id`, `item_id`, or a row per user with a list `negatives` (in
/// text, labels with `|` between).
pub(crate) fn negatives(path: &Path) -> Result<HashMap<UserId, Vec<ItemId>>, InputError> {
    let mut by_user: HashMap<UserId, Vec<ItemId>> = HashMap::new();
    let second: Vec<&str> = ["negatives"].iter().chain(ITEM).copied().collect();
    each_row(path, &[USER, &second], |cells| {
        let user = UserId::new(text(cells, 0)).map_err(|e| e.to_string())?;
        let own = by_user.entry(user).or_default();
        let mut take = |id: &str| -> Result<(), String> {
            own.push(ItemId::new(id).map_err(|e| e.to_string())?);
            Ok(())
        };
        match cells[1] {
            Some(Cell::Attribute(list)) => match list.as_ref() {
                RawAttribute::Texts(ids) => ids.iter().try_for_each(|id| take(id)),
                RawAttribute::Numbers(ids) => ids.iter().try_for_each(|id| take(&id.to_string())),
                other => Err(format!("negatives: got {other:?}, expected a list of item ids")),
            },
            _ => text(cells, 1).split('|').try_for_each(|id| take(id.trim())),
        }
    })?;
    Ok(by_user)
}
