//! An immutable bundle of catalogue, models and pipelines, with a version.

use crate::bandit::{self, ActionRetriever, ActionRule, Beliefs};
use crate::bound::{AnchorRetriever, Bound, ModelRanker, ModelRetriever};
use crate::catalogue::LiveCatalogue;
use crate::chaos::{Chaos, ChaosRanker, ChaosRetriever};
use crate::choice::chooser;
use crate::config::{Config, PlacementConfig};
use crate::learned::{Learned, ranker};
use crate::order::orderer;
use crate::reasons::TitleReasoner;
use crate::segments::Segments;
use domain::{Ranker, Retriever, Rule, Sequence, SnapshotVersion};
use engine::{Budgets, Pipeline, Source};
use ranking::{RankerKind, SourceScoreRanker};
use rerank::{AnchorRule, ExcludedRule, HiddenRule, OnlyRule, SeenRule};
use retrieval::{ItemSet, RecentRetriever};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The models of one bundle: the first ranks, the others are sources and rungs of the ladder.
#[derive(Clone)]
pub(crate) struct Models {
    pub(crate) main: Arc<Bound>,
    pub(crate) fallbacks: Vec<Arc<Bound>>,
}

impl Models {
    /// All, the ranking one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Bound>> {
        std::iter::once(&self.main).chain(&self.fallbacks)
    }

    /// The same models, each replaced.
    pub(crate) fn map(&self, mut change: impl FnMut(&Arc<Bound>) -> Arc<Bound>) -> Models {
        Models {
            main: change(&self.main),
            fallbacks: self.fallbacks.iter().map(change).collect(),
        }
    }

    /// The model or part of a model with this name.
    pub(crate) fn named(&self, name: &str) -> Option<(&Arc<Bound>, Option<usize>)> {
        if let Some(bound) = self.all().find(|bound| bound.model.name() == name) {
            return Some((bound, None));
        }
        let part = self
            .main
            .model
            .parts()
            .iter()
            .position(|part| part.name() == name)?;
        Some((&self.main, Some(part)))
    }

    /// Names that [`named`](Self::named) knows.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.all().map(|bound| bound.model.name()).collect();
        names.extend(self.main.model.parts().iter().map(|part| part.name()));
        names
    }
}

/// One placement ready to answer.
pub(crate) struct Placement {
    pub(crate) config: PlacementConfig,
    pub(crate) config_hash: String,
    pub(crate) pipeline: Pipeline,
}

/// What a request holds while it is answered.
pub(crate) struct Snapshot {
    pub(crate) version: SnapshotVersion,
    pub(crate) catalogue: Arc<LiveCatalogue>,
    pub(crate) models: Option<Models>,
    pub(crate) placements: BTreeMap<String, Placement>,
    pub(crate) learned: Learned,
}

impl Snapshot {
    #[expect(
        clippy::too_many_arguments,
        reason = "a snapshot is the bundle of all of them"
    )]
    pub(crate) fn new(
        config: &Config,
        catalogue: Arc<LiveCatalogue>,
        models: Option<Models>,
        bundle: u64,
        absorbed: Sequence,
        step: u64,
        beliefs: &Beliefs,
        learned: Learned,
    ) -> Snapshot {
        let version = SnapshotVersion {
            models: bundle,
            absorbed,
            catalogue: catalogue.revision,
            step,
        };
        let placements = config.placements.iter().map(|(name, placement)| {
            let pipeline = pipeline(
                config,
                name,
                placement,
                &catalogue,
                models.as_ref(),
                beliefs,
                &learned,
            );
            let text = serde_json::to_string(&(
                placement,
                &config.event_types,
                config.history_events_max,
                catalogue.rules.version(),
            ))
            .expect("a configuration is valid JSON");
            let placement = Placement {
                config: placement.clone(),
                config_hash: format!("{:08x}", crc32fast::hash(text.as_bytes())),
                pipeline,
            };
            (name.clone(), placement)
        });
        Snapshot {
            version,
            placements: placements.collect(),
            catalogue,
            models,
            learned,
        }
    }
}

fn retriever(
    bound: &Arc<Bound>,
    part: Option<usize>,
    name: &str,
    within: Option<&Arc<ItemSet>>,
) -> Arc<dyn Retriever> {
    Arc::new(ModelRetriever {
        name: name.to_owned(),
        bound: bound.clone(),
        part,
        within: within.cloned(),
    })
}

/// Every source that the models offer, most telling first.
fn sources(models: &Models, within: Option<&Arc<ItemSet>>) -> Vec<Arc<dyn Retriever>> {
    let parts = models.main.model.parts();
    let mut sources: Vec<_> = (parts.iter().enumerate())
        .map(|(at, part)| retriever(&models.main, Some(at), part.name(), within))
        .collect();
    if parts.is_empty() {
        sources.push(retriever(&models.main, None, models.main.model.name(), within));
    }
    for bound in &models.fallbacks {
        sources.push(retriever(bound, None, bound.model.name(), within));
    }
    sources.push(Arc::new(AnchorRetriever {
        bound: models.main.clone(),
    }));
    sources
}

