//! What every catalogue must do.

use domain::{
    AttributeKind, Attributes, Catalogue, EntityKind, Item, ItemId, KindOrigin, PutOutcome, RawAttribute,
    RuleText, StoreError, Timestamp, User, UserId,
};
use numeric::SeededStream;

/// Where a catalogue lives.
pub trait CatalogueHome {
    /// The catalogue.
    fn catalogue(&self) -> &dyn Catalogue;
    /// Closes it and opens it again; one that keeps nothing gives itself back.
    fn reopened(self: Box<Self>) -> Box<dyn CatalogueHome>;
}

fn item(id: &str, attributes: &[(&str, RawAttribute)]) -> Item {
    Item {
        item_id: ItemId::new(id).expect("a valid id"),
        attributes: attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
        hidden: false,
        added_at: Some(Timestamp(1_700_000_000_000)),
    }
}

fn text(text: &str) -> RawAttribute {
    RawAttribute::Text(text.to_owned())
}

fn items(catalogue: &dyn Catalogue) -> Vec<Item> {
    let mut all = Vec::new();
    catalogue
        .for_each_item(&mut |item| all.push(item))
        .expect("reading");
    all
}

fn counted(created: u64, updated: u64, unchanged: u64) -> PutOutcome {
    PutOutcome {
        created,
        updated,
        unchanged,
    }
}

/// Runs every check of a catalogue.
///
/// # Panics
/// At the first promise that is not kept.
pub fn catalogue(fresh: &dyn Fn() -> Box<dyn CatalogueHome>) {
    puts(fresh());
    every_value_survives(fresh());
    kinds(fresh());
    users(fresh());
    history_of_kinds(fresh());
    rules(fresh());
    for seed in 0..8 {
        random_puts(fresh(), seed);
    }
}

fn puts(home: Box<dyn CatalogueHome>) {
    let catalogue = home.catalogue();
    let (a, b) = (item("a", &[("x", text("1"))]), item("b", &[]));
    assert_eq!(catalogue.revision().expect("reading"), 0);
    assert_eq!(
        catalogue.put_items(&[a.clone(), b.clone()]).expect("putting"),
        counted(2, 0, 0)
    );
    assert_eq!(
        catalogue.put_items(std::slice::from_ref(&a)).expect("putting"),
        counted(0, 0, 1)
    );
    assert_eq!(
        catalogue.revision().expect("reading"),
        1,
        "a put that changes nothing is no revision"
    );
    let mut hidden = a.clone();
    hidden.hidden = true;
    assert_eq!(
        catalogue
            .put_items(std::slice::from_ref(&hidden))
            .expect("putting"),
        counted(0, 1, 0)
    );
    let (first, last) = (item("c", &[("x", text("1"))]), item("c", &[("x", text("2"))]));
    assert_eq!(
        catalogue.put_items(&[first, last.clone()]).expect("putting"),
        counted(1, 0, 0),
        "the last put wins"
    );
    assert_eq!(catalogue.put_items(&[]).expect("putting"), counted(0, 0, 0));
    let home = home.reopened();
    let catalogue = home.catalogue();
    assert_eq!(
        items(catalogue),
        [hidden.clone(), b, last],
        "in the order of the first put"
    );
    assert_eq!(catalogue.item(&hidden.item_id).expect("reading"), Some(hidden));
    assert_eq!(
        catalogue
            .item(&ItemId::new("z").expect("a valid id"))
            .expect("reading"),
        None
    );
    assert_eq!(catalogue.counts().expect("reading"), (3, 0));
    assert_eq!(catalogue.revision().expect("reading"), 3);
}

/// Versions of the rules: each change is one, old ones stay, what changes nothing or cannot be is none.
fn rules(home: Box<dyn CatalogueHome>) {
    let rule = |name: &str, body: &str| RuleText {
        name: name.to_owned(),
        body: body.to_owned(),
    };
    let (a, b, c) = (rule("a", "{\"é\": 1}"), rule("b", "2"), rule("a", "3"));
    let catalogue = home.catalogue();
    assert_eq!(catalogue.rules(None).expect("reading"), Some((0, Vec::new())));
    assert_eq!(catalogue.change_rules(&[], &[]).expect("writing"), 0);
    let change = |put: &[RuleText], delete: &[&str]| {
        let delete: Vec<String> = delete.iter().map(|name| (*name).to_owned()).collect();
        catalogue.change_rules(put, &delete)
    };
    assert_eq!(change(&[b.clone(), a.clone()], &[]), Ok(1));
    assert_eq!(change(std::slice::from_ref(&b), &[]), Ok(1), "nothing changed");
    assert_eq!(change(std::slice::from_ref(&c), &[]), Ok(2));
    let missing = change(std::slice::from_ref(&a), &["b", "z"]);
    assert!(
        matches!(&missing, Err(StoreError::Input { got, .. }) if got == "z"),
        "{missing:?}"
    );
    assert_eq!(change(&[], &["b"]), Ok(3));
    assert_eq!(change(std::slice::from_ref(&b), &["a"]), Ok(4));
    assert_eq!(
        catalogue.revision().expect("reading"),
        4,
        "a change of rules is a revision"
    );
    let home = home.reopened();
    let at = |version: Option<u64>| home.catalogue().rules(version).expect("reading");
    assert_eq!(at(Some(0)), Some((0, Vec::new())));
    assert_eq!(at(Some(1)), Some((1, vec![a, b.clone()])), "by name");
    assert_eq!(at(Some(2)), Some((2, vec![c.clone(), b.clone()])));
    assert_eq!(at(Some(3)), Some((3, vec![c])));
    assert_eq!(at(None), Some((4, vec![b])));
    assert_eq!(at(Some(5)), None);
    assert_eq!(at(Some(u64::MAX)), None);
}

