//! Expressions: by hand, against another implementation, and what cannot be.

use crate::world::{Items, NOW, Value, attributes, compiled, moment, position, rule};
use cel::{Context, Program};
use domain::{Attributes, Query, RawAttribute, Verdict};
use numeric::SeededStream;
use rules::{Memos, Request, RuleKind, RuleSet};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn texts(list: &[&str]) -> Value {
    Value::Texts(list.iter().map(|text| (*text).to_owned()).collect())
}

fn item(pairs: &[(&str, Value)]) -> BTreeMap<String, Value> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

/// Items for which the expression is true, asked twice so that remembered answers are looked at too.
fn true_of(condition: &str, items: Items, query: &Query) -> Vec<u32> {
    let compiled =
        compiled(rule("r", RuleKind::Exclude, condition)).unwrap_or_else(|e| panic!("{condition}: {e}"));
    let n = items.0.len();
    let set = RuleSet::new(1, vec![compiled]);
    let bound = set.bind(Request {
        placement: Some("home"),
        query,
        facts: Arc::new(items),
        memos: Arc::new(Memos::new(set.n_memos(), n)),
        position: &position,
        exposures: &Vec::new,
        moment,
    });
    let removing = bound.removing();
    let removed = |item: &u32| {
        removing
            .iter()
            .any(|rule| rule.check(query, *item) != Verdict::Keep)
    };
    let all = || (0..n as u32).filter(removed).collect::<Vec<_>>();
    let first = all();
    assert_eq!(first, all(), "{condition}: remembered otherwise");
    first
}

