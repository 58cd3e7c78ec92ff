//! From CEL's syntax to typed expressions.
//!
//! A subset of CEL: the operators, `in`, `has`, `exists` and `all` over lists of texts, the functions named in
//! [`FUNCTIONS`], and one kind of number (`1`, `1u` and `1.0` are alike). What is left out is refused by name.

use crate::form::RuleError;
use crate::known::Known;
use crate::node::{Flag, List, Moment, Number, Op, Part, Scope, Search, Span, Sum, Text};
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};
use domain::{AttributeKind, EntityKind, RawAttribute, Schema};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Longest expression, bytes.
const TEXT_MAX: usize = 2000;
/// Most parts of an expression with macros (`exists`, say), which grow when they are written out; others are bounded by their length.
const NODES_MAX: usize = 500;
/// Deepest nesting.
const DEPTH_MAX: u16 = 48;
/// Most values of a list.
const VALUES_MAX: usize = 1000;
const FUNCTIONS: &str = "size, contains, startsWith, endsWith, timestamp, duration, getHours, getMinutes, getDayOfWeek, \
    getDayOfMonth, getDate, getMonth, getFullYear, has, exists, all";
const FIELD: &str = "where";

/// An expression of any type.
enum Typed {
    Flag(Flag),
    Number(Number),
    Text(Text),
    List(List),
    Numbers(Vec<Number>),
    Moment(Moment),
    Span(Span),
    /// An attribute of which nothing but its being there may be asked.
    Opaque(&'static str),
}

impl Typed {
    fn word(&self) -> &'static str {
        match self {
            Typed::Flag(_) => "true or false",
            Typed::Number(_) => "a number",
            Typed::Text(_) => "a text",
            Typed::List(_) => "a list of texts",
            Typed::Numbers(_) => "a list of numbers",
            Typed::Moment(_) => "a moment",
            Typed::Span(_) => "a duration",
            Typed::Opaque(word) => word,
        }
    }
}

/// A checked expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checked {
    pub(crate) flag: Flag,
    /// Attributes that it looks at.
    pub(crate) attributes: BTreeSet<(EntityKind, String)>,
}

fn fail<T>(got: impl ToString, expected: impl ToString) -> Result<T, RuleError> {
    Err(RuleError::new(FIELD, got, expected))
}

/// Reads and checks an expression that is true or false.
pub(crate) fn check(text: &str, known: &Known<'_>) -> Result<Checked, RuleError> {
    if text.len() > TEXT_MAX {
        let got = format!("{} bytes", text.len());
        return fail(got, format!("at most {TEXT_MAX} bytes"));
    }
    // Within texts brackets count too; nobody needs so many.
    let (mut depth, mut deepest, mut run) = (0u16, 0u16, 0u16);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        run = if matches!(byte, b'!' | b'-') { run + 1 } else { 0 };
        deepest = deepest.max(depth).max(run);
    }
    if deepest > DEPTH_MAX {
        return fail(
            format!("{deepest} levels"),
            format!("at most {DEPTH_MAX} levels of nesting"),
        );
    }
    let parser = cel::parser::PrattParser::new()
        .max_recursion_depth(DEPTH_MAX)
        .max_expression_node_count(NODES_MAX)
        .enable_ident_escape_syntax(true);
    let parsed = parser.parse(text).map_err(|errors| {
        let told = errors.errors.first().map_or(String::new(), |error| {
            format!(" ({}, at {}:{})", error.msg, error.pos.0, error.pos.1)
        });
        let expected =
            format!("an expression in CEL such as item.price < 20 && \"Comedy\" in item.genres{told}");
        RuleError::new(FIELD, text, expected)
    })?;
    let mut checker = Checker {
        known,
        attributes: BTreeSet::new(),
        locals: Vec::new(),
    };
    let flag = checker.flag(&parsed)?;
    Ok(Checked {
        flag,
        attributes: checker.attributes,
    })
}

struct Checker<'a> {
    known: &'a Known<'a>,
    attributes: BTreeSet<(EntityKind, String)>,
    /// Names of the elements of the lists around, the outermost first.
    locals: Vec<String>,
}

