//! `concierge ope`: what another policy would have earned, judged from a log.

use crate::failure::InputError;
use crate::ope_files::{self, LogColumns, Names};
use crate::{folder, output, replay};
use ::ope::{
    Assumption, IntervalKind, Options, Range, Report, RewardKind, RewardModelConfig, Tuning, judge,
    judge_slates,
};
use clap::ValueEnum;
use std::path::PathBuf;

/// Judge a policy from the log of another one
///
/// Estimates what the target policy would have earned in the rounds of a log, with intervals, effective sample size and a check whether the log can say anything
/// about it. An estimator that cannot be trusted with the log refuses it and says why.
///
/// A log (--log) has a row per round: reward, action, pscore (probability with which the action was chosen), and, as far as there, pi_e_ACTION (the target's
/// probability of each action), pi_b_ACTION (the logging policy's), q_hat_ACTION (a guess of its reward), x_NAME (features to learn such guesses from).
/// Slates (--slates) have a row per position: slate_id, position, reward, pscore, pscore_item_position, pscore_cascade and the same three with pi_e_ before them.
/// The decisions of a data folder (--data) are joined with the events that carry their id.
/// Files are Parquet, CSV, TSV or JSON lines. Other names of columns are told with the flags for columns.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  concierge ope --log log.parquet --estimators ips,snips,dm,dr,switch_dr:5,dros --json\n  \
    concierge ope --log random.csv --target bandit.csv --reward-range 0,1\n  \
    concierge ope --slates slates.parquet --estimators standard_ips,sn_independent_ips --json\n  \
    concierge ope --data shop --policy greedy --rewards click=1,purchase=10\n  \
    concierge ope --data shop --set policy.name=softmax --set policy.temperature=0.3 --rewards click=1",
    group = clap::ArgGroup::new("source").required(true)
)]
pub(crate) struct Args {
    /// The log, one action per row.
    #[arg(long, value_name = "FILE", group = "source")]
    log: Option<PathBuf>,
    /// The log, one position of a slate per row.
    #[arg(long, value_name = "FILE", group = "source")]
    slates: Option<PathBuf>,
    /// A data folder, whose recorded decisions are the log.
    #[arg(long, value_name = "DIR", group = "source", requires = "rewards")]
    data: Option<PathBuf>,
    #[command(flatten)]
    decisions: Decisions,
    /// Estimators by name, with a parameter behind a colon if it is not to be tuned: ips,switch_dr:5. All that fit if absent.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    estimators: Vec<String>,
    /// The policy to judge: columns (pi_e_… of the log), uniform, or a log of its own, whose frequencies of actions are taken.
    #[arg(
        long,
        value_name = "columns|uniform|FILE",
        default_value = "columns",
        conflicts_with_all = ["slates", "data"]
    )]
    target: String,
    /// Categories of actions, for mips: a file with action and category.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["slates", "data"])]
    categories: Option<PathBuf>,
    /// What to assume where the log has no propensities: actions as likely as they are frequent, or all alike; each estimate says so.
    #[arg(long, value_enum, conflicts_with_all = ["slates", "data"])]
    assume_propensities: Option<Assume>,
    /// What a reward model is, where one has to be learnt; ridge if absent.
    #[arg(long, value_enum, conflicts_with = "slates")]
    reward_model: Option<Model>,
    /// How parameters that are not given are chosen; mean-square if absent.
    #[arg(long, value_enum, conflicts_with = "slates")]
    tuning: Option<Tune>,
    /// The least and the most that a reward can be; makes the empirical Bernstein interval a guarantee where the policies are known.
    #[arg(long, value_name = "LOW,HIGH", value_parser = ends, allow_hyphen_values = true)]
    reward_range: Option<Range>,
    /// Share of the target's choices that may be where the logging policy never goes.
    #[arg(long, value_name = "SHARE", default_value_t = 0.001)]
    support_tolerance: f64,
    /// Level of intervals.
    #[arg(long, default_value_t = 0.95)]
    level: f64,
    /// Which interval is told; JSON has all.
    #[arg(long, value_enum, default_value_t = Kind::Bootstrap)]
    interval: Kind,
    /// Resamples of the bootstrap.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,
    /// Seed of the bootstrap and of the parts in which a reward model is learnt.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    names: Names,
    /// JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// Assumptions.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Assume {
    Frequencies,
    Uniform,
}

