//! Rules of the product: stored, checked, put in force, tried out on past decisions.

use crate::catalogue::{LiveCatalogue, Positions};
use crate::serve::raw_moment;
use crate::service::lock;
use crate::{Config, Problem, Service, ServiceError, Stores};
use domain::{
    Candidate, Decision, EntityKind, Explanation, HistoryEvent, KindOrigin, Outcome, Query, Ranker,
    Retriever, RuleChange, RuleText, Schema, StageError, Steering, Timestamp,
};
use engine::{Caps, DecideRequest, GreedyPolicy, Pipeline, Source};
use rerank::TopReranker;
use rules::{Bound, CompiledRule, Exposure, Known, Memos, Request, RuleError, RuleForm, RuleSet};
use serde::{Deserialize, Serialize};
use signals::{EventTypes, RecentEvent, Role};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Most rules of a folder.
const RULES_MAX: usize = 1000;
/// Past decisions that are looked at if nobody says how many.
const DECISIONS: usize = 1000;
/// Most of them.
const DECISIONS_MAX: usize = 100_000;
/// Examples in a report.
const EXAMPLES_MAX: usize = 20;

/// The rules of a version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RulesView {
    /// Version of the set.
    pub version: u64,
    /// In order of name.
    pub rules: Vec<RuleForm>,
}

/// What a change of rules did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RulesReport {
    /// Version now in force.
    pub version: u64,
    /// New rules.
    pub created: usize,
    /// Rules that were replaced by others.
    pub updated: usize,
    /// Rules put again as they were.
    pub unchanged: usize,
    /// Rules taken out.
    pub deleted: usize,
}

/// A rule looked at and not stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleCheck {
    /// As it would be stored.
    pub rule: RuleForm,
    /// Attributes that it looks at; their kinds are fixed once it is stored.
    pub attributes: Vec<String>,
    /// Items of the catalogue for which its expression is true, for nobody in particular and no context.
    pub items: u64,
}

/// Rules to be tried out on past decisions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DryRunRequest {
    /// The rules; those in force if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleForm>,
    /// How many of the latest decisions, 1 to 100,000; 1,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decisions: Option<usize>,
    /// Only decisions of this placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<String>,
}

/// What one rule would have done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DryRunRule {
    /// Decisions to which it applies.
    pub applied: u64,
    /// Items shown that it would have removed.
    pub shown_removed: u64,
    /// Candidates that it would have removed, those shown included.
    pub considered_removed: u64,
    /// Candidates whose score it would have changed.
    pub rescored: u64,
    /// Items that it would have put at their place.
    pub pinned: u64,
    /// Items that it would have passed over for want of room in a quota.
    pub passed_over: u64,
}

/// An item that would have been removed from a slate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DryRunExample {
    /// From which decision.
    pub decision_id: String,
    /// Which.
    pub item_id: String,
    /// Place at which it was shown, from 1.
    pub rank: u32,
    /// By which rule.
    pub rule: String,
    /// Why.
    pub reason: String,
}

/// What rules would have done to past decisions, given the candidates that were recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DryRunReport {
    /// Decisions looked at.
    pub decisions: u64,
    /// Those whose slate would have been another one, with the same scores and nothing left to chance.
    pub slates_changed: u64,
    /// By rule.
    pub rules: BTreeMap<String, DryRunRule>,
    /// Items shown that would have been removed, the latest decisions first.
    pub examples: Vec<DryRunExample>,
}

fn refused(error: RuleError) -> Problem {
    Problem::new(error.field, error.got, error.expected)
}

fn placed(problem: Problem, at: Option<usize>) -> Problem {
    match at {
        Some(at) => Problem {
            field: format!("[{at}].{}", problem.field),
            ..problem
        },
        None => problem,
    }
}

/// What rules are checked against; lives as long as the parts.
struct Vocabulary {
    items: Arc<Schema>,
    users: Schema,
    placements: BTreeSet<String>,
    event_types: BTreeSet<String>,
}

impl Vocabulary {
    fn of(config: &Config, items: Arc<Schema>, users: Schema) -> Vocabulary {
        Vocabulary {
            items,
            users,
            placements: config.placements.keys().cloned().collect(),
            event_types: config.event_types.0.keys().cloned().collect(),
        }
    }

    fn known<'a>(&'a self, config: &'a Config) -> Known<'a> {
        Known {
            items: &self.items,
            users: &self.users,
            context: &config.context,
            placements: &self.placements,
            event_types: &self.event_types,
            moment: raw_moment,
        }
    }
}

