//! `concierge import`: files into the log and the catalogue.

use crate::bulk::{Bulk, Planned};
use crate::failure::bad_input;
use crate::files;
use crate::folder::DataFolder;
use crate::import_report as report;
use crate::memory;
use anyhow::Context;
use import::{Format, Kind, Options, Plan, TextOptions};
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Load events, items and users from files.
///
/// Parquet, CSV, TSV and JSON lines, as they are or packed with gzip or Zstandard. What each column
/// becomes is worked out and shown before anything is loaded; on a terminal you are asked. Bad rows are
/// passed over and counted by cause. Importing a file again adds nothing: events have keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  concierge import --data shop --items products.csv --users people.tsv --events clicks.parquet
  concierge import --data shop --events views.csv --map item_id=sku --event-type view --dry-run
  zcat log.json.gz | concierge import --data shop --events - --rejects bad.jsonl --yes")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Events: user_id, item_id, timestamp and, if there, event_type, value, event_id, session_id; - is standard input
    #[arg(long, value_name = "FILE", required_unless_present_any = ["items", "users"])]
    events: Vec<PathBuf>,
    /// Items: item_id, and any attributes
    #[arg(long, value_name = "FILE")]
    items: Vec<PathBuf>,
    /// Users: user_id, and any attributes
    #[arg(long, value_name = "FILE")]
    users: Vec<PathBuf>,
    /// Which column a field is in, as item_id=sku, or - for none; `items.item_id=sku` for the files of items alone
    #[arg(long, value_name = "FIELD=COLUMN")]
    map: Vec<String>,
    /// Type of events that do not say theirs; rating if they have a value, else click
    #[arg(long, value_name = "TYPE")]
    event_type: Option<String>,
    /// When events without a moment happened
    #[arg(long, value_name = "MOMENT")]
    untimed_at: Option<String>,
    /// Format of text; worked out if absent
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// Delimiter, one character or `tab`; worked out if absent
    #[arg(long, value_name = "CHAR")]
    delimiter: Option<String>,
    /// Whether the first row names the columns; worked out if absent
    #[arg(long, value_name = "BOOL")]
    header: Option<bool>,
    /// Separates the labels of a list in one field
    #[arg(long, value_name = "CHAR", default_value_t = '|')]
    list_separator: char,
    /// Share of bad rows above which the import fails
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    max_bad_share: f64,
    /// Write bad rows here, as JSON lines with file, line and reason
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Show what would be done, and do nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Answer in JSON; does not ask
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FormatArg {
    /// Fields between delimiters
    Delimited,
    /// One JSON object per line
    JsonLines,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.folder.check()?;
    let planned = planned(args)?;
    let plans: Vec<&Plan> = planned.iter().map(|planned| &planned.plan).collect();
    if !args.json {
        report::plans(&plans)?;
    }
    if args.dry_run {
        return if args.json {
            report::plans_json(&plans)
        } else {
            Ok(())
        };
    }
    if !args.yes && !args.json && std::io::stdin().is_terminal() && !agreed()? {
        return crate::output::line("nothing was loaded");
    }
    let mut rejects = match &args.rejects {
        Some(path) => {
            let file = File::create(path).map_err(|e| {
                bad_input(
                    "--rejects",
                    format!("{} ({e})", path.display()),
                    "a file that can be written",
                )
            })?;
            Some(BufWriter::new(file))
        }
        None => None,
    };
    let mut bulk = Bulk::open(args.folder.check()?)?;
    let mut loaded = Vec::new();
    for planned in planned {
        let name = planned.plan.name.clone();
        let mut named = rejects.as_mut().map(|to| NamedRejects {
            name,
            begun: false,
            to,
        });
        loaded.push(bulk.load(planned, named.as_mut().map(|named| named as &mut dyn Write))?);
    }
    if let Some(mut rejects) = rejects {
        rejects.flush().context("writing the rejects")?;
    }
    report::tell(&loaded, &bulk.held()?, memory::peak_mb(), args.json)
}

