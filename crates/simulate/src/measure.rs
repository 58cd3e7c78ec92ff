//! What is counted while a simulation runs, and the figures that come of it.

use crate::catalogue::Catalogue;
use crate::people::Person;
use crate::setup::{Figures, RunSetup};
use serde::Serialize;

/// Every figure of a run, with what it says.
pub(crate) const METRICS: &[(&str, &str)] = &[
    ("reward", "worth of a visit, mean over the run"),
    ("reward_late", "the same over the last third of the rounds"),
    (
        "reward_total",
        "worth of all visits: what more people and more visits bring counts too",
    ),
    (
        "regret",
        "worth to be expected of the best slate less that of the shown one, mean over the run",
    ),
    ("regret_late", "the same over the last third of the rounds"),
    ("regret_total", "the same, summed over all visits"),
    (
        "regret_power",
        "power of visits with which summed regret grows over the last two thirds; below 1 is sublinear",
    ),
    (
        "coverage",
        "share of the items there that are shown in a round, mean over rounds",
    ),
    ("coverage_late", "the same over the last third of the rounds"),
    ("coverage_change", "last round less first"),
    (
        "gini",
        "inequality of how often items are shown in a round (0 equal, 1 one item), mean over rounds",
    ),
    ("gini_late", "the same over the last third of the rounds"),
    ("gini_change", "last round less first"),
    ("share_new", "share of positions with a new item"),
    (
        "new_fair",
        "exposure of new items while they are new, of what is fair; mean over items, each counted to 1 at most",
    ),
    (
        "new_reached",
        "share of new items that got at least 80 % of what is fair",
    ),
    ("retention", "share of all people who have not left"),
    (
        "retention_q1",
        "the same among the quarter that was shown the fewest topics at a time",
    ),
    ("retention_q2", "second quarter"),
    ("retention_q3", "third quarter"),
    (
        "retention_q4",
        "the quarter that was shown the most topics at a time",
    ),
    ("visits", "visits of all people"),
];

/// Figures of one round.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Round {
    /// Visits.
    pub visits: u64,
    /// Worth of a visit.
    pub reward: f64,
    /// Mean regret of a visit.
    pub regret: f64,
    /// Regret of all visits so far.
    pub regret_total: f64,
    /// Share of the items there that were shown.
    pub coverage: f64,
    /// Inequality of how often items were shown.
    pub gini: f64,
    /// Share of positions with a new item.
    pub share_new: f64,
    /// People who have not left, at its end.
    pub people: u64,
}

/// What one run gave.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Measured {
    /// By name.
    pub figures: Figures,
    /// Round by round.
    pub rounds: Vec<Round>,
    /// Slates asked for.
    pub decisions: u64,
    /// Events told.
    pub events: u64,
}

/// Counts of the round under way, and of the run.
pub(crate) struct Meter {
    shown: Vec<u32>,
    visits: u64,
    positions: u64,
    new_positions: u64,
    reward: f64,
    regret: f64,
    judged: u64,
    regret_total: f64,
    /// Fair exposure of an item that has been new from the first day on.
    fair: f64,
    /// Of each item that arrived: what was fair when it came, and when it ceased to be new.
    fair_from: Vec<Option<f64>>,
    fair_to: Vec<Option<f64>>,
    new_shown: Vec<u32>,
    rounds: Vec<Round>,
}

/// Gini coefficient of counts; 0 if there are none.
pub(crate) fn gini(counts: &mut [u32]) -> f64 {
    counts.sort_unstable();
    let n = counts.len() as f64;
    let total: f64 = counts.iter().map(|c| f64::from(*c)).sum();
    if total == 0.0 {
        return 0.0;
    }
    let weighted: f64 = counts
        .iter()
        .enumerate()
        .map(|(at, count)| (at as f64 + 1.0) * f64::from(*count))
        .sum();
    2.0 * weighted / (n * total) - (n + 1.0) / n
}

