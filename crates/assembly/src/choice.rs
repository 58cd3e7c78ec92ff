//! The choice of a placement: its policy from configuration, in front of the engine's trait.
//!
//! The policy sees the first `pool` candidates in the order of the reranker, so rules have been applied: what they removed has probability 0. Scores are counted in standard deviations of the pool's, below the best,
//! so that a temperature means the same for every model. All draws come from the seed of the decision.

use crate::bound::Bound;
use crate::catalogue::{LiveCatalogue, NOWHERE};
use crate::config::TrainingConfig;
use crate::snapshot::Models;
use domain::{Candidate, Choice, Limit, Policy, Query, Timestamp};
use engine::{GreedyPolicy, Keeping};
use numeric::SeededStream;
use policies::{Arm, Arms, NewItemFloor, NewItems, PolicyError, SlatePolicy};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// Stream of the draws under the seed of a decision.
const STREAM: u64 = 0xc401ce;
/// Slates longer than this get no position propensities: they would cost more than the choice.
const MARGINALS_N_MAX: usize = 20;
/// Posteriors of counts need counts, which placements do not have.
const NEEDS_COUNTS: &str = "beta-thompson";
/// Model that says how much is known of an item.
const EVIDENCE: &str = "popular";
const DAY_MS: f64 = 86_400_000.0;

/// What the scores of the policy are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// Scores of the ranker, in standard deviations of the pool.
    #[default]
    Scores,
    /// −ln(place) in the order of the reranker: weights 1, 1/2, 1/3, … at temperature 1.
    Places,
}

/// Where the `thompson` policy has the variances of scores from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uncertainty {
    /// How much is known of the item: 1 / (1 + strength of its events), in squared standard deviations of the pool.
    #[default]
    Counts,
    /// The ranking model's posterior for this person and item; counts where the model has none.
    Posterior,
}

/// Exposure for new items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewItemsConfig {
    /// Probability of a new item at each position, 0 to 1.
    pub share: f64,
    /// New items on a slate from which on none is added, 1 to 1,000.
    pub per_slate: usize,
    /// Days after `added_at` for which an item is new, above 0, at most 3,650.
    pub days: f64,
}

impl Default for NewItemsConfig {
    fn default() -> Self {
        let NewItems { share, per_slate } = NewItems::default();
        NewItemsConfig {
            share,
            per_slate,
            days: 14.0,
        }
    }
}

impl NewItemsConfig {
    pub(crate) fn check(&self) -> Result<(), PolicyError> {
        if !(self.days > 0.0 && self.days <= 3650.0) {
            return Err(wrong("new_items.days", self.days, "above 0, at most 3650"));
        }
        let new_items = NewItems {
            share: self.share,
            per_slate: self.per_slate,
        };
        new_items.check().map_err(|e| PolicyError {
            field: format!("new_items.{}", e.field),
            ..e
        })
    }
}

/// How much of a placement is left to chance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyConfig {
    /// Name of the policy.
    pub name: String,
    /// Candidates among which it chooses, best first, 1 to 10,000; never fewer than are shown.
    pub pool: usize,
    /// What its scores are.
    pub over: Over,
    /// Where `thompson` has its variances from.
    #[serde(skip_serializing_if = "is_default")]
    pub uncertainty: Uncertainty,
    /// Items with a lower score are not explored, as long as enough others are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_min: Option<f32>,
    /// Exposure for new items; absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_items: Option<NewItemsConfig>,
    /// Settings of the policy itself (`epsilon`, say); what it does not know is refused.
    #[serde(flatten)]
    pub settings: serde_json::Map<String, Value>,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        PolicyConfig {
            name: "greedy".to_owned(),
            pool: 100,
            over: Over::Scores,
            uncertainty: Uncertainty::default(),
            score_min: None,
            new_items: None,
            settings: serde_json::Map::new(),
        }
    }
}

fn is_default(uncertainty: &Uncertainty) -> bool {
    *uncertainty == Uncertainty::default()
}

fn wrong(field: &str, got: impl ToString, expected: impl ToString) -> PolicyError {
    PolicyError {
        field: field.to_owned(),
        got: got.to_string(),
        expected: expected.to_string(),
    }
}

