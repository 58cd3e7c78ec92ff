//! What each step of a placement adds and what each part of it is worth, measured on the past: models and ranker learn from the earlier part of the log, people of the later part are asked at the
//! moment before their first later event, and what they did afterwards is the truth.
//!
//! Steps add up: the ranks of the sources, the model, the ranker that is learnt, the reranker. Parts are taken out one at a time: the whole placement against the same without the part, models
//! and ranker learnt anew where they had a share in it, on the same people with the same truth; the difference is paired by person. What marks an item as seen stays as it is throughout.
//!
//! The ranker is learnt from the event log in all of them, since features that decisions noted hold what is to be taken out; position correction alone, of which the event log knows nothing, compares two
//! rankers learnt from decisions. Cost: models are trained twice for the whole (for the ranker's rows, and for the lists) and twice for each of event weights, content and negative signals.

mod figures;
mod parts;
mod world;

pub use figures::{Estimate, Figures};

use crate::choice::PolicyConfig;
use crate::order::orderer;
use crate::ranker_history::{EARLIER_SHARE, Past, Setup, World, moment_at};
use crate::service::lock;
use crate::snapshot::Models;
use crate::{RerankConfig, Service, ServiceError};
use domain::{Reranker, Timestamp};
use figures::{Lists, Measure};
use numeric::on_threads;
use parts::{Part, TakenOut};
use ranking::features::CONTEXT_FAMILIES;
use ranking::{LearnError, OutcomeModel, PositionMode, RankRows, RankerConfig, RankerKind, learn};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use world::{Asking, Order, Scores};

/// What is measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationRequest {
    /// Whose sources and rules.
    pub placement: String,
    /// Length of the lists.
    pub k: usize,
    /// People asked at most.
    pub users_max: usize,
    /// Share of the events that are the earlier part.
    pub earlier_share: f64,
    /// Weight of unlikeness against relevance in `mmr`, 0 to 1; absent for the placement's own reranker, or for `mmr` with its default where the placement has none.
    pub diversity: Option<f64>,
}

/// A result, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured<T> {
    /// The result.
    Measured(T),
    /// Why there is none.
    NotMeasured(String),
}

