//! Repository checks and chores.
//!
//! `cargo run -p xtask -- tidy` checks what the compiler cannot: which crate may know which, where heavy dependencies
//! may stand, that the libraries read neither clock nor environment, and that documents name only what exists.
//!
//! What this crate does not know: any crate of the product; it reads text.

mod tidy;

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -p xtask -- tidy [--quiet]\n\n\
    tidy       check the repository; exit code 1 if a rule is broken\n  \
    --quiet  leave out the advice on sizes\n";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["tidy"] => run_tidy(true),
        ["tidy", "--quiet"] => run_tidy(false),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("unknown arguments {other:?}\n{USAGE}"),
    }
}

fn run_tidy(show_advice: bool) -> anyhow::Result<ExitCode> {
    let root = root()?;
    let tree = tidy::Tree::read(&root).with_context(|| format!("reading {}", root.display()))?;
    let report = tidy::check(&tree)?;
    if show_advice {
        for advice in &report.advice {
            println!("advice  {advice}");
        }
    }
    for violation in &report.violations {
        println!("BROKEN  {violation}");
    }
    println!(
        "tidy: {} files, {} broken rules, {} pieces of advice",
        tree.len(),
        report.violations.len(),
        report.advice.len()
    );
    Ok(if report.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The checkout that cargo runs this for; asked at run time, since several checkouts may share what they build.
fn root() -> anyhow::Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run it as `cargo run -p xtask`")?;
    let root = Path::new(&manifest).parent().map(Path::to_path_buf);
    root.context("xtask lies in the root of the repository")
}
