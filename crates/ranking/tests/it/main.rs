//! Features, rankers and what is done about places.

mod examination;
mod features;
mod ranker;
