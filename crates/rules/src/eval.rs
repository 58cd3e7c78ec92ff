//! Evaluation. What is absent makes what depends on it absent, as an error does in CEL: `false && absent` is false,
//! `true || absent` is true.

use crate::bound::ItemFacts;
use crate::memo::Memos;
use crate::node::{Flag, List, Moment, Number, Part, Scope, Search, Span, Sum, Text};
use domain::{Query, RawAttribute, Timestamp};
use rerank::AttributeValue;
use std::borrow::Cow;

const DAY_MS: f64 = 86_400_000.0;

/// An element of a list that is gone through, and those around it.
#[derive(Clone, Copy)]
pub(crate) struct Local<'v> {
    value: &'v str,
    outer: Option<&'v Local<'v>>,
}

/// All that an expression may look at.
#[derive(Clone, Copy)]
pub(crate) struct Env<'v> {
    /// The item under consideration; none while a request is bound.
    pub(crate) item: Option<u32>,
    pub(crate) facts: &'v dyn ItemFacts,
    pub(crate) query: &'v Query,
    pub(crate) moment: fn(&RawAttribute) -> Option<Timestamp>,
    pub(crate) memos: Option<&'v Memos>,
    pub(crate) locals: Option<&'v Local<'v>>,
}

impl<'v> Env<'v> {
    fn position(&self, scope: Scope) -> Option<u32> {
        match scope {
            Scope::Item => self.item,
            Scope::Anchor => self.query.anchor,
            Scope::User | Scope::Context => None,
        }
    }

    fn value(&self, scope: Scope, name: &str) -> Option<AttributeValue<'v>> {
        self.facts.value(self.position(scope)?, name)
    }

    fn raw(&self, scope: Scope, name: &str) -> Option<&'v RawAttribute> {
        match scope {
            Scope::User => self.query.user_attributes.get(name),
            Scope::Context => self.query.context.get(name),
            Scope::Item | Scope::Anchor => None,
        }
    }
}

fn is_item(scope: Scope) -> bool {
    matches!(scope, Scope::Item | Scope::Anchor)
}

fn numbers(sum: Sum, a: f64, b: f64) -> Option<f64> {
    let value = match sum {
        Sum::Plus => a + b,
        Sum::Minus => a - b,
        Sum::Times => a * b,
        Sum::By => a / b,
        Sum::Rest => a % b,
    };
    value.is_finite().then_some(value)
}

fn part_of(part: Part, ms: i64, offset_minutes: i32) -> Option<f64> {
    let moved = ms.checked_add(i64::from(offset_minutes) * 60_000)?;
    let at = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_millisecond(moved).ok()?);
    Some(match part {
        Part::Hours => f64::from(at.hour()),
        Part::Minutes => f64::from(at.minute()),
        Part::DayOfWeek => f64::from(at.weekday().to_sunday_zero_offset()),
        Part::DayOfMonth => f64::from(at.day()) - 1.0,
        Part::Date => f64::from(at.day()),
        Part::Month => f64::from(at.month()) - 1.0,
        Part::Year => f64::from(at.year()),
    })
}

