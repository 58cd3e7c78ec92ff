//! The promises of [`models::Trainer`] and [`models::Model`], kept by every learner of the table.

mod conformance;
mod damage;
mod newcomers;
mod recall;
mod updates;
mod world;