/// Faults that can be put in, if any.
pub(crate) fn chaos(config: &Config) -> Option<&Arc<Chaos>> {
    config.chaos.as_ref().map(|chaos| &chaos.now)
}

/// The sources of a placement. With a set of items, those of models propose from it alone; the rules must say the same.
pub(crate) fn placement_sources(
    config: &Config,
    placement: &PlacementConfig,
    catalogue: &LiveCatalogue,
    models: Option<&Models>,
    within: Option<&Arc<ItemSet>>,
    segments: &Segments,
) -> Vec<Source> {
    let mut retrievers = models.map(|models| sources(models, within)).unwrap_or_default();
    if let Some(models) = models.filter(|_| placement.ranker.kind == RankerKind::Trees) {
        // What the model as a whole would show, so that its rank is known to the ranker and nothing it wants is missing.
        let name = models.main.model.name();
        if retrievers.iter().all(|retriever| retriever.name() != name) {
            retrievers.insert(0, retriever(&models.main, None, name, within));
        }
    }
    let named = placement.sources.iter();
    retrievers.extend(named.filter_map(|source| segments.retriever(config, source)));
    if let Some(chaos) = chaos(config) {
        let unsure = |inner| -> Arc<dyn Retriever> {
            Arc::new(ChaosRetriever {
                inner,
                chaos: chaos.clone(),
            })
        };
        retrievers = retrievers.into_iter().map(unsure).collect();
    }
    retrievers.push(Arc::new(RecentRetriever::new(
        "recent",
        catalogue.recent().to_vec(),
    )));
    if !placement.sources.is_empty() {
        retrievers.retain(|retriever| placement.sources.iter().any(|source| source == retriever.name()));
    }
    let source = |retriever: Arc<dyn Retriever>| Source {
        quota: placement.quota(retriever.name()),
        retriever,
    };
    retrievers.into_iter().map(source).collect()
}

fn pipeline(
    config: &Config,
    name: &str,
    placement: &PlacementConfig,
    catalogue: &Arc<LiveCatalogue>,
    models: Option<&Models>,
    beliefs: &Beliefs,
    learned: &Learned,
) -> Pipeline {
    let model: Arc<dyn Ranker> = match models {
        Some(models) => Arc::new(ModelRanker {
            bound: models.main.clone(),
        }),
        None => Arc::new(SourceScoreRanker::default()),
    };
    let mut sources = placement_sources(config, placement, catalogue, models, None, &learned.segments);
    let names = sources
        .iter()
        .map(|source| source.retriever.name().to_owned())
        .collect();
    let ranker = ranker(config, name, placement, names, catalogue, learned, model);
    let ranker = match chaos(config) {
        Some(chaos) => Arc::new(ChaosRanker {
            inner: ranker,
            chaos: chaos.clone(),
        }),
        None => ranker,
    };
    let rungs = config.training.fallbacks.iter();
    let ladder = rungs.filter_map(|rung| {
        let (bound, part) = models?.named(rung)?;
        Some(retriever(bound, part, rung, None))
    });
    let ladder: Vec<_> = ladder.collect();
    let mut rules: Vec<Arc<dyn Rule>> = vec![Arc::new(HiddenRule::new(catalogue.hidden.clone()))];
    if placement.exclude_seen {
        rules.push(Arc::new(SeenRule));
    }
    rules.extend([
        Arc::new(ExcludedRule) as Arc<dyn Rule>,
        Arc::new(OnlyRule),
        Arc::new(AnchorRule),
    ]);
    if let Some(actions) = &placement.actions {
        let actions = beliefs.actions.actions(name, actions, catalogue);
        rules.push(Arc::new(ActionRule(actions.clone())));
        let all = ActionRetriever(actions);
        sources = vec![Source {
            quota: all.quota(),
            retriever: Arc::new(all),
        }];
    }
    let learnt = placement.bandit.as_ref().zip(beliefs.of.get(name));
    let learnt =
        learnt.and_then(|(bandit, belief)| bandit::chooser(&placement.policy, bandit, catalogue, belief));
    Pipeline {
        placement: name.to_owned(),
        sources,
        ranker,
        fallback_ranker: Arc::new(SourceScoreRanker::default()),
        rules,
        reranker: orderer(
            name,
            &placement.rerank,
            &placement.policy,
            catalogue,
            &learned.prices,
        ),
        policy: learnt.unwrap_or_else(|| chooser(&placement.policy, catalogue, models)),
        ladder,
        reasoner: Some(Arc::new(TitleReasoner {
            words: placement.reasons.clone(),
            catalogue: catalogue.clone(),
            bound: models.map(|models| models.main.clone()),
        })),
        caps: placement.record,
        deadline_us: placement.deadline_ms * 1000,
        budgets: Budgets {
            retrieve_us: placement.retrieve_ms * 1000,
            rank_us: placement.rank_ms * 1000,
        },
    }
}
