//! Runs the real binary, as a person or a script would.

mod ablate;
mod bench;
mod crash;
mod demo;
mod evaluate;
mod folders;
mod help;
mod import;
mod ope;
mod run;
mod serve;
mod served;
mod simulate;
