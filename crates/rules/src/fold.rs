//! What can be worked out beforehand: for a request, all that does not look at the item; for a catalogue, what to remember.

use crate::eval::Env;
use crate::node::{Flag, List, Moment, Number, Span, Text, Uses};

fn is_open(uses: Uses) -> bool {
    uses.item || uses.local
}

impl Flag {
    /// The same for one request, with what does not look at the item worked out.
    pub(crate) fn folded(&self, env: &Env<'_>) -> Flag {
        let uses = self.uses();
        if !is_open(uses) {
            return Flag::Const(self.eval(env));
        }
        if !uses.request {
            return self.clone();
        }
        match self {
            Flag::Const(_) | Flag::Has(..) | Flag::Memo(..) => self.clone(),
            Flag::Not(inner) => Flag::Not(Box::new(inner.folded(env))),
            Flag::All(nodes) => joined(false, nodes, env),
            Flag::Any(nodes) => joined(true, nodes, env),
            Flag::If(parts) => match parts.0.folded(env) {
                Flag::Const(Some(true)) => parts.1.folded(env),
                Flag::Const(Some(false)) => parts.2.folded(env),
                Flag::Const(None) => Flag::Const(None),
                when => Flag::If(Box::new((when, parts.1.folded(env), parts.2.folded(env)))),
            },
            Flag::Same(negated, pair) => {
                Flag::Same(*negated, Box::new((pair.0.folded(env), pair.1.folded(env))))
            }
            Flag::Numbers(op, pair) => Flag::Numbers(*op, Box::new((pair.0.folded(env), pair.1.folded(env)))),
            Flag::Moments(op, pair) => Flag::Moments(*op, Box::new((pair.0.folded(env), pair.1.folded(env)))),
            Flag::Spans(op, pair) => Flag::Spans(*op, Box::new((pair.0.folded(env), pair.1.folded(env)))),
            Flag::Texts(op, pair) => Flag::Texts(*op, Box::new((pair.0.folded(env), pair.1.folded(env)))),
            Flag::TextIn(pair) => Flag::TextIn(Box::new((pair.0.folded(env), pair.1.folded(env)))),
            Flag::NumberIn(one, many) => {
                let many = many.iter().map(|number| number.folded(env)).collect();
                Flag::NumberIn(Box::new(one.folded(env)), many)
            }
            Flag::Search(search, pair) => {
                Flag::Search(*search, Box::new((pair.0.folded(env), pair.1.folded(env))))
            }
            Flag::Each { all, list, test } => Flag::Each {
                all: *all,
                list: Box::new(list.folded(env)),
                test: Box::new(test.folded(env)),
            },
        }
    }

    /// The same, with the largest parts that look at the item alone under numbers of their own, counted in `slots`.
    pub(crate) fn remembering(self, slots: &mut usize) -> Flag {
        let uses = self.uses();
        if !uses.item {
            return self;
        }
        if !uses.request && !uses.local {
            return remembered(self, slots);
        }
        match self {
            Flag::Not(inner) => Flag::Not(Box::new(inner.remembering(slots))),
            Flag::All(nodes) => Flag::All(grouped(nodes, Flag::All, slots)),
            Flag::Any(nodes) => Flag::Any(grouped(nodes, Flag::Any, slots)),
            Flag::If(parts) => {
                let (when, then, otherwise) = *parts;
                Flag::If(Box::new((
                    when.remembering(slots),
                    then.remembering(slots),
                    otherwise.remembering(slots),
                )))
            }
            other => other,
        }
    }
}

fn remembered(flag: Flag, slots: &mut usize) -> Flag {
    let slot = *slots;
    *slots += 1;
    Flag::Memo(slot, Box::new(flag))
}

/// Those that look at the item alone come as one; the order among flags does not matter.
fn grouped(nodes: Vec<Flag>, join: fn(Vec<Flag>) -> Flag, slots: &mut usize) -> Vec<Flag> {
    let alone = |flag: &Flag| {
        let uses = flag.uses();
        uses.item && !uses.request && !uses.local
    };
    let (mut plain, others): (Vec<Flag>, Vec<Flag>) = nodes.into_iter().partition(alone);
    let mut out: Vec<Flag> = others.into_iter().map(|node| node.remembering(slots)).collect();
    match (plain.pop(), plain.is_empty()) {
        (None, _) => {}
        (Some(only), true) => out.push(remembered(only, slots)),
        (Some(last), false) => {
            plain.push(last);
            out.push(remembered(join(plain), slots));
        }
    }
    out
}

/// `All` (or `Any`) without what is settled.
fn joined(decisive: bool, nodes: &[Flag], env: &Env<'_>) -> Flag {
    let mut left = Vec::new();
    let mut is_absent = false;
    for node in nodes {
        match node.folded(env) {
            Flag::Const(Some(value)) if value == decisive => return Flag::Const(Some(decisive)),
            Flag::Const(Some(_)) => {}
            Flag::Const(None) => is_absent = true,
            other => left.push(other),
        }
    }
    if is_absent {
        left.push(Flag::Const(None));
    }
    match (left.pop(), left.is_empty()) {
        (None, _) => Flag::Const(Some(!decisive)),
        (Some(only), true) => only,
        (Some(last), false) => {
            left.push(last);
            match decisive {
                true => Flag::Any(left),
                false => Flag::All(left),
            }
        }
    }
}

impl Number {
    fn folded(&self, env: &Env<'_>) -> Number {
        if !is_open(self.uses()) {
            return Number::Const(self.eval(env));
        }
        match self {
            Number::Sum(sum, pair) => Number::Sum(*sum, Box::new((pair.0.folded(env), pair.1.folded(env)))),
            Number::Length(text) => Number::Length(Box::new(text.folded(env))),
            Number::Size(list) => Number::Size(Box::new(list.folded(env))),
            Number::Part(part, moment, offset) => Number::Part(*part, Box::new(moment.folded(env)), *offset),
            Number::If(parts) => Number::If(Box::new((
                parts.0.folded(env),
                parts.1.folded(env),
                parts.2.folded(env),
            ))),
            other => other.clone(),
        }
    }
}

impl Text {
    fn folded(&self, env: &Env<'_>) -> Text {
        if !is_open(self.uses()) {
            return Text::Const(self.eval(env).map(|text| text.as_ref().into()));
        }
        match self {
            Text::If(parts) => Text::If(Box::new((
                parts.0.folded(env),
                parts.1.folded(env),
                parts.2.folded(env),
            ))),
            other => other.clone(),
        }
    }
}

impl List {
    fn folded(&self, env: &Env<'_>) -> List {
        if !is_open(self.uses()) {
            return List::Const(self.owned(env).map(Into::into));
        }
        match self {
            List::Of(texts) => List::Of(texts.iter().map(|text| text.folded(env)).collect()),
            other => other.clone(),
        }
    }
}

impl Moment {
    fn folded(&self, env: &Env<'_>) -> Moment {
        if !is_open(self.uses()) {
            return Moment::Const(self.eval(env));
        }
        match self {
            Moment::Shifted { minus, by } => Moment::Shifted {
                minus: *minus,
                by: Box::new((by.0.folded(env), by.1.folded(env))),
            },
            other => other.clone(),
        }
    }
}

impl Span {
    fn folded(&self, env: &Env<'_>) -> Span {
        if !is_open(self.uses()) {
            return Span::Const(self.eval(env));
        }
        match self {
            Span::Between(pair) => Span::Between(Box::new((pair.0.folded(env), pair.1.folded(env)))),
            other => other.clone(),
        }
    }
}
