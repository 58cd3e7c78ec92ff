//! HTTP around the service: routes, limits, keys, metrics, the OpenAPI document, pages, and the background threads
//! that absorb and train. Everything asynchronous is here.
//!
//! One table (`operations.rs`) lists every operation with its handler; the router, the OpenAPI
//! document and the API browser are made from it, so that none can lack what another has. Handlers are plain
//! functions from a request to an answer and run on blocking threads, at most [`ServerOptions::concurrency`] at a time.
//!
//! What this crate does not know: models, stores, files.

mod access;
mod admission;
mod answer;
mod app;
mod background;
mod body;
mod connections;
mod handlers;
mod http;
mod numbers;
mod ope;
mod openapi;
mod operations;
mod pages;
mod rules;
mod schemas;
mod serve;

pub use ope::{DecisionsReport, DecisionsRequest, judge_decisions};
pub use openapi::openapi;
pub use serve::{Server, ServerError, ServerOptions, until_signal};
