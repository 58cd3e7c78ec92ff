//! `concierge init`: a data folder with a commented configuration.

use crate::failure::bad_input;
use crate::folder::DataFolder;
use crate::{config_file, evaluate_models, output, tuning_outcome};
use assembly::{CONFIG_FILE, Config};
use serde_json::json;
use std::path::PathBuf;

/// Make a data folder with a commented configuration.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  concierge init --data shop\n  concierge init --data shop --tuned tuned.toml"
)]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Configurations of models, such as `concierge tune` writes: the blend's is used, or that of --model
    #[arg(long, value_name = "FILE")]
    tuned: Option<PathBuf>,
    /// Learner that ranks
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dir = &args.folder.data;
    let path = dir.join(CONFIG_FILE);
    let config = config(args)?;
    if !config_file::write_if_absent(dir, &config)? {
        return Err(bad_input(
            "--data",
            format!("{}, which exists", path.display()),
            "a folder without a configuration; nothing is overwritten",
        ));
    }
    if args.json {
        return output::json(&json!({ "config": path }));
    }
    output::line(format!(
        "wrote {}: every setting with its default and what it does",
        path.display()
    ))?;
    output::line(format!(
        "next: concierge import --data {} --items products.csv --events clicks.csv",
        dir.display()
    ))
}

/// The default configuration with the learner asked for and what was found for it.
fn config(args: &Args) -> anyhow::Result<Config> {
    let mut config = Config::default();
    if let Some(model) = &args.model {
        config.training.fallbacks.retain(|name| name != model);
        config.training.model.clone_from(model);
    }
    if let Some(path) = &args.tuned {
        let found = evaluate_models::file(path)?;
        let model = &config.training.model;
        let Some(tuned) = found.get(model) else {
            let known: Vec<&str> = found.keys().map(String::as_str).collect();
            let expected = format!(
                "one with a table {model}, or --model with one of {}",
                known.join(", ")
            );
            return Err(bad_input("--tuned", path.display().to_string(), expected));
        };
        config.training.model_config = Some(tuning_outcome::without_nulls(tuned.clone()));
    }
    // What is written must be readable at the next start.
    let read = Config::parse(&config.to_toml(), &args.folder.data.join(CONFIG_FILE));
    read.map_err(|e| bad_input("--model or --tuned", e.reason, "a learner and its configuration"))
}
