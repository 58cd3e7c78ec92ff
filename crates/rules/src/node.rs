//! Expressions after the check: every node has a type.

use std::sync::Arc;

/// Whose attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The item under consideration.
    Item,
    /// The item that the placement is about.
    Anchor,
    /// The person.
    User,
    /// The circumstances.
    Context,
}

impl Scope {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Scope::Item => "item",
            Scope::Anchor => "anchor",
            Scope::User => "user",
            Scope::Context => "context",
        }
    }
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Equal,
    Differs,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Op {
    pub(crate) fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Op::Equal => order.is_eq(),
            Op::Differs => order.is_ne(),
            Op::Less => order.is_lt(),
            Op::AtMost => order.is_le(),
            Op::Greater => order.is_gt(),
            Op::AtLeast => order.is_ge(),
        }
    }
}

/// A search in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

/// A part of a moment, in coordinated universal time moved by so many minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Hours,
    Minutes,
    DayOfWeek,
    DayOfMonth,
    Date,
    Month,
    Year,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sum {
    Plus,
    Minus,
    Times,
    By,
    Rest,
}

/// True, false, or absent (nobody knows).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Flag {
    Const(Option<bool>),
    Not(Box<Flag>),
    All(Vec<Flag>),
    Any(Vec<Flag>),
    If(Box<(Flag, Flag, Flag)>),
    Same(bool, Box<(Flag, Flag)>),
    Numbers(Op, Box<(Number, Number)>),
    Moments(Op, Box<(Moment, Moment)>),
    Spans(Op, Box<(Span, Span)>),
    Texts(Op, Box<(Text, Text)>),
    TextIn(Box<(Text, List)>),
    NumberIn(Box<Number>, Vec<Number>),
    Has(Scope, Arc<str>),
    Search(Search, Box<(Text, Text)>),
    /// Of a list: some element (or, if `all`, every one) passes the test.
    Each {
        all: bool,
        list: Box<List>,
        test: Box<Flag>,
    },
    /// Looks at the item alone; remembered under this number.
    Memo(usize, Box<Flag>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Number {
    Const(Option<f64>),
    Attribute(Scope, Arc<str>),
    /// Days since the item entered the catalogue.
    AgeDays(Scope),
    HistorySize,
    Wanted,
    Sum(Sum, Box<(Number, Number)>),
    Length(Box<Text>),
    Size(Box<List>),
    Part(Part, Box<Moment>, i32),
    If(Box<(Flag, Number, Number)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Text {
    Const(Option<Arc<str>>),
    Attribute(Scope, Arc<str>),
    Id(Scope),
    /// The element of the list at this depth of nesting, the innermost 0.
    Local(usize),
    If(Box<(Flag, Text, Text)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum List {
    Const(Option<Arc<[String]>>),
    Attribute(Scope, Arc<str>),
    Of(Vec<Text>),
}

/// Milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Moment {
    Const(Option<i64>),
    Now,
    Attribute(Scope, Arc<str>),
    AddedAt(Scope),
    /// Later, or if `minus`, earlier.
    Shifted {
        minus: bool,
        by: Box<(Moment, Span)>,
    },
}

/// Milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Span {
    Const(Option<i64>),
    Between(Box<(Moment, Moment)>),
}

/// What an expression looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Uses {
    pub(crate) item: bool,
    /// Anything of the request: user, context, anchor, moment.
    pub(crate) request: bool,
    pub(crate) local: bool,
}

impl Uses {
    fn and(self, other: Uses) -> Uses {
        Uses {
            item: self.item || other.item,
            request: self.request || other.request,
            local: self.local || other.local,
        }
    }

    fn of(scope: Scope) -> Uses {
        Uses {
            item: scope == Scope::Item,
            request: scope != Scope::Item,
            local: false,
        }
    }

    const REQUEST: Uses = Uses {
        item: false,
        request: true,
        local: false,
    };
}

fn all<'a, T: 'a>(nodes: impl IntoIterator<Item = &'a T>, uses: impl Fn(&T) -> Uses) -> Uses {
    nodes
        .into_iter()
        .fold(Uses::default(), |sum, node| sum.and(uses(node)))
}

impl Flag {
    pub(crate) fn uses(&self) -> Uses {
        match self {
            Flag::Const(_) => Uses::default(),
            Flag::Not(inner) => inner.uses(),
            Flag::All(nodes) | Flag::Any(nodes) => all(nodes, Flag::uses),
            Flag::If(parts) => all([&parts.0, &parts.1, &parts.2], Flag::uses),
            Flag::Same(_, pair) => all([&pair.0, &pair.1], Flag::uses),
            Flag::Numbers(_, pair) => all([&pair.0, &pair.1], Number::uses),
            Flag::Moments(_, pair) => all([&pair.0, &pair.1], Moment::uses),
            Flag::Spans(_, pair) => all([&pair.0, &pair.1], Span::uses),
            Flag::Texts(_, pair) | Flag::Search(_, pair) => all([&pair.0, &pair.1], Text::uses),
            Flag::TextIn(pair) => pair.0.uses().and(pair.1.uses()),
            Flag::NumberIn(one, many) => one.uses().and(all(many, Number::uses)),
            Flag::Has(scope, _) => Uses::of(*scope),
            // The element is the list's own affair.
            Flag::Each { list, test, .. } => {
                let inner = test.uses();
                list.uses().and(Uses {
                    local: false,
                    ..inner
                })
            }
            Flag::Memo(_, inner) => inner.uses(),
        }
    }
}

impl Number {
    pub(crate) fn uses(&self) -> Uses {
        match self {
            Number::Const(_) => Uses::default(),
            Number::Attribute(scope, _) => Uses::of(*scope),
            Number::AgeDays(scope) => Uses::of(*scope).and(Uses::REQUEST),
            Number::HistorySize | Number::Wanted => Uses::REQUEST,
            Number::Sum(_, pair) => pair.0.uses().and(pair.1.uses()),
            Number::Length(text) => text.uses(),
            Number::Size(list) => list.uses(),
            Number::Part(_, moment, _) => moment.uses(),
            Number::If(parts) => parts.0.uses().and(parts.1.uses()).and(parts.2.uses()),
        }
    }
}

impl Text {
    pub(crate) fn uses(&self) -> Uses {
        match self {
            Text::Const(_) => Uses::default(),
            Text::Attribute(scope, _) | Text::Id(scope) => Uses::of(*scope),
            Text::Local(_) => Uses {
                local: true,
                ..Uses::default()
            },
            Text::If(parts) => parts.0.uses().and(parts.1.uses()).and(parts.2.uses()),
        }
    }
}

impl List {
    pub(crate) fn uses(&self) -> Uses {
        match self {
            List::Const(_) => Uses::default(),
            List::Attribute(scope, _) => Uses::of(*scope),
            List::Of(texts) => all(texts, Text::uses),
        }
    }
}

impl Moment {
    pub(crate) fn uses(&self) -> Uses {
        match self {
            Moment::Const(_) => Uses::default(),
            Moment::Now => Uses::REQUEST,
            Moment::Attribute(scope, _) | Moment::AddedAt(scope) => Uses::of(*scope),
            Moment::Shifted { by, .. } => by.0.uses().and(by.1.uses()),
        }
    }
}

impl Span {
    pub(crate) fn uses(&self) -> Uses {
        match self {
            Span::Const(_) => Uses::default(),
            Span::Between(pair) => pair.0.uses().and(pair.1.uses()),
        }
    }
}
