//! Files in, rows out.

mod broken;
mod edges;
mod good;
mod hostile;
mod world;
