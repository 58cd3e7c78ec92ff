//! Threads beside the requests: absorbing and training.

use assembly::Service;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How far background work stands behind requests: a tenth of their share where both want the processor.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

/// How often the schedule is asked.
const SCHEDULE: Duration = Duration::from_secs(1);

/// Told once, wakes everybody who waits.
#[derive(Default)]
pub(crate) struct Stop {
    told: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    pub(crate) fn tell(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    /// Waits; true if it was told to stop.
    fn wait(&self, time: Duration) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(told, time, |told| !*told);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Trains once and says what came of it.
pub(crate) fn train(service: &Service) {
    give_way();
    match service.train(&|step| tracing::info!(step, "training")) {
        Ok(report) => tracing::info!(bundle = report.bundle, seconds = report.seconds, "trained"),
        Err(error) => tracing::warn!(%error, "training failed; the previous models stay"),
    }
}

/// Learns a placement's ranker once and says what came of it.
pub(crate) fn train_ranker(service: &Service, placement: &str) {
    give_way();
    service.ranker_tried(placement);
    match service.train_ranker(placement, &|step| {
        tracing::info!(step, placement, "training the ranker")
    }) {
        Ok(report) => tracing::info!(
            placement,
            version = report.version,
            promoted = report.promoted,
            "trained the ranker"
        ),
        Err(error) => {
            tracing::warn!(placement, %error, "training the ranker failed; the one in service stays")
        }
    }
}

/// Lets requests go first: this thread, and those that it starts, get processor time when others do not want it.
/// Without effect where the system has no priorities by thread.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "the priority of background work could not be lowered");
    }
}

/// Starts the threads; they end soon after `stop` is told.
pub(crate) fn start(service: &Arc<Service>, stop: &Arc<Stop>) -> std::io::Result<Vec<JoinHandle<()>>> {
    let absorbing = {
        let (service, stop) = (service.clone(), stop.clone());
        let interval = Duration::from_millis(service.config().absorb_interval_ms);
        std::thread::Builder::new()
            .name("absorbing".into())
            .spawn(move || {
                give_way();
                while !stop.wait(interval) {
                    if let Err(error) = service.absorb() {
                        tracing::error!(%error, "new events could not be taken into the models");
                    }
                }
            })?
    };
    let training = {
        let (service, stop) = (service.clone(), stop.clone());
        std::thread::Builder::new()
            .name("schedule".into())
            .spawn(move || {
                while !stop.wait(SCHEDULE) {
                    if service.training_due() {
                        train(&service);
                    }
                    for placement in service.ranked_placements() {
                        if service.ranker_due(&placement) {
                            train_ranker(&service, &placement);
                        }
                    }
                }
            })?
    };
    Ok(vec![absorbing, training])
}
