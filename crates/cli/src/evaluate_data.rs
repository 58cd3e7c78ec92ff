//! The rows of an evaluation, and whom and what to judge by.

use crate::failure::{InputError, bad_input};
use crate::tables;
use evaluate::{Among, Inputs, Row, Scheme, Split};
use std::path::PathBuf;

/// Where the rows are and how they are cut.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// Rows to learn from.
    #[arg(long, value_name = "FILE")]
    pub(crate) train: Option<PathBuf>,
    /// Rows to judge by.
    #[arg(long, value_name = "FILE")]
    pub(crate) test: Option<PathBuf>,
    /// With --train: rows for tuning. They join the histories, their items are not ranked, nothing is learnt from them.
    #[arg(long, value_name = "FILE")]
    pub(crate) valid: Option<PathBuf>,
    /// All rows in one file, to be cut by --split, in place of --train and --test.
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// How to cut --data: temporal:SHARE (of all rows, by time), last:COUNT (of each user), random:SHARE. temporal:0.8 if absent.
    #[arg(long, value_name = "HOW")]
    pub(crate) split: Option<String>,
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
    /// Of what each person took in the test rows only the first N are relevant: what they take next, not all that they ever take. Not for held-out items or given negatives.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) next: Option<u32>,
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
    /// of the rows replayed by incremental. 0.1 if absent.
    #[arg(long)]
    pub(crate) share: Option<f64>,
    /// With unseen-user: part of their rows, the earliest, to rank from. All if absent.
    #[arg(long, value_name = "SHARE")]
    pub(crate) history_share: Option<f64>,
    /// First rows left of each held-out user or item by the few-shot protocols, a case each. 1,3,5,10 if absent.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) shots: Option<Vec<usize>>,
    /// With few-shot-user: judges by what they took right after the most of --shots instead of by the test; --next N by
    /// the first N of it.
    #[arg(long)]
    pub(crate) following: bool,
    /// With unseen-item and few-shot-item: what held-out items are ranked within. All if absent.
    #[arg(long, value_enum)]
    pub(crate) among: Option<AmongArg>,
    /// With unseen-user: judges the same users by a model that was trained on them too, and pairs the two.
    #[arg(long)]
    pub(crate) beside_trained: bool,
    /// With incremental: rows handed over at once. 5000 if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Option<u32>,
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
    pub(crate) fn check(&self, next: Option<u32>) -> anyhow::Result<()> {
        use ProtocolArg::{
            FewShotItem, FewShotUser, Full, Incremental, Negatives, UnseenItem, UnseenUser, Warm,
        };
        let negatives = self.negatives.as_ref().map(|path| path.display().to_string());
        let shots = self.shots.as_ref().map(|shots| list(shots));
        let among = self.among.map(word);
        let held: &[ProtocolArg] = &[UnseenUser, FewShotUser, UnseenItem, FewShotItem, Incremental];
        for (option, got, protocols) in [
            ("--negatives", negatives, &[Negatives][..]),
            ("--share", self.share.map(|x| x.to_string()), held),
            (
                "--history-share",
                self.history_share.map(|x| x.to_string()),
                &[UnseenUser],
            ),
            ("--shots", shots, &[FewShotUser, FewShotItem]),
            ("--following", self.following.then(String::new), &[FewShotUser]),
            ("--among", among, &[UnseenItem, FewShotItem]),
            (
                "--beside-trained",
                self.beside_trained.then(String::new),
                &[UnseenUser],
            ),
            (
                "--next",
                next.map(|n| n.to_string()),
                &[Full, Warm, UnseenUser, FewShotUser, Incremental],
            ),
            ("--batch", self.batch.map(|x| x.to_string()), &[Incremental]),
        ] {
            let Some(got) = got.filter(|_| !protocols.contains(&self.protocol)) else {
                continue;
            };
            let names: Vec<String> = protocols.iter().map(|one| word(*one)).collect();
            let got = format!("{got} with --protocol {}", word(self.protocol));
            let expected = format!("--protocol {} with it", names.join(" or "));
            return Err(bad_input(option, got.trim_start(), expected));
        }
        Ok(())
    }

    /// True if items are judged that no model knows but by their attributes.
    pub(crate) fn needs_items(&self) -> bool {
        match self.protocol {
            ProtocolArg::UnseenItem => true,
            ProtocolArg::FewShotItem => self.shots().contains(&0),
            _ => false,
        }
    }

    /// Share held out or replayed.
    pub(crate) fn share(&self) -> f64 {
        self.share.unwrap_or(0.1)
    }

    /// Part of an unseen user's rows to rank from.
    pub(crate) fn history_share(&self) -> f64 {
        self.history_share.unwrap_or(1.0)
    }

    /// First rows left of whom or what is held out.
    pub(crate) fn shots(&self) -> Vec<usize> {
        self.shots.clone().unwrap_or_else(|| vec![1, 3, 5, 10])
    }

    /// Rows handed over at once.
    pub(crate) fn batch(&self) -> u32 {
        self.batch.unwrap_or(5000)
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
                self.share() * 100.0,
                self.batch()
            ),
            _ => self.scheme().told(),
        }
    }

    /// Whom to rank for; negatives do not change that.
    pub(crate) fn scheme(&self) -> Scheme {
        let (share, shots) = (self.share(), self.shots());
        let among = match self.among {
            None | Some(AmongArg::All) => Among::All,
            Some(AmongArg::Unseen) => Among::HeldOut,
        };
        match self.protocol {
            ProtocolArg::Full | ProtocolArg::Negatives | ProtocolArg::Incremental => Scheme::Everyone,
            ProtocolArg::Warm => Scheme::Warm,
            ProtocolArg::UnseenUser => Scheme::UnseenUser {
                share,
                history: self.history_share(),
                beside: self.beside_trained,
            },
            ProtocolArg::FewShotUser => Scheme::FewShotUser {
                share,
                shots,
                following: self.following,
            },
            ProtocolArg::UnseenItem => Scheme::UnseenItem { share, among },
            ProtocolArg::FewShotItem => Scheme::FewShotItem { share, shots, among },
        }
    }
}