/// An expression in words, for messages.
fn said(node: &IdedExpr) -> String {
    match &node.expr {
        Expr::Ident(name) => name.clone(),
        Expr::Select(select) => format!("{}.{}", said(&select.operand), select.field),
        Expr::Literal(LiteralValue::String(text)) => format!("{:?}", text.inner()),
        Expr::Literal(LiteralValue::Int(number)) => number.inner().to_string(),
        Expr::Literal(LiteralValue::UInt(number)) => number.inner().to_string(),
        Expr::Literal(LiteralValue::Double(number)) => number.inner().to_string(),
        Expr::Literal(LiteralValue::Boolean(flag)) => flag.inner().to_string(),
        Expr::Literal(LiteralValue::Null) => "null".to_owned(),
        Expr::Call(call) => {
            let args: Vec<String> = call
                .target
                .iter()
                .map(|t| &**t)
                .chain(&call.args)
                .map(said)
                .collect();
            let name = call.func_name.trim_matches(['_', '@']);
            match (args.as_slice(), call.func_name.starts_with('_')) {
                ([a, b], true) => format!("{a} {name} {b}"),
                _ => format!("{name}({})", args.join(", ")),
            }
        }
        Expr::List(_) => "a list".to_owned(),
        _ => "an expression".to_owned(),
    }
}