impl PolicyConfig {
    /// True if nothing is left to chance.
    pub(crate) fn is_certain(&self) -> bool {
        self.name == "greedy" && self.new_items.is_none()
    }

    pub(crate) fn check(&self, training: &TrainingConfig) -> Result<(), PolicyError> {
        if !(1..=10_000).contains(&self.pool) {
            return Err(wrong("pool", self.pool, "1 to 10000"));
        }
        if let Some(least) = self.score_min.filter(|least| !least.is_finite()) {
            return Err(wrong("score_min", least, "a finite number"));
        }
        if let Some(new) = &self.new_items {
            new.check()?;
        }
        let has_evidence =
            training.model == EVIDENCE || training.fallbacks.iter().any(|name| name == EVIDENCE);
        if self.uncertainty == Uncertainty::Posterior
            && (self.name != "thompson" || self.over == Over::Places)
        {
            let expected = "\"counts\", or policy \"thompson\" over \"scores\"";
            return Err(wrong("uncertainty", "\"posterior\"", expected));
        }
        if self.name == "thompson" && !has_evidence {
            let expected =
                format!("{EVIDENCE:?} among training.fallbacks, which says how much is known of an item");
            return Err(wrong("name", "\"thompson\"", expected));
        }
        self.build().map(|_| ())
    }

    fn build(&self) -> Result<Box<dyn SlatePolicy>, PolicyError> {
        let entry = policies::policy(&self.name).filter(|entry| entry.name != NEEDS_COUNTS);
        let Some(entry) = entry else {
            let names = policies::policies().iter().map(|entry| entry.name);
            let names: Vec<_> = names.filter(|name| *name != NEEDS_COUNTS).collect();
            return Err(wrong(
                "name",
                format!("{:?}", self.name),
                format!("one of {}", names.join(", ")),
            ));
        };
        let base = (entry.build)(&Value::Object(self.settings.clone()))?;
        let Some(new) = self.new_items else {
            return Ok(base);
        };
        let new_items = NewItems {
            share: new.share,
            per_slate: new.per_slate,
        };
        Ok(Box::new(NewItemFloor { new_items, base }))
    }
}

/// The policy of a placement.
pub(crate) fn chooser(
    config: &PolicyConfig,
    catalogue: &Arc<LiveCatalogue>,
    models: Option<&Models>,
) -> Arc<dyn Policy> {
    let Some(policy) = config.build().ok().filter(|_| !config.is_certain()) else {
        // Checked when the configuration was read, so this is the one that leaves nothing to chance.
        return Arc::new(GreedyPolicy);
    };
    let evidence = models
        .filter(|_| config.name == "thompson")
        .and_then(|models| models.named(EVIDENCE));
    let settings = serde_json::to_vec(&(config, policy.settings())).unwrap_or_default();
    Arc::new(Chooser {
        version: format!("{}-{:08x}", policy.version(), crc32fast::hash(&settings)),
        policy,
        config: config.clone(),
        catalogue: catalogue.clone(),
        evidence: evidence.map(|(bound, part)| (bound.clone(), part)),
        posterior: models
            .filter(|_| config.uncertainty == Uncertainty::Posterior)
            .map(|models| models.main.clone()),
    })
}

struct Chooser {
    policy: Box<dyn SlatePolicy>,
    version: String,
    config: PolicyConfig,
    catalogue: Arc<LiveCatalogue>,
    evidence: Option<(Arc<Bound>, Option<usize>)>,
    /// Who says how sure the scores are.
    posterior: Option<Arc<Bound>>,
}

impl Chooser {
    /// The variance of each score, `unit` being what the scores are counted in.
    fn variances(&self, query: &Query, pool: &[Candidate], unit: f64) -> Vec<f64> {
        let counted = self.counted(pool);
        let Some(bound) = &self.posterior else {
            return counted;
        };
        let items: Vec<u32> = pool.iter().map(|candidate| candidate.item).collect();
        let said = bound.variances(query, &items);
        let both = said.into_iter().zip(counted);
        both.map(|(said, counted)| said.map_or(counted, |said| f64::from(said) / (unit * unit)))
            .collect()
    }

