//! Drives searches for good configurations within a time: which model is next, what is recorded, what is shown.

use crate::evaluate_data::input;
use crate::evaluate_models::Chosen;
use crate::failure::{InputError, bad_input};
use crate::tuning_outcome::{Found, Outcome};
use crate::tuning_state::{About, Ended, Record};
use anyhow::Context;
use evaluate::{
    Inputs, MetricSet, Prepared, Protocol, Row, Rung, Search, Split, Trial, cut_for_tuning, rungs,
};
use indicatif::{ProgressBar, ProgressStyle};
use models::ModelError;
use numeric::{hash_bytes, mix};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// People that validate if nothing else is said.
const TUNE_USERS: usize = 3000;

/// How configurations are searched.
#[derive(Debug, clap::Args)]
pub(crate) struct TuneArgs {
    /// What a configuration is judged by when tuning. nDCG at the longest list if absent.
    #[arg(long, value_name = "METRIC")]
    pub(crate) metric: Option<String>,
    /// Most people that validate when tuning, drawn by hash. 3000 if absent.
    #[arg(long, value_name = "N")]
    pub(crate) tune_users: Option<usize>,
    /// Record of the trials: a search that was broken off goes on from it.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Writes the configurations found to a file in TOML.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

impl TuneArgs {
    /// Refuses these where nothing is tuned.
    pub(crate) fn check_unused(&self) -> anyhow::Result<()> {
        let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        for (option, got) in [
            ("--metric", self.metric.clone()),
            ("--tune-users", self.tune_users.map(|n| n.to_string())),
            ("--state", shown(&self.state)),
            ("--out", shown(&self.out)),
        ] {
            if let Some(got) = got {
                let got = format!("{got} without --tune");
                return Err(bad_input(option, got, "--tune TIME with it"));
            }
        }
        Ok(())
    }
}

/// What all searches of one run share.
pub(crate) struct Goal<'a> {
    pub(crate) budget: Duration,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) set: &'a MetricSet,
    /// How the rows of the evaluation were cut, if they were.
    pub(crate) split: Option<Split>,
}

/// Reads `90s`, `10m`, `2h`, `1h30m`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("got {text:?}, expected a time such as 90s, 10m or 1h30m");
    let (mut total, mut number) = (0u64, String::new());
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let amount: u64 = number.parse().map_err(|_| wrong())?;
        total = amount
            .checked_mul(unit)
            .and_then(|add| total.checked_add(add))
            .ok_or_else(wrong)?;
        number.clear();
    }
    if !number.is_empty() || total == 0 || total > 366 * 86_400 {
        return Err(wrong());
    }
    Ok(Duration::from_secs(total))
}

/// Tunes for an evaluation: on `valid` if it was given, or else on a part of the training rows, cut as the test was: by time if
/// no training row is later than the test begins, at random otherwise.
pub(crate) fn for_evaluation(
    args: &TuneArgs,
    goal: &Goal<'_>,
    chosen: &[Chosen],
    prepared: &Prepared,
    valid: Vec<Row>,
) -> anyhow::Result<Outcome> {
    let summary = &prepared.summary;
    let forecast = summary.test_rows_before_train_end * 20 < summary.test_rows;
    let how = match goal.split {
        Some(Split::Last(n)) => Split::Last(n),
        Some(Split::Random(_)) => Split::Random(0.9),
        Some(Split::Temporal(_)) => Split::Temporal(0.9),
        None if forecast && prepared.training.interactions.last_moment().0 > 0 => Split::Temporal(0.9),
        None => Split::Random(0.9),
    };
    let mut inputs = cut_for_tuning(&prepared.training, how, goal.seed).map_err(input)?;
    if !valid.is_empty() {
        inputs.train.append(&mut inputs.test);
        inputs.test = valid;
    }
    run(args, goal, chosen, inputs)
}