#[test]
fn by_hand() {
    let items = || {
        Items(vec![
            item(&[
                ("genres", texts(&["Comedy", "Drama"])),
                ("year", Value::Number(1994.0)),
                ("maker", text("Acme")),
                ("in_stock", text("true")),
                ("released", Value::Moment(NOW.0 - 86_400_000)),
                ("two-part", Value::Number(2.0)),
            ]),
            item(&[
                ("genres", texts(&["Horror"])),
                ("year", Value::Number(2020.0)),
                ("maker", text("Zeta")),
                ("in_stock", text("false")),
            ]),
            item(&[]),
        ])
    };
    let query = Query {
        now: NOW,
        anchor: Some(0),
        user_attributes: attributes(&[
            ("age", RawAttribute::Number(15.0)),
            (
                "likes",
                RawAttribute::Texts(vec!["Horror".into(), "Crime".into()]),
            ),
        ]),
        context: attributes(&[("device", RawAttribute::Text("phone".into()))]),
        n: 10,
        ..Query::default()
    };
    let table: [(&str, &[u32]); 34] = [
        ("true", &[0, 1, 2]),
        ("false", &[]),
        ("\"Drama\" in item.genres", &[0]),
        ("item.year > 2000", &[1]),
        ("item.year + 6 >= 2000.0 && item.year - 1 < 2019", &[0]),
        ("!(item.year > 2000)", &[0]),
        ("item.year > 2000 || item.maker == 'Acme'", &[0, 1]),
        ("!has(item.year)", &[2]),
        ("has(item.year) && has(item.released)", &[0]),
        ("item.in_stock == true", &[0]),
        ("item.in_stock != true", &[1]),
        ("item.id in ['b', 'c']", &[1, 2]),
        ("item['id'] == 'a'", &[0]),
        ("item.year in [1994, 1995]", &[0]),
        ("item.maker < 'M'", &[0]),
        ("size(item.genres) == 2", &[0]),
        ("item.genres.size() == 1", &[1]),
        ("item.maker.startsWith('Z') || item.maker.endsWith('me')", &[0, 1]),
        ("item.maker.contains('et')", &[1]),
        ("item.genres.exists(g, g in user.likes)", &[1]),
        ("item.genres.all(g, g in user.likes)", &[1]),
        ("user.likes.exists(l, item.genres.exists(g, g == l))", &[1]),
        ("user.age < 18 && \"Horror\" in item.genres", &[1]),
        ("user.country == 'CH' || item.year == 2020", &[1]),
        ("user.country == 'CH' && item.year == 2020", &[]),
        (
            "context.device == 'phone' ? item.year < 2000 : item.year > 2000",
            &[0],
        ),
        ("(context.device == 'phone' ? 1 : 2) == item.`two-part` - 1", &[0]),
        ("anchor.maker == item.maker", &[0]),
        ("now - item.released < duration('36h')", &[0]),
        (
            "item.released > timestamp('2023-11-14T00:00:00Z') - duration('24h')",
            &[0],
        ),
        ("item.age_days >= 1 && item.added_at < now", &[1, 2]),
        (
            "now.getHours() == 22 && now.getDayOfWeek() == 2 && now.getDate() == 14 && now.getMonth() == 10",
            &[0, 1, 2],
        ),
        (
            "now.getHours('+02:00') == 0 && now.getFullYear() == 2023",
            &[0, 1, 2],
        ),
        (
            "request.n == 10 && request.history_size == 0 && item.year / 0.0 > 1.0",
            &[],
        ),
    ];
    for (condition, expected) in table {
        assert_eq!(true_of(condition, items(), &query), expected, "{condition}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let deep = format!("{}item.year > 1{}", "(".repeat(200), ")".repeat(200));
    let long = vec!["item.year > 1"; 200].join(" || ");
    let many = format!(
        "{}||item.genres.exists(g, g == 'x')",
        vec!["true"; 320].join("||")
    );
    let table: [(&str, &str, &str); 24] = [
        (
            "item.colour == 'red'",
            "item.colour",
            "an attribute that items have, such as genres",
        ),
        (
            "user.colour == 'red'",
            "user.colour",
            "an attribute that users have, such as age, country, likes",
        ),
        (
            "context.colour == 'red'",
            "context.colour",
            "a key of [context] in concierge.toml, such as device",
        ),
        ("colour == 'red'", "colour", "item.x, anchor.x"),
        (
            "item.year == 'red'",
            "item.year (a number) beside \"red\" (a text)",
            "two values of one kind",
        ),
        (
            "item.genres == 'Drama'",
            "item.genres (a list of texts)",
            "a value `in` the list",
        ),
        (
            "'x' in item.year",
            "\"x\" (a text) in item.year (a number)",
            "a text in a list",
        ),
        (
            "1 in item.genres",
            "1 (a number) in item.genres",
            "a text in a list of texts",
        ),
        ("item.year", "item.year, a number", "true or false"),
        ("item.maker", "item.maker, a text", "compare it"),
        ("item.maker && true", "item.maker, a text", "compare it"),
        (
            "item.place == 'x'",
            "item.place (a point",
            "two values of one kind",
        ),
        ("item.genres.map(g, g == 'x')", "a macro", "exists or all"),
        (
            "item.maker.matches('a.*')",
            "matches",
            "regular expressions are not offered",
        ),
        ("item.year +", "item.year +", "an expression in CEL"),
        ("", "", "an expression in CEL"),
        ("item.maker == null", "null", "has(...)"),
        (
            "timestamp('soon') < now",
            "timestamp(\"soon\")",
            "a moment written out",
        ),
        (
            "duration('3 days') < duration('1h')",
            "duration(\"3 days\")",
            "duration(\"36h\")",
        ),
        (
            "now.getHours('Europe/Zurich') == 1",
            "\"Europe/Zurich\"",
            "an offset such as",
        ),
        (
            "{'a': 1} == {'a': 1}",
            "an expression",
            "a comparison of attributes",
        ),
        (&deep, "200 levels", "at most 48 levels of nesting"),
        (&long, " bytes", "at most 2000 bytes"),
        (&many, "true||true", "an expression in CEL"),
    ];
    for (condition, got, expected) in table {
        let error = compiled(rule("r", RuleKind::Exclude, condition)).expect_err(condition);
        assert_eq!(error.field, "where", "{condition}");
        assert!(
            error.got.starts_with(got) || error.got.contains(got),
            "{condition}: {error}"
        );
        assert!(error.expected.contains(expected), "{condition}: {error}");
    }
}

/// A random expression that is true or false, in the part of CEL that both implementations have.
fn random_flag(stream: &mut SeededStream, depth: u32) -> String {
    let pick = |stream: &mut SeededStream, n: u64| stream.next_u64() % n;
    let number = |stream: &mut SeededStream| match stream.next_u64() % 5 {
        0 => "item.year".to_owned(),
        1 => "item.price".to_owned(),
        2 => "user.age".to_owned(),
        3 => "context.hour".to_owned(),
        n => format!("{:.1}", (n + stream.next_u64() % 4) as f64),
    };
    let word = |stream: &mut SeededStream| match stream.next_u64() % 4 {
        0 => "item.maker",
        1 => "user.country",
        2 => "'x'",
        _ => "'y'",
    };
    let op = |stream: &mut SeededStream| ["==", "!=", "<", "<=", ">", ">="][(stream.next_u64() % 6) as usize];
    if depth == 0 || pick(stream, 3) == 0 {
        return match pick(stream, 7) {
            0 => {
                let (a, b) = (number(stream), number(stream));
                format!("{a} {} {b}", op(stream))
            }
            1 => {
                let (a, b, c) = (number(stream), number(stream), number(stream));
                let sum = ["+", "-", "*"][pick(stream, 3) as usize];
                format!("{a} {sum} {b} {} {c}", op(stream))
            }
            2 => {
                let (a, b) = (word(stream), word(stream));
                format!("{a} {} {b}", op(stream))
            }
            3 => format!("{} in item.genres", word(stream)),
            4 => format!(
                "has({})",
                ["item.maker", "item.year", "user.age", "context.hour"][pick(stream, 4) as usize]
            ),
            5 => format!("item.genres.exists(g, g {} {})", op(stream), word(stream)),
            _ => format!("user.likes.all(l, l in item.genres || l == {})", word(stream)),
        };
    }
    let (a, b) = (random_flag(stream, depth - 1), random_flag(stream, depth - 1));
    match pick(stream, 4) {
        0 => format!("!({a})"),
        1 => format!("({a}) && ({b})"),
        2 => format!("({a}) || ({b})"),
        _ => format!("(({a}) ? ({b}) : ({}))", random_flag(stream, depth - 1)),
    }
}

fn as_cel(values: &BTreeMap<String, Value>) -> HashMap<String, cel::Value> {
    let convert = |value: &Value| match value {
        Value::Text(text) => cel::Value::from(text.as_str()),
        Value::Texts(texts) => cel::Value::from(texts.clone()),
        Value::Number(number) => cel::Value::Float(*number),
        Value::Moment(ms) => cel::Value::Int(*ms),
    };
    values
        .iter()
        .map(|(name, value)| (name.clone(), convert(value)))
        .collect()
}

fn as_raw(values: &BTreeMap<String, Value>) -> Attributes {
    let convert = |value: &Value| match value {
        Value::Text(text) => RawAttribute::Text(text.clone()),
        Value::Texts(texts) => RawAttribute::Texts(texts.clone()),
        Value::Number(number) => RawAttribute::Number(*number),
        Value::Moment(ms) => RawAttribute::Number(*ms as f64),
    };
    values
        .iter()
        .map(|(name, value)| (name.clone(), convert(value)))
        .collect()
}

#[test]
fn random_expressions_mean_what_another_implementation_says() {
    let mut stream = SeededStream::new(7, 0xce1);
    let (mut decided, mut true_count) = (0, 0);
    for round in 0..600 {
        let condition = random_flag(&mut stream, 3);
        let mut draw = |n: u64| stream.next_u64() % n;
        let mut some = |names: &[&str]| -> BTreeMap<String, Value> {
            let mut out = BTreeMap::new();
            for name in names {
                if draw(4) == 0 {
                    continue;
                }
                let words = ["x", "y", "z"];
                let value = match *name {
                    "genres" | "likes" => texts(&words[..draw(4) as usize]),
                    "maker" | "country" => text(words[draw(3) as usize]),
                    _ => Value::Number(draw(8) as f64),
                };
                out.insert((*name).to_owned(), value);
            }
            out
        };
        let items: Vec<_> = (0..4)
            .map(|_| some(&["genres", "maker", "year", "price"]))
            .collect();
        let (user, context) = (some(&["likes", "country", "age"]), some(&["hour"]));
        let query = Query {
            now: NOW,
            user_attributes: as_raw(&user),
            context: as_raw(&context),
            ..Query::default()
        };
        let ours = true_of(&condition, Items(items.clone()), &query);
        let program = Program::compile(&condition).expect("it parsed before");
        for (at, one) in items.iter().enumerate() {
            let mut cel_context = Context::default();
            for (name, values) in [("item", one), ("user", &user), ("context", &context)] {
                cel_context.add_variable_from_value(name, as_cel(values));
            }
            // What is an error there is absent here, and then no rule applies.
            let theirs = matches!(program.execute(&cel_context), Ok(cel::Value::Bool(true)));
            assert_eq!(
                ours.contains(&(at as u32)),
                theirs,
                "round {round}: {condition}\n{one:?}\n{user:?}\n{context:?}"
            );
            decided += 1;
            true_count += usize::from(theirs);
        }
    }
    assert!(
        true_count > decided / 10 && true_count < decided * 9 / 10,
        "{true_count} of {decided}"
    );
}
