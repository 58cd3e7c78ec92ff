//! The rows of an evaluation, and whom and what to judge by.

use crate::failure::InputError;
use crate::tables;
use evaluate::{Among, Inputs, Row, Scheme, Split};
use std::path::PathBuf;

/// Where the rows are and how they are cut.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// Rows to learn from.
    #[arg(
        long,
        value_name = "FILE",
        requires = "test",
        required_unless_present = "data"
    )]
    pub(crate) train: Option<PathBuf>,
    /// Rows to judge by.
    #[arg(long, value_name = "FILE", requires = "train")]
    pub(crate) test: Option<PathBuf>,
    /// Rows for tuning: they join the histories, their items are not ranked, nothing is learnt from them.
    #[arg(long, value_name = "FILE", requires = "train")]
    pub(crate) valid: Option<PathBuf>,
    /// All rows in one file, to be cut by --split.
    #[arg(long, value_name = "FILE", conflicts_with = "train")]
    pub(crate) data: Option<PathBuf>,
    /// How to cut --data: temporal:SHARE (of all rows, by time), last:COUNT (of each user), random:SHARE.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "temporal:0.8",
        conflicts_with = "train"
    )]
    pub(crate) split: String,
    /// Attributes of items: item_id and any other columns; text with | is a list of tags. Several rows of one item are one.
    #[arg(long, value_name = "FILE")]
    pub(crate) items: Option<PathBuf>,
    /// Attributes of people: user_id and any other columns, read like those of items. Of people who are judged too.
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,
    /// What is ranked: the items of the training rows, or those of --items too.
    #[arg(long, value_enum, default_value_t = CatalogueArg::Train)]
    pub(crate) catalogue: CatalogueArg,
    /// Only rows with at least this value count; others are neither learnt nor relevant, but stay seen.
    #[arg(long, value_name = "VALUE")]
    pub(crate) positive_min: Option<f64>,
    /// Leaves test pairs that are also in training out of the judgement instead of refusing.
    #[arg(long)]
    pub(crate) allow_overlap: bool,
    /// Attribute whose mix in a history lists should keep (miscalibration). The one that most items have if absent.
    #[arg(long, value_name = "ATTRIBUTE", requires = "items")]
    pub(crate) calibrate_by: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CatalogueArg {
    /// Items of the training rows.
    Train,
    /// Items of the training rows and of --items.
    Items,
}

