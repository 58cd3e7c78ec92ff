//! Who may come in: so many requests at work, so many waiting, none for long. Everybody else is turned away at once, which costs
//! little, so that those who are let in are answered in time however many come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places at work and in the queue.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue_max: usize,
    wait_max: Duration,
}

/// Why somebody was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// The queue was full.
    Full,
    /// No place came free in time.
    Late,
    /// The server is stopping.
    Stopping,
}

impl Turned {
    /// In a word, for the figures.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Turned::Full => "queue_full",
            Turned::Late => "queue_late",
            Turned::Stopping => "stopping",
        }
    }
}

/// One who waits; leaves the queue however the wait ends.
struct Queued<'a>(&'a AtomicUsize);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Admission {
    pub(crate) fn new(places: usize, queue_max: usize, wait_max: Duration) -> Admission {
        Admission {
            places: Arc::new(Semaphore::new(places.max(1))),
            waiting: AtomicUsize::new(0),
            queue_max,
            wait_max,
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// A place at work, at once or after a wait.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Turned> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _queued = Queued(&self.waiting);
        if before >= self.queue_max {
            return Err(Turned::Full);
        }
        match tokio::time::timeout(self.wait_max, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(Turned::Stopping),
            Err(_) => Err(Turned::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_in_length_and_time() {
        let admission = Arc::new(Admission::new(1, 2, Duration::from_millis(40)));
        let first = admission.enter().await.expect("a free place");
        let (one, two) = (admission.clone(), admission.clone());
        let one = tokio::spawn(async move { one.enter().await.map(drop) });
        let two = tokio::spawn(async move { two.enter().await.map(drop) });
        while admission.waiting() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(admission.enter().await.map(drop), Err(Turned::Full));
        assert_eq!(one.await.expect("no panic"), Err(Turned::Late));
        assert_eq!(two.await.expect("no panic"), Err(Turned::Late));
        drop(first);
        assert_eq!(admission.waiting(), 0);
        assert!(admission.enter().await.is_ok());
    }
}
