//! The event log against a list in memory, against crashes and against damage.

mod common;
mod damage;
mod halfway;
mod keeping;
mod model;
mod suite;
mod together;
