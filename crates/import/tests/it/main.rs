//! Files in, rows out.

mod broken;
mod good;
mod hostile;
mod world;
