//! Runs the real binary, as a person or a script would.

mod evaluate;
mod folders;
mod help;
mod import;
mod run;