    /// How much is known of each, in strengths of events: 1 / (1 + evidence) is the variance, in squared standard deviations of the pool.
    fn counted(&self, pool: &[Candidate]) -> Vec<f64> {
        let mut evidence = vec![0.0f32; pool.len()];
        if let Some((bound, part)) = &self.evidence
            && let Some(model) = bound.part(*part)
        {
            let known = pool.iter().enumerate().map(|(at, c)| (at, bound.local(c.item)));
            let (places, items): (Vec<usize>, Vec<u32>) =
                known.filter(|(_, local)| *local != NOWHERE).unzip();
            let mut scores = vec![0.0; items.len()];
            model.score(&[], &items, &mut scores);
            for (at, score) in places.into_iter().zip(scores) {
                evidence[at] = score;
            }
        }
        evidence
            .iter()
            .map(|known| 1.0 / (1.0 + f64::from(*known).max(0.0)))
            .collect()
    }

    /// Scores, and what a point of theirs is in the ranker's.
    fn scores(&self, pool: &[Candidate]) -> (Vec<f64>, f64) {
        if self.config.over == Over::Places {
            return ((1..=pool.len()).map(|place| -(place as f64).ln()).collect(), 1.0);
        }
        let raw: Vec<f64> = pool.iter().map(|c| f64::from(c.score)).collect();
        let best = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = numeric::mean(&raw);
        let squares: f64 = raw.iter().map(|s| (s - mean) * (s - mean)).sum();
        let deviation = (squares / raw.len().max(1) as f64).sqrt();
        let unit = if deviation > 0.0 { deviation } else { 1.0 };
        (raw.iter().map(|score| (score - best) / unit).collect(), unit)
    }

    fn arms(&self, query: &Query, pool: &[Candidate], n: usize) -> Vec<Arm> {
        let days = self.config.new_items.map_or(0.0, |new| new.days);
        let (scores, unit) = self.scores(pool);
        let variances = self.variances(query, pool, unit);
        let least = self.config.score_min;
        let one = |(at, candidate): (usize, &Candidate)| Arm {
            variance: variances[at],
            fresh: is_new(&self.catalogue, candidate.item, query.now, days),
            open: least.is_none_or(|least| candidate.score >= least),
            ..Arm::of_score(scores[at])
        };
        let mut arms: Vec<Arm> = pool.iter().enumerate().map(one).collect();
        let mut missing = n.saturating_sub(arms.iter().filter(|arm| arm.open).count());
        for arm in arms.iter_mut().filter(|arm| !arm.open) {
            arm.open = missing > 0;
            missing = missing.saturating_sub(1);
        }
        arms
    }
}

const ARMS_ARE_FINITE: &str = "the engine lets only finite scores through, and variances are made here";