/// Searches until the time is up or nothing is left to try, and writes what was found.
pub(crate) fn run(
    args: &TuneArgs,
    goal: &Goal<'_>,
    chosen: &[Chosen],
    inputs: Inputs,
) -> anyhow::Result<Outcome> {
    // Searches, their records and what they found go by name.
    for (at, one) in chosen.iter().enumerate() {
        if chosen[..at].iter().any(|other| other.name == one.name) {
            let got = format!("{} more than once", one.name);
            return Err(bad_input(
                "--models",
                got,
                "each model once where configurations are searched",
            ));
        }
    }
    let metric = args
        .metric
        .clone()
        .unwrap_or_else(|| format!("ndcg@{}", goal.set.longest()));
    let digest = digest(&inputs);
    let rungs = rungs(inputs, args.tune_users.unwrap_or(TUNE_USERS), goal.seed).map_err(input)?;
    let about = About {
        format: 1,
        data: digest,
        metric: metric.clone(),
        users: rungs[rungs.len() - 1].prepared.users.len(),
        shares: rungs.iter().map(|rung| rung.share).collect(),
        seed: goal.seed,
    };
    let record = match &args.state {
        Some(path) => Record::open(path, &about)?,
        None => Record::unkept(),
    };
    let mut driver = Driver::new(goal, chosen, rungs, metric, record)?;
    driver.go()?;
    let outcome = driver.outcome();
    if let Some(path) = &args.out {
        write_config(path, &outcome)?;
    }
    Ok(outcome)
}

fn other_search(name: &str) -> anyhow::Error {
    let why = format!(
        "--state: the record's trials of {name} are not those of this search; was it made by another version or with other --models? give another file"
    );
    InputError(why).into()
}

/// A digest of the rows that does not depend on their order.
fn digest(inputs: &Inputs) -> String {
    let of = |rows: &[Row]| {
        rows.iter().fold(0u64, |sum, row| {
            let pair =
                hash_bytes(row.user.as_str().as_bytes()) ^ mix(hash_bytes(row.item.as_str().as_bytes()));
            sum.wrapping_add(mix(pair ^ mix(row.timestamp.0 as u64)))
        })
    };
    format!("{:016x}{:016x}", of(&inputs.train), of(&inputs.test))
}

/// One model's search.
struct Lane {
    name: String,
    /// Its configuration as given.
    given: Value,
    search: Search,
    seconds: f64,
    trials: usize,
    /// Longest that a trial took if it had been on all rows.
    longest: f64,
    /// A trial that was proposed and has not ended.
    waiting: Option<Trial>,
    /// Nothing more to try.
    over: bool,
    reason: Option<String>,
}

impl Lane {
    /// Seconds that the trial that waits may be expected to take, at least.
    fn needs(&self, rungs: &[Rung]) -> f64 {
        let share = self.waiting.as_ref().map_or(0.0, |trial| rungs[trial.rung].share);
        self.longest * share
    }
}

/// Which lane is next, and the seconds it may take: the one that used the least of those that have enough left of their
/// share, which is what remains and was used, divided evenly among all that have something to try. Once no share is enough, what
/// is left of them all goes to whoever can do with it. `lanes` are seconds used and seconds needed, `None` for lanes that are
/// over.
fn next_share(remaining: f64, lanes: &[Option<(f64, f64)>]) -> Option<(usize, f64)> {
    let open = || {
        lanes
            .iter()
            .enumerate()
            .filter_map(|(at, lane)| lane.map(|lane| (at, lane)))
    };
    let used: f64 = open().map(|(_, (used, _))| used).sum();
    let share = (remaining + used) / open().count().max(1) as f64;
    let least = |enough: &dyn Fn(f64, f64) -> f64| {
        open()
            .map(|(at, (used, needed))| (at, used, needed, enough(used, needed)))
            .filter(|(_, _, needed, limit)| *limit > 0.0 && limit >= needed)
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(at, _, _, limit)| (at, limit))
    };
    least(&|used, _| (share - used).min(remaining))
        .or_else(|| least(&|_, needed| if needed > 0.0 { remaining } else { 0.0 }))
}

struct Driver<'a> {
    goal: &'a Goal<'a>,
    rungs: Vec<Rung>,
    metric: String,
    record: Record,
    lanes: Vec<Lane>,
    started: Instant,
    /// Seconds of trials that the record had.
    before: f64,
    bar: ProgressBar,
}

