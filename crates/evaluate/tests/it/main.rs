//! Preparing and measuring with real learners on small worlds.

mod protocols;
mod schemes;
