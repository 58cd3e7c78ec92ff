//! The words every other crate speaks: ids, events, items, histories, candidates, slates,
//! decisions, and the traits of the stages and stores.
//!
//! What this crate does not know: any algorithm, any file format, any database, HTTP, the clock,
//! the environment, global randomness. Types here are not wire types; `server` has its own.
//!
//! Entry points: [`Event`], [`Item`], [`HistoryEvent`], [`Decision`], and the traits
//! [`EventLog`], [`EventRead`], [`Catalogue`], [`Retriever`], [`Ranker`], [`Rule`],
//! [`Reranker`], [`Policy`].

mod attributes;
mod decision;
mod event;
mod ids;
mod schema;
mod stages;
mod stores;
mod time;

pub use attributes::{Attributes, Item, RawAttribute, User};
pub use decision::{
    Candidate, ConstraintRecord, Contribution, ContributionSource, Decision, DecisionItem, Degradation,
    Explanation, FeatureRecord, PageRow, PolicyRecord, PriceRecord, Removal, RuleChange, RuleEffect,
    RulesRecord, Shown, SnapshotVersion, SourceHit, StageReport,
};
pub use event::{Event, EventKey, NewEvent, StoredEvent};
pub use ids::{DecisionId, EventId, EventType, IdError, ItemId, MAX_ID_BYTES, SessionId, UserId};
pub use schema::{AttributeKind, AttributeSchema, EntityKind, KindOrigin, Schema};
pub use stages::{
    Adjustment, Choice, Evidence, HistoryEvent, Limit, Outcome, Pin, Policy, Query, Ranker, Reranked,
    Reranker, Retriever, Rule, StageError, Steering, Verdict,
};
pub use stores::{
    AppendOutcome, Catalogue, CatalogueHistory, Erasure, EventBatches, EventLog, EventRead, ItemChange,
    KindChange, PutOutcome, Receipt, RuleText, StoreError,
};
pub use time::{Sequence, Timestamp};
