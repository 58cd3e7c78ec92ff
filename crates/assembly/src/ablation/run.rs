//! One run: what is learnt, who is asked, and what is compared.

use super::figures::{Lists, Measure};
use super::parts::{self, Part, TakenOut};
use super::world::{Asking, Order, Scores};
use super::{AblationPart, AblationReport, AblationRequest, AblationStep, Measured, PartFigures};
use crate::catalogue::LiveCatalogue;
use crate::choice::PolicyConfig;
use crate::exposures::Prices;
use crate::order::orderer;
use crate::ranker_history::{Past, Setup, World};
use crate::snapshot::Models;
use crate::{RerankConfig, Service, ServiceError};
use domain::{Reranker, Timestamp};
use numeric::on_threads;
use ranking::features::CONTEXT_FAMILIES;
use ranking::{LearnError, OutcomeModel, PositionMode, RankRows, RankerConfig, learn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
pub(super) struct Run<'a> {
    pub(super) service: &'a Service,
    pub(super) asking: Asking<'a>,
    pub(super) earlier: &'a Past,
    /// The moment that parts what models learn from what the ranker learns.
    pub(super) early_cut: Timestamp,
    pub(super) progress: &'a dyn Fn(&str),
    pub(super) cancel: Arc<AtomicBool>,
}

fn without_it(why: String) -> String {
    format!("without it no ranker could be learnt: {why}")
}

/// Rankers on the models of the whole.
struct Rankers {
    whole: OrWhy<OutcomeModel>,
    without_context: OrWhy<OutcomeModel>,
    by_places: OrWhy<ByPlaces>,
    /// Rows that the first two learnt from.
    rows: usize,
}

/// Rerankers: one that keeps the order of the scores, and the one that stands for diversity (in words what is missing without it) or else the same.
struct Rerankers {
    top: Arc<dyn Reranker>,
    whole: Arc<dyn Reranker>,
    diversity: OrWhy<String>,
}

fn rerankers(
    request: &AblationRequest,
    full: &Setup,
    catalogue: &Arc<LiveCatalogue>,
) -> Result<Rerankers, ServiceError> {
    let policy = PolicyConfig::default();
    // Prices of exposure follow what was shown, and nothing is shown here.
    let order = |config: &RerankConfig| orderer("", config, &policy, catalogue, &Prices::new());
    let top = order(&RerankConfig::default());
    let own = &full.placement.rerank;
    Ok(
        match parts::diversity(own, request.diversity, &catalogue.schema) {
            Err(why) => Rerankers {
                whole: top.clone(),
                top,
                diversity: Err(why),
            },
            Ok((config, words)) => {
                let checked = config.check(&policy);
                checked.map_err(|e| ServiceError::input(e.field, e.got, e.expected))?;
                Rerankers {
                    top,
                    whole: order(&config),
                    diversity: Ok(words),
                }
            }
        },
    )
}

/// Places of the steps among the lists, in order.
const RETRIEVAL: usize = 0;
const MODEL: usize = 1;
const RANKER: usize = 2;
const WHOLE: usize = 3;

/// Lists of the whole, and what they are measured by.
struct Compared<'a> {
    measure: Measure<'a>,
    lists: &'a [Vec<Vec<u32>>],
}

impl Compared<'_> {
    fn step(&self, step: &'static str, at: usize, why_not: Option<&String>) -> AblationStep {
        let own = &self.lists[at];
        let figures = match why_not {
            None => Measured::Measured(self.measure.of(own)),
            Some(why) => Measured::NotMeasured(why.clone()),
        };
        let before = at.checked_sub(1).filter(|_| why_not.is_none());
        let added = before.map(|before| self.measure.difference(own, &self.lists[before]));
        AblationStep { step, figures, added }
    }

    fn part(&self, with: usize, without: &Lists, taken_out: &str) -> Measured<PartFigures> {
        let with = &self.lists[with];
        assert_eq!(with.len(), without.len(), "the same people are asked");
        Measured::Measured(PartFigures {
            taken_out: taken_out.to_owned(),
            with: self.measure.of(with),
            without: self.measure.of(without),
            difference: self.measure.difference(with, without),
        })
    }
}

