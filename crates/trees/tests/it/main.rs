//! What forests promise, on small data with known answers.

mod contributions;
mod learning;
mod same;
mod world;