/// Whom and what to judge by.
#[derive(Debug, clap::Args)]
pub(crate) struct ProtocolArgs {
    /// Who and what is judged; see the guide to measuring. Figures of negatives only compare with such.
    #[arg(long, value_enum, default_value_t = ProtocolArg::Full)]
    pub(crate) protocol: ProtocolArg,
    /// Negatives: rows of user_id, item_id, or a row per user with a list column negatives.
    #[arg(long, value_name = "FILE", required_if_eq("protocol", "negatives"))]
    pub(crate) negatives: Option<PathBuf>,
    /// Share of users or items held out by the unseen and few-shot protocols (0: items without training rows), or
    /// of the rows replayed by incremental.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) share: f64,
    /// Part of an unseen user's rows, the earliest, to rank from.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub(crate) history_share: f64,
    /// First rows left of each held-out user or item by the few-shot protocols, a case each.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,3,5,10")]
    pub(crate) shots: Vec<usize>,
    /// What held-out items are ranked within.
    #[arg(long, value_enum, default_value_t = AmongArg::All)]
    pub(crate) among: AmongArg,
    /// With unseen-user: judges the same users by a model that was trained on them too, and pairs the two.
    #[arg(long)]
    pub(crate) beside_trained: bool,
    /// With incremental: rows handed over at once.
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ProtocolArg {
    /// Everyone, ranked within the catalogue but for what the user has seen.
    Full,
    /// The relevant items and given negatives.
    Negatives,
    /// Users with a history, relevant items with training rows.
    Warm,
    /// Users held out of training, from a part of their rows.
    UnseenUser,
    /// Users held out of training, from their first rows.
    FewShotUser,
    /// Items held out of training, by their attributes.
    UnseenItem,
    /// Items with only their first rows in training.
    FewShotItem,
    /// Everyone, by models that took in the last rows through updates, beside models trained on all.
    Incremental,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AmongArg {
    /// The whole catalogue.
    All,
    /// The held-out items only.
    Unseen,
}

impl ProtocolArgs {
    /// Refuses options that this protocol has no use for.
    pub(crate) fn check(&self) -> Result<(), InputError> {
        if self.beside_trained && self.protocol != ProtocolArg::UnseenUser {
            return Err(InputError(
                "--beside-trained: expected --protocol unseen-user with it".to_owned(),
            ));
        }
        Ok(())
    }

    /// Name of the protocol.
    pub(crate) fn name(&self) -> &'static str {
        match self.protocol {
            ProtocolArg::Negatives => "negatives",
            ProtocolArg::Incremental => "incremental",
            _ => self.scheme().name(),
        }
    }

    /// What the protocol does, in a line.
    pub(crate) fn told(&self) -> String {
        match self.protocol {
            ProtocolArg::Negatives => "relevant items among given negatives".to_owned(),
            ProtocolArg::Incremental => format!(
                "the last {} % of the training rows by time taken in through updates of {} rows, beside training on all",
                self.share * 100.0,
                self.batch
            ),
            _ => self.scheme().told(),
        }
    }

    /// Whom to rank for; negatives do not change that.
    pub(crate) fn scheme(&self) -> Scheme {
        let (share, shots) = (self.share, self.shots.clone());
        let among = match self.among {
            AmongArg::All => Among::All,
            AmongArg::Unseen => Among::HeldOut,
        };
        match self.protocol {
            ProtocolArg::Full | ProtocolArg::Negatives | ProtocolArg::Incremental => Scheme::Everyone,
            ProtocolArg::Warm => Scheme::Warm,
            ProtocolArg::UnseenUser => Scheme::UnseenUser {
                share,
                history: self.history_share,
                beside: self.beside_trained,
            },
            ProtocolArg::FewShotUser => Scheme::FewShotUser { share, shots },
            ProtocolArg::UnseenItem => Scheme::UnseenItem { share, among },
            ProtocolArg::FewShotItem => Scheme::FewShotItem { share, shots, among },
        }
    }
}

/// An error of the evaluation as one of the input.
pub(crate) fn input(error: evaluate::EvaluateError) -> anyhow::Error {
    use evaluate::EvaluateError as E;
    match error {
        E::Overlap { .. } => InputError(format!("{error} (--allow-overlap)")),
        E::Scheme { .. } | E::Attribute { .. } | E::Metric { .. } => InputError(format!("--{error}")),
        error => InputError(error.to_string()),
    }
    .into()
}

/// Reads the files and cuts `--data`.
pub(crate) fn inputs(args: &DataArgs, seed: u64) -> anyhow::Result<Inputs> {
    let values = &["value", "rating"];
    let (train, test) = match (&args.data, &args.train, &args.test) {
        (Some(data), _, _) => {
            let rows = tables::interactions(data, values)?;
            evaluate::split(rows, split_of(args)?, seed).map_err(input)?
        }
        (None, Some(train), Some(test)) => (
            tables::interactions(train, values)?,
            tables::interactions(test, values)?,
        ),
        _ => return Err(InputError("expected --train and --test, or --data".to_owned()).into()),
    };
    let valid = match &args.valid {
        Some(path) => tables::interactions(path, values)?,
        None => Vec::new(),
    };
    if let Some(least) = args.positive_min {
        check_values(least, [("train", &train), ("valid", &valid), ("test", &test)])?;
    }
    let features = match &args.items {
        Some(path) => tables::item_features(path)?,
        None => Default::default(),
    };
    let user_features = match &args.users {
        Some(path) => tables::user_features(path)?,
        None => Default::default(),
    };
    if args.catalogue == CatalogueArg::Items && args.items.is_none() {
        return Err(InputError("--catalogue items: expected --items with a file".to_owned()).into());
    }
    Ok(Inputs {
        train,
        valid,
        test,
        features,
        user_features,
        rank_described: args.catalogue == CatalogueArg::Items,
        positive_min: args.positive_min,
        allow_overlap: args.allow_overlap,
        calibrate_by: args.calibrate_by.clone(),
        ..Inputs::default()
    })
}

/// How `--data` is cut.
pub(crate) fn split_of(args: &DataArgs) -> Result<Split, InputError> {
    args.split.parse().map_err(|e| InputError(format!("--{e}")))
}

fn check_values(least: f64, parts: [(&str, &Vec<Row>); 3]) -> anyhow::Result<()> {
    for (part, rows) in parts {
        if rows.iter().any(|row| row.value.is_none()) {
            let why = format!("--positive-min {least}: {part} has rows without value or rating");
            return Err(InputError(why).into());
        }
    }
    Ok(())
}