fn every_value_survives(home: Box<dyn CatalogueHome>) {
    let values = [
        ("flag", RawAttribute::Flag(true)),
        ("number", RawAttribute::Number(-1.5e-300)),
        ("whole", RawAttribute::Number(3.0)),
        ("text", text("é \"'\\ \u{1f600} ;--")),
        ("empty", text("")),
        (
            "geo",
            RawAttribute::Geo {
                lat: -90.0,
                lon: 179.5,
            },
        ),
        ("numbers", RawAttribute::Numbers(vec![1.0, -2.5])),
        ("texts", RawAttribute::Texts(vec!["a".into(), String::new()])),
        ("no texts", RawAttribute::Texts(Vec::new())),
    ];
    let mut all = item("' OR 1=1 --", &values);
    all.added_at = None;
    home.catalogue()
        .put_items(std::slice::from_ref(&all))
        .expect("putting");
    let home = home.reopened();
    assert_eq!(items(home.catalogue()), [all]);
}

fn kinds(home: Box<dyn CatalogueHome>) {
    let of = EntityKind::Item;
    let texts = |t: &str| RawAttribute::Texts(vec![t.to_owned()]);
    let first = item(
        "a",
        &[
            ("year", RawAttribute::Number(1990.0)),
            ("genres", texts("x")),
            ("code", text("7")),
        ],
    );
    let second = item(
        "b",
        &[("year", RawAttribute::Number(1991.0)), ("code", text("8"))],
    );
    home.catalogue()
        .put_items(&[first.clone(), second])
        .expect("putting");
    let schema = home.catalogue().schema(of).expect("reading");
    assert_eq!(schema["year"].kind, AttributeKind::Number);
    assert_eq!(
        (schema["year"].origin, schema["year"].present),
        (KindOrigin::Inferred, 2)
    );
    assert_eq!(schema["genres"].kind, AttributeKind::Tags);
    // Inference follows what is stored, whether it comes or goes.
    let changed = item("a", &[("year", text("unknown")), ("code", text("7"))]);
    home.catalogue().put_items(&[changed]).expect("putting");
    let schema = home.catalogue().schema(of).expect("reading");
    assert_ne!(schema["year"].kind, AttributeKind::Number);
    assert!(!schema.contains_key("genres"));
    home.catalogue().put_items(&[first]).expect("putting");
    assert_eq!(
        home.catalogue().schema(of).expect("reading")["year"].kind,
        AttributeKind::Number
    );
    // A fixed kind is checked, stays, and can be handed back.
    let before = home.catalogue().revision().expect("reading");
    home.catalogue()
        .fix_kind(of, "code", Some(AttributeKind::Number))
        .expect("fixing");
    assert_eq!(home.catalogue().revision().expect("reading"), before + 1);
    let refused = home.catalogue().fix_kind(of, "genres", Some(AttributeKind::Geo));
    assert!(
        matches!(&refused, Err(StoreError::Input { field, .. }) if field.contains('a')),
        "{refused:?}"
    );
    let unknown = home
        .catalogue()
        .fix_kind(of, "nothing", Some(AttributeKind::Text));
    assert!(matches!(unknown, Err(StoreError::Input { .. })), "{unknown:?}");
    let home = home.reopened();
    let code = home.catalogue().schema(of).expect("reading")["code"].clone();
    assert_eq!(
        (code.kind, code.origin, code.present),
        (AttributeKind::Number, KindOrigin::Fixed, 2)
    );
    home.catalogue().fix_kind(of, "code", None).expect("handing back");
    assert_eq!(
        home.catalogue().schema(of).expect("reading")["code"].origin,
        KindOrigin::Inferred
    );
    assert!(
        home.catalogue()
            .schema(EntityKind::User)
            .expect("reading")
            .is_empty()
    );
}

