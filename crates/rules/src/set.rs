//! A version of all rules, checked.

use crate::check::check;
use crate::form::{RuleError, RuleForm};
use crate::known::Known;
use crate::node::Flag;
use domain::{EntityKind, RawAttribute, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A checked rule.
#[derive(Debug, Clone, PartialEq)]
pub struct CompiledRule {
    /// As written.
    pub form: RuleForm,
    /// Attributes that it looks at.
    pub attributes: BTreeSet<(EntityKind, String)>,
    pub(crate) flag: Arc<Flag>,
    pub(crate) name: Arc<str>,
    from: Timestamp,
    until: Timestamp,
}

impl CompiledRule {
    /// Checks a rule.
    ///
    /// # Errors
    /// The first field that cannot be, with what was there and what was expected.
    pub fn new(form: RuleForm, known: &Known<'_>) -> Result<CompiledRule, RuleError> {
        form.check()?;
        for placement in &form.placements {
            if !known.placements.contains(placement) {
                let names: Vec<_> = known.placements.iter().map(String::as_str).collect();
                return Err(RuleError::new(
                    "placements",
                    placement,
                    format!("some of {}", names.join(", ")),
                ));
            }
        }
        for event_type in &form.event_types {
            if !known.event_types.contains(event_type) {
                let names: Vec<_> = known.event_types.iter().map(String::as_str).collect();
                return Err(RuleError::new(
                    "event_types",
                    event_type,
                    format!("some of {}", names.join(", ")),
                ));
            }
        }
        let moment = |field: &str, sent: &Option<RawAttribute>, absent: i64| match sent {
            None => Ok(Timestamp(absent)),
            Some(sent) => (known.moment)(sent).ok_or_else(|| {
                RuleError::new(
                    field,
                    format!("{sent:?}"),
                    "a moment, as \"2026-05-01T00:00:00Z\"",
                )
            }),
        };
        let from = moment("from", &form.from, i64::MIN)?;
        let until = moment("until", &form.until, i64::MAX)?;
        if from >= until {
            return Err(RuleError::new(
                "until",
                "a moment not after from",
                "a moment after from",
            ));
        }
        let checked = check(&form.condition, known)?;
        let mut attributes = checked.attributes;
        if let Some(per) = &form.per {
            let kind = known.items.get(per).map(|known| known.kind);
            use domain::AttributeKind::{Category, Ids, Tags, Text};
            if !kind.is_some_and(|kind| matches!(kind, Category | Ids | Tags | Text)) {
                let expected = "an attribute of items that is a category, tags, ids or a text";
                return Err(RuleError::new("per", format!("{per:?}"), expected));
            }
            attributes.insert((EntityKind::Item, per.clone()));
        }
        Ok(CompiledRule {
            name: form.name.as_str().into(),
            flag: Arc::new(checked.flag),
            attributes,
            form,
            from,
            until,
        })
    }

    /// The same condition as a filter that applies everywhere, always.
    pub fn as_filter(mut self) -> CompiledRule {
        self.form.kind = crate::RuleKind::Filter;
        self.form.enabled = true;
        self.form.placements.clear();
        self.from = Timestamp(i64::MIN);
        self.until = Timestamp(i64::MAX);
        self
    }

    /// True if the rule is in force for a placement at a moment. Without a placement only rules that apply everywhere are.
    pub(crate) fn is_in_force(&self, placement: Option<&str>, now: Timestamp) -> bool {
        let here = match placement {
            Some(placement) => {
                self.form.placements.is_empty() || self.form.placements.iter().any(|known| known == placement)
            }
            None => self.form.placements.is_empty(),
        };
        self.form.enabled && here && self.from <= now && now < self.until
    }
}

/// A version of all rules, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSet {
    version: u64,
    rules: Vec<Arc<CompiledRule>>,
    n_memos: usize,
}

impl RuleSet {
    /// These rules in order of priority, then of name.
    pub fn new(version: u64, mut rules: Vec<CompiledRule>) -> RuleSet {
        rules.sort_by(|a, b| {
            b.form
                .priority
                .cmp(&a.form.priority)
                .then_with(|| a.name.cmp(&b.name))
        });
        let mut n_memos = 0;
        for rule in &mut rules {
            let flag = Flag::clone(&rule.flag);
            rule.flag = Arc::new(flag.remembering(&mut n_memos));
        }
        RuleSet {
            version,
            rules: rules.into_iter().map(Arc::new).collect(),
            n_memos,
        }
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// True if a rule goes by what people were shown.
    pub fn counts_exposures(&self) -> bool {
        let caps = |rule: &Arc<CompiledRule>| rule.form.kind == crate::RuleKind::FrequencyCap;
        self.rules.iter().any(caps)
    }

    /// True if what the rules say may change by time alone.
    pub fn goes_by_time(&self) -> bool {
        let timed = |rule: &Arc<CompiledRule>| {
            let form = &rule.form;
            let windows = form.from.is_some() || form.until.is_some() || form.window_hours.is_some();
            windows || form.condition.contains("now") || form.condition.contains("age_days")
        };
        self.rules.iter().any(timed)
    }

    /// Its rules, in their order.
    pub fn rules(&self) -> &[Arc<CompiledRule>] {
        &self.rules
    }

    /// How many answers it remembers for each item.
    pub fn n_memos(&self) -> usize {
        self.n_memos
    }
}
