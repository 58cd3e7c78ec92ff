//! `concierge similar`: items like one item.

use crate::folder::DataFolder;
use crate::{output, recommend};
use assembly::SimilarRequest;

/// Show items like an item.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  concierge similar --data shop --item shoes-7 -n 5")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Like which item
    #[arg(long, value_name = "ID")]
    item: String,
    /// Items wanted, 1 to 1000
    #[arg(short, long, value_name = "N", default_value_t = 10)]
    n: usize,
    /// Which model's notion of likeness; the blend's if absent
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Conditions on item attributes, as JSON
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let request = SimilarRequest {
        item_id: args.item.clone(),
        n: Some(args.n),
        model: args.model.clone(),
        filter: recommend::parse_filter(args.filter.as_deref())?,
    };
    let service = args.folder.open()?;
    let response = service.similar(&request)?;
    if args.json {
        output::json(&response)?;
    } else {
        output::line(format!("like {}", recommend::title(&service, &args.item)))?;
        recommend::slate(&service, &response.items)?;
    }
    Ok(service.close()?)
}
