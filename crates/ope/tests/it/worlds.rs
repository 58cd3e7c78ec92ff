//! Planted worlds whose truth is known exactly, and logs drawn from them.

use numeric::SeededStream;
use ope::{Log, SlateLog, TabularModel, pseudo_inverse_weights};

/// A world of a few contexts and actions.
pub(crate) struct World {
    contexts: usize,
    actions: usize,
    logging: Vec<f64>,
    target: Vec<f64>,
    means: Vec<f64>,
}

/// What a log of a world tells.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Tells {
    /// Distributions of both policies.
    Distributions,
    /// The propensities of what was chosen.
    Propensities,
    /// Neither.
    #[allow(dead_code, reason = "the example's logs tell more")]
    Nothing,
}

fn softmax(scores: &[f64], open: impl Fn(usize) -> bool) -> Vec<f64> {
    let weights: Vec<f64> = scores
        .iter()
        .enumerate()
        .map(|(at, s)| if open(at) { s.exp() } else { 0.0 })
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

fn draw(p: &[f64], stream: &mut SeededStream) -> usize {
    let mut left = stream.uniform();
    for (at, p) in p.iter().enumerate() {
        left -= p;
        if left < 0.0 {
            return at;
        }
    }
    p.iter()
        .rposition(|p| *p > 0.0)
        .expect("a distribution has a choice")
}

impl World {
    /// A world in which rewards depend on the action's category alone if `by_category`, and in which the logging policy
    /// never takes the last action in the first `closed` contexts.
    pub(crate) fn new(seed: u64, by_category: bool, closed: usize) -> World {
        let (contexts, actions) = (8, 6);
        let mut stream = SeededStream::new(seed, 77);
        let mut world = World {
            contexts,
            actions,
            logging: Vec::new(),
            target: Vec::new(),
            means: Vec::new(),
        };
        for context in 0..contexts {
            let tastes: Vec<f64> = (0..actions).map(|_| stream.normal()).collect();
            let taste = |a: usize| tastes[if by_category { a % 3 } else { a }];
            let means: Vec<f64> = (0..actions)
                .map(|a| 1.0 / (1.0 + (0.5 - taste(a)).exp()))
                .collect();
            let scores: Vec<f64> = means.iter().map(|m| 2.0 * m + 0.6 * stream.normal()).collect();
            world
                .logging
                .extend(softmax(&scores, |a| context >= closed || a + 1 < actions));
            let scores: Vec<f64> = means.iter().map(|m| 3.0 * m + 0.3 * stream.normal()).collect();
            world.target.extend(softmax(&scores, |_| true));
            world.means.extend(means);
        }
        world
    }

    /// The target's value.
    pub(crate) fn truth(&self) -> f64 {
        let sum: f64 = self.target.iter().zip(&self.means).map(|(p, q)| p * q).sum();
        sum / self.contexts as f64
    }

    /// The target's mass where the logging policy never goes.
    pub(crate) fn missing_mass(&self) -> f64 {
        let gone = self
            .target
            .iter()
            .zip(&self.logging)
            .filter(|(_, logging)| **logging == 0.0);
        gone.map(|(target, _)| target).sum::<f64>() / self.contexts as f64
    }

    /// A log with 0/1 rewards.
    pub(crate) fn log(&self, n: usize, seed: u64, tells: Tells) -> Log {
        self.log_at(n, seed, tells, 1.0)
    }

    /// The same with propensities alone and so many times fewer rewards.
    pub(crate) fn sparse_log(&self, n: usize, seed: u64, rate: f64) -> Log {
        self.log_at(n, seed, Tells::Propensities, rate)
    }

    fn log_at(&self, n: usize, seed: u64, tells: Tells, rate: f64) -> Log {
        let mut stream = SeededStream::new(seed, 78);
        let (mut rewards, mut actions, mut propensities) = (Vec::new(), Vec::new(), Vec::new());
        let (mut target, mut logging, mut features) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..n {
            let context = stream.below(self.contexts as u64) as usize;
            let row = context * self.actions..(context + 1) * self.actions;
            let action = draw(&self.logging[row.clone()], &mut stream);
            rewards.push(f64::from(u8::from(
                stream.uniform() < rate * self.means[row.start + action],
            )));
            actions.push(action as u32);
            propensities.push(self.logging[row.start + action]);
            target.extend_from_slice(&self.target[row.clone()]);
            logging.extend_from_slice(&self.logging[row]);
            features.extend((1..self.contexts).map(|c| f64::from(u8::from(c == context))));
        }
        let log = Log::new(self.actions, rewards, actions, target)
            .and_then(|log| log.with_contexts(self.contexts - 1, features))
            .and_then(|log| log.with_categories((0..self.actions as u32).map(|a| a % 3).collect()));
        let log = match tells {
            Tells::Distributions => log.and_then(|log| log.with_logging(logging)),
            Tells::Propensities => log.and_then(|log| log.with_propensities(propensities)),
            Tells::Nothing => log,
        };
        log.expect("the log is right")
    }
}

const POSITIONS: usize = 3;
const ITEMS: usize = 5;

/// One slate of a context.
struct Slate {
    items: Vec<u32>,
    logging: f64,
    target: f64,
}

/// A world of slates: Plackett and Luce's draws without replacement, rewards that depend on the item at its position.
pub(crate) struct SlateWorld {
    /// By context.
    slates: Vec<Vec<Slate>>,
    pseudo_inverse: Vec<Vec<f64>>,
    means: Vec<f64>,
    target_scores: Vec<Vec<f64>>,
}

/// Probability of a list under Plackett and Luce.
fn plackett_luce(scores: &[f64], items: &[u32]) -> f64 {
    let place = |at: usize| softmax(scores, |i| !items[..at].contains(&(i as u32)))[items[at] as usize];
    (0..items.len()).map(place).product()
}

impl SlateWorld {
    /// A world.
    pub(crate) fn new(seed: u64) -> SlateWorld {
        let mut stream = SeededStream::new(seed, 79);
        let contexts = 4;
        let mut world = SlateWorld {
            slates: Vec::new(),
            pseudo_inverse: Vec::new(),
            means: (0..contexts * POSITIONS * ITEMS)
                .map(|_| 0.1 + 0.5 * stream.uniform())
                .collect(),
            target_scores: Vec::new(),
        };
        for context in 0..contexts {
            let first = &world.means[context * POSITIONS * ITEMS..][..ITEMS];
            let logging: Vec<f64> = first.iter().map(|m| m + 0.3 * stream.normal()).collect();
            let target: Vec<f64> = first.iter().map(|m| 2.0 * m + 0.1 * stream.normal()).collect();
            let all = (0..ITEMS.pow(3) as u32).map(|s| vec![s / 25, s / 5 % 5, s % 5]);
            let lists = all.filter(|s| s[0] != s[1] && s[1] != s[2] && s[0] != s[2]);
            let slates: Vec<Slate> = lists
                .map(|items| Slate {
                    logging: plackett_luce(&logging, &items),
                    target: plackett_luce(&target, &items),
                    items,
                })
                .collect();
            let listed: Vec<(&[u32], f64, f64)> = slates
                .iter()
                .map(|s| (s.items.as_slice(), s.logging, s.target))
                .collect();
            world.pseudo_inverse.push(pseudo_inverse_weights(ITEMS, &listed));
            world.slates.push(slates);
            world.target_scores.push(target);
        }
        world
    }

    fn mean(&self, context: usize, position: usize, item: u32) -> f64 {
        self.means[(context * POSITIONS + position) * ITEMS + item as usize]
    }

    /// The target's value.
    pub(crate) fn truth(&self) -> f64 {
        let value = |(context, slates): (usize, &Vec<Slate>)| -> f64 {
            let total =
                |s: &Slate| -> f64 { (0..POSITIONS).map(|l| self.mean(context, l, s.items[l])).sum() };
            slates.iter().map(|s| s.target * total(s)).sum()
        };
        self.slates.iter().enumerate().map(value).sum::<f64>() / self.slates.len() as f64
    }

    /// A log with all that slate estimators can use.
    pub(crate) fn log(&self, n: usize, seed: u64) -> SlateLog {
        let mut stream = SeededStream::new(seed, 80);
        let (mut rewards, mut items, mut choice, mut pseudo_inverse) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut pairs: [(Vec<f64>, Vec<f64>); 3] = Default::default();
        for _ in 0..n {
            let context = stream.below(self.slates.len() as u64) as usize;
            let slates = &self.slates[context];
            let p: Vec<f64> = slates.iter().map(|s| s.logging).collect();
            let at = draw(&p, &mut stream);
            let slate = &slates[at];
            let sums = |alike: &dyn Fn(&Slate) -> bool| {
                let of = slates.iter().filter(|s| alike(s));
                of.fold((0.0, 0.0), |sum, s| (sum.0 + s.logging, sum.1 + s.target))
            };
            let mut put = |which: usize, (logging, target): (f64, f64)| {
                pairs[which].0.push(logging);
                pairs[which].1.push(target);
            };
            put(0, (slate.logging, slate.target));
            for l in 0..POSITIONS {
                put(1, sums(&|s| s.items[l] == slate.items[l]));
                put(2, sums(&|s| s.items[..=l] == slate.items[..=l]));
                let shown = &slate.items[..l];
                choice.extend(softmax(&self.target_scores[context], |i| {
                    !shown.contains(&(i as u32))
                }));
                rewards.push(f64::from(u8::from(
                    stream.uniform() < self.mean(context, l, slate.items[l]),
                )));
                items.push(slate.items[l]);
            }
            pseudo_inverse.push(self.pseudo_inverse[context][at]);
        }
        let [slate, marginal, prefix] = pairs;
        let model = TabularModel {
            n_items: ITEMS,
            items: &items,
            target: &choice,
            folds: 5,
            reg: 5.0,
        };
        SlateLog::new(POSITIONS, rewards)
            .and_then(|log| log.with_slates(slate.0, slate.1))
            .and_then(|log| log.with_marginals(marginal.0, marginal.1))
            .and_then(|log| log.with_prefixes(prefix.0, prefix.1))
            .and_then(|log| log.with_pseudo_inverse_weights(pseudo_inverse))
            .and_then(|log| log.with_tabular_model(&model))
            .expect("the log is right")
    }
}

/// How one estimator fared over many logs.
#[derive(Default)]
pub(crate) struct Fared {
    /// Logs it answered.
    pub(crate) answered: usize,
    /// Mean of value − truth.
    pub(crate) bias: f64,
    /// Root of the mean of (value − truth)².
    pub(crate) rmse: f64,
    /// Mean width of the bootstrap interval.
    pub(crate) width: f64,
    /// Share of logs in which the bootstrap, normal and empirical Bernstein interval held the truth.
    pub(crate) covered: [f64; 3],
    /// The same of the normal interval of the estimator's own sampling error.
    pub(crate) sampling: f64,
}

/// Sums up reports of many logs by estimator, in the order of `names`.
pub(crate) fn fared(reports: &[ope::Report], names: &[&str], truth: f64) -> Vec<Fared> {
    let one = |name: &&str| {
        let all = reports
            .iter()
            .flat_map(|r| &r.estimates)
            .filter(|e| e.estimator == **name);
        let mut out = Fared::default();
        for e in all {
            let i = &e.intervals;
            let ends = [
                (i.bootstrap.low, i.bootstrap.high),
                (i.normal.low, i.normal.high),
                (i.bernstein.low, i.bernstein.high),
            ];
            let own = e.sampling.unwrap_or(i.normal);
            out.sampling += f64::from(u8::from(own.low <= truth && truth <= own.high));
            out.answered += 1;
            out.bias += e.value - truth;
            out.rmse += (e.value - truth).powi(2);
            out.width += ends[0].1 - ends[0].0;
            for (covered, (low, high)) in out.covered.iter_mut().zip(ends) {
                *covered += f64::from(u8::from(low <= truth && truth <= high));
            }
        }
        let n = out.answered.max(1) as f64;
        (out.bias, out.rmse, out.width) = (out.bias / n, (out.rmse / n).sqrt(), out.width / n);
        out.sampling /= n;
        out.covered.iter_mut().for_each(|covered| *covered /= n);
        out
    };
    names.iter().map(one).collect()
}
