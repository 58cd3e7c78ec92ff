//! The choice of a placement that learns: arms from what is believed, and a policy in front of them.
//!
//! `lin-ucb` shows what has the highest upper bound, `lin-ts` what is highest in a draw from the posterior, and every policy of the table chooses by the means (`epsilon-greedy`, say, or
//! `beta-thompson` by counts). The version of the policy in the record names the state that was used: `…-s<sequence>-t<trials>-n<number in the journal>`.
//!
//! Where actions share weights, `lin-ts` takes one of a set of draws that stays while the belief does, so that what it does has an exact probability. Draws of a decision's own would not: their shares
//! are right on average, but an action that was shown was more often drawn than it mostly is.

use super::config::{BanditConfig, LearnerKind, wrong};
use super::features::Sight;
use super::learner::{Belief, Scene};
use crate::catalogue::LiveCatalogue;
use crate::choice::{
    NewItemsConfig, Over, PolicyConfig, Uncertainty, conditionals_of, draw, draw_within, is_new, marginals_of,
};
use domain::{Candidate, Choice, Limit, Policy, Query};
use policies::{
    Arm, Arms, EnsembleThompson, GaussianThompson, Greedy, NewItemFloor, NewItems, PolicyError, SlatePolicy,
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Policies that only placements which learn have.
const NAMES: [&str; 2] = ["lin-ucb", "lin-ts"];

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ucb {
    /// Standard deviations added to the mean.
    alpha: f64,
}

impl Default for Ucb {
    fn default() -> Self {
        Ucb { alpha: 1.0 }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ts {
    /// Standard deviation of a reward around its mean; more for more exploration.
    deviation: f64,
    /// Draws from the joint posterior where actions share weights.
    draws: usize,
}

impl Default for Ts {
    fn default() -> Self {
        Ts {
            deviation: 0.5,
            draws: 256,
        }
    }
}

/// How arms are made and chosen from.
pub(crate) enum Plan {
    /// Means, chosen from by a policy of the table.
    Means(Box<dyn SlatePolicy>),
    /// Upper bounds, chosen from greedily.
    Bounds { alpha: f64 },
    /// Draws.
    Draws { deviation: f64, draws: usize },
}

fn settings<T: serde::de::DeserializeOwned>(policy: &PolicyConfig) -> Result<T, PolicyError> {
    let value = Value::Object(policy.settings.clone());
    serde_json::from_value(value.clone()).map_err(|e| wrong("settings", &value, e))
}

impl Plan {
    pub(crate) fn of(policy: &PolicyConfig, bandit: &BanditConfig) -> Result<Plan, PolicyError> {
        if let Some(least) = policy.score_min {
            return Err(wrong("score_min", least, "none in a placement that learns"));
        }
        if policy.over != Over::Scores {
            return Err(wrong(
                "over",
                "\"places\"",
                "\"scores\" in a placement that learns",
            ));
        }
        if policy.uncertainty != Uncertainty::default() {
            let expected = "\"counts\" in a placement that learns, which has a posterior of its own";
            return Err(wrong("uncertainty", "\"posterior\"", expected));
        }
        let linear = bandit.learner == LearnerKind::Linear;
        if let Some(new) = policy.new_items {
            new.check()?;
        }
        match policy.name.as_str() {
            "lin-ucb" | "lin-ts" if !linear => Err(wrong(
                "name",
                &policy.name,
                "a learner that is linear for this policy",
            )),
            "beta-thompson" if linear => {
                Err(wrong("name", &policy.name, "a learner of counts for this policy"))
            }
            "lin-ucb" => {
                let Ucb { alpha } = settings(policy)?;
                if !(0.0..=1e6).contains(&alpha) {
                    return Err(wrong("alpha", alpha, "0 to 1000000"));
                }
                Ok(Plan::Bounds { alpha })
            }
            "lin-ts" => {
                let Ts { deviation, draws } = settings(policy)?;
                if !(0.0..=1e6).contains(&deviation) {
                    return Err(wrong("deviation", deviation, "0 to 1000000"));
                }
                if !(1..=100_000).contains(&draws) {
                    return Err(wrong("draws", draws, "1 to 100000"));
                }
                Ok(Plan::Draws { deviation, draws })
            }
            name => {
                let Some(entry) = policies::policy(name) else {
                    let known = policies::policies().iter().map(|entry| entry.name);
                    let known: Vec<&str> = known.chain(NAMES).collect();
                    return Err(wrong(
                        "name",
                        format!("{name:?}"),
                        format!("one of {}", known.join(", ")),
                    ));
                };
                Ok(Plan::Means((entry.build)(&Value::Object(
                    policy.settings.clone(),
                ))?))
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Plan::Means(policy) => policy.name(),
            Plan::Bounds { .. } => "lin-ucb",
            Plan::Draws { .. } => "lin-ts",
        }
    }

    /// Raised whenever the same belief and seed would give another slate or probability.
    fn version(&self) -> u32 {
        match self {
            Plan::Means(policy) => policy.version(),
            Plan::Bounds { .. } => 1,
            Plan::Draws { .. } => 2,
        }
    }
}

/// The policy of a placement that learns.
pub(crate) fn chooser(
    policy: &PolicyConfig,
    bandit: &BanditConfig,
    catalogue: &Arc<LiveCatalogue>,
    belief: &Arc<Belief>,
) -> Option<Arc<dyn Policy>> {
    let plan = match Plan::of(policy, bandit).ok()? {
        Plan::Means(base) => Plan::Means(floored(policy.new_items, base)),
        other => other,
    };
    let text = serde_json::to_vec(&(policy, bandit)).unwrap_or_default();
    let (sequence, trials, number) = (belief.sequence, belief.trials, belief.number);
    Some(Arc::new(BanditChooser {
        version: format!(
            "{}-{:08x}-s{sequence}-t{trials}-n{number}",
            plan.version(),
            crc32fast::hash(&text)
        ),
        plan,
        pool: policy.pool,
        new_items: policy.new_items,
        catalogue: catalogue.clone(),
        belief: belief.clone(),
    }))
}

/// The number of the belief that a version names, if it can be made again.
pub(crate) fn belief_of(version: &str) -> Option<u64> {
    let number = version.rsplit_once("-n")?.1.parse().ok()?;
    (number > 0).then_some(number)
}

struct BanditChooser {
    plan: Plan,
    version: String,
    pool: usize,
    new_items: Option<NewItemsConfig>,
    catalogue: Arc<LiveCatalogue>,
    belief: Arc<Belief>,
}

impl BanditChooser {
    /// How far up a candidate stands before the policy chooses: by what it may be worth at best.
    fn rank_of(&self, arm: &Arm) -> f64 {
        match &self.plan {
            Plan::Bounds { alpha } => arm.score + alpha * arm.variance.sqrt(),
            Plan::Draws { deviation, .. } => arm.score + 2.0 * deviation * arm.variance.sqrt(),
            Plan::Means(_) => arm.score,
        }
    }
}

fn floored(new_items: Option<NewItemsConfig>, base: Box<dyn SlatePolicy>) -> Box<dyn SlatePolicy> {
    match new_items {
        None => base,
        Some(NewItemsConfig { share, per_slate, .. }) => Box::new(NewItemFloor {
            new_items: NewItems { share, per_slate },
            base,
        }),
    }
}

impl Policy for BanditChooser {
    fn name(&self) -> &str {
        self.plan.name()
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn choose(&self, query: &Query, ordered: Vec<Candidate>) -> Choice {
        self.drawn(query, ordered, None)
    }

    fn conditionals(&self, query: &Query, ordered: &[Candidate], slate: &[u32]) -> Option<Vec<f64>> {
        let Field {
            chosen_from,
            arms,
            scene,
            ..
        } = self.field(query, ordered);
        let arms = Arms::new(arms).ok()?;
        let arm_of = |item: &u32| chosen_from.iter().position(|at| ordered[*at].item == *item);
        Some(self.with_policy(&scene, |policy| conditionals_of(policy, &arms, slate, arm_of)))
    }

    fn marginals(&self, query: &Query, ordered: &[Candidate], slate: &[u32]) -> Option<Vec<f64>> {
        let Field {
            chosen_from,
            arms,
            scene,
            ..
        } = self.field(query, ordered);
        let arms = Arms::new(arms).ok()?;
        let arm_of = |item: &u32| chosen_from.iter().position(|at| ordered[*at].item == *item);
        let n = query.n.min(ordered.len());
        self.with_policy(&scene, |policy| marginals_of(policy, &arms, n, slate, arm_of))
    }

    fn choose_within(
        &self,
        query: &Query,
        ordered: Vec<Candidate>,
        limits: &[Limit],
        taken: &[u32],
    ) -> Option<Choice> {
        Some(self.drawn(query, ordered, Some((limits, taken))))
    }
}

const ARMS_ARE_FINITE: &str = "a posterior is finite, and its variances are not negative";

/// What a policy chooses from, and in which order.
struct Field {
    /// Places in the candidates of those that it chooses from.
    chosen_from: Vec<usize>,
    /// Places of the others.
    rest: Vec<usize>,
    /// The former, as the policy sees them.
    arms: Vec<Arm>,
    /// What is seen of these, in the same order.
    scene: Scene,
}

impl BanditChooser {
    /// What is known of these candidates, and who chooses.
    fn field(&self, query: &Query, ordered: &[Candidate]) -> Field {
        let sight = Sight {
            context: &query.context,
            person: &query.user_attributes,
        };
        let entries = ordered.iter().map(|c| (self.catalogue.get(c.item), c.score));
        let scene = self.belief.scene(
            &sight,
            entries.map(|(entry, score)| {
                (
                    entry.map(|e| &e.id),
                    entry.and_then(|e| e.attributes.as_ref()),
                    score,
                )
            }),
        );
        let arms = self.belief.arms(&scene);
        let ranks: Vec<f64> = arms.iter().map(|arm| self.rank_of(arm)).collect();
        let fresh = |at: usize| {
            let days = self.new_items.map_or(0.0, |new| new.days);
            is_new(&self.catalogue, ordered[at].item, query.now, days)
        };
        let mut order: Vec<usize> = (0..ordered.len()).collect();
        order.sort_by(|a, b| ranks[*b].total_cmp(&ranks[*a]).then(a.cmp(b)));
        let n = query.n.min(ordered.len());
        // New items are owed their exposure wherever they stand.
        let pool = self.pool.max(n).min(ordered.len());
        let (first, rest) = order.split_at(pool);
        let (owed, rest): (Vec<usize>, Vec<usize>) = rest.iter().partition(|at| fresh(**at));
        let chosen_from: Vec<usize> = first.iter().copied().chain(owed).collect();
        let scene = scene.ordered(&chosen_from);
        let seen = chosen_from.iter().map(|at| Arm {
            score: if matches!(self.plan, Plan::Bounds { .. }) {
                ranks[*at]
            } else {
                arms[*at].score
            },
            fresh: fresh(*at),
            ..arms[*at]
        });
        let arms = seen.collect();
        Field {
            chosen_from,
            rest,
            arms,
            scene,
        }
    }

    /// Asks the policy that chooses in front of this.
    fn with_policy<T>(&self, scene: &Scene, ask: impl FnOnce(&dyn SlatePolicy) -> T) -> T {
        match &self.plan {
            // It has its floor already.
            Plan::Means(policy) => ask(&**policy),
            Plan::Bounds { .. } => ask(&*floored(self.new_items, Box::new(Greedy))),
            Plan::Draws { deviation, draws } => {
                let base: Box<dyn SlatePolicy> = match self.belief.samples(scene, *deviation, *draws) {
                    Some(samples) => Box::new(EnsembleThompson::new(samples)),
                    None => Box::new(GaussianThompson { scale: *deviation }),
                };
                ask(&*floored(self.new_items, base))
            }
        }
    }

    /// A slate, within limits if there are any; what is taken elsewhere on it counts.
    fn drawn(&self, query: &Query, ordered: Vec<Candidate>, within: Option<(&[Limit], &[u32])>) -> Choice {
        let Field {
            chosen_from,
            rest,
            arms,
            scene,
        } = self.field(query, &ordered);
        let n = query.n.min(ordered.len());
        let mut left: Vec<Option<Candidate>> = ordered.into_iter().map(Some).collect();
        let sorted = chosen_from.iter().chain(&rest).filter_map(|at| left[*at].take());
        let sorted: Vec<Candidate> = sorted.collect();
        self.with_policy(&scene, |policy| match within {
            None => draw(policy, &Arms::new(arms).expect(ARMS_ARE_FINITE), query, n, sorted),
            Some((limits, taken)) => draw_within(policy, &arms, query, n, sorted, limits, taken),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bandit::config::{Feature, FeatureOf};
    use crate::bandit::learner::{Learner, Made};
    use domain::{Attributes, Decision, DecisionId, ItemId, Sequence, Shown, SnapshotVersion, Timestamp};

    /// Something learnt of three actions.
    fn belief(bandit: &BanditConfig) -> Arc<Belief> {
        let mut learner = Learner::new(bandit).expect("a configuration");
        for round in 0..30u64 {
            let shown = Shown {
                item_id: ItemId::new(format!("item-{}", round % 3)).expect("an id"),
                rank: 1,
                score: round as f32 * 0.1,
                propensity: 1.0,
                position_propensity: None,
                sources: Vec::new(),
                reasons: Vec::new(),
                explanation: None,
            };
            let decision = Decision {
                decision_id: DecisionId::new(format!("d{round}")).expect("an id"),
                now: Timestamp(round as i64),
                placement: "offer".to_owned(),
                user_id: None,
                snapshot: SnapshotVersion::default(),
                sequence: Sequence(round),
                seed: round,
                config_hash: String::new(),
                n: 1,
                attributes: Attributes::new(),
                context: Attributes::new(),
                item_id: None,
                history: Vec::new(),
                stages: Vec::new(),
                considered: Vec::new(),
                considered_cut: 0,
                removals: Vec::new(),
                removals_cut: 0,
                policy: None,
                rules: None,
                constraints: Vec::new(),
                page: None,
                shown: vec![shown],
                features: None,
                degraded: Vec::new(),
                arms: Vec::new(),
            };
            learner.observe(Made::of(&decision, bandit, &mut |_| None));
        }
        Arc::new(learner.belief(0))
    }

    #[test]
    fn every_policy_keeps_the_promises_of_the_trait() {
        let score = Feature {
            of: FeatureOf::Score,
            name: String::new(),
            values: Vec::new(),
            center: 0.0,
            scale: 1.0,
            prior: 1.0,
        };
        let learners = [
            BanditConfig::default(),
            BanditConfig {
                learner: LearnerKind::Linear,
                ..BanditConfig::default()
            },
            BanditConfig {
                learner: LearnerKind::Linear,
                shared: vec![score],
                ..BanditConfig::default()
            },
        ];
        let mut kept = 0;
        for bandit in &learners {
            let belief = belief(bandit);
            let names = policies::policies().iter().map(|entry| entry.name);
            for name in names.chain(NAMES) {
                for new_items in [None, Some(NewItemsConfig::default())] {
                    let policy = PolicyConfig {
                        name: name.to_owned(),
                        pool: 15,
                        new_items,
                        ..PolicyConfig::default()
                    };
                    // Not every policy goes with every learner.
                    if let Some(chooser) = chooser(&policy, bandit, &Arc::default(), &belief) {
                        testkit::stages::policy(&*chooser, 25);
                        kept += 1;
                    }
                }
            }
        }
        assert_eq!(kept, 2 * (6 + 7 + 7));
    }
}
