//! Runs the real binary, as a person or a script would.

mod folders;
mod help;
mod run;
