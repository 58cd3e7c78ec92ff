//! The protocol `incremental`: what a model is worth that has taken in the last events instead of learning anew.

use crate::evaluate::{Finding, Run};
use crate::evaluate_models::{Chosen, effective};
use crate::memory;
use anyhow::Context;
use evaluate::{Case, Replay};
use models::{Model, Staleness, UpdateGuarantee, UpdateReport};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// What it took to take events in.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Incremental {
    /// What the model promises.
    pub(crate) guarantee: String,
    /// Rows handed over, and how many the model took in.
    pub(crate) rows: usize,
    pub(crate) absorbed: usize,
    pub(crate) updates: usize,
    /// Seconds of all processors: all updates, copies included, and one training on everything.
    pub(crate) update_cpu_seconds: f64,
    pub(crate) retrain_cpu_seconds: f64,
    /// Share of what the model would rest on that it does not reflect.
    pub(crate) staleness: f64,
}

impl Incremental {
    /// Updates over one training.
    pub(crate) fn cost(&self) -> f64 {
        self.update_cpu_seconds / self.retrain_cpu_seconds.max(1e-9)
    }
}

/// Fits on the rows before, measures; fits on all, measures; takes in the rows after, measures. The inner error is why there is
/// no model.
pub(crate) fn measured(
    chosen: &Chosen,
    case: &Case,
    replay: &Replay,
    run: &Run<'_>,
) -> anyhow::Result<Result<Finding, String>> {
    let bar = run.bar(&chosen.name, 3 * case.prepared.users.len())?;
    memory::reset_peak();
    let fit = |data: &models::TrainingData| {
        bar.set_message("fitting");
        bar.tick();
        let started = Clock::start();
        let model = chosen.trainer.fit(data, &models::Run::new(run.seed, run.threads));
        model
            .map(|model| (model, started.seconds()))
            .map_err(|e| e.to_string())
    };
    let mut rank_seconds = 0.0;
    let mut cases = Vec::new();
    let mut rank = |label: &str, model: &dyn Model| -> anyhow::Result<()> {
        bar.set_message("ranking");
        let started = Instant::now();
        cases.push((label.to_owned(), run.measure(model, &case.prepared, &bar)?));
        rank_seconds += started.elapsed().as_secs_f64();
        Ok(())
    };
    let (mut model, before) = match fit(&replay.before) {
        Ok(fitted) => fitted,
        Err(reason) => return Ok(Err(reason)),
    };
    rank("as it was", model.as_ref())?;
    let anew = match fit(&case.prepared.training) {
        Ok((anew, cost)) => {
            rank("trained anew", anew.as_ref())?;
            cost
        }
        Err(reason) => return Ok(Err(reason)),
    };
    bar.set_message("updating");
    let mut staleness = Staleness::fresh(&replay.before.interactions);
    let mut total = UpdateReport::default();
    let (mut updates, mut cpu) = (0, 0.0);
    for batch in replay.batches() {
        let started = Clock::start();
        let mut next = model.fork();
        let report = next.update(&[], &batch.interactions, &batch.histories);
        cpu += started.seconds().cpu;
        model = next;
        total.absorbed += report.absorbed;
        staleness.moved += report.moved;
        updates += 1;
        bar.tick();
    }
    rank("updated", model.as_ref())?;
    bar.finish_and_clear();
    Ok(Ok(Finding {
        name: chosen.name.clone(),
        config: effective(chosen.trainer.config(), model.as_ref()),
        fit_seconds: before.wall + anew.wall,
        rank_seconds,
        peak_memory_mb: memory::peak_mb(),
        incremental: Some(Incremental {
            guarantee: match model.guarantee() {
                UpdateGuarantee::Exact => "exact".to_owned(),
                UpdateGuarantee::Bounded(how) => format!("bounded: {how}"),
                UpdateGuarantee::Ignored(how) => format!("ignored: {how}"),
            },
            rows: replay.n_later(),
            absorbed: total.absorbed,
            updates,
            update_cpu_seconds: cpu,
            retrain_cpu_seconds: anew.cpu,
            staleness: staleness.share(),
        }),
        cases,
    }))
}

/// The replay of a case's training rows.
pub(crate) fn replay(case: &Case, share: f64, batch: u32) -> anyhow::Result<Arc<Replay>> {
    let replay = Replay::new(&case.prepared.training, share, batch as usize);
    replay
        .map(Arc::new)
        .map_err(crate::evaluate_data::input)
        .context("replaying the last rows")
}

/// Time on the wall and of all processors.
struct Clock {
    wall: Instant,
    cpu: Option<f64>,
}

#[derive(Clone, Copy)]
struct Seconds {
    wall: f64,
    cpu: f64,
}

impl Clock {
    fn start() -> Clock {
        Clock {
            wall: Instant::now(),
            cpu: memory::cpu_seconds_of("self"),
        }
    }

    /// Since the start; where processors are not told, the wall stands for them.
    fn seconds(&self) -> Seconds {
        let wall = self.wall.elapsed().as_secs_f64();
        let cpu = memory::cpu_seconds_of("self")
            .zip(self.cpu)
            .map_or(wall, |(now, then)| now - then);
        Seconds { wall, cpu }
    }
}
