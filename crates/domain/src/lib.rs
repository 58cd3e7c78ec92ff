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
    Candidate, Contribution, ContributionSource, Decision, DecisionItem, Degradation, Explanation,
    FeatureRecord, PolicyRecord, Removal, Shown, SnapshotVersion, SourceHit, StageReport,
};
pub use event::{Event, EventKey, NewEvent, StoredEvent};
pub use ids::{DecisionId, EventId, EventType, IdError, ItemId, MAX_ID_BYTES, SessionId, UserId};
pub use schema::{AttributeKind, AttributeSchema, EntityKind, KindOrigin, Schema};
pub use stages::{
    Choice, Evidence, HistoryEvent, Outcome, Policy, Query, Ranker, Reranked, Reranker, Retriever, Rule,
    StageError, Verdict,
};
pub use stores::{
    AppendOutcome, Catalogue, CatalogueHistory, Erasure, EventBatches, EventLog, EventRead, ItemChange,
    KindChange, PutOutcome, Receipt, StoreError,
};
pub use time::{Sequence, Timestamp};