impl Run<'_> {
    pub(super) fn report(
        &self,
        request: &AblationRequest,
        full: &Setup,
    ) -> Result<AblationReport, ServiceError> {
        let service = self.service;
        let catalogue = service.snapshot.load().catalogue.clone();
        let catalogue = Arc::new(catalogue.with(&service.live.positions, Vec::new()));
        let items = catalogue.schema.clone();
        let rerankers = rerankers(request, full, &catalogue)?;
        let models = self.models(full, "the whole")?;
        let rankers = self.rankers(request, full, &models)?;

        // All that the models of the whole are asked for, at once.
        let best = rankers.whole.as_ref().map_or(Scores::Model, Scores::Ranker);
        let mut orders = vec![
            Order::new(Scores::Sources, &rerankers.top),
            Order::new(Scores::Model, &rerankers.top),
            Order::new(best, &rerankers.top),
            Order::new(best, &rerankers.whole),
        ];
        let mut add = |ranker| {
            orders.push(Order::new(Scores::Ranker(ranker), &rerankers.whole));
            orders.len() - 1
        };
        let context = rankers.without_context.as_ref().map(&mut add);
        let places = rankers.by_places.as_ref();
        let places = places.map(|(with, without, words)| (add(with), add(without), words));
        (self.progress)("the whole: asking people");
        let answers = service.answers(full, models.late.clone(), &self.asking, &orders)?;
        let answers = answers.with_something_to_find();
        if answers.people.is_empty() {
            let words = "nobody did anything new in the later part".to_owned();
            return Err(ServiceError::TooLittle(words));
        }
        let likeness = |a: u32, b: u32| World::likeness(&*catalogue, a, b);
        let whole = Compared {
            measure: Measure {
                people: &answers.people,
                k: request.k,
                n_items: catalogue.len(),
                seed: service.config.training.seed,
                likeness: (!parts::labels(&items).is_empty()).then_some(&likeness),
            },
            lists: &answers.lists,
        };
        let counts = parts::by_type(self.earlier);
        let anew = |part: Part, setup: TakenOut, models: Option<&Pair>| {
            let without = match &setup {
                Ok((setup, _)) => {
                    let by_ranker = rankers.whole.is_ok();
                    let what = format!("without {}", part.name());
                    self.lists_anew(setup, models, &what, by_ranker, &rerankers.whole)?
                }
                Err(why) => Err(why.clone()),
            };
            Ok::<_, ServiceError>(match (setup, without) {
                (Ok((_, words)), Ok(without)) => whole.part(WHOLE, &without, &words),
                (Err(why), _) | (_, Err(why)) => Measured::NotMeasured(why),
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
                    Ok(at) => whole.part(WHOLE, &answers.lists[*at], parts::WITHOUT_CONTEXT),
                    Err(why) => Measured::NotMeasured((*why).clone()),
                },
                Part::Diversity => match &rerankers.diversity {
                    Ok(words) => whole.part(WHOLE, &answers.lists[RANKER], words),
                    Err(why) => Measured::NotMeasured(why.clone()),
                },
                Part::PositionCorrection => match &places {
                    Ok((with, without, words)) => whole.part(*with, &answers.lists[*without], words),
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
            newcomers: answers.people.iter().filter(|p| p.is_newcomer).count() as u64,
            items: catalogue.len() as u64,
            ranker_rows: rankers.rows as u64,
            steps: vec![
                whole.step("retrieval", RETRIEVAL, None),
                whole.step("+ model", MODEL, None),
                whole.step("+ ranker", RANKER, rankers.whole.as_ref().err()),
                whole.step("+ diversity", WHOLE, rerankers.diversity.as_ref().err()),
            ],
            parts,
        })
    }

    fn rankers(
        &self,
        request: &AblationRequest,
        full: &Setup,
        models: &Pair,
    ) -> Result<Rankers, ServiceError> {
        let rows = self.rows(full, models, "the whole")?;
        let whole = self.learn(full, &rows, "the whole")?;
        let whole = whole.map_err(|why| format!("no ranker could be learnt: {why}"));
        let without_context = match &whole {
            Err(why) => Err(why.clone()),
            Ok(_) => {
                let told = rows.without(CONTEXT_FAMILIES);
                self.learn(full, &told, "without context")?.map_err(without_it)
            }
        };
        Ok(Rankers {
            whole,
            without_context,
            by_places: self.by_places(request, full)?,
            rows: rows.len(),
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

    fn learn(&self, setup: &Setup, rows: &RankRows, what: &str) -> Result<OrWhy<OutcomeModel>, ServiceError> {
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
                Err(ServiceError::Training(why) | ServiceError::TooLittle(why))
                    if !self.cancel.load(Ordering::SeqCst) =>
                {
                    return Ok(Err(format!("without it no model could be learnt: {why}")));
                }
                Err(error) => return Err(error),
            },
        };
        let ranker = if by_ranker {
            match self.learn(setup, &self.rows(setup, models, what)?, what)? {
                Ok(ranker) => Some(ranker),
                Err(why) => return Ok(Err(without_it(why))),
            }
        } else {
            None
        };
        self.tell(what, "asking people");
        let scores = ranker.as_ref().map_or(Scores::Model, Scores::Ranker);
        let orders = [Order::new(scores, reranker)];
        let answers = self
            .service
            .answers(setup, models.late.clone(), &self.asking, &orders)?;
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
            return Ok(Err(
                "nobody in the earlier part tells which single model is the best".to_owned(),
            ));
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
            PositionMode::DoublyRobust => "doubly_robust",
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
        let examination = match config.position.needs_examination() {
            true => joined.examination(),
            false => Vec::new(),
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
