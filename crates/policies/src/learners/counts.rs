//! Wins and losses per action, fading with the number of trials: what a beta posterior is made of.
//!
//! A trial adds its weight to what was shown; what came of it adds to the wins. With a weight of 1 the ratio is the rate of wins per showing. With the probability that the position is looked at as
//! weight it is the rate per look, which does not depend on where an action used to stand: an inverse propensity of examination, normalised by itself (Joachims, Swaminathan and Schnabel 2017, WSDM; in
//! the position model the variance is least when trials count by their propensity).
//!
//! Discounting: at each trial of any action, everything before counts `discount` times as much (Garivier and Moulines 2011, ALT; Raj and Kalyani 2017). Cost: constant per trial.

use crate::PolicyError;
use crate::settings::within;
use serde::{Deserialize, Serialize};

/// What was counted of one action.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Weights of trials.
    pub shown: f64,
    /// What came of them.
    pub wins: f64,
    /// Trials of all actions when the sums were last brought up to date.
    at: u64,
}

/// Wins and losses of actions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountBandit {
    discount: f64,
    actions: Vec<Counted>,
    trials: u64,
}

impl CountBandit {
    /// One that has counted nothing yet.
    ///
    /// # Errors
    /// A discount outside 0.5 to 1.
    pub fn new(discount: f64) -> Result<CountBandit, PolicyError> {
        within("discount", discount, 0.5, 1.0)?;
        Ok(CountBandit {
            discount,
            actions: Vec::new(),
            trials: 0,
        })
    }

    fn fade(&self, from: u64) -> f64 {
        self.discount.powf((self.trials - from) as f64)
    }

    /// Takes in that an action was shown, and that nothing came of it so far; the number of the trial.
    pub fn observe(&mut self, action: usize, weight: f64) -> u64 {
        if self.actions.len() <= action {
            self.actions.resize(action + 1, Counted::default());
        }
        self.trials += 1;
        let fade = self.fade(self.actions[action].at);
        let counted = &mut self.actions[action];
        counted.shown = counted.shown * fade + weight;
        counted.wins *= fade;
        counted.at = self.trials;
        self.trials
    }

    /// Adds to what came of an earlier trial.
    ///
    /// # Panics
    /// If there was no such trial.
    pub fn credit(&mut self, action: usize, trial: u64, reward: f64) {
        let counted = &mut self.actions[action];
        assert!(
            trial <= counted.at,
            "trial {trial} of action {action} was not taken in"
        );
        counted.wins += self.discount.powf((counted.at - trial) as f64) * reward;
    }

    /// What counts of an action now.
    pub fn counted(&self, action: usize) -> Counted {
        let counted = self.actions.get(action).copied().unwrap_or_default();
        let fade = self.fade(counted.at);
        Counted {
            shown: counted.shown * fade,
            wins: counted.wins * fade,
            at: self.trials,
        }
    }

    /// Trials taken in.
    pub fn trials(&self) -> u64 {
        self.trials
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_wins_count_as_if_they_had_been_there() {
        let discount: f64 = 0.9;
        let mut bandit = CountBandit::new(discount).expect("a discount");
        // Actions 0, 1, 0, 0; the first wins after the third trial, the third at once.
        let first = bandit.observe(0, 1.0);
        bandit.observe(1, 0.5);
        let third = bandit.observe(0, 1.0);
        bandit.credit(0, first, 1.0);
        bandit.credit(0, third, 2.0);
        bandit.observe(0, 1.0);
        let by_hand = (
            discount.powi(3) + discount + 1.0,
            discount.powi(3) + 2.0 * discount,
        );
        let found = bandit.counted(0);
        assert!((found.shown - by_hand.0).abs() < 1e-12 && (found.wins - by_hand.1).abs() < 1e-12);
        assert!((bandit.counted(1).shown - 0.5 * discount.powi(2)).abs() < 1e-12);
        assert_eq!(bandit.counted(7).shown, 0.0);
    }
}