/// Slope of a straight line through points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (mx, my) = (mean(&|p| p.0), mean(&|p| p.1));
    let cross: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    let square: f64 = points.iter().map(|p| (p.0 - mx).powi(2)).sum();
    if square > 0.0 { cross / square } else { 0.0 }
}

impl Meter {
    pub(crate) fn new(n_items: usize) -> Meter {
        Meter {
            shown: vec![0; n_items],
            visits: 0,
            positions: 0,
            new_positions: 0,
            reward: 0.0,
            regret: 0.0,
            judged: 0,
            regret_total: 0.0,
            fair: 0.0,
            fair_from: vec![None; n_items],
            fair_to: vec![None; n_items],
            new_shown: vec![0; n_items],
            rounds: Vec::new(),
        }
    }

    /// Before the visits of a tick: who is new.
    pub(crate) fn tick(&mut self, catalogue: &Catalogue, run: &RunSetup, day: f64) {
        for item in &catalogue.live {
            let (at, age) = (*item as usize, catalogue.age(*item, day));
            if catalogue.born[at] < 0.0 {
                continue;
            }
            if age <= run.new_days {
                self.fair_from[at].get_or_insert(self.fair);
            } else if self.fair_from[at].is_some() {
                self.fair_to[at].get_or_insert(self.fair);
            }
        }
    }

    /// Takes in the slate of a visit. `regret` is there if the best slate was worked out.
    pub(crate) fn visit(&mut self, slate: &[u32], is_new: &[bool], regret: Option<f64>) {
        self.visits += 1;
        self.positions += slate.len() as u64;
        for (item, new) in slate.iter().zip(is_new) {
            self.shown[*item as usize] += 1;
            if *new {
                self.new_positions += 1;
                self.new_shown[*item as usize] += 1;
            }
        }
        if let Some(regret) = regret {
            self.regret += regret;
            self.judged += 1;
        }
    }

    pub(crate) fn reward(&mut self, worth: f64) {
        self.reward += worth;
    }

    /// After the visits of a tick: what was fair to each item that is new.
    pub(crate) fn fair(&mut self, visits: usize, n_new: usize, run: &RunSetup) {
        if n_new > 0 {
            self.fair += visits as f64 * run.n as f64 * run.new_share / n_new as f64;
        }
    }

    pub(crate) fn round(&mut self, catalogue: &Catalogue, people: &[Person]) {
        let mut counts: Vec<u32> = catalogue
            .live
            .iter()
            .map(|item| self.shown[*item as usize])
            .collect();
        let covered = counts.iter().filter(|count| **count > 0).count();
        let visits = self.visits.max(1) as f64;
        let regret = self.regret / self.judged.max(1) as f64;
        self.regret_total += regret * self.visits as f64;
        self.rounds.push(Round {
            visits: self.visits,
            reward: self.reward / visits,
            regret,
            regret_total: self.regret_total,
            coverage: covered as f64 / counts.len().max(1) as f64,
            gini: gini(&mut counts),
            share_new: self.new_positions as f64 / self.positions.max(1) as f64,
            people: people.iter().filter(|person| !person.left).count() as u64,
        });
        self.shown.fill(0);
        (self.visits, self.positions, self.new_positions, self.judged) = (0, 0, 0, 0);
        (self.reward, self.regret) = (0.0, 0.0);
    }