impl Checker<'_> {
    fn flag(&mut self, node: &IdedExpr) -> Result<Flag, RuleError> {
        match self.typed(node)? {
            Typed::Flag(flag) => Ok(flag),
            Typed::Text(text @ Text::Attribute(..)) => {
                let got = format!("{}, {}", said(node), Typed::Text(text).word());
                fail(got, "true or false; compare it, as in == \"red\" or == true")
            }
            other => fail(format!("{}, {}", said(node), other.word()), "true or false"),
        }
    }

    fn number(&mut self, node: &IdedExpr) -> Result<Number, RuleError> {
        match self.typed(node)? {
            Typed::Number(number) => Ok(number),
            other => fail(format!("{}, {}", said(node), other.word()), "a number"),
        }
    }

    fn text(&mut self, node: &IdedExpr) -> Result<Text, RuleError> {
        match self.typed(node)? {
            Typed::Text(text) => Ok(text),
            other => fail(format!("{}, {}", said(node), other.word()), "a text"),
        }
    }

    fn typed(&mut self, node: &IdedExpr) -> Result<Typed, RuleError> {
        match &node.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => self.select(select, node),
            Expr::List(list) => self.list(&list.elements),
            Expr::Call(call) => self.call(call, node),
            Expr::Comprehension(each) => self.each(each),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                fail(said(node), "a comparison of attributes and values")
            }
        }
    }

    fn literal(&mut self, literal: &LiteralValue) -> Result<Typed, RuleError> {
        Ok(match literal {
            LiteralValue::Boolean(flag) => Typed::Flag(Flag::Const(Some(*flag.inner()))),
            LiteralValue::Int(number) => Typed::Number(Number::Const(Some(*number.inner() as f64))),
            LiteralValue::UInt(number) => Typed::Number(Number::Const(Some(*number.inner() as f64))),
            LiteralValue::Double(number) if number.inner().is_finite() => {
                Typed::Number(Number::Const(Some(*number.inner())))
            }
            LiteralValue::Double(number) => return fail(number.inner(), "a finite number"),
            LiteralValue::String(text) => Typed::Text(Text::Const(Some(text.inner().into()))),
            LiteralValue::Null => return fail("null", "has(...) to ask whether an attribute is there"),
            LiteralValue::Bytes(_) => return fail("bytes", "a text, a number, true or false"),
        })
    }

    fn ident(&mut self, name: &str) -> Result<Typed, RuleError> {
        if let Some(depth) = self.locals.iter().rev().position(|local| local == name) {
            return Ok(Typed::Text(Text::Local(depth)));
        }
        match name {
            "now" => Ok(Typed::Moment(Moment::Now)),
            "item" | "anchor" | "user" | "context" | "request" => {
                fail(name, format!("an attribute of it, such as {name}.x"))
            }
            _ => fail(name, "item.x, anchor.x, user.x, context.x, request.x or now"),
        }
    }

    fn select(&mut self, select: &SelectExpr, node: &IdedExpr) -> Result<Typed, RuleError> {
        let Expr::Ident(of) = &select.operand.expr else {
            return fail(
                said(node),
                "an attribute of item, anchor, user or context; they have no parts",
            );
        };
        let typed = self.attribute(of, &select.field)?;
        if !select.test {
            return Ok(typed);
        }
        let scope = scope_of(of);
        match (typed, scope) {
            (
                Typed::Text(Text::Id(_))
                | Typed::Number(Number::AgeDays(_))
                | Typed::Moment(Moment::AddedAt(_)),
                _,
            )
            | (_, None) => fail(said(node), "has(...) of an attribute"),
            (_, Some(scope)) => Ok(Typed::Flag(Flag::Has(scope, select.field.as_str().into()))),
        }
    }

    fn attribute(&mut self, of: &str, name: &str) -> Result<Typed, RuleError> {
        if of == "request" {
            return match name {
                "history_size" => Ok(Typed::Number(Number::HistorySize)),
                "n" => Ok(Typed::Number(Number::Wanted)),
                _ => fail(format!("request.{name}"), "request.history_size or request.n"),
            };
        }
        let Some(scope) = scope_of(of) else {
            return fail(
                format!("{of}.{name}"),
                "item.x, anchor.x, user.x, context.x, request.x or now",
            );
        };
        if matches!(scope, Scope::Item | Scope::Anchor) {
            let is_free = !self.known.items.contains_key(name);
            match name {
                "id" => return Ok(Typed::Text(Text::Id(scope))),
                "added_at" if is_free => return Ok(Typed::Moment(Moment::AddedAt(scope))),
                "age_days" if is_free => return Ok(Typed::Number(Number::AgeDays(scope))),
                _ => {}
            }
        }
        let kind = self.kind(scope, name)?;
        let key: Arc<str> = name.into();
        Ok(match kind {
            AttributeKind::Category | AttributeKind::Text => Typed::Text(Text::Attribute(scope, key)),
            AttributeKind::Tags | AttributeKind::Ids => Typed::List(List::Attribute(scope, key)),
            AttributeKind::Number => Typed::Number(Number::Attribute(scope, key)),
            AttributeKind::Timestamp => Typed::Moment(Moment::Attribute(scope, key)),
            AttributeKind::Geo => Typed::Opaque("a point, of which only has(...) may be asked"),
            AttributeKind::Embedding => Typed::Opaque("an embedding, of which only has(...) may be asked"),
        })
    }

    fn kind(&mut self, scope: Scope, name: &str) -> Result<AttributeKind, RuleError> {
        let of_schema = |schema: &Schema| schema.get(name).map(|known| known.kind);
        let (kind, entity) = match scope {
            Scope::Item | Scope::Anchor => (of_schema(self.known.items), Some(EntityKind::Item)),
            Scope::User => match of_schema(self.known.users) {
                Some(kind) => (Some(kind), Some(EntityKind::User)),
                None => (self.known.context.get(name).copied(), None),
            },
            Scope::Context => (self.known.context.get(name).copied(), None),
        };
        let Some(kind) = kind else {
            let (what, names): (_, Vec<&str>) = match scope {
                Scope::Item | Scope::Anchor => {
                    ("an attribute that items have", names(self.known.items.keys()))
                }
                Scope::User => ("an attribute that users have", names(self.known.users.keys())),
                Scope::Context => (
                    "a key of [context] in concierge.toml",
                    names(self.known.context.keys()),
                ),
            };
            let some = match names.is_empty() {
                true => "; there is none yet".to_owned(),
                false => format!(", such as {}", names.join(", ")),
            };
            return fail(format!("{}.{name}", scope.word()), format!("{what}{some}"));
        };
        if let Some(entity) = entity {
            self.attributes.insert((entity, name.to_owned()));
        }
        Ok(kind)
    }

    fn list(&mut self, elements: &[IdedExpr]) -> Result<Typed, RuleError> {
        if elements.is_empty() || elements.len() > VALUES_MAX {
            let got = format!("a list of {}", elements.len());
            return fail(got, format!("a list of 1 to {VALUES_MAX} values"));
        }
        if let Typed::Number(_) = self.typed(&elements[0])? {
            let numbers = elements.iter().map(|element| self.number(element));
            return Ok(Typed::Numbers(numbers.collect::<Result<_, _>>()?));
        }
        let texts = elements.iter().map(|element| self.text(element));
        let texts: Vec<Text> = texts.collect::<Result<_, _>>()?;
        let fixed: Option<Vec<String>> = texts.iter().map(constant).collect();
        Ok(Typed::List(match fixed {
            Some(fixed) => List::Const(Some(fixed.into())),
            None => List::Of(texts),
        }))
    }

    fn call(&mut self, call: &CallExpr, node: &IdedExpr) -> Result<Typed, RuleError> {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            (operators::LOGICAL_NOT, [one]) => Ok(Typed::Flag(Flag::Not(Box::new(self.flag(one)?)))),
            (operators::LOGICAL_AND, args) => Ok(Typed::Flag(Flag::All(self.joined(name, args)?))),
            (operators::LOGICAL_OR, args) => Ok(Typed::Flag(Flag::Any(self.joined(name, args)?))),
            (operators::CONDITIONAL, [when, then, otherwise]) => self.choice(when, then, otherwise),
            (operators::NEGATE, [one]) => {
                let zero = Number::Const(Some(0.0));
                Ok(Typed::Number(Number::Sum(
                    Sum::Minus,
                    Box::new((zero, self.number(one)?)),
                )))
            }
            (operators::EQUALS, [a, b]) => self.compared(Op::Equal, a, b),
            (operators::NOT_EQUALS, [a, b]) => self.compared(Op::Differs, a, b),
            (operators::LESS, [a, b]) => self.compared(Op::Less, a, b),
            (operators::LESS_EQUALS, [a, b]) => self.compared(Op::AtMost, a, b),
            (operators::GREATER, [a, b]) => self.compared(Op::Greater, a, b),
            (operators::GREATER_EQUALS, [a, b]) => self.compared(Op::AtLeast, a, b),
            (operators::ADD, [a, b]) => self.sum(Sum::Plus, a, b),
            (operators::SUBSTRACT, [a, b]) => self.sum(Sum::Minus, a, b),
            (operators::MULTIPLY, [a, b]) => self.sum(Sum::Times, a, b),
            (operators::DIVIDE, [a, b]) => self.sum(Sum::By, a, b),
            (operators::MODULO, [a, b]) => self.sum(Sum::Rest, a, b),
            (operators::IN, [one, many]) => self.within(one, many),
            (operators::INDEX, [of, key]) => match (&of.expr, &key.expr) {
                (Expr::Ident(of), Expr::Literal(LiteralValue::String(name))) => {
                    self.attribute(of, name.inner())
                }
                _ => fail(said(node), "an attribute by its name, as in item[\"x\"]"),
            },
            _ => self.function(call, node),
        }
    }

    /// The operands of a chain of `&&` or `||`.
    fn joined(&mut self, name: &str, args: &[IdedExpr]) -> Result<Vec<Flag>, RuleError> {
        let mut out = Vec::new();
        for arg in args {
            match &arg.expr {
                Expr::Call(inner) if inner.func_name == name => out.extend(self.joined(name, &inner.args)?),
                _ => out.push(self.flag(arg)?),
            }
        }
        Ok(out)
    }

    fn choice(&mut self, when: &IdedExpr, then: &IdedExpr, otherwise: &IdedExpr) -> Result<Typed, RuleError> {
        let when = self.flag(when)?;
        Ok(match (self.typed(then)?, self.typed(otherwise)?) {
            (Typed::Flag(a), Typed::Flag(b)) => Typed::Flag(Flag::If(Box::new((when, a, b)))),
            (Typed::Number(a), Typed::Number(b)) => Typed::Number(Number::If(Box::new((when, a, b)))),
            (Typed::Text(a), Typed::Text(b)) => Typed::Text(Text::If(Box::new((when, a, b)))),
            (a, b) => {
                let got = format!("{} and {} after ?", a.word(), b.word());
                return fail(got, "two numbers, two texts, or true or false twice");
            }
        })
    }

    fn compared(&mut self, op: Op, left: &IdedExpr, right: &IdedExpr) -> Result<Typed, RuleError> {
        let is_equality = matches!(op, Op::Equal | Op::Differs);
        let flag_as_text = |flag: &Flag| match flag {
            Flag::Const(Some(value)) => Some(Text::Const(Some(value.to_string().into()))),
            _ => None,
        };
        Ok(Typed::Flag(match (self.typed(left)?, self.typed(right)?) {
            (Typed::Number(a), Typed::Number(b)) => Flag::Numbers(op, Box::new((a, b))),
            (Typed::Text(a), Typed::Text(b)) => Flag::Texts(op, Box::new((a, b))),
            (Typed::Moment(a), Typed::Moment(b)) => Flag::Moments(op, Box::new((a, b))),
            (Typed::Span(a), Typed::Span(b)) => Flag::Spans(op, Box::new((a, b))),
            // Attributes that are true or false are kept as words.
            (Typed::Text(a @ Text::Attribute(..)), Typed::Flag(b))
                if is_equality && flag_as_text(&b).is_some() =>
            {
                Flag::Texts(op, Box::new((a, flag_as_text(&b).unwrap_or(Text::Const(None)))))
            }
            (Typed::Flag(a), Typed::Text(b @ Text::Attribute(..)))
                if is_equality && flag_as_text(&a).is_some() =>
            {
                Flag::Texts(op, Box::new((flag_as_text(&a).unwrap_or(Text::Const(None)), b)))
            }
            (Typed::Flag(a), Typed::Flag(b)) if is_equality => {
                Flag::Same(op == Op::Differs, Box::new((a, b)))
            }
            (a, b) => {
                let got = format!(
                    "{} ({}) beside {} ({})",
                    said(left),
                    a.word(),
                    said(right),
                    b.word()
                );
                let expected = match (&a, &b) {
                    (Typed::List(_), _) | (_, Typed::List(_)) => "a value `in` the list, or exists(...)",
                    _ => "two values of one kind: numbers, texts, moments or durations",
                };
                return fail(got, expected);
            }
        }))
    }

    fn sum(&mut self, sum: Sum, left: &IdedExpr, right: &IdedExpr) -> Result<Typed, RuleError> {
        Ok(match (self.typed(left)?, self.typed(right)?, sum) {
            (Typed::Number(a), Typed::Number(b), _) => Typed::Number(Number::Sum(sum, Box::new((a, b)))),
            (Typed::Moment(a), Typed::Moment(b), Sum::Minus) => Typed::Span(Span::Between(Box::new((a, b)))),
            (Typed::Moment(a), Typed::Span(b), Sum::Minus | Sum::Plus) => Typed::Moment(Moment::Shifted {
                minus: sum == Sum::Minus,
                by: Box::new((a, b)),
            }),
            (Typed::Span(a), Typed::Moment(b), Sum::Plus) => Typed::Moment(Moment::Shifted {
                minus: false,
                by: Box::new((b, a)),
            }),
            (a, b, _) => {
                let got = format!("{} ({}) and {} ({})", said(left), a.word(), said(right), b.word());
                return fail(got, "two numbers, two moments, or a moment and a duration");
            }
        })
    }

    fn within(&mut self, one: &IdedExpr, many: &IdedExpr) -> Result<Typed, RuleError> {
        Ok(Typed::Flag(match (self.typed(one)?, self.typed(many)?) {
            (Typed::Text(one), Typed::List(many)) => Flag::TextIn(Box::new((one, many))),
            (Typed::Number(one), Typed::Numbers(many)) => Flag::NumberIn(Box::new(one), many),
            (a, b) => {
                let got = format!("{} ({}) in {} ({})", said(one), a.word(), said(many), b.word());
                return fail(got, "a text in a list of texts, or a number in a list of numbers");
            }
        }))
    }

    fn function(&mut self, call: &CallExpr, node: &IdedExpr) -> Result<Typed, RuleError> {
        let name = call.func_name.as_str();
        let args: Vec<&IdedExpr> = call.target.iter().map(|t| &**t).chain(&call.args).collect();
        match (name, args.as_slice()) {
            ("size", [one]) => match self.typed(one)? {
                Typed::Text(text) => Ok(Typed::Number(Number::Length(Box::new(text)))),
                Typed::List(list) => Ok(Typed::Number(Number::Size(Box::new(list)))),
                other => fail(
                    format!("size of {}", other.word()),
                    "size of a text or a list of texts",
                ),
            },
            ("contains" | "startsWith" | "endsWith", [text, part]) => {
                let search = match name {
                    "contains" => Search::Contains,
                    "startsWith" => Search::StartsWith,
                    _ => Search::EndsWith,
                };
                let pair = (self.text(text)?, self.text(part)?);
                Ok(Typed::Flag(Flag::Search(search, Box::new(pair))))
            }
            ("timestamp", [one]) => {
                let moment = self
                    .fixed(one)
                    .and_then(|text| (self.known.moment)(&RawAttribute::Text(text)));
                match moment {
                    Some(moment) => Ok(Typed::Moment(Moment::Const(Some(moment.0)))),
                    None => fail(
                        said(node),
                        "timestamp(\"2026-05-01T00:00:00Z\"), a moment written out",
                    ),
                }
            }
            ("duration", [one]) => match self.fixed(one).and_then(|text| duration_ms(&text)) {
                Some(ms) => Ok(Typed::Span(Span::Const(Some(ms)))),
                None => fail(
                    said(node),
                    "duration(\"36h\"), a number with h, m, s or ms, or several of them",
                ),
            },
            (
                "getHours" | "getMinutes" | "getDayOfWeek" | "getDayOfMonth" | "getDate" | "getMonth"
                | "getFullYear",
                [moment, zone @ ..],
            ) if zone.len() < 2 => self.part(name, moment, zone.first().copied()),
            ("matches", _) => fail(
                "matches",
                "contains, startsWith or endsWith: regular expressions are not offered",
            ),
            _ => fail(said(node), format!("one of the functions {FUNCTIONS}")),
        }
    }

    fn part(&mut self, name: &str, moment: &IdedExpr, zone: Option<&IdedExpr>) -> Result<Typed, RuleError> {
        let offset = match zone {
            None => 0,
            Some(zone) => match self.fixed(zone).and_then(|text| offset_minutes(&text)) {
                Some(offset) => offset,
                None => {
                    return fail(
                        said(zone),
                        "an offset such as \"+02:00\" or \"UTC\"; names of zones are not offered",
                    );
                }
            },
        };
        let part = match name {
            "getHours" => Part::Hours,
            "getMinutes" => Part::Minutes,
            "getDayOfWeek" => Part::DayOfWeek,
            "getDayOfMonth" => Part::DayOfMonth,
            "getDate" => Part::Date,
            "getMonth" => Part::Month,
            _ => Part::Year,
        };
        match self.typed(moment)? {
            Typed::Moment(moment) => Ok(Typed::Number(Number::Part(part, Box::new(moment), offset))),
            other => fail(
                format!("{name} of {}", other.word()),
                format!("{name} of a moment"),
            ),
        }
    }

    fn fixed(&mut self, node: &IdedExpr) -> Option<String> {
        constant(&self.text(node).ok()?)
    }

    /// `list.exists(x, test)` and `list.all(x, test)`, as the grammar spells them out.
    fn each(&mut self, each: &ComprehensionExpr) -> Result<Typed, RuleError> {
        let all = match (&each.accu_init.expr, &each.loop_step.expr) {
            (Expr::Literal(LiteralValue::Boolean(start)), Expr::Call(step)) if step.args.len() == 2 => {
                (*start.inner(), step.func_name.as_str(), &step.args[1])
            }
            _ => {
                return fail(
                    "a macro over a list",
                    "exists or all; map, filter and exists_one are not offered",
                );
            }
        };
        let (all, test) = match all {
            (true, operators::LOGICAL_AND, test) => (true, test),
            (false, operators::LOGICAL_OR, test) => (false, test),
            _ => return fail("a macro over a list", "exists or all"),
        };
        let list = match self.typed(&each.iter_range)? {
            Typed::List(list) => list,
            other => {
                let got = format!("{}, {}", said(&each.iter_range), other.word());
                return fail(got, "a list of texts before .exists or .all");
            }
        };
        self.locals.push(each.iter_var.clone());
        let test = self.flag(test);
        self.locals.pop();
        Ok(Typed::Flag(Flag::Each {
            all,
            list: Box::new(list),
            test: Box::new(test?),
        }))
    }
}

fn scope_of(name: &str) -> Option<Scope> {
    match name {
        "item" => Some(Scope::Item),
        "anchor" => Some(Scope::Anchor),
        "user" => Some(Scope::User),
        "context" => Some(Scope::Context),
        _ => None,
    }
}

fn names<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    keys.take(20).map(String::as_str).collect()
}

fn constant(text: &Text) -> Option<String> {
    match text {
        Text::Const(Some(text)) => Some(text.to_string()),
        _ => None,
    }
}

/// `1h30m`, `45s`, `-2.5h` in milliseconds.
fn duration_ms(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "h" => 3_600_000.0,
            "m" => 60_000.0,
            "s" => 1000.0,
            "ms" => 1.0,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    (total.is_finite() && total < 1e15).then_some((sign * total) as i64)
}

/// `+02:00` in minutes.
fn offset_minutes(text: &str) -> Option<i32> {
    if text == "UTC" || text == "Z" {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    ((0..=14).contains(&hours) && (0..60).contains(&minutes)).then_some(sign * (hours * 60 + minutes))
}
