//! The concierge binary: arguments in, tables or JSON out. Results go to standard output, the
//! program's own log and progress bars to standard error.
//!
//! What this crate does not know: how anything is computed or stored; it asks `assembly`, `server`,
//! `import` and `evaluate`.

// They panic when nobody reads: `output` does not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod ablate;
mod backup;
mod bench;
mod bulk;
mod config_file;
mod decisions;
mod demo;
mod doctor;
mod erase;
mod evaluate;
mod evaluate_data;
mod evaluate_html;
mod evaluate_incremental;
mod evaluate_models;
mod evaluate_report;
mod failure;
mod files;
mod folder;
mod generate;
mod import_command;
mod import_report;
mod init;
mod logging;
mod memory;
mod metrics;
mod models;
mod ope;
mod ope_files;
mod output;
mod page;
mod plot;
mod progress;
mod ratings;
mod recommend;
mod replay;
mod rules;
mod schema;
mod serve;
mod similar;
mod simulate;
mod simulate_html;
mod simulate_http;
mod status;
mod tables;
mod train;
mod tune;
mod tuning;
mod tuning_outcome;
mod tuning_state;

use clap::{Parser, Subcommand};
use logging::LogFormat;
use std::process::ExitCode;

/// Slates are made of many small pieces by several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Decides what to show: items, users and events go in, slates come out.
#[derive(Debug, Parser)]
#[command(
    name = "concierge",
    version,
    after_help = "Exit codes: 0 done, 1 the machine or the data folder needs attention, 2 the input cannot be.\n\
                  CONCIERGE_LOG says what is logged to standard error, such as `info` or `server=debug,warn`.\n\n\
                  Example:\n  concierge demo"
)]
struct Cli {
    /// How log lines look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Human, value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Init(init::Args),
    Import(import_command::Args),
    Train(train::Args),
    Models(models::Args),
    Serve(serve::Args),
    Recommend(recommend::Args),
    Replay(replay::Args),
    Decisions(decisions::Args),
    Page(page::Args),
    Similar(similar::Args),
    Evaluate(Box<evaluate::Args>),
    Tune(tune::Args),
    Ablate(ablate::Args),
    Ratings(ratings::Args),
    Metrics(metrics::Args),
    Ope(Box<ope::Args>),
    Simulate(simulate::Args),
    Generate(generate::Args),
    Bench(bench::Args),
    Schema(schema::Args),
    Rules(rules::Args),
    Status(status::Args),
    Doctor(doctor::Args),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Erase(erase::Args),
}

/// Exit code when nobody reads any more: what a shell says of a program that SIGPIPE ended.
const CLOSED: u8 = 141;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let default = match &cli.command {
        Command::Serve(_) => "info",
        _ => "warn",
    };
    let serves = matches!(&cli.command, Command::Serve(_) | Command::Demo(_));
    match logging::start(cli.log_format, default).and_then(|()| run(cli.command)) {
        // Whoever starts a server need not listen to it.
        Ok(()) if output::closed() && !serves => ExitCode::from(CLOSED),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Import(args) => import_command::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Recommend(args) => recommend::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Decisions(args) => decisions::run(&args),
        Command::Page(args) => page::run(&args),
        Command::Similar(args) => similar::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Ablate(args) => ablate::run(&args),
        Command::Ratings(args) => ratings::run(args),
        Command::Metrics(args) => metrics::run(args),
        Command::Ope(args) => ope::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Erase(args) => erase::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{Command, CommandFactory};

    /// The command lines under `Examples:`, as a shell would hand them over: up to a pipe or a redirection.
    fn examples(command: &Command) -> Vec<Vec<String>> {
        let text = command.get_after_help().or(command.get_after_long_help());
        let text = text
            .map(ToString::to_string)
            .unwrap_or_default()
            .replace("\\\n", " ");
        let lines = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("concierge "));
        let words = |line: &str| {
            let (mut out, mut quote, mut word) = (vec!["concierge".to_owned()], None, None::<String>);
            for c in line.chars() {
                match (quote, c) {
                    (None, '\'' | '"') => {
                        quote = Some(c);
                        word.get_or_insert_default();
                    }
                    (Some(open), c) if c == open => quote = None,
                    (None, '|' | '>' | '#' | '&' | ';') if word.is_none() => break,
                    (None, ' ') => out.extend(word.take()),
                    (_, c) => word.get_or_insert_default().push(c),
                }
            }
            out.extend(word);
            out
        };
        lines.map(words).collect()
    }

    #[test]
    fn examples_of_help_are_accepted() {
        let mut open = vec![Cli::command()];
        let (mut tried, mut refused) = (0, Vec::new());
        while let Some(command) = open.pop() {
            for example in examples(&command) {
                tried += 1;
                if let Err(error) = Cli::command().try_get_matches_from(&example) {
                    refused.push(format!("{}: {error}", example.join(" ")));
                }
            }
            open.extend(command.get_subcommands().cloned());
        }
        assert!(tried > 30, "{tried} examples");
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }
}