fn read(rule: &RuleText) -> Result<RuleForm, ServiceError> {
    serde_json::from_str(&rule.body).map_err(|e| {
        let got = format!("rule {}: {e}", rule.name);
        ServiceError::input("rules", got, "a rule as this program stores them")
    })
}

/// The rules of a version as stored, those in force without one, checked against what there is. Placements and types of events that are gone are
/// let pass: such a rule applies nowhere, or counts nothing.
pub(crate) fn stored_rules(
    stores: &Stores,
    config: &Config,
    items: &Arc<Schema>,
    version: Option<u64>,
) -> Result<RuleSet, ServiceError> {
    let Some((version, texts)) = stores.catalogue.rules(version)? else {
        return Err(ServiceError::NotFound {
            what: "version of the rules",
            id: version.unwrap_or_default().to_string(),
        });
    };
    if texts.is_empty() {
        return Ok(RuleSet::new(version, Vec::new()));
    }
    let users = stores.catalogue.schema(EntityKind::User)?;
    let mut vocabulary = Vocabulary::of(config, items.clone(), users);
    let forms: Vec<RuleForm> = texts.iter().map(read).collect::<Result<_, _>>()?;
    for form in &forms {
        vocabulary.placements.extend(form.placements.iter().cloned());
        vocabulary.event_types.extend(form.event_types.iter().cloned());
    }
    let compiled = forms.into_iter().map(|form| {
        let name = form.name.clone();
        CompiledRule::new(form, &vocabulary.known(config)).map_err(|e| {
            let field = format!("rules.{name}.{}", e.field);
            ServiceError::input(field, e.got, e.expected)
        })
    });
    Ok(RuleSet::new(version, compiled.collect::<Result<_, _>>()?))
}

/// Rules, for one request.
pub(crate) fn bind(
    set: &RuleSet,
    catalogue: &Arc<LiveCatalogue>,
    positions: &Positions,
    placement: Option<&str>,
    query: &Query,
    exposures: &[Exposure],
) -> Bound {
    let known = catalogue.len() as u32;
    let is_live = std::ptr::eq(set, &*catalogue.rules);
    set.bind(Request {
        placement,
        query,
        facts: catalogue.clone(),
        memos: match is_live {
            true => catalogue.memos.clone(),
            false => Arc::new(Memos::default()),
        },
        position: &|id| positions.get(id).filter(|at| *at < known),
        exposures: &|| exposures.to_vec(),
        moment: raw_moment,
    })
}

/// What a person's events say they were shown before a moment, as far as events are kept for serving.
pub(crate) fn exposures_of(recent: Vec<RecentEvent>, types: &EventTypes, now: Timestamp) -> Vec<Exposure> {
    let before = recent.into_iter().filter(|event| event.timestamp <= now);
    let exposures = before.map(|event| {
        let config = types.get(event.event_type.as_str());
        Exposure {
            item: event.item,
            at: event.timestamp,
            is_exposure: config.is_some_and(|config| config.role == Role::Exposure),
            event_type: event.event_type.as_str().to_owned(),
        }
    });
    exposures.collect()
}

impl Service {
    fn vocabulary(&self, items: Arc<Schema>) -> Result<Vocabulary, ServiceError> {
        let users = self.stores.catalogue.schema(EntityKind::User)?;
        Ok(Vocabulary::of(&self.config, items, users))
    }

    fn compiled(&self, forms: Vec<RuleForm>, is_many: bool) -> Result<Vec<CompiledRule>, ServiceError> {
        let vocabulary = self.vocabulary(self.snapshot.load().catalogue.schema.clone())?;
        let known = vocabulary.known(&self.config);
        let mut names = BTreeSet::new();
        let mut rules = Vec::with_capacity(forms.len());
        for (at, form) in forms.into_iter().enumerate() {
            let at = is_many.then_some(at);
            if !names.insert(form.name.clone()) {
                let problem = Problem::new("name", form.name.as_str(), "each rule once");
                return Err(ServiceError::Input(placed(problem, at)));
            }
            for (place, item) in form.items.iter().enumerate() {
                if self.live.positions.get(item).is_none() {
                    let field = format!("items[{place}]");
                    let problem = Problem::new(field, item.as_str(), "the id of an item in the catalogue");
                    return Err(ServiceError::Input(placed(problem, at)));
                }
            }
            let rule = CompiledRule::new(form, &known);
            rules.push(rule.map_err(|e| ServiceError::Input(placed(refused(e), at)))?);
        }
        Ok(rules)
    }