    pub(crate) fn figures(self, people: &[Person]) -> (Figures, Vec<Round>) {
        let rounds = self.rounds;
        let late = rounds.len() - rounds.len().div_ceil(3);
        let mut figures = Figures::new();
        let mut put = |name: &str, value: f64| {
            assert!(
                METRICS.iter().any(|(known, _)| *known == name),
                "{name} is not in the table"
            );
            figures.insert(name.to_owned(), value);
        };
        let mean = |rounds: &[Round], of: fn(&Round) -> f64| {
            let weight: f64 = rounds.iter().map(|r| r.visits as f64).sum();
            rounds.iter().map(|r| of(r) * r.visits as f64).sum::<f64>() / weight.max(1.0)
        };
        let plain = |rounds: &[Round], of: fn(&Round) -> f64| {
            rounds.iter().map(of).sum::<f64>() / rounds.len().max(1) as f64
        };
        put("reward", mean(&rounds, |r| r.reward));
        put("reward_late", mean(&rounds[late..], |r| r.reward));
        put(
            "reward_total",
            rounds.iter().map(|r| r.reward * r.visits as f64).sum(),
        );
        put("regret", mean(&rounds, |r| r.regret));
        put("regret_late", mean(&rounds[late..], |r| r.regret));
        put("regret_total", rounds.last().map_or(0.0, |r| r.regret_total));
        let mut visits = 0.0;
        let points: Vec<(f64, f64)> = rounds
            .iter()
            .map(|r| {
                visits += r.visits as f64;
                (visits.max(1.0).ln(), r.regret_total.max(1e-9).ln())
            })
            .collect();
        put("regret_power", slope(&points[points.len() / 3..]));
        put("coverage", plain(&rounds, |r| r.coverage));
        put("coverage_late", plain(&rounds[late..], |r| r.coverage));
        put("gini", plain(&rounds, |r| r.gini));
        put("gini_late", plain(&rounds[late..], |r| r.gini));
        if let (Some(first), Some(last)) = (rounds.first(), rounds.last()) {
            put("coverage_change", last.coverage - first.coverage);
            put("gini_change", last.gini - first.gini);
        }
        put("share_new", mean(&rounds, |r| r.share_new));
        put("visits", rounds.iter().map(|r| r.visits as f64).sum());
        // Items that have been new for their whole time.
        let ended = self.fair_from.iter().zip(&self.fair_to).zip(&self.new_shown);
        let shares: Vec<f64> = ended
            .filter_map(|((from, to), shown)| {
                let fair = (*to)? - (*from)?;
                (fair > 0.0).then(|| f64::from(*shown) / fair)
            })
            .collect();
        if !shares.is_empty() {
            let n = shares.len() as f64;
            put(
                "new_fair",
                shares.iter().map(|share| share.min(1.0)).sum::<f64>() / n,
            );
            put(
                "new_reached",
                shares.iter().filter(|share| **share >= 0.8).count() as f64 / n,
            );
        }
        let stayed = |people: &[&Person]| {
            people.iter().filter(|person| !person.left).count() as f64 / people.len().max(1) as f64
        };
        let mut visitors: Vec<&Person> = people.iter().filter(|person| person.visits > 0).collect();
        put("retention", stayed(&people.iter().collect::<Vec<_>>()));
        let diversity = |person: &Person| person.diversity / f64::from(person.visits.max(1));
        visitors.sort_by(|a, b| diversity(a).total_cmp(&diversity(b)).then(a.id.cmp(&b.id)));
        if visitors.len() >= 4 {
            for quarter in 0..4 {
                let part = &visitors[quarter * visitors.len() / 4..(quarter + 1) * visitors.len() / 4];
                put(&format!("retention_q{}", quarter + 1), stayed(part));
            }
        }
        (figures, rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inequality_by_hand() {
        assert_eq!(gini(&mut [3, 3, 3, 3]), 0.0);
        // One of four has everything: (n − 1) / n.
        assert_eq!(gini(&mut [0, 0, 8, 0]), 0.75);
        // Mean absolute difference of 1, 3 over twice the mean: (2 · 2 / 4) / (2 · 2).
        assert_eq!(gini(&mut [3, 1]), 0.25);
        assert_eq!(gini(&mut [0, 0]), 0.0);
    }

    #[test]
    fn the_power_of_a_root_is_a_half() {
        let points: Vec<(f64, f64)> = (1..20)
            .map(|n| (f64::from(n).ln(), f64::from(n).sqrt().ln()))
            .collect();
        assert!((slope(&points) - 0.5).abs() < 1e-12);
    }
}
