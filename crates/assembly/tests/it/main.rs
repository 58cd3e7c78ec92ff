//! The service on a real folder, with a clock that stands still.

mod ablation;
mod attributes;
mod bandits;
mod care;
mod choice;
mod debias;
mod exposures;
mod freshness;
mod learning;
mod orders;
mod outcomes;
mod pages;
mod ranker;
mod replay;
mod requests;
mod retrieving;
mod rules;
mod segments;
mod staleness;
mod world;
