//! A log of slates: rounds with several positions.

use crate::Refusal;
use crate::log::{LogError, each, wrong};

/// A probability under the logging policy and under the target, for each slate or each position of each slate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) logging: Vec<f64>,
    pub(crate) target: Vec<f64>,
}

impl Pair {
    pub(crate) fn weights(&self) -> Vec<f64> {
        self.target
            .iter()
            .zip(&self.logging)
            .map(|(t, l)| t / l)
            .collect()
    }
}

/// Why a log does not have something, where whoever made it knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Absent {
    pub(crate) marginal: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) pseudo_inverse: Option<String>,
}

impl Absent {
    fn told(why: &Option<String>, usual: &'static str) -> Refusal {
        why.clone().map_or_else(|| Refusal::lacks(usual), Refusal::lacks)
    }

    pub(crate) fn model(&self, usual: &'static str) -> Refusal {
        Absent::told(&self.model, usual)
    }

    pub(crate) fn pseudo_inverse(&self, usual: &'static str) -> Refusal {
        Absent::told(&self.pseudo_inverse, usual)
    }
}

/// Slates of one length. Values by position are rows of slates, one column per position. What an estimator needs and the log does not
/// have makes it refuse, so only what was logged has to be given.
#[derive(Debug, Clone)]
pub struct SlateLog {
    pub(crate) n_positions: usize,
    pub(crate) rewards: Vec<f64>,
    pub(crate) slate: Option<Pair>,
    pub(crate) marginal: Option<Pair>,
    pub(crate) prefix: Option<Pair>,
    /// Guesses of the reward at each position: of the item that was shown, and of the target's choice there after the same prefix.
    pub(crate) model: Option<(Vec<f64>, Vec<f64>)>,
    /// Where these come from.
    pub(crate) model_from: Option<String>,
    pub(crate) pseudo_inverse: Option<Vec<f64>>,
    pub(crate) absent: Absent,
}

/// What is needed to learn a reward model of positions and items.
#[derive(Debug, Clone)]
pub struct TabularModel<'a> {
    /// How many items there are.
    pub n_items: usize,
    /// The item at each position of each slate.
    pub items: &'a [u32],
    /// The target's distribution over items at each position, after the items that were logged before it: slates × positions × items.
    pub target: &'a [f64],
    /// Parts of the log; each is guessed from the others.
    pub folds: usize,
    /// Rounds of the position's mean that are added to an item's own.
    pub reg: f64,
}

impl SlateLog {
    /// Slates with their rewards by position.
    ///
    /// # Errors
    /// If the rewards do not divide into slates, or one is not finite.
    pub fn new(n_positions: usize, rewards: Vec<f64>) -> Result<SlateLog, LogError> {
        if n_positions == 0 || !rewards.len().is_multiple_of(n_positions) {
            return Err(wrong(
                "positions",
                None,
                n_positions,
                "a number that divides that of the rewards",
            ));
        }
        each(
            "reward",
            &rewards,
            rewards.len(),
            "a finite number",
            f64::is_finite,
        )?;
        Ok(SlateLog {
            n_positions,
            rewards,
            slate: None,
            marginal: None,
            prefix: None,
            model: None,
            model_from: None,
            pseudo_inverse: None,
            absent: Absent::default(),
        })
    }

    /// With the probability of each whole slate, one per slate.
    ///
    /// # Errors
    /// Names the slate whose probability cannot be.
    pub fn with_slates(mut self, logging: Vec<f64>, target: Vec<f64>) -> Result<SlateLog, LogError> {
        self.slate = Some(pair("propensity of the slate", self.n_slates(), logging, target)?);
        Ok(self)
    }

    /// With the probability of each item to stand at its position, whatever stands at the others.
    ///
    /// # Errors
    /// Names the row whose probability cannot be.
    pub fn with_marginals(mut self, logging: Vec<f64>, target: Vec<f64>) -> Result<SlateLog, LogError> {
        self.marginal = Some(pair(
            "propensity at the position",
            self.rewards.len(),
            logging,
            target,
        )?);
        Ok(self)
    }

    /// With the probability of the items up to each position.
    ///
    /// # Errors
    /// Names the row whose probability cannot be.
    pub fn with_prefixes(mut self, logging: Vec<f64>, target: Vec<f64>) -> Result<SlateLog, LogError> {
        self.prefix = Some(pair(
            "propensity of the prefix",
            self.rewards.len(),
            logging,
            target,
        )?);
        Ok(self)
    }

    /// With guesses of the reward at each position: of what was shown (`logged`), and of what the target would show there after the same items
    /// (`target`, the mean over its choice).
    ///
    /// # Errors
    /// Names the row whose guess is not finite.
    pub fn with_model(mut self, logged: Vec<f64>, target: Vec<f64>) -> Result<SlateLog, LogError> {
        for values in [&logged, &target] {
            each(
                "model",
                values,
                self.rewards.len(),
                "a finite number",
                f64::is_finite,
            )?;
        }
        self.model = Some((logged, target));
        self.model_from = Some("given".to_owned());
        Ok(self)
    }

