//! An immutable bundle of catalogue, models and pipelines, with a version.

use crate::bound::{AnchorRetriever, Bound, ModelRanker, ModelRetriever};
use crate::catalogue::LiveCatalogue;
use crate::config::{Config, PlacementConfig};
use crate::reasons::TitleReasoner;
use domain::{Ranker, Retriever, Rule, Sequence, SnapshotVersion};
use engine::{GreedyPolicy, Pipeline, Source};
use ranking::SourceScoreRanker;
use rerank::{AnchorRule, ExcludedRule, HiddenRule, OnlyRule, SeenRule, TopReranker};
use retrieval::{ListRetriever, RecentRetriever};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parts of a blend that serve as rungs of the ladder, best first.
const LADDER: [&str; 2] = ["trending", "popular"];
/// Newest items that are a source of their own.
const RECENT_MAX: usize = 500;

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
    pub(crate) bound: Option<Arc<Bound>>,
    pub(crate) placements: BTreeMap<String, Placement>,
}

impl Snapshot {
    pub(crate) fn new(
        config: &Config,
        catalogue: Arc<LiveCatalogue>,
        bound: Option<Arc<Bound>>,
        models: u64,
        absorbed: Sequence,
    ) -> Snapshot {
        let version = SnapshotVersion {
            models,
            absorbed,
            catalogue: catalogue.revision,
        };
        let placements = config.placements.iter().map(|(name, placement)| {
            let pipeline = pipeline(name, placement, &catalogue, bound.as_ref());
            let text = serde_json::to_string(&(placement, &config.event_types, config.history_events_max))
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
            bound,
        }
    }
}

fn recent(catalogue: &LiveCatalogue) -> RecentRetriever {
    let added = catalogue.entries().enumerate();
    let mut added: Vec<_> = added.filter_map(|(at, entry)| Some((at as u32, entry.added_at?))).collect();
    added.sort_unstable_by_key(|(at, moment)| (std::cmp::Reverse(*moment), *at));
    added.truncate(RECENT_MAX);
    RecentRetriever::new("recent", added)
}

fn pipeline(
    name: &str,
    config: &PlacementConfig,
    catalogue: &Arc<LiveCatalogue>,
    bound: Option<&Arc<Bound>>,
) -> Pipeline {
    let mut retrievers: Vec<Arc<dyn Retriever>> = Vec::new();
    let mut ladder: Vec<Arc<dyn Retriever>> = Vec::new();
    let mut ranker: Arc<dyn Ranker> = Arc::new(SourceScoreRanker::default());
    if let Some(bound) = bound {
        ranker = Arc::new(ModelRanker { bound: bound.clone() });
        let part = |part: usize, model: &str| -> Arc<dyn Retriever> {
            Arc::new(ModelRetriever {
                name: model.to_owned(),
                bound: bound.clone(),
                part: Some(part),
            })
        };
        let names: Vec<&str> = bound.model.parts().iter().map(|model| model.name()).collect();
        retrievers.extend(names.iter().enumerate().map(|(at, model)| part(at, model)));
        if names.is_empty() {
            retrievers.push(Arc::new(ModelRetriever {
                name: bound.model.name().to_owned(),
                bound: bound.clone(),
                part: None,
            }));
        }
        retrievers.push(Arc::new(AnchorRetriever { bound: bound.clone() }));
        for rung in LADDER {
            ladder.extend(names.iter().position(|model| *model == rung).map(|at| part(at, rung)));
        }
    }
    retrievers.push(Arc::new(recent(catalogue)));
    if !config.sources.is_empty() {
        retrievers.retain(|retriever| config.sources.iter().any(|source| source == retriever.name()));
    }
    ladder.push(Arc::new(ListRetriever::new("catalogue", Arc::default())));
    let mut rules: Vec<Arc<dyn Rule>> = vec![Arc::new(HiddenRule::new(catalogue.hidden.clone()))];
    if config.exclude_seen {
        rules.push(Arc::new(SeenRule));
    }
    rules.extend([
        Arc::new(ExcludedRule) as Arc<dyn Rule>,
        Arc::new(OnlyRule),
        Arc::new(AnchorRule),
    ]);
    let quota = config.source_quota;
    Pipeline {
        placement: name.to_owned(),
        sources: retrievers.into_iter().map(|retriever| Source { retriever, quota }).collect(),
        ranker,
        fallback_ranker: Arc::new(SourceScoreRanker::default()),
        rules,
        reranker: Arc::new(TopReranker::new(catalogue.tie_keys.clone())),
        policy: Arc::new(GreedyPolicy),
        ladder,
        reasoner: Some(Arc::new(TitleReasoner {
            catalogue: catalogue.clone(),
            bound: bound.cloned(),
        })),
        caps: config.record,
        deadline_us: config.deadline_ms * 1000,
    }
}