/// How a choice is written on the command line.
fn word(choice: impl clap::ValueEnum) -> String {
    choice
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

fn list(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    numbers.join(",")
}

impl DataArgs {
    /// Refuses what says twice where the rows are, or not at all.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let (train, test, valid) = (shown(&self.train), shown(&self.test), shown(&self.valid));
        let whole = "--train and --test, or --data with all rows and --split";
        if let Some(data) = &self.data {
            for (option, got) in [("--train", train), ("--test", test), ("--valid", valid)] {
                if let Some(got) = got {
                    let got = format!("{got} beside --data {}", data.display());
                    return Err(bad_input(option, got, whole));
                }
            }
            return Ok(());
        }
        match (train, test) {
            (Some(_), Some(_)) => {}
            (Some(train), None) => {
                let got = format!("{train} without --test");
                return Err(bad_input("--train", got, whole));
            }
            (None, Some(test)) => {
                let got = format!("{test} without --train");
                return Err(bad_input("--test", got, whole));
            }
            (None, None) => {
                return Err(bad_input(
                    "--data",
                    "nothing",
                    "a file with all rows, or --train and --test with one each",
                ));
            }
        }
        match &self.split {
            Some(split) => Err(bad_input(
                "--split",
                format!("{split} beside --train and --test"),
                "--data with it",
            )),
            None => Ok(()),
        }
    }

    /// How `--data` is cut, as it was said or by default.
    pub(crate) fn split(&self) -> &str {
        self.split.as_deref().unwrap_or("temporal:0.8")
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
    args.check()?;
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
        next: args.next.map(|n| n as usize),
        allow_overlap: args.allow_overlap,
        calibrate_by: args.calibrate_by.clone(),
        ..Inputs::default()
    })
}

/// How `--data` is cut.
pub(crate) fn split_of(args: &DataArgs) -> Result<Split, InputError> {
    args.split().parse().map_err(|e| InputError(format!("--{e}")))
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
