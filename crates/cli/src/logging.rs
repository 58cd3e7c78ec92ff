//! The program's own log, on standard error.

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Starts logging. `CONCIERGE_LOG`, else `RUST_LOG`, else `default` says what is logged.
pub(crate) fn start(format: LogFormat, default: &str) -> anyhow::Result<()> {
    let directives = ["CONCIERGE_LOG", "RUST_LOG"].into_iter().find_map(|name| {
        std::env::var(name)
            .ok()
            .filter(|v| !v.is_empty())
            .map(|v| (name, v))
    });
    let filter = match directives {
        None => EnvFilter::new(default),
        Some((name, text)) => EnvFilter::try_new(&text).map_err(|_| {
            crate::failure::bad_input(
                name,
                format!("{text:?}"),
                "directives such as `info` or `server=debug,warn`",
            )
        })?,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would complain of a closed standard error there, and panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Human => builder.with_target(false).with_ansi(is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}