impl<T> Measured<T> {
    /// The result, if there is one.
    pub fn get(&self) -> Option<&T> {
        match self {
            Measured::Measured(result) => Some(result),
            Measured::NotMeasured(_) => None,
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationStep {
    /// Which.
    pub step: &'static str,
    /// What lists come to with it and all before it.
    #[serde(flatten)]
    pub figures: Measured<Figures>,
}

/// A placement with a part and without it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartFigures {
    /// What was taken out, and what is left in its place.
    pub taken_out: String,
    /// The whole.
    pub with: Figures,
    /// The same without the part.
    pub without: Figures,
    /// The one less the other, paired by person.
    pub difference: Figures,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationPart {
    /// Which.
    pub part: &'static str,
    /// What it is worth.
    #[serde(flatten)]
    pub figures: Measured<PartFigures>,
}

/// Steps and parts on the same people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationReport {
    /// What was asked.
    pub request: AblationRequest,
    /// Source of all randomness.
    pub seed: u64,
    /// The moment that parts the earlier events from the later ones.
    pub cut: Timestamp,
    /// Events before it.
    pub earlier_events: u64,
    /// People asked.
    pub users: u64,
    /// Items in the catalogue.
    pub items: u64,
    /// Rows that the ranker was learnt from.
    pub ranker_rows: u64,
    /// Steps in order.
    pub steps: Vec<AblationStep>,
    /// Parts, each taken out alone.
    pub parts: Vec<AblationPart>,
}

impl AblationRequest {
    fn check(&self) -> Result<(), ServiceError> {
        let wrong = |field: &str, got: String, expected: &str| Err(ServiceError::input(field, got, expected));
        if !(1..=1000).contains(&self.k) {
            return wrong("k", self.k.to_string(), "1 to 1000");
        }
        if self.users_max == 0 {
            return wrong("users_max", "0".to_owned(), "at least 1");
        }
        if !(0.2..=0.95).contains(&self.earlier_share) {
            return wrong("earlier_share", self.earlier_share.to_string(), "0.2 to 0.95");
        }
        match self.diversity {
            Some(weight) if !(0.0..=1.0).contains(&weight) => {
                wrong("diversity", weight.to_string(), "0 to 1")
            }
            _ => Ok(()),
        }
    }
}

/// Models of the past: those that the ranker's rows are asked of, and those that the lists are made by.
struct Pair {
    early: Models,
    late: Models,
}

/// Something, or why it cannot be had.
type OrWhy<T> = Result<T, String>;

/// Rankers learnt from decisions, with a correction for places and without, and the correction in words.
type ByPlaces = (OutcomeModel, OutcomeModel, String);

/// One run.
struct Run<'a> {
    service: &'a Service,
    asking: Asking<'a>,
    earlier: &'a Past,
    /// The moment that parts what models learn from what the ranker learns.
    early_cut: Timestamp,
    progress: &'a dyn Fn(&str),
    cancel: Arc<AtomicBool>,
}

impl Service {
    /// Measures steps and parts of a placement; see the head of the module. Blocks; nothing is published.
    ///
    /// # Errors
    /// A request that cannot be, another training under way, or too little to learn from.
    pub fn ablation(
        &self,
        request: &AblationRequest,
        progress: &dyn Fn(&str),
    ) -> Result<AblationReport, ServiceError> {
        request.check()?;
        if !self.config.placements.contains_key(&request.placement) {
            let known: Vec<&str> = self.config.placements.keys().map(String::as_str).collect();
            let expected = format!("one of {}", known.join(", "));
            return Err(ServiceError::input(
                "placement",
                request.placement.as_str(),
                expected,
            ));
        }
        if self.is_training.swap(true, Ordering::SeqCst) {
            return Err(ServiceError::Busy("a training is under way".into()));
        }
        let _under = crate::learn::Under(self);
        let cancel = Arc::new(AtomicBool::new(false));
        lock(&self.training).cancel = cancel.clone();
        let mut full = self.setup(&request.placement);
        full.placement.ranker.kind = RankerKind::Trees;
        full.placement.n = request.k;
        let liked = full.weights.iter().filter(|(_, head)| head.weight > 0.0);
        let liked: Vec<(String, f64)> = liked
            .map(|(name, head)| (name.clone(), f64::from(head.weight)))
            .collect();
        progress("reading events");
        let events = self.past()?;
        let cut = moment_at(&events, request.earlier_share)?;
        let earlier = &events[..events.partition_point(|(at, ..)| *at < cut)];
        let run = Run {
            service: self,
            early_cut: moment_at(earlier, EARLIER_SHARE)?,
            asking: Asking {
                events: &events,
                cut,
                liked: &liked,
                users_max: request.users_max,
                k: request.k,
            },
            earlier,
            progress,
            cancel,
        };
        run.report(request, &full)
    }
}

impl Run<'_> {
    fn report(&self, request: &AblationRequest, full: &Setup) -> Result<AblationReport, ServiceError> {
        let service = self.service;
        let catalogue = service.snapshot.load().catalogue.clone();
        let catalogue = Arc::new(catalogue.with(&service.live.positions, Vec::new()));
        let items = catalogue.schema.clone();
        let policy = PolicyConfig::default();
        let diversity = parts::diversity(&full.placement.rerank, request.diversity, &items);
        if let Ok((config, _)) = &diversity {
            let checked = config.check(&policy);
            checked.map_err(|e| ServiceError::input(e.field, e.got, e.expected))?;
        }
        let top = orderer(&RerankConfig::default(), &policy, &catalogue);
        let reranker = match &diversity {
            Ok((config, _)) => orderer(config, &policy, &catalogue),
            Err(_) => top.clone(),
        };
        let models = self.models(full, "the whole")?;
        let rows = self.rows(full, &models, "the whole")?;
        let ranker = self.learn(full, &rows, "the whole")?;
        let why_no_ranker = ranker.as_ref().err().map(|why| format!("no ranker could be learnt: {why}"));
        let uncircumstanced = match &why_no_ranker {
            Some(why) => Err(why.clone()),
            None => self
                .learn(full, &rows.without(CONTEXT_FAMILIES), "without context")?
                .map_err(|why| format!("without it no ranker could be learnt: {why}")),
        };
        let by_places = self.by_places(request, full)?;

        // All that the models of the whole are asked for, at once.
        let best = ranker.as_ref().map_or(Scores::Model, Scores::Ranker);
        let mut orders = vec![
            Order::new(Scores::Sources, &top),
            Order::new(Scores::Model, &top),
            Order::new(best, &top),
            Order::new(best, &reranker),
        ];
        let (plain, whole) = (2, 3);
        let mut add = |ranker| {
            orders.push(Order::new(Scores::Ranker(ranker), &reranker));
            orders.len() - 1
        };
        let context = uncircumstanced.as_ref().map(&mut add);
        let places = by_places
            .as_ref()
            .map(|(with, without, words)| (add(with), add(without), words));
        (self.progress)("the whole: asking people");
        let answers = service.answers(full, models.late.clone(), &self.asking, &orders)?;
        let answers = answers.with_something_to_find();
        if answers.people.is_empty() {
            return Err(ServiceError::Training(
                "nobody did anything new in the later part".to_owned(),
            ));
        }
        let likeness = |a: u32, b: u32| World::likeness(&*catalogue, a, b);
        let measure = Measure {
            people: &answers.people,
            k: request.k,
            n_items: catalogue.len(),
            seed: service.config.training.seed,
            likeness: (!parts::labels(&items).is_empty()).then_some(&likeness),
        };
        let lists = |at: usize| &answers.lists[at][..];
        let compared = |with: &Lists, without: &Lists, taken_out: &str| {
            Measured::Measured(PartFigures {
                taken_out: taken_out.to_owned(),
                with: measure.of(with),
                without: measure.of(without),
                difference: measure.difference(with, without),
            })
        };
        let step = |step, at: usize, why: Option<&String>| AblationStep {
            step,
            figures: match why {
                None => Measured::Measured(measure.of(lists(at))),
                Some(why) => Measured::NotMeasured(why.clone()),
            },
        };
        let steps = vec![
            step("retrieval", 0, None),
            step("+ model", 1, None),
            step("+ ranker", plain, why_no_ranker.as_ref()),
            step("+ diversity", whole, diversity.as_ref().err()),
        ];
        let counts = parts::by_type(self.earlier);
        let anew = |part: Part, setup: TakenOut, models: Option<&Pair>| {
            let (setup, words) = match setup {
                Ok(found) => found,
                Err(why) => return Ok(Measured::NotMeasured(why)),
            };
            let what = format!("without {}", part.name());
            Ok::<_, ServiceError>(match self.lists_anew(&setup, models, &what, ranker.is_ok(), &reranker)? {
                Err(why) => Measured::NotMeasured(why),
                Ok(without) => compared(lists(whole), &without, &words),
            })
        };
        let mut parts = Vec::new();
        for part in Part::ALL {
            let figures = match part {
                Part::Hybrid => anew(part, self.single(full, &models)?, Some(&models))?,
                Part::EventWeights => anew(part, parts::without_event_weights(full, &counts), None)?,
                Part::Content => anew(part, parts::without_content(full, &items), None)?,
                Part::NegativeSignals => anew(part, parts::without_negative_signals(full, &counts), None)?,
                Part::Context => match &context {
                    Ok(at) => compared(lists(whole), lists(*at), parts::WITHOUT_CONTEXT),
                    Err(why) => Measured::NotMeasured((*why).clone()),
                },
                Part::Diversity => match &diversity {
                    Ok((_, words)) => compared(lists(whole), lists(plain), words),
                    Err(why) => Measured::NotMeasured(why.clone()),
                },
                Part::PositionCorrection => match &places {
                    Ok((with, without, words)) => compared(lists(*with), lists(*without), words),
                    Err(why) => Measured::NotMeasured((*why).clone()),
                },
            };
            parts.push(AblationPart {
                part: part.name(),
                figures,
            });
        }
        Ok(AblationReport {
            request: request.clone(),
            seed: service.config.training.seed,
            cut: self.asking.cut,
            earlier_events: self.earlier.len() as u64,
            users: answers.people.len() as u64,
            items: catalogue.len() as u64,
            ranker_rows: rows.len() as u64,
            steps,
            parts,
        })
    }

