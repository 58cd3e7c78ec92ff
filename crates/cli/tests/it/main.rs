//! Runs the real binary, as a person or a script would.

mod ablate;
mod bench;
mod crash;
mod demo;
mod evaluate;
mod evaluate_refusals;
mod folders;
mod help;
mod import;
mod ope;
mod pipes;
mod run;
mod scripts;
mod serve;
mod served;
mod simulate;
