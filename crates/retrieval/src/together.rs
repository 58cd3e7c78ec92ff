//! Requests that come at the same time share one pass over the vectors.
//!
//! Whoever finds no pass under way begins one for all that wait, itself included; the others wait for its answer. At most
//! a few passes run side by side, so that a pass is shared only when otherwise there would be a queue: a request that comes alone does
//! not wait. A pass that comes to grief answers nobody, and those who waited for it go alone.

use crate::{ItemSet, Measure, Shortlist, VectorIndex, Wanted};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Requests that share one pass at most.
pub const SHARED_MAX: usize = 16;

/// A request that waits.
struct Waiting {
    ticket: u64,
    vector: Vec<f32>,
    n: usize,
    within: Option<Arc<ItemSet>>,
    measure: Measure,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    /// Answers not yet fetched; `None` for a pass that came to grief.
    answers: HashMap<u64, Option<Shortlist>>,
    passes: usize,
    next: u64,
    /// Requests and passes so far.
    asked: u64,
    run: u64,
}

/// The place where requests to one index meet.
pub struct Together {
    state: Mutex<State>,
    changed: Condvar,
    passes_max: usize,
}

impl std::fmt::Debug for Together {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Together").finish_non_exhaustive()
    }
}

/// A pass under way; its requests are answered with nothing if it does not get to answer them.
struct Pass<'a> {
    meeting: &'a Together,
    tickets: Vec<u64>,
    answers: Vec<Shortlist>,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.meeting.lock();
        state.passes -= 1;
        let mut answers = std::mem::take(&mut self.answers).into_iter();
        for ticket in &self.tickets {
            let answer = answers.next();
            state.answers.insert(*ticket, answer);
        }
        drop(state);
        self.meeting.changed.notify_all();
    }
}

impl Together {
    /// A place with at most so many passes side by side, at least one.
    pub fn new(passes_max: usize) -> Together {
        Together {
            state: Mutex::default(),
            changed: Condvar::new(),
            passes_max: passes_max.max(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests and passes so far.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        (state.asked, state.run)
    }

    /// [`VectorIndex::shortlists`] for one request, in company if there is any.
    ///
    /// # Panics
    /// If the vector is not as long as the index wants it.
    pub fn shortlist(
        &self,
        index: &VectorIndex,
        vector: Vec<f32>,
        n: usize,
        within: Option<Arc<ItemSet>>,
        measure: Measure,
    ) -> Shortlist {
        assert_eq!(vector.len(), index.dims(), "numbers of a vector");
        let alone = (vector.clone(), within.clone());
        let mut state = self.lock();
        state.asked += 1;
        let ticket = state.next;
        state.next += 1;
        state.waiting.push(Waiting {
            ticket,
            vector,
            n,
            within,
            measure,
        });
        loop {
            if let Some(answer) = state.answers.remove(&ticket) {
                drop(state);
                return answer.unwrap_or_else(|| {
                    let wanted = Wanted {
                        vector: &alone.0,
                        n,
                        within: alone.1.as_deref(),
                        measure,
                    };
                    index.shortlists(&[wanted]).pop().unwrap_or_default()
                });
            }
            if state.passes < self.passes_max && !state.waiting.is_empty() {
                state = self.lead(index, state);
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Runs one pass for those that have waited longest.
    fn lead<'s>(&'s self, index: &VectorIndex, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let several = state.waiting.len().min(SHARED_MAX);
        let batch: Vec<Waiting> = state.waiting.drain(..several).collect();
        state.passes += 1;
        state.run += 1;
        drop(state);
        let mut pass = Pass {
            meeting: self,
            tickets: batch.iter().map(|one| one.ticket).collect(),
            answers: Vec::new(),
        };
        let wanted: Vec<Wanted<'_>> = batch
            .iter()
            .map(|one| Wanted {
                vector: &one.vector,
                n: one.n,
                within: one.within.as_deref(),
                measure: one.measure,
            })
            .collect();
        pass.answers = index.shortlists(&wanted);
        drop(pass);
        self.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;

    #[test]
    fn everyone_gets_the_answer_of_going_alone() {
        let (dims, size) = (16, 6000);
        let mut stream = SeededStream::new(2, 8);
        let mut draw = || -> Vec<f32> { (0..dims).map(|_| stream.normal() as f32).collect() };
        let table: Vec<Vec<f32>> = (0..size).map(|_| draw()).collect();
        let asked: Vec<Vec<f32>> = (0..40).map(|_| draw()).collect();
        let index = VectorIndex::of(dims, 0..size, |item| table.get(item as usize).map(Vec::as_slice));
        let (together, index) = (&Together::new(1), &index);
        let odd: Arc<ItemSet> = Arc::new((0..size).filter(|item| item % 2 == 1).collect());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (asked, odd) = (&asked, &odd);
                scope.spawn(move || {
                    for (at, vector) in asked.iter().enumerate().filter(|(at, _)| at % 8 == thread) {
                        let within = (at % 3 == 0).then(|| odd.clone());
                        let measure = [Measure::Product, Measure::Cosine][at / 8 % 2];
                        let wanted = Wanted {
                            vector,
                            n: 20,
                            within: within.as_deref(),
                            measure,
                        };
                        let mut alone = index.shortlists(&[wanted]).remove(0);
                        let mut shared =
                            together.shortlist(index, vector.clone(), 20, within.clone(), measure);
                        alone.items.sort_unstable();
                        shared.items.sort_unstable();
                        assert_eq!(alone, shared);
                    }
                });
            }
        });
        let (asked, run) = together.counts();
        assert!(asked == 40 && run <= 40, "{asked} {run}");
    }
}