/// What is judged from recorded decisions.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "With --data")]
struct Decisions {
    /// The policy to judge, over the recorded candidates and scores: greedy, uniform, epsilon:SHARE or softmax:TEMPERATURE.
    #[arg(long, value_name = "POLICY", requires = "data", conflicts_with_all = ["set", "today"])]
    policy: Option<String>,
    /// Or a configuration of the placement to judge: another value of one of its keys, such as policy.name=softmax; may be repeated. Every decision is made again up to the choice.
    #[arg(long, value_name = "KEY=VALUE", requires = "data")]
    set: Vec<String>,
    /// Judge today's models, catalogue and configuration.
    #[arg(long, requires = "data")]
    today: bool,
    /// Worth of events, per type and once for each item shown: click=1,purchase=10.
    #[arg(long, value_name = "TYPE=WORTH", value_delimiter = ',', value_parser = worth, requires = "data")]
    rewards: Vec<(String, f64)>,
    /// Decisions of which placement.
    #[arg(long, value_name = "NAME", default_value = "home")]
    placement: String,
    /// Hours after a decision in which events count, instead of those that the configuration says by type; younger decisions are left out.
    #[arg(long, value_name = "HOURS")]
    window_hours: Option<f64>,
    /// Places of each slate that are judged, from the top.
    #[arg(long, value_name = "N", default_value_t = 1)]
    positions: usize,
}

fn worth(text: &str) -> Result<(String, f64), String> {
    let told = text
        .split_once('=')
        .and_then(|(name, worth)| Some((name, worth.parse().ok()?)));
    told.map(|(name, worth): (&str, f64)| (name.to_owned(), worth))
        .ok_or_else(|| format!("got {text:?}, expected a type of event, =, and a number"))
}

fn ends(text: &str) -> Result<Range, String> {
    let told = text.split_once(',').and_then(|(low, high)| {
        Some(Range {
            low: low.trim().parse().ok()?,
            high: high.trim().parse().ok()?,
        })
    });
    told.ok_or_else(|| format!("got {text:?}, expected two numbers with a comma, such as 0,1"))
}

/// Reward models.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Model {
    Ridge,
    Logistic,
}

/// Ways of tuning.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tune {
    MeanSquare,
    Slope,
}

/// Intervals.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Bootstrap,
    Normal,
    Bernstein,
    /// For few rewarded rounds; told instead of bootstrap and normal where they are few.
    FewEvents,
}