/// Elements of a list.
enum Texts<'v> {
    Strings(&'v [String]),
    Each(Vec<Cow<'v, str>>),
}

impl Texts<'_> {
    fn len(&self) -> usize {
        match self {
            Texts::Strings(list) => list.len(),
            Texts::Each(list) => list.len(),
        }
    }

    fn get(&self, at: usize) -> Option<&str> {
        match self {
            Texts::Strings(list) => list.get(at).map(String::as_str),
            Texts::Each(list) => list.get(at).map(|text| &**text),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

/// `All` (or `Any`): decided by the first that is false (true), absent if none decides and one is absent.
fn joined(decisive: bool, values: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut out = Some(!decisive);
    for value in values {
        match value {
            Some(value) if value == decisive => return Some(decisive),
            None => out = None,
            Some(_) => {}
        }
    }
    out
}

impl Flag {
    pub(crate) fn eval<'v>(&'v self, env: &Env<'v>) -> Option<bool> {
        match self {
            Flag::Const(value) => *value,
            Flag::Not(inner) => inner.eval(env).map(|value| !value),
            Flag::All(nodes) => joined(false, nodes.iter().map(|node| node.eval(env))),
            Flag::Any(nodes) => joined(true, nodes.iter().map(|node| node.eval(env))),
            Flag::If(parts) => match parts.0.eval(env)? {
                true => parts.1.eval(env),
                false => parts.2.eval(env),
            },
            Flag::Same(negated, pair) => Some((pair.0.eval(env)? == pair.1.eval(env)?) != *negated),
            Flag::Numbers(op, pair) => {
                let order = pair.0.eval(env)?.partial_cmp(&pair.1.eval(env)?)?;
                Some(op.holds(order))
            }
            Flag::Moments(op, pair) => Some(op.holds(pair.0.eval(env)?.cmp(&pair.1.eval(env)?))),
            Flag::Spans(op, pair) => Some(op.holds(pair.0.eval(env)?.cmp(&pair.1.eval(env)?))),
            Flag::Texts(op, pair) => Some(op.holds(pair.0.eval(env)?.cmp(&pair.1.eval(env)?))),
            Flag::TextIn(pair) => {
                let (one, many) = (pair.0.eval(env)?, pair.1.eval(env)?);
                Some(many.iter().any(|text| text == one))
            }
            Flag::NumberIn(one, many) => {
                let one = one.eval(env)?;
                joined(true, many.iter().map(|number| number.eval(env).map(|n| n == one)))
            }
            Flag::Has(scope, name) if is_item(*scope) => Some(env.value(*scope, name).is_some()),
            Flag::Has(scope, name) => Some(env.raw(*scope, name).is_some()),
            Flag::Search(search, pair) => {
                let (text, part) = (pair.0.eval(env)?, pair.1.eval(env)?);
                Some(match search {
                    Search::Contains => text.contains(&*part),
                    Search::StartsWith => text.starts_with(&*part),
                    Search::EndsWith => text.ends_with(&*part),
                })
            }
            Flag::Each { all, list, test } => {
                let list = list.eval(env)?;
                let passes = list.iter().map(|value| {
                    let local = Local {
                        value,
                        outer: env.locals,
                    };
                    // The test outlives the element only by name: nothing of it is kept.
                    let inner = Env {
                        locals: Some(&local),
                        ..*env
                    };
                    test.eval(&inner)
                });
                joined(!all, passes)
            }
            Flag::Memo(slot, inner) => match (env.memos, env.item) {
                (Some(memos), Some(item)) => memos.get(*slot, item, || inner.eval(env)),
                _ => inner.eval(env),
            },
        }
    }
}

impl Number {
    pub(crate) fn eval<'v>(&'v self, env: &Env<'v>) -> Option<f64> {
        match self {
            Number::Const(value) => *value,
            Number::Attribute(scope, name) if is_item(*scope) => match env.value(*scope, name)? {
                AttributeValue::Number(number) => Some(number),
                _ => None,
            },
            Number::Attribute(scope, name) => match env.raw(*scope, name)? {
                RawAttribute::Number(number) => Some(*number),
                RawAttribute::Text(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
                _ => None,
            },
            Number::AgeDays(scope) => {
                let added = env.facts.added_at(env.position(*scope)?)?;
                Some(env.query.now.0.saturating_sub(added.0) as f64 / DAY_MS)
            }
            Number::HistorySize => Some(env.query.history.len() as f64),
            Number::Wanted => Some(env.query.n as f64),
            Number::Sum(sum, pair) => numbers(*sum, pair.0.eval(env)?, pair.1.eval(env)?),
            Number::Length(text) => Some(text.eval(env)?.chars().count() as f64),
            Number::Size(list) => Some(list.eval(env)?.len() as f64),
            Number::Part(part, moment, offset) => part_of(*part, moment.eval(env)?, *offset),
            Number::If(parts) => match parts.0.eval(env)? {
                true => parts.1.eval(env),
                false => parts.2.eval(env),
            },
        }
    }
}

impl Text {
    pub(crate) fn eval<'v>(&'v self, env: &Env<'v>) -> Option<Cow<'v, str>> {
        match self {
            Text::Const(value) => value.as_deref().map(Cow::Borrowed),
            Text::Attribute(scope, name) if is_item(*scope) => match env.value(*scope, name)? {
                AttributeValue::Text(text) => Some(Cow::Borrowed(text)),
                _ => None,
            },
            Text::Attribute(scope, name) => match env.raw(*scope, name)? {
                RawAttribute::Text(text) => Some(Cow::Borrowed(text)),
                RawAttribute::Flag(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
                RawAttribute::Number(number) => Some(Cow::Owned(number.to_string())),
                _ => None,
            },
            Text::Id(scope) => env
                .position(*scope)
                .and_then(|item| env.facts.id(item))
                .map(Cow::Borrowed),
            Text::Local(depth) => {
                let mut at = env.locals?;
                for _ in 0..*depth {
                    at = at.outer?;
                }
                Some(Cow::Borrowed(at.value))
            }
            Text::If(parts) => match parts.0.eval(env)? {
                true => parts.1.eval(env),
                false => parts.2.eval(env),
            },
        }
    }
}

impl List {
    fn eval<'v>(&'v self, env: &Env<'v>) -> Option<Texts<'v>> {
        match self {
            List::Const(value) => value.as_deref().map(Texts::Strings),
            List::Attribute(scope, name) if is_item(*scope) => match env.value(*scope, name)? {
                AttributeValue::Texts(texts) => Some(Texts::Strings(texts)),
                _ => None,
            },
            List::Attribute(scope, name) => match env.raw(*scope, name)? {
                RawAttribute::Texts(texts) => Some(Texts::Strings(texts)),
                RawAttribute::Text(text) => Some(Texts::Each(vec![Cow::Borrowed(text)])),
                _ => None,
            },
            List::Of(texts) => {
                let each: Option<Vec<_>> = texts.iter().map(|text| text.eval(env)).collect();
                each.map(Texts::Each)
            }
        }
    }

    /// The elements as they are worth keeping.
    pub(crate) fn owned(&self, env: &Env<'_>) -> Option<Vec<String>> {
        Some(self.eval(env)?.iter().map(str::to_owned).collect())
    }
}

impl Moment {
    pub(crate) fn eval<'v>(&'v self, env: &Env<'v>) -> Option<i64> {
        match self {
            Moment::Const(value) => *value,
            Moment::Now => Some(env.query.now.0),
            Moment::Attribute(scope, name) if is_item(*scope) => match env.value(*scope, name)? {
                AttributeValue::Moment(moment) => Some(moment.0),
                _ => None,
            },
            Moment::Attribute(scope, name) => (env.moment)(env.raw(*scope, name)?).map(|moment| moment.0),
            Moment::AddedAt(scope) => env.facts.added_at(env.position(*scope)?).map(|moment| moment.0),
            Moment::Shifted { minus, by } => {
                let (moment, span) = (by.0.eval(env)?, by.1.eval(env)?);
                match minus {
                    true => moment.checked_sub(span),
                    false => moment.checked_add(span),
                }
            }
        }
    }
}

impl Span {
    pub(crate) fn eval<'v>(&'v self, env: &Env<'v>) -> Option<i64> {
        match self {
            Span::Const(value) => *value,
            Span::Between(pair) => pair.0.eval(env)?.checked_sub(pair.1.eval(env)?),
        }
    }
}