    /// Says what is being done, and for what.
    fn tell(&self, what: &str, doing: &str) {
        (self.progress)(&format!("{what}: {doing}"));
    }

    fn models(&self, setup: &Setup, what: &str) -> Result<Pair, ServiceError> {
        let told = |doing: &str| self.tell(what, doing);
        let of = |cut| self.service.models_of(setup, cut, &told, self.cancel.clone());
        Ok(Pair {
            early: of(self.early_cut)?,
            late: of(self.asking.cut)?,
        })
    }

    fn rows(&self, setup: &Setup, models: &Pair, what: &str) -> Result<RankRows, ServiceError> {
        self.tell(what, "asking people of the past");
        let (early, cut) = (models.early.clone(), self.early_cut);
        self.service.rows_after(setup, early, self.earlier, cut)
    }

    fn learn(
        &self,
        setup: &Setup,
        rows: &RankRows,
        what: &str,
    ) -> Result<OrWhy<OutcomeModel>, ServiceError> {
        self.tell(what, "learning the ranker");
        self.learn_with(setup, rows, &setup.placement.ranker, &[])
    }

    fn learn_with(
        &self,
        setup: &Setup,
        rows: &RankRows,
        config: &RankerConfig,
        examination: &[f64],
    ) -> Result<OrWhy<OutcomeModel>, ServiceError> {
        let seed = self.service.config.training.seed;
        let learnt = on_threads(self.service.threads(), || {
            learn(rows, &setup.weights, config, examination, seed)
        });
        match learnt {
            Ok((model, _)) => Ok(Ok(model)),
            Err(LearnError::TooLittle(why)) => Ok(Err(why)),
            Err(error) => Err(ServiceError::Training(error.to_string())),
        }
    }