impl Args {
    /// What depends on other options' values.
    fn check(&self) -> Result<(), InputError> {
        let Decisions {
            positions,
            set,
            today,
            ..
        } = &self.decisions;
        if self.data.is_none() {
            return Ok(());
        }
        if self.tuning.is_some() && *positions != 1 {
            return Err(InputError(format!(
                "--tuning: got one for slates of {positions}, expected --positions 1, where estimators have parameters"
            )));
        }
        if self.reward_model.is_some() && (*today || !set.is_empty()) {
            return Err(InputError(
                "--reward-model: got one for another configuration, expected --policy, of which all choices are known"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    fn options(&self) -> Options {
        Options {
            level: self.level,
            interval: match self.interval {
                Kind::Bootstrap => IntervalKind::Bootstrap,
                Kind::Normal => IntervalKind::Normal,
                Kind::Bernstein => IntervalKind::Bernstein,
                Kind::FewEvents => IntervalKind::FewEvents,
            },
            bootstrap_rounds: self.resamples,
            seed: self.seed,
            reward_range: self.reward_range,
            support_tolerance: self.support_tolerance,
            assume_propensities: self.assume_propensities.map(|assume| match assume {
                Assume::Frequencies => Assumption::Frequencies,
                Assume::Uniform => Assumption::Uniform,
            }),
            tuning: match self.tuning.unwrap_or(Tune::MeanSquare) {
                Tune::MeanSquare => Tuning::MeanSquare,
                Tune::Slope => Tuning::Slope,
            },
            reward_model: RewardModelConfig {
                kind: match self.reward_model.unwrap_or(Model::Ridge) {
                    Model::Ridge => RewardKind::Ridge,
                    Model::Logistic => RewardKind::Logistic,
                },
                seed: self.seed,
                ..RewardModelConfig::default()
            },
        }
    }
}

/// Judges from the decisions of a folder.
fn from_decisions(args: &Args, dir: &std::path::Path) -> anyhow::Result<()> {
    let Decisions {
        policy,
        set,
        today,
        rewards,
        placement,
        window_hours,
        positions,
    } = &args.decisions;
    let (service, _) = folder::open_or_create(folder::check(dir)?)?;
    let request = server::DecisionsRequest {
        join: assembly::JoinRequest {
            placement: placement.clone(),
            rewards: rewards.iter().cloned().collect(),
            window_hours: *window_hours,
        },
        policy: policy.clone(),
        under: match (replay::settings(set)?, today) {
            (None, false) => None,
            (placement, today) => Some(assembly::ReplayRequest {
                placement,
                today: *today,
                rules: None,
                seed: None,
            }),
        },
        positions: *positions,
    };
    let found = server::judge_decisions(&service, &request, &args.estimators, &args.options())?;
    if args.json {
        output::json(&found)?;
    } else {
        let join = &found.join;
        output::line(format!(
            "{} decisions, {} with an outcome; left out: {} with an open window, {} filled up, {} without all scores, {} too short",
            output::count(join.decisions),
            output::count(join.with_outcome),
            join.open,
            join.filled,
            found.cut,
            found.short
        ))?;
        for note in &found.notes {
            output::line(note)?;
        }
        for (what, count) in &found.gone {
            output::line(format!("{count} cannot be made again: the {what} is gone"))?;
        }
        shown(&found.report)?;
    }
    service.close()?;
    answered(&found.report)
}

/// A report without estimates ends the command with the reasons.
fn answered(report: &Report) -> anyhow::Result<()> {
    if !report.estimates.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = report
        .refused
        .iter()
        .map(|r| format!("{}: {}", r.estimator, r.reason))
        .collect();
    Err(InputError(format!("no estimator can judge this log; {}", reasons.join("; "))).into())
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.check()?;
    if let Some(dir) = &args.data {
        return from_decisions(args, dir);
    }
    let fail = |e: ::ope::RequestError| {
        InputError(format!(
            "--{}",
            e.to_string()
                .replacen('_', "-", usize::from(e.field != "estimators"))
        ))
    };
    let all = args.estimators.is_empty();
    let report = if let Some(path) = &args.log {
        let columns = LogColumns::read(path, &args.names)?;
        let log = columns.log(&args.target, args.categories.as_deref())?;
        let names = match all {
            true => ::ope::estimators()
                .iter()
                .map(|entry| entry.name.to_owned())
                .collect(),
            false => args.estimators.clone(),
        };
        judge(&log, &names, &args.options()).map_err(fail)?
    } else if let Some(path) = &args.slates {
        let log = ope_files::slates(path)?;
        let names = match all {
            true => ::ope::slate_estimators()
                .iter()
                .map(|entry| entry.name.to_owned())
                .collect(),
            false => args.estimators.clone(),
        };
        judge_slates(&log, &names, &args.options()).map_err(fail)?
    } else {
        return Err(InputError("--log: got nothing, expected a log, --slates or --data".to_owned()).into());
    };
    if args.json {
        output::json(&report)?;
    } else {
        shown(&report)?;
    }
    answered(&report)
}

fn shown(report: &Report) -> anyhow::Result<()> {
    output::line(format!(
        "{} rounds; the policy of the log earned {:.5} a round",
        output::count(report.rounds as u64),
        report.logged_value
    ))?;
    let interval = format!("{} %", report.level * 100.0);
    let rows = report.estimates.iter().map(|e| {
        let parameter = e.parameter.as_ref().filter(|p| p.tuned.is_some());
        vec![
            e.estimator.clone(),
            format!("{:.5}", e.value),
            format!("{:.5} to {:.5}", e.low, e.high),
            e.interval_of.unwrap_or_default().to_owned(),
            format!("{:.0}", e.effective_sample_size),
            parameter.map_or(String::new(), |p| format!("{} {:.3}", p.name, p.value)),
        ]
    });
    let header = [
        "estimator",
        "value",
        interval.as_str(),
        "interval of",
        "effective rounds",
        "tuned to",
    ];
    output::table(&header, rows.collect())?;
    for estimate in &report.estimates {
        for warning in &estimate.warnings {
            output::line(format!("{}: {warning}", estimate.estimator))?;
        }
    }
    for refused in &report.refused {
        output::line(format!("{} refuses: {}", refused.estimator, refused.reason))?;
    }
    Ok(())
}
