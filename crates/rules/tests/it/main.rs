//! Rules against hand-worked answers, and expressions against the interpreter of the `cel` crate.

mod language;
mod requests;
mod world;
