//! `concierge metrics`: ranking metrics of lists that were made elsewhere.

use crate::failure::InputError;
use crate::{output, tables};
use evaluate::{ListMetrics, ListsInput, MetricSet, measure_lists};
use std::path::PathBuf;

/// Take ranking metrics of lists made elsewhere
///
/// Files are Parquet, CSV, TSV or JSON lines.
///
/// Definitions: nDCG with linear gain, ideal order cut at k; MAP divided by all relevant items;
/// recall by all relevant items; precision by k; MRR over the whole list. A user with relevant
/// items and no list counts as zero. With --train also novelty, popularity, serendipity and
/// coverage of the catalogue.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge metrics --relevance relevance.parquet \
    --recommendations recommendations.parquet --train train.parquet --catalog-items 800 --k 5,10,20 --json")]
pub(crate) struct Args {
    /// Relevant items: user_id, item_id and, if graded, gain (or rating, value); without it each row counts 1.
    #[arg(long, value_name = "FILE")]
    relevance: PathBuf,
    /// The lists: user_id, item_id and rank (from 1) or score (the higher the better).
    #[arg(long, value_name = "FILE")]
    recommendations: PathBuf,
    /// Earlier interactions: user_id, item_id.
    #[arg(long, value_name = "FILE")]
    train: Option<PathBuf>,
    /// Items that could have been recommended; without it the distinct items of all files given.
    #[arg(long, value_name = "N", requires = "train")]
    catalog_items: Option<usize>,
    /// List lengths.
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_value = "10")]
    k: Vec<usize>,
    /// Also ndcg_exp@k (gain 2^g − 1) and map_min@k (divided by min(k, relevant)).
    #[arg(long)]
    variants: bool,
    /// One flat JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let set = MetricSet::new(&args.k, args.variants).map_err(|e| InputError(format!("--{e}")))?;
    let found = measured(&args, &set)?;
    if args.json {
        return output::json(&found.means);
    }
    let rows = ordered(&set, &found).into_iter().map(|name| {
        let mean = format!("{:.6}", found.means[&name]);
        vec![name, mean]
    });
    output::table(&["metric", "mean"], rows.collect())?;
    output::line(format!("{} users", found.per_user.len()))
}

fn measured(args: &Args, set: &MetricSet) -> anyhow::Result<ListMetrics> {
    if args.catalog_items == Some(0) {
        return Err(InputError("--catalog-items: got 0, expected at least 1".to_owned()).into());
    }
    let input = ListsInput {
        relevance: tables::interactions(&args.relevance, &["gain", "rating", "value"])?,
        lists: tables::lists(&args.recommendations)?,
        train: match &args.train {
            Some(path) => Some(tables::interactions(path, &[])?),
            None => None,
        },
        catalogue_items: args.catalog_items,
    };
    measure_lists(&input, set).map_err(|e| InputError(e.to_string()).into())
}

/// As [`MetricSet`] orders them, then the rest.
fn ordered(set: &MetricSet, found: &ListMetrics) -> Vec<String> {
    let mut names = found.names.clone();
    let coverage = set.lengths().iter().map(|k| format!("catalog_coverage@{k}"));
    names.extend(coverage.filter(|name| found.means.contains_key(name)));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Relative error, absolute near zero.
    fn agrees(ours: f64, theirs: f64) -> bool {
        (ours - theirs).abs() <= 1e-6 * theirs.abs().max(1e-3)
    }

    fn args(folder: &Path) -> Args {
        Args {
            relevance: folder.join("relevance.parquet"),
            recommendations: folder.join("recommendations.parquet"),
            train: Some(folder.join("train.parquet")),
            catalog_items: Some(800),
            k: vec![5, 10, 20],
            variants: false,
            json: true,
        }
    }

    /// trec_eval's `map_cut_5` and RecTools' `serendipity_5` under our names.
    fn ours(name: &str) -> Option<String> {
        let (kind, k) = name.rsplit_once('_')?;
        let kind = match kind {
            "P" => "precision",
            "map_cut" => "map",
            "ndcg_cut" => "ndcg",
            "recip" => return Some("mrr".to_owned()),
            "success" if k == "1" => return None,
            "success" => "hit_rate",
            other => other,
        };
        Some(format!("{kind}@{k}"))
    }

    /// Values of trec_eval and RecTools, means and user by user. Skipped, and said so, where the
    /// reference files are not at hand.
    #[test]
    fn agrees_with_trec_eval_and_rectools() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/metrics-reference");
        if !folder.is_dir() {
            // Straight to standard error: the test harness would keep `eprintln!` to itself.
            let told = format!(
                "SKIPPED agrees_with_trec_eval_and_rectools: no files in {}\n",
                folder.display()
            );
            std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes()).expect("standard error");
            return;
        }
        let args = args(&folder);
        let set = MetricSet::new(&args.k, false).expect("lengths");
        let found = measured(&args, &set).expect("sound files");
        let text = std::fs::read_to_string(folder.join("metrics.json")).expect("readable");
        let reference: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let mut compared = 0;
        for tool in ["trec_eval", "rectools"] {
            for (name, value) in reference[tool].as_object().expect("an object") {
                let Some(name) = ours(name) else { continue };
                let value = value.as_f64().expect("a number");
                assert!(
                    agrees(found.means[&name], value),
                    "{name}: {} is not {value}",
                    found.means[&name]
                );
                compared += 1;
            }
        }
        assert_eq!(compared, 27);
        let text = std::fs::read_to_string(folder.join("per_user.csv")).expect("readable");
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
        let mut users = 0;
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            let row = found.per_user.iter().find(|(user, _)| user.as_str() == cells[0]);
            let (user, row) = row.expect("every user of the reference");
            for (name, cell) in header.iter().zip(&cells).skip(1) {
                let Some(name) = ours(name) else { continue };
                let column = found
                    .names
                    .iter()
                    .position(|n| *n == name)
                    .expect("a metric of ours");
                let value: f64 = cell.parse().expect("a number");
                assert!(
                    agrees(row[column], value),
                    "{user} {name}: {} is not {value}",
                    row[column]
                );
            }
            users += 1;
        }
        assert_eq!(users, 300);
    }
}