    /// Lists of the whole where a part is taken out, for the same people; models and ranker are learnt anew unless there are models already.
    fn lists_anew(
        &self,
        setup: &Setup,
        models: Option<&Pair>,
        what: &str,
        by_ranker: bool,
        reranker: &Arc<dyn Reranker>,
    ) -> Result<OrWhy<Vec<Vec<u32>>>, ServiceError> {
        let own;
        let models = match models {
            Some(models) => models,
            None => match self.models(setup, what) {
                Ok(made) => {
                    own = made;
                    &own
                }
                Err(ServiceError::Training(why)) if !self.cancel.load(Ordering::SeqCst) => {
                    return Ok(Err(format!("without it no model could be learnt: {why}")));
                }
                Err(error) => return Err(error),
            },
        };
        let ranker = if by_ranker {
            match self.learn(setup, &self.rows(setup, models, what)?, what)? {
                Ok(ranker) => Some(ranker),
                Err(why) => return Ok(Err(format!("without it no ranker could be learnt: {why}"))),
            }
        } else {
            None
        };
        self.tell(what, "asking people");
        let scores = ranker.as_ref().map_or(Scores::Model, Scores::Ranker);
        let orders = [Order::new(scores, reranker)];
        let answers = self.service.answers(setup, models.late.clone(), &self.asking, &orders)?;
        Ok(Ok(answers.with_something_to_find().lists.remove(0)))
    }

    /// The best single model in place of all, chosen where the ranker learns.
    fn single(&self, full: &Setup, models: &Pair) -> Result<TakenOut, ServiceError> {
        let names = parts::single_models(full, &models.early);
        if names.len() < 2 {
            return Ok(Err(format!("one model proposes: {}", names.join(", "))));
        }
        self.tell("without hybrid", "choosing the best single model");
        let asking = Asking {
            events: self.earlier,
            cut: self.early_cut,
            ..self.asking
        };
        let best = self.service.best_single(full, &models.early, &asking, &names)?;
        let Some((best, ndcg)) = best else {
            return Ok(Err("nobody in the earlier part tells which single model is the best".to_owned()));
        };
        Ok(Ok(parts::without_hybrid(full, &best, ndcg, self.asking.k)))
    }

    /// Rankers from decisions that were over before the cut.
    fn by_places(&self, request: &AblationRequest, full: &Setup) -> Result<OrWhy<ByPlaces>, ServiceError> {
        let config = &full.placement.ranker;
        let placement = &request.placement;
        let words = match config.position {
            PositionMode::None => {
                return Ok(Err(format!("placements.{placement}.ranker.position is none")));
            }
            PositionMode::Ips => "ips",
            PositionMode::Feature => "feature",
        };
        self.tell("position correction", "joining decisions");
        let until = self.asking.cut;
        let joined = self
            .service
            .rows_from_decisions(placement, config, &full.weights, until)?;
        let report = &joined.report;
        if !report.is_enough(config) {
            return Ok(Err(format!(
                "{} decisions with places and features before the cut and {} outcomes of them, expected at least {} and {}",
                report.decisions, report.events, config.decisions_min, config.outcomes_min
            )));
        }
        let examination = match config.position {
            PositionMode::Ips => joined.examination(),
            _ => Vec::new(),
        };
        let plain = RankerConfig {
            position: PositionMode::None,
            ..config.clone()
        };
        self.tell("position correction", "learning two rankers from decisions");
        let with = self.learn_with(full, &joined.rows, config, &examination)?;
        let without = self.learn_with(full, &joined.rows, &plain, &[])?;
        let both = with.and_then(|with| Ok((with, without?)));
        let words = format!(
            "position {words} against none, rankers learnt from {} decisions",
            report.decisions
        );
        Ok(both
            .map(|(with, without)| (with, without, words))
            .map_err(|why| format!("no ranker could be learnt from decisions: {why}")))
    }
}
