//! Stage 4, business rules: who may be shown, and the order of the slate.
//!
//! A [`domain::Rule`] only removes, with a word for why; a [`domain::Reranker`] only orders.
//! Rules here: [`SeenRule`], [`HiddenRule`], [`ExcludedRule`], [`OnlyRule`], [`AnchorRule`] and
//! [`FilterRule`], whose [`Filter`] is checked against the schema when it is made, not when it is
//! used. Rerankers: those of the table [`rerankers`], one file each. [`ExposureLedger`] counts what was
//! shown and makes prices of it, by which shares of all exposures are kept.
//!
//! What this crate does not know: the catalogue (attributes come through [`AttributeSource`]),
//! models, item ids, the clock.

mod calibrated;
mod constrained;
mod dpp;
mod exposure;
mod filter;
mod filter_rule;
mod labels;
mod mmr;
mod registry;
mod rules;
mod top;
mod window;

pub use constrained::{Arrivals, Constraint, NODES_MAX};
pub use exposure::{ExposureLedger, ExposurePrices, ExposureShare, ExposureTerms, Names, PRICE_MAX};
pub use filter::{Filter, FilterError, FilterForm, FilterNode, FilterTest};
pub use filter_rule::{AttributeSource, AttributeValue, FilterRule};
pub use labels::{AttributeLabels, Labels};
pub use registry::{Ground, RerankError, RerankerEntry, UnderChance, exposure_terms, reranker, rerankers};
pub use rules::{AnchorRule, ExcludedRule, HiddenRule, OnlyRule, SeenRule};
pub use top::TopReranker;