impl<'a> Driver<'a> {
    fn new(
        goal: &'a Goal<'a>,
        chosen: &[Chosen],
        rungs: Vec<Rung>,
        metric: String,
        record: Record,
    ) -> anyhow::Result<Driver<'a>> {
        let lane = |chosen: &Chosen| {
            let space = models::trainer(&chosen.name).map_or(&[][..], |entry| entry.space);
            Lane {
                name: chosen.name.clone(),
                given: chosen.given.clone(),
                search: Search::new(&chosen.name, space, &chosen.given, rungs.len(), goal.seed),
                seconds: 0.0,
                trials: 0,
                longest: 0.0,
                waiting: None,
                over: false,
                reason: None,
            }
        };
        let bar = ProgressBar::new(goal.budget.as_secs()).with_style(
            ProgressStyle::with_template("tuning {wide_bar} {elapsed} {msg}")
                .context("failed to style the progress bar")?,
        );
        Ok(Driver {
            lanes: chosen.iter().map(lane).collect(),
            before: record.seconds_left(),
            goal,
            rungs,
            metric,
            record,
            started: Instant::now(),
            bar,
        })
    }

    fn remaining(&self) -> f64 {
        self.goal.budget.as_secs_f64() - self.before - self.started.elapsed().as_secs_f64()
    }

    fn go(&mut self) -> anyhow::Result<()> {
        self.again()?;
        while let Some((at, limit)) = self.next_lane() {
            let Some(trial) = self.lanes[at].waiting.clone() else {
                continue;
            };
            let chosen = Chosen::build(&self.lanes[at].name, trial.config.clone())?;
            let ended = self.run_trial(&chosen, &trial, Duration::from_secs_f64(limit))?;
            self.record.write(&ended)?;
            self.take(at, &trial, &ended);
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    /// Takes what the record has, before anything is tried: shares rest on what all lanes used.
    fn again(&mut self) -> anyhow::Result<()> {
        for at in 0..self.lanes.len() {
            let name = self.lanes[at].name.clone();
            while self.record.has(&name) {
                self.propose(at);
                let (trial, ended) = (self.lanes[at].waiting.clone(), self.record.next(&name));
                let (Some(trial), Some(ended)) = (trial, ended) else {
                    return Err(other_search(&name));
                };
                let config = Chosen::build(&name, trial.config.clone())?.trainer.config();
                if (ended.rung, &ended.config) != (trial.rung, &config) {
                    return Err(other_search(&name));
                }
                self.take(at, &trial, &ended);
            }
        }
        Ok(())
    }

    /// Has the lane's next trial wait, if none does.
    fn propose(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        if lane.waiting.is_none() && !lane.over {
            lane.waiting = lane.search.propose();
            lane.over = lane.waiting.is_none();
        }
    }

    /// The next lane and the seconds it may take.
    fn next_lane(&mut self) -> Option<(usize, f64)> {
        (0..self.lanes.len()).for_each(|at| self.propose(at));
        let of = |lane: &Lane| (!lane.over).then(|| (lane.seconds, lane.needs(&self.rungs)));
        let lanes: Vec<_> = self.lanes.iter().map(of).collect();
        next_share(self.remaining(), &lanes)
    }

    fn take(&mut self, at: usize, trial: &Trial, ended: &Ended) {
        let share = self.rungs[trial.rung].share;
        let lane = &mut self.lanes[at];
        lane.seconds += ended.seconds;
        lane.longest = lane.longest.max(ended.seconds / share);
        if ended.stopped {
            // It waits for as long as its share is not larger.
            tracing::info!(
                model = lane.name,
                rung = trial.rung,
                seconds = ended.seconds,
                "stopped"
            );
            return;
        }
        lane.waiting = None;
        lane.search.tell(trial, ended.score);
        lane.trials += 1;
        if let (None, Some(reason)) = (lane.search.given(), &ended.failed) {
            // As given it cannot be fitted: no attributes, for example. Other configurations will not do better.
            lane.reason = Some(reason.clone());
            lane.over = true;
        }
        tracing::info!(model = lane.name, rung = trial.rung, score = ended.score, config = %ended.config, "trial");
        self.show();
    }

    fn show(&self) {
        self.bar
            .set_position((self.before + self.started.elapsed().as_secs_f64()) as u64);
        let best = self
            .lanes
            .iter()
            .filter_map(|lane| Some((lane, lane.search.best()?)));
        let trials: usize = self.lanes.iter().map(|lane| lane.trials).sum();
        if let Some((lane, found)) = best.max_by(|a, b| a.1.score.total_cmp(&b.1.score)) {
            self.bar.set_message(format!(
                "{trials} trials, best {} {} {:.4}",
                lane.name, self.metric, found.score
            ));
        }
    }

    /// Fits and measures. Fitting is stopped after `limit`.
    fn run_trial(&self, chosen: &Chosen, trial: &Trial, limit: Duration) -> anyhow::Result<Ended> {
        let rung = &self.rungs[trial.rung];
        let run = models::Run::new(self.goal.seed, self.goal.threads);
        let started = Instant::now();
        let fitted = within(limit, &run.cancel, || {
            chosen.trainer.fit(&rung.prepared.training, &run)
        });
        let stopped = matches!(fitted, Err(ModelError::Cancelled));
        let (score, failed) = match fitted {
            Err(ModelError::Cancelled) => (None, None),
            Err(error) => (None, Some(error.to_string())),
            Ok(model) => (Some(self.score(model.as_ref(), &rung.prepared)?), None),
        };
        Ok(Ended {
            model: chosen.name.clone(),
            rung: trial.rung,
            config: chosen.trainer.config(),
            score,
            failed,
            stopped,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn score(&self, model: &dyn models::Model, prepared: &Prepared) -> anyhow::Result<f64> {
        let Goal {
            set, seed, threads, ..
        } = self.goal;
        let measured = evaluate::measure(model, prepared, set, &Protocol::Full, *seed, *threads, &|_| ())
            .map_err(input)?;
        let value = measured.metrics.get(&self.metric).ok_or_else(|| {
            let known: Vec<&str> = measured.metrics.keys().map(String::as_str).collect();
            InputError(format!(
                "--metric: got {:?}, expected one of {}",
                self.metric,
                known.join(", ")
            ))
        })?;
        Ok(value.mean)
    }

    fn outcome(self) -> Outcome {
        let mut outcome = Outcome {
            metric: self.metric,
            found: Vec::new(),
            failed: Vec::new(),
            seconds: self.before + self.started.elapsed().as_secs_f64(),
        };
        let mut late = Vec::new();
        for lane in self.lanes {
            let found = Found {
                name: lane.name.clone(),
                config: lane.given.clone(),
                score: None,
                given: lane.search.given().map(|given| given.score),
                trials: lane.trials,
                seconds: lane.seconds,
            };
            if let Some(best) = lane.search.best() {
                outcome.found.push(Found {
                    config: best.config.clone(),
                    score: Some(best.score),
                    ..found
                });
                continue;
            }
            let why = lane.reason.unwrap_or_else(|| {
                late.push(found);
                match lane.seconds {
                    0.0 => "no time was left for it".to_owned(),
                    used => format!("as given it was not trained within its share of the time ({used:.1} s)"),
                }
            });
            outcome.failed.push((lane.name, why));
        }
        // What was found for the parts of a blend is of use all the same.
        late.retain(|found| outcome.has_part_of(found));
        outcome.found.append(&mut late);
        outcome
    }
}

/// Runs `work` and sets `cancel` when the time is up before it ends.
fn within<T>(limit: Duration, cancel: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    let (done, ended) = mpsc::channel::<()>();
    let flag = Arc::clone(cancel);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                flag.store(true, Ordering::Relaxed);
            }
        });
        let result = work();
        drop(done);
        result
    })
}

