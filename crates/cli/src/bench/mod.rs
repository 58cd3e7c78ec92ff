//! `concierge bench`: loads this program and takes the time.

mod import;
mod scratch;

use serde_json::Value;

/// Measure this machine: import.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Import(import::Args),
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Import(args) => import::run(args),
    }
}

/// A flat object as a table.
fn table(report: &Value) -> anyhow::Result<()> {
    fn rows(prefix: &str, value: &Value, into: &mut Vec<Vec<String>>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if prefix.is_empty() {
                        name.clone()
                    } else {
                        format!("{prefix} {name}")
                    };
                    rows(&path, value, into);
                }
            }
            Value::String(text) => into.push(vec![prefix.replace('_', " "), text.clone()]),
            Value::Null => {}
            other => into.push(vec![prefix.replace('_', " "), other.to_string()]),
        }
    }
    let mut found = Vec::new();
    rows("", report, &mut found);
    crate::output::table(&["", ""], found)
}

/// The report, for machines or for people.
fn tell(report: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        crate::output::json(report)
    } else {
        table(report)
    }
}
