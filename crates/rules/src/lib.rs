//! Stage 4, rules of the product: expressions over item, user and context, in the Common Expression Language (CEL).
//!
//! A [`RuleForm`] is a rule as it is written. A [`RuleSet`] is a version of all of them, checked against the
//! schemas: an unknown attribute or a comparison of unlike kinds is refused there, with field, got and expected. For a
//! request, [`RuleSet::bind`] leaves the rules that apply to it, with all that does not depend on the item worked out once: what is left looks at
//! items alone. They come as [`domain::Rule`]s, which remove, and as one [`domain::Steering`], which moves.
//!
//! The grammar is that of the `cel` crate; types, checks and evaluation are here, since a rule runs on hundreds of
//! candidates of every request. Parts of an expression that look at the item alone are worked out once per item and
//! catalogue ([`Memos`]).
//!
//! What this crate does not know: the catalogue (it asks [`ItemFacts`]), stores, models, the clock.

mod bound;
mod check;
mod eval;
mod fold;
mod form;
mod known;
mod memo;
mod node;
mod set;

pub use bound::{Bound, Exposure, ItemFacts, Request};
pub use form::{RuleError, RuleForm, RuleKind};
pub use known::Known;
pub use memo::Memos;
pub use set::{CompiledRule, RuleSet};
