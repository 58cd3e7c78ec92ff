//! A real server on a real socket.

mod broken;
mod browser;
mod documented;
mod freshness;
mod hostile;
mod judging;
mod overload;
mod stopping;
mod world;
