//! The one place that knows every component: configuration, construction, and the running
//! [`Service`] that ties log, catalogue, state, models and engine together.
//!
//! What this crate does not know: HTTP, terminals.
//!
//! Entry points: [`Service::open`], [`Service::ingest`], [`Service::recommend`], [`Service::train`].

mod ablation;
mod absorb;
mod again;
mod bandit;
mod bound;
mod bundle;
mod care;
mod catalogue;
mod chaos;
mod choice;
mod clock;
mod config;
mod debias;
mod decisions;
mod doubly_robust;
mod erasure;
mod error;
mod exposures;
mod inspect;
mod intake;
mod learn;
mod learned;
mod lineage;
mod live;
mod order;
mod outcomes;
mod pages;
mod past;
mod people;
mod ranker_again;
mod ranker_history;
mod ranker_rows;
mod rankers;
mod reasons;
mod replay;
mod rules;
mod segments;
mod serve;
mod service;
mod slates;
mod snapshot;
mod stores;
mod train_ranker;
mod wire;

pub use ::rules::{RuleForm, RuleKind};
pub use ablation::{
    AblationPart, AblationReport, AblationRequest, AblationStep, Estimate, Figures, Measured, PartFigures,
};
pub use again::AgainConfig;
pub use bandit::{ActionsConfig, BanditConfig, BanditStatus, Feature, FeatureOf, LearnerKind};
pub use care::{Check, DoctorReport, doctor, restore};
pub use chaos::{ChaosConfig, Fault, Faults};
pub use choice::{NewItemsConfig, Over, PolicyConfig, Uncertainty};
pub use clock::{Clock, FixedClock, SystemClock};
pub use config::{
    CONFIG_FILE, Config, ConfigError, OutcomesConfig, PlacementConfig, ServerConfig, TrainingConfig,
};
pub use debias::InversePropensityConfig;
pub use decisions::{DecisionPage, DecisionQuery, DecisionSummary, JoinRate, WithOutcomes};
pub use doubly_robust::DoublyRobustConfig;
pub use engine::SlateChances;
pub use error::{Actor, Problem, ServiceError};
pub use exposures::{ExposureStatus, ShareStatus};
pub use inspect::learners;
pub use learn::{TrainReport, TrainedModel};
pub use order::RerankConfig;
pub use outcomes::{JoinReport, JoinRequest, JoinedSlate, JoinedUnder, SlateUnder};
pub use pages::{PageConfig, PageRequest, PageResponse, Row, RowConfig, RowLeftOut};
pub use ranker_again::FeatureCheck;
pub use ranker_rows::RowsReport;
pub use rankers::{Comparison, RankerInfo};
pub use reasons::ReasonsConfig;
pub use replay::{
    Difference, Part as ReplayedPart, ReplayReport, ReplayRequest, SampleReport, SlateChange, Unlike,
    WhatIfReport,
};
pub use rules::{DryRunExample, DryRunReport, DryRunRequest, DryRunRule, RuleCheck, RulesReport, RulesView};
pub use segments::{SegmentConfig, SegmentOf};
pub use service::{ErasureReport, OpenReport, Service};
pub use stores::Stores;
pub use train_ranker::RankerReport;
pub use wire::{
    EventInput, EventReceipt, IngestReport, ItemInput, KeptDecision, Moment, Part, ProposedItem, RankRequest,
    RecommendRequest, RecommendResponse, Recommended, RowProblem, RowStatus, ScoredItem, SessionEvent,
    SimilarRequest, SimilarResponse, Status, UserInput, WriteReport,
};