    /// With guesses learnt from the log: the mean reward of an item at a position over other parts of the log, drawn towards the position's mean. Any
    /// guess leaves the cascade doubly robust estimate unbiased; a good one makes it narrower.
    ///
    /// # Errors
    /// Names what does not fit the log.
    pub fn with_tabular_model(self, model: &TabularModel<'_>) -> Result<SlateLog, LogError> {
        let (positions, items) = (self.n_positions, model.n_items);
        each(
            "target",
            model.target,
            self.rewards.len() * items,
            "a probability",
            |p| (0.0..=1.0 + 1e-6).contains(&p),
        )?;
        if model.items.len() != self.rewards.len() {
            return Err(wrong("items", None, model.items.len(), "one for each reward"));
        }
        if let Some(row) = model.items.iter().position(|item| *item as usize >= items) {
            return Err(wrong(
                "items",
                Some(row),
                model.items[row],
                "a number below that of items",
            ));
        }
        if model.folds < 2 || model.folds > self.n_slates() {
            return Err(wrong(
                "folds",
                None,
                model.folds,
                "from 2 to the number of slates",
            ));
        }
        if !(model.reg > 0.0 && model.reg.is_finite()) {
            return Err(wrong("reg", None, model.reg, "a finite number above 0"));
        }
        let fold = |row: usize| row / positions % model.folds;
        let (mut logged, mut target) = (vec![0.0; self.rewards.len()], vec![0.0; self.rewards.len()]);
        for part in 0..model.folds {
            let means = self.means(model, |row| fold(row) != part);
            for row in (0..self.rewards.len()).filter(|row| fold(*row) == part) {
                let own = &means[row % positions * items..][..items];
                logged[row] = own[model.items[row] as usize];
                let choice = &model.target[row * items..][..items];
                target[row] = own.iter().zip(choice).map(|(q, p)| q * p).sum();
            }
        }
        self.with_model(logged, target)
    }

    /// Mean reward by position and item over these rows, drawn towards the position's.
    fn means(&self, model: &TabularModel<'_>, among: impl Fn(usize) -> bool) -> Vec<f64> {
        let items = model.n_items;
        let mut sums = vec![(0.0, 0.0); self.n_positions * (items + 1)];
        for row in (0..self.rewards.len()).filter(|row| among(*row)) {
            let at = row % self.n_positions * (items + 1);
            for place in [at + model.items[row] as usize, at + items] {
                sums[place].0 += self.rewards[row];
                sums[place].1 += 1.0;
            }
        }
        let by_position = sums.chunks_exact(items + 1).flat_map(|own| {
            let (sum, n) = own[items];
            let mean = if n > 0.0 { sum / n } else { 0.0 };
            own[..items]
                .iter()
                .map(move |(sum, n)| (sum + model.reg * mean) / (n + model.reg))
        });
        by_position.collect()
    }

    /// With the pseudo-inverse weight of each slate ([`pseudo_inverse_weights`](crate::pseudo_inverse_weights)), for logging policies whose
    /// positions depend on each other.
    ///
    /// # Errors
    /// Names the slate whose weight is not finite.
    pub fn with_pseudo_inverse_weights(mut self, weights: Vec<f64>) -> Result<SlateLog, LogError> {
        each(
            "pseudo-inverse weight",
            &weights,
            self.n_slates(),
            "a finite number",
            f64::is_finite,
        )?;
        self.pseudo_inverse = Some(weights);
        Ok(self)
    }

    /// Whether it has guesses of rewards.
    pub fn has_model(&self) -> bool {
        self.model.is_some()
    }

    /// Whether it has a pseudo-inverse weight for each slate.
    pub fn has_pseudo_inverse_weights(&self) -> bool {
        self.pseudo_inverse.is_some()
    }

    /// That there are no probabilities of items at their positions.
    pub(crate) fn lacks_marginals(&self) -> Refusal {
        let usual = "the probabilities of items at their positions under both policies";
        Absent::told(&self.absent.marginal, usual)
    }

    /// How many slates.
    pub fn n_slates(&self) -> usize {
        self.rewards.len() / self.n_positions
    }

    /// How many positions each has.
    pub fn n_positions(&self) -> usize {
        self.n_positions
    }

    /// Reward by position.
    pub fn rewards(&self) -> &[f64] {
        &self.rewards
    }

    /// The logging policy's side of a pair.
    pub(crate) fn logged<'a>(&'a self, pair: &'a Option<Pair>) -> Option<&'a [f64]> {
        pair.as_ref().map(|pair| pair.logging.as_slice())
    }

    /// Sum of rewards of each slate.
    pub(crate) fn totals(&self) -> impl Iterator<Item = f64> + '_ {
        self.rewards
            .chunks_exact(self.n_positions)
            .map(|own| own.iter().sum())
    }
}

fn pair(field: &'static str, n: usize, logging: Vec<f64>, target: Vec<f64>) -> Result<Pair, LogError> {
    each(field, &logging, n, "above 0 and at most 1", |p| {
        p > 0.0 && p <= 1.0 + 1e-6
    })?;
    each(field, &target, n, "a probability", |p| {
        (0.0..=1.0 + 1e-6).contains(&p)
    })?;
    Ok(Pair { logging, target })
}
