//! The suite of catalogues on a file, and what may happen to that file.

use domain::{Catalogue, Item, ItemId, RawAttribute, StoreError, User, UserId};
use std::path::PathBuf;
use store_sqlite::SqliteCatalogue;
use tempfile::TempDir;
use testkit::catalogues::CatalogueHome;

struct Home {
    dir: TempDir,
    catalogue: SqliteCatalogue,
}

impl Home {
    fn new() -> Home {
        let dir = TempDir::new().unwrap();
        let catalogue = SqliteCatalogue::open(&dir.path().join("c.sqlite")).unwrap();
        Home { dir, catalogue }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("c.sqlite")
    }
}

impl CatalogueHome for Home {
    fn catalogue(&self) -> &dyn Catalogue {
        &self.catalogue
    }

    fn reopened(self: Box<Self>) -> Box<dyn CatalogueHome> {
        let Home { dir, catalogue } = *self;
        drop(catalogue);
        let catalogue = SqliteCatalogue::open(&dir.path().join("c.sqlite")).unwrap();
        Box::new(Home { dir, catalogue })
    }
}

fn item(n: usize) -> Item {
    Item {
        item_id: ItemId::new(format!("item-{n}")).unwrap(),
        attributes: [("title".to_owned(), RawAttribute::Text(format!("Number {n}")))].into(),
        hidden: n.is_multiple_of(3),
        added_at: None,
    }
}

#[test]
fn catalogue() {
    testkit::catalogues::catalogue(&|| Box::new(Home::new()));
}

#[test]
fn a_backup_of_a_catalogue_in_use_is_whole() {
    let home = Home::new();
    home.catalogue
        .put_items(&(0..10_000).map(item).collect::<Vec<_>>())
        .unwrap();
    let copy = home.dir.path().join("copy.sqlite");
    home.catalogue.backup_to(&copy).unwrap();
    home.catalogue.put_items(&[item(10_000)]).unwrap();
    let copy = SqliteCatalogue::open(&copy).unwrap();
    assert_eq!(copy.counts().unwrap(), (10_000, 0));
    assert_eq!(copy.quick_check().unwrap(), Vec::<String>::new());
    let mut last = None;
    copy.for_each_item(&mut |item| last = Some(item)).unwrap();
    assert_eq!(last, Some(item(9999)));
}

#[test]
fn files_that_are_no_catalogue_are_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.sqlite");
    let refused = |path: &PathBuf, word: &str| match SqliteCatalogue::open(path) {
        Err(StoreError::Damaged { path, reason, .. }) => {
            assert!(path.ends_with("c.sqlite") && reason.contains(word), "{reason}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("opened"),
    };
    std::fs::write(
        &path,
        b"not a database at all, but long enough to be looked at as one",
    )
    .unwrap();
    refused(&path, "not a database");
    std::fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE mine (x)").unwrap();
    drop(other);
    refused(&path, "some other program");
    std::fs::remove_file(&path).unwrap();
    drop(SqliteCatalogue::open(&path).unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    refused(&path, "version 99");
}

#[test]
fn damage_is_found() {
    let home = Home::new();
    home.catalogue
        .put_items(&(0..5000).map(item).collect::<Vec<_>>())
        .unwrap();
    let path = home.path();
    let Home { dir, catalogue } = home;
    drop(catalogue);
    let whole = std::fs::read(&path).unwrap();
    let mut missed = Vec::new();
    for at in (4096..whole.len()).step_by(whole.len() / 23) {
        let mut bytes = whole.clone();
        // Something that cannot be overlooked in a page, not a letter of a text.
        bytes[at / 4096 * 4096..at / 4096 * 4096 + 64].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        let found = match SqliteCatalogue::open(&path) {
            Err(_) => true,
            Ok(catalogue) => catalogue
                .quick_check()
                .map_or(true, |problems| !problems.is_empty()),
        };
        if !found {
            missed.push(at);
        }
    }
    drop(dir);
    assert_eq!(missed, Vec::<usize>::new());
}

#[test]
fn what_is_erased_is_in_no_file() {
    let home = Home::new();
    let secret = "a-name-that-must-go";
    let user = User {
        user_id: UserId::new(secret).unwrap(),
        attributes: [(
            "note".to_owned(),
            RawAttribute::Text("a-note-that-must-go".into()),
        )]
        .into(),
    };
    home.catalogue.put_users(std::slice::from_ref(&user)).unwrap();
    home.catalogue
        .put_items(&(0..100).map(item).collect::<Vec<_>>())
        .unwrap();
    assert!(home.catalogue.erase_user(&user.user_id).unwrap());
    for entry in std::fs::read_dir(home.dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("that-must-go"));
    }
}

/// The tables of version 1, with one item, as that version wrote them.
const VERSION_1: &str = "
    CREATE TABLE items (
        position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, attributes TEXT NOT NULL,
        hidden INTEGER NOT NULL, added_at INTEGER
    ) STRICT;
    CREATE TABLE users (
        position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, attributes TEXT NOT NULL
    ) STRICT;
    CREATE TABLE kinds (
        entity TEXT NOT NULL, attribute TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (entity, attribute)
    ) STRICT;
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    INSERT INTO counters VALUES ('revision', 7);
    INSERT INTO items (id, attributes, hidden, added_at) VALUES ('item-1', '{\"title\":\"Number 1\"}', 0, NULL);
    PRAGMA application_id = 1129202503; PRAGMA user_version = 1;";

#[test]
fn a_file_of_version_1_is_lifted_and_keeps_changes_from_then_on() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.sqlite");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    drop(old);
    for _ in 0..2 {
        let catalogue = SqliteCatalogue::open(&path).unwrap();
        assert_eq!(catalogue.item(&item(1).item_id).unwrap(), Some(item(1)));
        assert!(catalogue.history(6).is_err());
        assert_eq!(catalogue.history(7).unwrap().items.len(), 0);
    }
    let catalogue = SqliteCatalogue::open(&path).unwrap();
    let changed = Item {
        hidden: true,
        ..item(1)
    };
    catalogue.put_items(&[item(2), changed]).unwrap();
    let changes = catalogue.history(7).unwrap().items;
    let told: Vec<_> = changes.iter().map(|c| (c.revision, c.before.clone())).collect();
    assert_eq!(told, [(8, Some(item(1))), (8, None)]);
}