fn users(home: Box<dyn CatalogueHome>) {
    let user = |id: &str, age: f64| User {
        user_id: UserId::new(id).expect("a valid id"),
        attributes: Attributes::from([("age".to_owned(), RawAttribute::Number(age))]),
    };
    let catalogue = home.catalogue();
    assert_eq!(
        catalogue
            .put_users(&[user("u", 3.0), user("v", 4.0)])
            .expect("putting"),
        counted(2, 0, 0)
    );
    assert_eq!(
        catalogue
            .put_users(&[user("u", 5.0), user("v", 4.0)])
            .expect("putting"),
        counted(0, 1, 1)
    );
    let revision = catalogue.revision().expect("reading");
    assert!(catalogue.erase_user(&user("u", 0.0).user_id).expect("erasing"));
    assert!(!catalogue.erase_user(&user("u", 0.0).user_id).expect("erasing"));
    assert_eq!(catalogue.revision().expect("reading"), revision + 1);
    let home = home.reopened();
    let catalogue = home.catalogue();
    assert_eq!(catalogue.user(&user("u", 0.0).user_id).expect("reading"), None);
    assert_eq!(
        catalogue.user(&user("v", 0.0).user_id).expect("reading"),
        Some(user("v", 4.0))
    );
    assert_eq!(
        catalogue.schema(EntityKind::User).expect("reading")["age"].present,
        1
    );
    let mut all = Vec::new();
    catalogue
        .for_each_user(&mut |user| all.push(user))
        .expect("reading");
    assert_eq!(all, [user("v", 4.0)]);
}

/// Led back by its history, the catalogue is what it was at each revision; what is forgotten is refused.
fn history(catalogue: &dyn Catalogue, past: &[(u64, Vec<Item>)], seed: u64) {
    let back_to = |revision: u64| {
        let mut then = items(catalogue);
        let history = catalogue.history(revision).expect("kept");
        assert!(history.items.iter().all(|change| change.revision > revision));
        for change in history.items.iter().rev() {
            let at = then.iter().position(|item| item.item_id == change.item_id);
            let at = at.expect("a change of an item that is there");
            match &change.before {
                Some(before) => then[at] = before.clone(),
                None => drop(then.remove(at)),
            }
        }
        then
    };
    for (revision, list) in past {
        assert_eq!(&back_to(*revision), list, "seed {seed}, revision {revision}");
    }
    let (middle, list) = &past[past.len() / 2];
    catalogue.forget_history(*middle).expect("forgetting");
    assert_eq!(&back_to(*middle), list, "seed {seed}");
    if *middle > 0 {
        let gone = catalogue.history(middle - 1);
        assert!(
            matches!(&gone, Err(StoreError::Input { field, .. }) if field == "revision"),
            "{gone:?}"
        );
    }
}

fn history_of_kinds(home: Box<dyn CatalogueHome>) {
    let of = EntityKind::Item;
    let catalogue = home.catalogue();
    catalogue
        .put_items(&[item("a", &[("code", text("7"))])])
        .expect("putting");
    for kind in [
        Some(AttributeKind::Number),
        Some(AttributeKind::Text),
        Some(AttributeKind::Text),
        None,
        None,
    ] {
        catalogue.fix_kind(of, "code", kind).expect("fixing");
    }
    let home = home.reopened();
    let kinds = home.catalogue().history(0).expect("kept").kinds;
    let told: Vec<_> = kinds
        .iter()
        .map(|change| (change.revision, change.attribute.as_str(), change.before))
        .collect();
    let expected = [
        (2, "code", None),
        (3, "code", Some(AttributeKind::Number)),
        (4, "code", Some(AttributeKind::Text)),
    ];
    assert_eq!(told, expected);
}

/// Any puts in any order, against a plain list.
fn random_puts(mut home: Box<dyn CatalogueHome>, seed: u64) {
    let mut stream = SeededStream::new(seed, 9);
    let mut list: Vec<Item> = Vec::new();
    let mut revision = 0;
    let mut past: Vec<(u64, Vec<Item>)> = vec![(0, Vec::new())];
    for _ in 0..40 {
        let batch: Vec<Item> = (0..stream.below(6))
            .map(|_| {
                let value = RawAttribute::Number(stream.below(3) as f64);
                Item {
                    hidden: stream.below(4) == 0,
                    ..item(&format!("i{}", stream.below(12)), &[("n", value)])
                }
            })
            .collect();
        let mut expected = counted(0, 0, 0);
        for (n, put) in batch.iter().enumerate() {
            if batch[n + 1..].iter().any(|later| later.item_id == put.item_id) {
                continue;
            }
            match list.iter_mut().find(|known| known.item_id == put.item_id) {
                Some(known) if known == put => expected.unchanged += 1,
                Some(known) => {
                    *known = put.clone();
                    expected.updated += 1;
                }
                None => {
                    list.push(put.clone());
                    expected.created += 1;
                }
            }
        }
        revision += u64::from(expected.created + expected.updated > 0);
        assert_eq!(
            home.catalogue().put_items(&batch).expect("putting"),
            expected,
            "seed {seed}"
        );
        if stream.below(8) == 0 {
            home = home.reopened();
        }
        assert_eq!(home.catalogue().revision().expect("reading"), revision);
        past.push((revision, list.clone()));
    }
    assert_eq!(items(home.catalogue()), list, "seed {seed}");
    history(home.catalogue(), &past, seed);
    let present = home
        .catalogue()
        .schema(EntityKind::Item)
        .expect("reading")
        .get("n")
        .map_or(0, |n| n.present);
    assert_eq!(present, list.len() as u64);
}
