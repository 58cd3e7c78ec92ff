//! The engine over random worlds with stages that fail in every way they can.

mod cases;
mod properties;
mod world;
