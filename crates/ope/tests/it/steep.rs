//! Logs whose weights have heavy tails or rare large ones, with and without support: what a check of support must not mix up.

use numeric::SeededStream;
use ope::Log;

/// How the logging policy and the target choose among actions with normal scores, drawn anew each round.
#[derive(Clone, Copy)]
pub(crate) enum Steep {
    /// Softmax at this temperature over the scores; the target chooses evenly. Steep ones give weights whose mean few logs come near.
    Softmax(f64),
    /// The best score, or any with this probability; the target takes the best of noisier scores.
    Epsilon(f64),
}

const ACTIONS: usize = 10;

fn best(scores: &[f64], open: usize) -> usize {
    (1..open).fold(0, |best, at| if scores[at] > scores[best] { at } else { best })
}

/// A log with propensities alone. If `closed`, the logging policy never takes the last action.
pub(crate) fn log(kind: Steep, closed: bool, n: usize, seed: u64) -> Log {
    let mut stream = SeededStream::new(seed, 81);
    let open = ACTIONS - usize::from(closed);
    let (mut rewards, mut actions, mut propensities, mut target) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..n {
        let scores: Vec<f64> = (0..ACTIONS).map(|_| stream.normal()).collect();
        let logging: Vec<f64> = match kind {
            Steep::Softmax(temperature) => {
                let weights: Vec<f64> = scores[..open].iter().map(|s| (s / temperature).exp()).collect();
                let sum: f64 = weights.iter().sum();
                weights.iter().map(|w| w / sum).collect()
            }
            Steep::Epsilon(share) => {
                let first = best(&scores, open);
                let one = |at| share / open as f64 + if at == first { 1.0 - share } else { 0.0 };
                (0..open).map(one).collect()
            }
        };
        let mut left = stream.uniform();
        let action = logging.iter().position(|p| {
            left -= p;
            left < 0.0
        });
        let action = action.unwrap_or(best(&scores, open));
        match kind {
            Steep::Softmax(_) => target.extend([1.0 / ACTIONS as f64; ACTIONS]),
            Steep::Epsilon(_) => {
                let noisy: Vec<f64> = scores.iter().map(|s| s + stream.normal()).collect();
                let first = best(&noisy, ACTIONS);
                target.extend((0..ACTIONS).map(|at| f64::from(u8::from(at == first))));
            }
        }
        rewards.push(f64::from(u8::from(
            stream.uniform() < 0.1 + 0.3 * (action % 2) as f64,
        )));
        actions.push(action as u32);
        propensities.push(logging[action]);
    }
    Log::new(ACTIONS, rewards, actions, target)
        .and_then(|log| log.with_propensities(propensities))
        .expect("the log is right")
}
