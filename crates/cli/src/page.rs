//! `concierge page`: several rows for one screen on the command line.

use crate::folder::DataFolder;
use crate::output;
use crate::recommend::{session_events, slate};
use assembly::PageRequest;

/// Fill a page with rows for someone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Pages are configured under [pages.NAME] in concierge.toml.

Examples:
  concierge page --data shop --user 42
  concierge page --data shop --page home --session shoes-7 --json")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Page of the configuration
    #[arg(long, default_value = "home")]
    page: String,
    /// For whom; anyone's id, known or not
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Items of an anonymous session, oldest first, separated by commas
    #[arg(long, value_name = "ITEM,ITEM", value_delimiter = ',')]
    session: Vec<String>,
    /// Rows at most; as configured if absent
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// Seed of all randomness; drawn if absent
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let request = PageRequest {
        page: args.page.clone(),
        user_id: args.user.clone(),
        session: session_events(&args.session)?,
        rows: args.rows,
        seed: args.seed,
        ..PageRequest::default()
    };
    let service = args.folder.open()?;
    let page = service.page(&request)?;
    if args.json {
        output::json(&page)?;
    } else {
        for row in &page.rows {
            output::line(format!("{} (worth {:.3})", row.title, row.value))?;
            slate(&service, &row.slate.items)?;
        }
        for row in &page.left_out {
            output::line(format!("left out: {} ({})", row.row, row.reason))?;
        }
        output::line(format!("page {} by snapshot {}", page.page_id, page.snapshot))?;
    }
    Ok(service.close()?)
}