/// Files of items and users first, so that events find them there.
fn planned(args: &Args) -> anyhow::Result<Vec<Planned>> {
    let kinds = [
        (Kind::Items, &args.items),
        (Kind::Users, &args.users),
        (Kind::Events, &args.events),
    ];
    let stdin = kinds
        .iter()
        .flat_map(|(_, paths)| *paths)
        .filter(|path| *path == Path::new(files::STDIN))
        .count();
    if stdin > 1 {
        return Err(bad_input(
            "-",
            format!("{stdin} files"),
            "standard input for one of them",
        ));
    }
    let text = text_options(args)?;
    let mut planned = Vec::new();
    for (kind, paths) in kinds {
        for path in paths {
            let name = path.display().to_string();
            let mut source = files::open(path, &text)?;
            let (plan, first) = import::plan(source.as_mut(), &name, &options(args, kind)?)?;
            planned.push(Planned { plan, source, first });
        }
    }
    Ok(planned)
}

fn text_options(args: &Args) -> anyhow::Result<TextOptions> {
    let delimiter = match args.delimiter.as_deref() {
        None => None,
        Some("tab" | "\\t") => Some(b'\t'),
        Some(text) => match text.as_bytes() {
            [byte] => Some(*byte),
            _ => {
                return Err(bad_input(
                    "--delimiter",
                    format!("{text:?}"),
                    "one ASCII character, or `tab`",
                ));
            }
        },
    };
    let format = args.format.map(|format| match format {
        FormatArg::Delimited => Format::Delimited,
        FormatArg::JsonLines => Format::JsonLines,
    });
    Ok(TextOptions {
        format,
        delimiter,
        header: args.header,
    })
}

fn options(args: &Args, kind: Kind) -> anyhow::Result<Options> {
    let mut options = Options::new(kind);
    options.event_type = args.event_type.clone();
    options.list_separator = args.list_separator;
    options.max_bad_share = args.max_bad_share;
    if let Some(text) = &args.untimed_at {
        let moment = signals::parse_timestamp(text).map_err(|_| {
            bad_input(
                "--untimed-at",
                format!("{text:?}"),
                "a date such as 2024-05-31, RFC 3339, or Unix seconds",
            )
        })?;
        options.untimed_at = Some(moment.0);
    }
    let own = match kind {
        Kind::Events => "events.",
        Kind::Items => "items.",
        Kind::Users => "users.",
    };
    for text in &args.map {
        let (field, column) = text
            .split_once('=')
            .filter(|(field, column)| !field.is_empty() && !column.is_empty())
            .ok_or_else(|| bad_input("--map", format!("{text:?}"), "FIELD=COLUMN, such as item_id=sku"))?;
        let other = ["events.", "items.", "users."]
            .iter()
            .any(|prefix| *prefix != own && field.starts_with(prefix));
        if !other {
            let field = field.strip_prefix(own).unwrap_or(field);
            options.map.push((field.to_owned(), column.to_owned()));
        }
    }
    Ok(options)
}

fn agreed() -> anyhow::Result<bool> {
    let mut asked = std::io::stderr();
    asked
        .write_all(b"Load this? [y/N] ")
        .and_then(|()| asked.flush())
        .context("asking whether to load")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Puts the file's name into each line, which is a JSON object.
struct NamedRejects<'a> {
    name: String,
    begun: bool,
    to: &'a mut BufWriter<File>,
}

impl Write for NamedRejects<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            match byte {
                b'{' if !self.begun => {
                    self.begun = true;
                    write!(
                        self.to,
                        "{{\"file\":{},",
                        serde_json::Value::from(self.name.as_str())
                    )?;
                }
                b'\n' => {
                    self.begun = false;
                    self.to.write_all(b"\n")?;
                }
                byte => self.to.write_all(&[*byte])?,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