    /// The rules of a version; those in force without one.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for a version that has not been.
    pub fn rules(&self, version: Option<u64>) -> Result<RulesView, ServiceError> {
        let found = self.stores.catalogue.rules(version)?;
        let (version, rules) = found.ok_or_else(|| ServiceError::NotFound {
            what: "version of the rules",
            id: version.unwrap_or_default().to_string(),
        })?;
        Ok(RulesView {
            version,
            rules: rules.iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    /// One rule.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] if there is none of this name.
    pub fn rule(&self, name: &str) -> Result<RuleForm, ServiceError> {
        let rules = self.rules(None)?.rules;
        let found = rules.into_iter().find(|rule| rule.name == name);
        found.ok_or_else(|| ServiceError::NotFound {
            what: "rule",
            id: name.to_owned(),
        })
    }

    /// Adds rules, or replaces those of the same names; in force for every request that begins after this returns. Kinds of
    /// attributes that they look at are fixed, so that later items cannot change what a rule means.
    ///
    /// # Errors
    /// [`ServiceError::Input`] names the rule and its field at fault; then nothing was changed.
    pub fn put_rules(&self, forms: Vec<RuleForm>, is_many: bool) -> Result<RulesReport, ServiceError> {
        let _swap = lock(&self.swap);
        let rules = self.compiled(forms, is_many)?;
        let before: BTreeMap<String, RuleForm> = (self.rules(None)?.rules.into_iter())
            .map(|rule| (rule.name.clone(), rule))
            .collect();
        let mut report = RulesReport {
            version: 0,
            created: 0,
            updated: 0,
            unchanged: 0,
            deleted: 0,
        };
        for rule in &rules {
            match before.get(&rule.form.name) {
                None => report.created += 1,
                Some(known) if *known == rule.form => report.unchanged += 1,
                Some(_) => report.updated += 1,
            }
        }
        if before.len() + report.created > RULES_MAX {
            let got = format!("{} rules", before.len() + report.created);
            return Err(ServiceError::input("rules", got, format!("at most {RULES_MAX}")));
        }
        self.fix_kinds(&rules)?;
        let texts: Vec<RuleText> = (rules.iter())
            .map(|rule| RuleText {
                name: rule.form.name.clone(),
                body: serde_json::to_string(&rule.form).expect("a form that was read is JSON"),
            })
            .collect();
        report.version = self.stores.catalogue.change_rules(&texts, &[])?;
        self.refresh(&[])?;
        Ok(report)
    }

    /// Takes a rule out.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] if there is none of this name.
    pub fn delete_rule(&self, name: &str) -> Result<RulesReport, ServiceError> {
        let _swap = lock(&self.swap);
        self.rule(name)?;
        let version = self.stores.catalogue.change_rules(&[], &[name.to_owned()])?;
        self.refresh(&[])?;
        Ok(RulesReport {
            version,
            created: 0,
            updated: 0,
            unchanged: 0,
            deleted: 1,
        })
    }

    fn fix_kinds(&self, rules: &[CompiledRule]) -> Result<(), ServiceError> {
        let used: BTreeSet<_> = rules.iter().flat_map(|rule| &rule.attributes).collect();
        for of in [EntityKind::Item, EntityKind::User] {
            let schema = self.stores.catalogue.schema(of)?;
            for (_, name) in used.iter().filter(|(entity, _)| *entity == of) {
                if let Some(known) = schema
                    .get(name)
                    .filter(|known| known.origin == KindOrigin::Inferred)
                {
                    self.stores.catalogue.fix_kind(of, name, Some(known.kind))?;
                }
            }
        }
        Ok(())
    }

    /// Refuses a change of the kind of an attribute that a rule looks at.
    pub(crate) fn check_no_rule_uses(&self, of: EntityKind, attribute: &str) -> Result<(), ServiceError> {
        let snapshot = self.snapshot.load();
        let key = (of, attribute.to_owned());
        let user = (snapshot.catalogue.rules.rules().iter()).find(|rule| rule.attributes.contains(&key));
        match user {
            None => Ok(()),
            Some(rule) => {
                let expected = format!("an attribute that no rule looks at; rule {} does", rule.form.name);
                Err(ServiceError::input("attribute", attribute, expected))
            }
        }
    }

    /// Looks at a rule as `put_rules` would, and stores nothing. Looks at every item.
    ///
    /// # Errors
    /// [`ServiceError::Input`] names the field at fault.
    pub fn check_rule(&self, form: RuleForm) -> Result<RuleCheck, ServiceError> {
        let rule = self.compiled(vec![form], false)?.remove(0);
        let word = |of: &EntityKind| match of {
            EntityKind::Item => "item",
            EntityKind::User => "user",
        };
        let attributes = (rule.attributes.iter())
            .map(|(of, name)| format!("{}.{name}", word(of)))
            .collect();
        let form = rule.form.clone();
        // As a filter, whatever its kind: what is kept is that for which the expression is true.
        let as_filter = rule.as_filter();
        let catalogue = self.snapshot.load_full().catalogue.clone();
        let set = RuleSet::new(0, vec![as_filter]);
        let query = Query {
            now: self.clock.now(),
            ..Query::default()
        };
        let bound = bind(&set, &catalogue, &self.live.positions, None, &query, &[]);
        let removing = bound.removing();
        let keeps = |item: u32| {
            removing
                .iter()
                .all(|rule| rule.check(&query, item) == domain::Verdict::Keep)
        };
        let items = (0..catalogue.len() as u32).filter(|item| keeps(*item)).count();
        Ok(RuleCheck {
            rule: form,
            attributes,
            items: items as u64,
        })
    }

    /// What rules would have done to the latest decisions: each is made again from the candidates and scores of its record, with the
    /// rules and without. Attributes are those of now; what earlier rules did to scores stays in them; what earlier
    /// rules removed is not among the candidates.
    ///
    /// # Errors
    /// [`ServiceError::Input`] names the field at fault; the decision log's.
    pub fn dry_run(&self, request: &DryRunRequest) -> Result<DryRunReport, ServiceError> {
        let wanted = request.decisions.unwrap_or(DECISIONS);
        if !(1..=DECISIONS_MAX).contains(&wanted) {
            let expected = format!("1 to {DECISIONS_MAX}");
            return Err(ServiceError::input("decisions", wanted.to_string(), expected));
        }
        let catalogue = self.snapshot.load_full().catalogue.clone();
        let own;
        let set = match request.rules.is_empty() {
            true => &*catalogue.rules,
            false => {
                let rules = self
                    .compiled(request.rules.clone(), true)
                    .map_err(|error| match error {
                        ServiceError::Input(problem) => ServiceError::Input(Problem {
                            field: format!("rules{}", problem.field),
                            ..problem
                        }),
                        other => other,
                    })?;
                own = RuleSet::new(0, rules);
                &own
            }
        };
        let mut latest: VecDeque<Decision> = VecDeque::new();
        let path = self.dir.join("decisions");
        self.flush_decisions()?;
        let visited = self.decisions.each(|kept| {
            let here = request.placement.as_ref();
            if here.is_none_or(|placement| *placement == kept.decision.placement) {
                latest.push_back(kept.decision);
                if latest.len() > wanted {
                    latest.pop_front();
                }
            }
        });
        visited.map_err(|e| ServiceError::io("reading", &path, e))?;
        let mut report = DryRunReport::default();
        for rule in set.rules() {
            report.rules.insert(rule.form.name.clone(), DryRunRule::default());
        }
        for decision in latest.iter().rev() {
            self.try_on(set, &catalogue, decision, &mut report);
        }
        Ok(report)
    }

    fn try_on(
        &self,
        set: &RuleSet,
        catalogue: &Arc<LiveCatalogue>,
        decision: &Decision,
        report: &mut DryRunReport,
    ) {
        let position = |id: &domain::ItemId| {
            let at = self.live.positions.get(id.as_str())?;
            ((at as usize) < catalogue.len()).then_some(at)
        };
        let mut scores: BTreeMap<u32, f32> = BTreeMap::new();
        let considered = decision.considered.iter().map(|one| (&one.item_id, one.score));
        let shown = decision.shown.iter().map(|one| (&one.item_id, one.score));
        for (id, score) in considered.chain(shown) {
            if let Some(at) = position(id) {
                scores.entry(at).or_insert(score);
            }
        }
        let history = decision.history.iter().filter_map(|(id, weight)| {
            Some(HistoryEvent {
                item: position(id)?,
                weight: *weight,
                age_days: 0.0,
            })
        });
        let query = Query {
            now: decision.now,
            history: history.collect(),
            user_attributes: decision.attributes.clone(),
            context: decision.context.clone(),
            anchor: decision.item_id.as_ref().and_then(position),
            n: decision.n as usize,
            seed: decision.seed,
            ..Query::default()
        };
        let placement = Some(decision.placement.as_str());
        let exposures = match &decision.user_id {
            Some(user) if set.counts_exposures() => {
                let recent = self.live.states.recent(user, usize::MAX);
                exposures_of(recent, &self.config.event_types, query.now)
            }
            _ => Vec::new(),
        };
        let bound = bind(
            set,
            catalogue,
            &self.live.positions,
            placement,
            &query,
            &exposures,
        );
        let recorded = Arc::new(Recorded(scores));
        let pipeline = Pipeline {
            placement: decision.placement.clone(),
            sources: vec![Source {
                retriever: recorded.clone(),
                quota: usize::MAX,
            }],
            ranker: recorded.clone(),
            fallback_ranker: recorded,
            rules: Vec::new(),
            reranker: Arc::new(TopReranker::new(catalogue.tie_keys.clone())),
            policy: Arc::new(GreedyPolicy),
            ladder: Vec::new(),
            reasoner: None,
            caps: Caps {
                considered: 0,
                removals: usize::MAX,
            },
            budgets: Default::default(),
            deadline_us: 0,
        };
        let plain = DecideRequest {
            decision_id: decision.decision_id.clone(),
            user_id: None,
            snapshot: decision.snapshot,
            sequence: decision.sequence,
            config_hash: String::new(),
            arms: Vec::new(),
            explain: false,
            rules: Vec::new(),
            steering: None,
            relevance_min: Some(f32::MIN),
            query,
        };
        let ruled = DecideRequest {
            rules: bound.removing(),
            steering: Some(Arc::new(bound.clone())),
            ..plain.clone()
        };
        let made = |request: &DecideRequest| {
            engine::decide(
                &pipeline,
                &**catalogue,
                request,
                &crate::serve::Elapsed(&*self.clock),
            )
            .decision
        };
        let (before, after) = (made(&plain), made(&ruled));
        let ids = |decision: &Decision| -> Vec<_> {
            decision.shown.iter().map(|shown| shown.item_id.clone()).collect()
        };
        report.decisions += 1;
        report.slates_changed += u64::from(ids(&before) != ids(&after));
        for name in bound.active() {
            report.rules.entry(name).or_default().applied += 1;
        }
        for removal in &after.removals {
            let Some(rule) = report.rules.get_mut(&removal.rule) else {
                continue;
            };
            rule.considered_removed += 1;
            let shown = decision
                .shown
                .iter()
                .find(|shown| shown.item_id == removal.item_id);
            if let Some(shown) = shown {
                rule.shown_removed += 1;
                if report.examples.len() < EXAMPLES_MAX {
                    report.examples.push(DryRunExample {
                        decision_id: decision.decision_id.as_str().to_owned(),
                        item_id: removal.item_id.as_str().to_owned(),
                        rank: shown.rank,
                        rule: removal.rule.clone(),
                        reason: removal.reason.clone(),
                    });
                }
            }
        }
        for effect in after.rules.iter().flat_map(|rules| &rules.effects) {
            let rule = report.rules.entry(effect.rule.clone()).or_default();
            match effect.change {
                RuleChange::Score { .. } => rule.rescored += 1,
                RuleChange::Pinned { .. } => rule.pinned += 1,
                RuleChange::PassedOver { .. } => rule.passed_over += 1,
            }
        }
    }
}

/// Candidates and scores of a record, as source and ranker.
struct Recorded(BTreeMap<u32, f32>);

impl Retriever for Recorded {
    fn name(&self) -> &'static str {
        "recorded"
    }

    fn retrieve(
        &self,
        _: &Query,
        budget: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<(u32, f32)>, StageError> {
        let met = self.0.iter().filter(|(item, _)| allowed(**item));
        let mut list: Vec<(u32, f32)> = met.map(|(item, score)| (*item, *score)).collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        list.truncate(budget);
        Ok(list)
    }
}

impl Ranker for Recorded {
    fn name(&self) -> &'static str {
        "recorded"
    }

    fn rank(&self, _: &Query, candidates: &[Candidate]) -> Result<Vec<Outcome>, StageError> {
        // An item that only a rule proposes has no score on record: it stands behind those that have one.
        let least = self.0.values().copied().fold(0.0, f32::min);
        let score = |candidate: &Candidate| self.0.get(&candidate.item).copied().unwrap_or(least);
        Ok(candidates
            .iter()
            .map(|candidate| Outcome::Score(score(candidate)))
            .collect())
    }

    fn explain(&self, _: &Query, _: u32) -> Explanation {
        Explanation::default()
    }
}