impl Policy for Chooser {
    fn name(&self) -> &str {
        self.policy.name()
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn choose(&self, query: &Query, ordered: Vec<Candidate>) -> Choice {
        let n = query.n.min(ordered.len());
        let pool = self.config.pool.max(n).min(ordered.len());
        let arms = Arms::new(self.arms(query, &ordered[..pool], n)).expect(ARMS_ARE_FINITE);
        draw(&*self.policy, &arms, query, n, ordered)
    }

    fn conditionals(&self, query: &Query, ordered: &[Candidate], slate: &[u32]) -> Option<Vec<f64>> {
        let n = query.n.min(ordered.len());
        let pool = &ordered[..self.config.pool.max(n).min(ordered.len())];
        let arms = Arms::new(self.arms(query, pool, n)).ok()?;
        let arm_of = |item: &u32| pool.iter().position(|candidate| candidate.item == *item);
        Some(conditionals_of(&*self.policy, &arms, slate, arm_of))
    }

    fn marginals(&self, query: &Query, ordered: &[Candidate], slate: &[u32]) -> Option<Vec<f64>> {
        let n = query.n.min(ordered.len());
        let pool = &ordered[..self.config.pool.max(n).min(ordered.len())];
        let arms = Arms::new(self.arms(query, pool, n)).ok()?;
        let arm_of = |item: &u32| pool.iter().position(|candidate| candidate.item == *item);
        marginals_of(&*self.policy, &arms, n, slate, arm_of)
    }

    fn choose_within(
        &self,
        query: &Query,
        ordered: Vec<Candidate>,
        limits: &[Limit],
        taken: &[u32],
    ) -> Option<Choice> {
        let n = query.n.min(ordered.len());
        let pool = self.config.pool.max(n).min(ordered.len());
        // Who is needed for a minimum may stand far down.
        let mut wanted = Vec::new();
        for limit in limits.iter().filter(|limit| limit.min > 0) {
            let beyond = (pool..ordered.len()).filter(|at| limit.counts(ordered[*at].item));
            wanted.extend(beyond.take(limit.min));
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut candidates = ordered;
        for (to, at) in (pool..).zip(&wanted) {
            candidates[to..=*at].rotate_right(1);
        }
        let n_arms = pool + wanted.len();
        let arms = self.arms(query, &candidates[..n_arms], n);
        Some(draw_within(
            &*self.policy,
            &arms,
            query,
            n,
            candidates,
            limits,
            taken,
        ))
    }
}

/// True for an item added within so many days.
pub(crate) fn is_new(catalogue: &LiveCatalogue, item: u32, now: Timestamp, days: f64) -> bool {
    // Without days nobody is looked up.
    let added = || catalogue.get(item).and_then(|entry| entry.added_at);
    days > 0.0 && added().is_some_and(|added| (now.0 - added.0) as f64 <= days * DAY_MS)
}

/// Draws `n` of the candidates, the first of which are the arms.
pub(crate) fn draw(
    policy: &dyn SlatePolicy,
    arms: &Arms,
    query: &Query,
    n: usize,
    candidates: Vec<Candidate>,
) -> Choice {
    let mut stream = SeededStream::new(query.seed, STREAM);
    let (drawn, marginals) = if n <= MARGINALS_N_MAX {
        policy.draw_with_marginals(arms, n, &mut stream)
    } else {
        (policy.draw(arms, n, &mut stream), None)
    };
    let (slate, held_back) = parted(candidates, &drawn.slate, &drawn.conditionals);
    Choice {
        slate,
        held_back,
        // What the integral gives for something all but certain may lie a rounding above 1.
        marginals: marginals
            .into_iter()
            .flatten()
            .map(|chance| chance.min(1.0))
            .collect(),
        relaxed: Vec::new(),
    }
}

/// Probability of each item of a slate at its position, given those before; 0 from the first on that is no arm.
pub(crate) fn conditionals_of(
    policy: &dyn SlatePolicy,
    arms: &Arms,
    slate: &[u32],
    arm_of: impl Fn(&u32) -> Option<usize>,
) -> Vec<f64> {
    let known: Vec<usize> = slate.iter().map_while(arm_of).collect();
    let chances = policy.chances(arms).conditionals(&known).into_iter();
    let mut chances: Vec<f64> = chances.map(|chance| chance.clamp(0.0, 1.0)).collect();
    chances.resize(slate.len(), 0.0);
    chances
}

/// Probability of each item at its position in a slate of `n`, whatever stands elsewhere; 0 for what is no arm. `None` where [`draw`] writes none down either.
pub(crate) fn marginals_of(
    policy: &dyn SlatePolicy,
    arms: &Arms,
    n: usize,
    slate: &[u32],
    arm_of: impl Fn(&u32) -> Option<usize>,
) -> Option<Vec<f64>> {
    let n = n.max(slate.len());
    if n > MARGINALS_N_MAX {
        return None;
    }
    let places: Vec<Option<usize>> = slate.iter().map(arm_of).collect();
    let positions = places.iter().enumerate();
    let pairs: Vec<(usize, usize)> = positions
        .filter_map(|(position, arm)| arm.map(|arm| (arm, position)))
        .collect();
    let mut found = policy.chances(arms).marginals(n, &pairs)?.into_iter();
    let one = |arm: &Option<usize>| arm.map_or(Some(0.0), |_| found.next());
    places
        .iter()
        .map(one)
        .map(|chance| chance.map(|chance| chance.clamp(0.0, 1.0)))
        .collect()
}

/// As [`draw`], within limits. Position by position, the policy draws among the candidates with which the limits can still be kept; what is
/// written down is the distribution that was drawn from, so propensities are exact. There is no closed form for marginals.
pub(crate) fn draw_within(
    policy: &dyn SlatePolicy,
    base: &[Arm],
    query: &Query,
    n: usize,
    candidates: Vec<Candidate>,
    limits: &[Limit],
    taken: &[u32],
) -> Choice {
    let items: Vec<u32> = candidates[..base.len()].iter().map(|c| c.item).collect();
    let mut keeping = Keeping::new(limits, &items, taken, n);
    let mut stream = SeededStream::new(query.seed, STREAM);
    let (mut prefix, mut chances): (Vec<usize>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut out = vec![0.0; items.len()];
    let mut mask = keeping.admitted();
    while prefix.len() < n && mask.contains(&true) {
        let open = open_within(base, &mask, &prefix);
        let mut arms = base.to_vec();
        arms.iter_mut()
            .zip(&open)
            .for_each(|(arm, open)| arm.open = *open);
        let arms = Arms::new(arms).expect(ARMS_ARE_FINITE);
        let mut left = policy.chances(&arms);
        // While the limits leave the same arms open, the distribution changes only by who has been placed.
        while prefix.len() < n && mask.contains(&true) && open_within(base, &mask, &prefix) == open {
            left.next(&prefix, &mut out);
            for (chance, admitted) in out.iter_mut().zip(&mask) {
                if !admitted {
                    *chance = 0.0;
                }
            }
            let total: f64 = out.iter().sum();
            let first = mask.iter().position(|admitted| *admitted).unwrap_or(0);
            let (next, chance) = match total > 0.0 {
                true => drawn(&out, total, stream.uniform()),
                false => (first, 1.0),
            };
            keeping.put(next);
            prefix.push(next);
            chances.push(chance);
            mask = keeping.admitted();
        }
    }
    let (slate, held_back) = parted(candidates, &prefix, &chances);
    Choice {
        slate,
        held_back,
        marginals: Vec::new(),
        relaxed: keeping.relaxed(),
    }
}

/// Which arms the policy may draw from: those admitted, as far as they are open themselves or none is. Those placed were.
fn open_within(base: &[Arm], admitted: &[bool], placed: &[usize]) -> Vec<bool> {
    let both = base.iter().zip(admitted);
    let any_open = both.clone().any(|(arm, admitted)| *admitted && arm.open);
    let mut open: Vec<bool> = both
        .map(|(arm, admitted)| *admitted && (arm.open || !any_open))
        .collect();
    placed.iter().for_each(|at| open[*at] = true);
    open
}

/// The candidates that were drawn, in that order and with their chances, and the others as they came.
fn parted(
    mut candidates: Vec<Candidate>,
    drawn: &[usize],
    chances: &[f64],
) -> (Vec<(Candidate, f64)>, Vec<Candidate>) {
    // Behind the last that was drawn all stay as they are.
    let end = drawn.iter().max().map_or(0, |last| last + 1);
    let mut is_drawn = vec![false; end];
    drawn.iter().for_each(|at| is_drawn[*at] = true);
    let take = |(at, chance): (&usize, &f64)| (std::mem::take(&mut candidates[*at]), chance.min(1.0));
    let slate = drawn.iter().zip(chances).map(take).collect();
    let mut kept = 0;
    for at in (0..end).filter(|at| !is_drawn[*at]) {
        candidates.swap(kept, at);
        kept += 1;
    }
    candidates.drain(kept..end);
    (slate, candidates)
}

/// What stands at a quantile of a distribution that sums to `total`, and its probability.
fn drawn(chances: &[f64], total: f64, quantile: f64) -> (usize, f64) {
    let mut rest = quantile * total;
    let mut last = 0;
    for (at, chance) in chances.iter().enumerate().filter(|(_, chance)| **chance > 0.0) {
        last = at;
        if rest < *chance {
            break;
        }
        rest -= chance;
    }
    (last, chances[last] / total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_policy_keeps_the_promises_of_the_trait() {
        for entry in policies::policies()
            .iter()
            .filter(|entry| entry.name != NEEDS_COUNTS)
        {
            for over in [Over::Scores, Over::Places] {
                for score_min in [None, Some(0.5)] {
                    let config = PolicyConfig {
                        name: entry.name.to_owned(),
                        over,
                        score_min,
                        pool: 15,
                        new_items: Some(NewItemsConfig::default()),
                        ..PolicyConfig::default()
                    };
                    config.check(&TrainingConfig::default()).expect("defaults");
                    testkit::stages::policy(&*chooser(&config, &Arc::default(), None), 25);
                }
            }
        }
    }

    /// Position by position, everything made anew.
    fn drawn_slowly(
        policy: &dyn SlatePolicy,
        base: &[Arm],
        n: usize,
        (limits, taken): (&[Limit], &[u32]),
    ) -> Vec<(usize, f64)> {
        let items: Vec<u32> = (0..base.len() as u32).collect();
        let mut keeping = Keeping::new(limits, &items, taken, n);
        let mut stream = SeededStream::new(7, STREAM);
        let mut slate: Vec<(usize, f64)> = Vec::new();
        let mut out = vec![0.0; items.len()];
        while slate.len() < n {
            let mask = keeping.admitted();
            let Some(first) = mask.iter().position(|admitted| *admitted) else {
                break;
            };
            let placed: Vec<usize> = slate.iter().map(|(at, _)| *at).collect();
            let any_open = (0..base.len()).any(|at| mask[at] && base[at].open);
            let mut arms = base.to_vec();
            for (at, arm) in arms.iter_mut().enumerate() {
                arm.open = placed.contains(&at) || (mask[at] && (arm.open || !any_open));
            }
            let arms = Arms::new(arms).expect(ARMS_ARE_FINITE);
            policy.chances(&arms).next(&placed, &mut out);
            let out: Vec<f64> = (out.iter().zip(&mask))
                .map(|(chance, admitted)| if *admitted { *chance } else { 0.0 })
                .collect();
            let total: f64 = out.iter().sum();
            let (next, chance) = match total > 0.0 {
                true => drawn(&out, total, stream.uniform()),
                false => (first, 1.0),
            };
            keeping.put(next);
            slate.push((next, chance));
        }
        slate
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Bit for bit what comes of making the distribution anew for each position, by every policy.
        #[test]
        fn drawing_within_limits_is_drawing_anew_each_time(
            arms in proptest::collection::vec((-2.0f64..2.0, 0.01f64..1.0, any::<bool>(), 0u8..8), 3..25),
            groups in proptest::collection::vec(0usize..3, 25),
            bounds in proptest::collection::vec((0usize..3, 0usize..4, any::<bool>()), 3),
            n in 1usize..9,
        ) {
            let base: Vec<Arm> = arms
                .iter()
                .map(|(score, variance, fresh, open)| Arm {
                    variance: *variance,
                    fresh: *fresh,
                    open: *open > 0,
                    ..Arm::of_score(*score)
                })
                .collect();
            let limits: Vec<Limit> = bounds
                .iter()
                .enumerate()
                .map(|(group, (min, more, hard))| Limit {
                    name: format!("g={group}"),
                    members: (0..base.len() as u32).filter(|item| groups[*item as usize] == group).collect(),
                    min: *min,
                    max: min + more,
                    hard: *hard,
                })
                .collect();
            let candidate = |item: u32| Candidate { item, ..Candidate::default() };
            let candidates: Vec<Candidate> = (0..base.len() as u32 + 3).map(candidate).collect();
            let query = Query { seed: 7, n, ..Query::default() };
            for entry in policies::policies() {
                let policy = (entry.build)(&serde_json::json!({})).expect("defaults");
                let policy = NewItemFloor { new_items: NewItems { share: 0.2, per_slate: 2 }, base: policy };
                let slowly = drawn_slowly(&policy, &base, n, (&limits, &[]));
                let choice = draw_within(&policy, &base, &query, n, candidates.clone(), &limits, &[]);
                let quickly: Vec<(usize, f64)> = (choice.slate.iter()).map(|(c, p)| (c.item as usize, *p)).collect();
                let slowly: Vec<(usize, f64)> = slowly.into_iter().map(|(at, p)| (at, p.min(1.0))).collect();
                prop_assert_eq!(quickly, slowly, "{}", entry.name);
            }
        }
    }
}