fn write_config(path: &Path, outcome: &Outcome) -> anyhow::Result<()> {
    std::fs::write(path, outcome.to_toml()?).with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(parse_time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in [
            "",
            "10",
            "m",
            "1x",
            "0s",
            "-1m",
            "1.5h",
            "99999999999999999999h",
            "9999999d",
        ] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_are_even_and_what_is_left_over_is_used() {
        // Nobody has used anything: the first, with a third of all.
        let fresh = Some((0.0, 0.0));
        assert_eq!(next_share(30.0, &[fresh; 3]), Some((0, 10.0)));
        // The first was stopped after its share: the others have theirs all the same.
        let stopped = Some((10.0, 10.0));
        assert_eq!(next_share(20.0, &[stopped, fresh, fresh]), Some((1, 10.0)));
        // After a break: 8 of 30 seconds are gone, all of them on the first.
        assert_eq!(
            next_share(22.0, &[Some((8.0, 0.1)), fresh, fresh]),
            Some((1, 10.0))
        );
        // Those that have nothing more to try leave theirs to the others.
        assert_eq!(next_share(19.0, &[stopped, None, None]), Some((0, 19.0)));
        assert_eq!(next_share(9.0, &[stopped, None, None]), None);
        // What no share is enough for, all that is left may be.
        let near = Some((9.0, 1.5));
        assert_eq!(next_share(2.0, &[near, near]), Some((0, 2.0)));
        assert_eq!(next_share(1.0, &[near, near]), None);
        // Whoever overran has no more, and the others no more than there is.
        assert_eq!(next_share(5.0, &[Some((25.0, 1.0)), fresh]), Some((1, 5.0)));
        assert_eq!(next_share(0.0, &[fresh]), None);
        assert_eq!(next_share(5.0, &[]), None);
    }
}
