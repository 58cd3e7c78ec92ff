//! What a world is like: the keys of a scenario, with unit and default. Unknown keys are refused.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One world with the service that is shown to it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Setup {
    /// Items.
    pub catalogue: CatalogueSetup,
    /// People.
    pub people: People,
    /// How they react to what they are shown.
    pub behaviour: Behaviour,
    /// What happened before the first day.
    pub history: HistorySetup,
    /// How long, in which steps, and what is measured.
    pub run: RunSetup,
    /// What events are worth to the operator.
    pub rewards: Rewards,
    /// Configuration of the service, as in its own file.
    pub service: toml::Table,
}

/// Items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogueSetup {
    /// `generated`, or `given`: items that the caller hands over, MovieLens films unless it says otherwise.
    pub source: String,
    /// Items on the first day, 2 to 100,000; of given ones, a seeded choice.
    pub items: usize,
    /// Items that arrive per day, given ones until there are no more.
    pub arrivals_per_day: f64,
    /// Days after which an item is hidden; 0 for never.
    pub retire_after_days: f64,
    /// Days after which the odds of a click on an item have halved, for news; 0 for never.
    pub fade_half_life_days: f64,
    /// Number of topics of generated items, 1 to 64; given items take theirs from their first attribute with several values.
    pub topics: usize,
    /// Dimensions of tastes, 1 to 64.
    pub dimensions: usize,
    /// How much of an item's place is its topic's, 0 to 1.
    pub topic_share: f64,
    /// Standard deviation of the items' quality, in log odds.
    pub quality_deviation: f64,
    /// Standard deviation of what an item's looks add to the log odds of a click, and to nothing that comes after it.
    pub lure_deviation: f64,
}

impl Default for CatalogueSetup {
    fn default() -> Self {
        CatalogueSetup {
            source: "generated".into(),
            items: 500,
            arrivals_per_day: 0.0,
            retire_after_days: 0.0,
            fade_half_life_days: 0.0,
            topics: 12,
            dimensions: 8,
            topic_share: 0.8,
            quality_deviation: 0.5,
            lure_deviation: 0.0,
        }
    }
}

/// People.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct People {
    /// On the first day, 1 to 1,000,000.
    pub users: usize,
    /// People who arrive per day.
    pub arrivals_per_day: f64,
    /// Visits of a person per day on average; each person's rate is log-normal around it.
    pub visits_per_day: f64,
    /// Log-normal spread of the rates.
    pub visits_deviation: f64,
    /// Factors of the rate from Monday to Sunday.
    pub week: [f64; 7],
    /// How far tastes move on Saturday and Sunday, towards a second taste of each person, 0 to 1.
    pub weekend_shift: f64,
    /// How far tastes drift a day: standard deviation of a step, against a length of 1.
    pub drift_per_day: f64,
    /// Probability that someone of middling satisfaction leaves on a day; 0 for nobody ever.
    pub churn_per_day: f64,
    /// How fast the odds of leaving fall with satisfaction (in deviations from `satisfaction_needed`).
    pub churn_slope: f64,
    /// Clicks per visit at which someone is middlingly satisfied.
    pub satisfaction_needed: f64,
    /// Whether requests carry the person's taste, as attributes `taste-0`, `taste-1`, … and `topic`.
    pub attributes: bool,
    /// Standard deviation of the error of those attributes.
    pub attribute_noise: f64,
}

impl Default for People {
    fn default() -> Self {
        People {
            users: 500,
            arrivals_per_day: 0.0,
            visits_per_day: 1.0,
            visits_deviation: 0.5,
            week: [1.0; 7],
            weekend_shift: 0.0,
            drift_per_day: 0.0,
            churn_per_day: 0.0,
            churn_slope: 1.5,
            satisfaction_needed: 0.8,
            attributes: false,
            attribute_noise: 0.1,
        }
    }
}

/// Who looks at what in a slate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClickModel {
    /// Every position is looked at with a probability of its own, 1 / position^`position_power`.
    Position,
    /// From the top down; after a click, or after none, one goes on with a probability.
    Cascade,
}

/// How people react.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    /// Who looks at what.
    pub clicks: ClickModel,
    /// Exponent of the fall of attention with the position (position model).
    pub position_power: f64,
    /// Probability of going on after an item without a click (cascade).
    pub go_on: f64,
    /// Probability of going on after a click (cascade).
    pub go_on_after_click: f64,
    /// Log odds of a click on an item of no affinity that is looked at.
    pub click_bias: f64,
    /// Log odds that a perfect fit of taste adds.
    pub taste_strength: f64,
    /// Log odds taken away for each recent consumption of the same item.
    pub satiation: f64,
    /// Days after which satiation has halved.
    pub satiation_half_life_days: f64,
    /// Log odds taken away for each recent click in the same topic.
    pub boredom: f64,
    /// Days after which boredom has halved.
    pub boredom_half_life_days: f64,
    /// Median seconds on an item of no affinity, which a fit of taste multiplies; sent as events of type `view`. 0 for none.
    pub dwell_seconds: f64,
    /// Log odds of a purchase after a click, at no affinity; absent for none.
    pub purchase_bias: Option<f64>,
    /// Log odds that a purchase is sent back, at no affinity; absent for never.
    pub return_bias: Option<f64>,
    /// Days until it is sent back.
    pub return_days: f64,
    /// Whether shown items are sent as events of type `impression`.
    pub impressions: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            clicks: ClickModel::Position,
            position_power: 1.0,
            go_on: 0.9,
            go_on_after_click: 0.5,
            click_bias: -2.0,
            taste_strength: 3.0,
            satiation: 1.0,
            satiation_half_life_days: 14.0,
            boredom: 0.0,
            boredom_half_life_days: 2.0,
            dwell_seconds: 20.0,
            purchase_bias: None,
            return_bias: None,
            return_days: 5.0,
            impressions: false,
        }
    }
}

/// What happened before the first day: people came across items by their popularity and took what they liked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistorySetup {
    /// Days of it; 0 for none.
    pub days: f64,
    /// Items that each person came across.
    pub encounters_per_user: f64,
    /// Exponent of Zipf's law of what people came across; 0 for all alike.
    pub popularity_power: f64,
}

impl Default for HistorySetup {
    fn default() -> Self {
        HistorySetup {
            days: 0.0,
            encounters_per_user: 20.0,
            popularity_power: 1.0,
        }
    }
}

/// How long, in which steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSetup {
    /// Simulated days, 1 to 10,000.
    pub days: usize,
    /// Hours of a tick, 0.05 to 24: all visits of a tick see the same state.
    pub tick_hours: f64,
    /// Days between trainings; 0 for none after the first.
    pub train_every_days: usize,
    /// Whether to train on the history before the first day.
    pub train_first: bool,
    /// Days of a round, over which figures are told.
    pub round_days: usize,
    /// Placement that is asked.
    pub placement: String,
    /// Items of a slate, 1 to 100.
    pub n: usize,
    /// Share of the visits for which the best slate is worked out, for regret, 0 to 1.
    pub regret_share: f64,
    /// Days for which an item counts as new.
    pub new_days: f64,
    /// Share of positions that is to be new items' own: what fair exposure is counted from.
    pub new_share: f64,
}

impl Default for RunSetup {
    fn default() -> Self {
        RunSetup {
            days: 60,
            tick_hours: 6.0,
            train_every_days: 7,
            train_first: true,
            round_days: 7,
            placement: "home".into(),
            n: 10,
            regret_share: 1.0,
            new_days: 14.0,
            new_share: 0.05,
        }
    }
}

/// Worth of events to the operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rewards {
    /// Of a click.
    pub click: f64,
    /// Of a purchase.
    pub purchase: f64,
    /// Of a purchase that is sent back, usually negative.
    #[serde(rename = "return")]
    pub returned: f64,
}

impl Default for Rewards {
    fn default() -> Self {
        Rewards {
            click: 1.0,
            purchase: 0.0,
            returned: 0.0,
        }
    }
}

fn within(key: &str, value: f64, low: f64, high: f64) -> Result<(), String> {
    if value.is_finite() && (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(format!("{key}: got {value}, expected {low} to {high}"))
    }
}

impl Setup {
    /// Checks ranges and relations, and the configuration of the service.
    ///
    /// # Errors
    /// The first key that cannot be, with what was there and what was expected.
    pub fn check(&self) -> Result<(), String> {
        let Setup {
            catalogue: c,
            people: p,
            behaviour: b,
            history: h,
            run: r,
            rewards: w,
            ..
        } = self;
        if !["generated", "given"].contains(&c.source.as_str()) {
            return Err(format!(
                "catalogue.source: got {:?}, expected generated or given",
                c.source
            ));
        }
        let ranges: &[(&str, f64, f64, f64)] = &[
            ("catalogue.items", c.items as f64, 2.0, 100_000.0),
            ("catalogue.arrivals_per_day", c.arrivals_per_day, 0.0, 100_000.0),
            ("catalogue.retire_after_days", c.retire_after_days, 0.0, 1e5),
            ("catalogue.fade_half_life_days", c.fade_half_life_days, 0.0, 1e5),
            ("catalogue.topics", c.topics as f64, 1.0, 64.0),
            ("catalogue.dimensions", c.dimensions as f64, 1.0, 64.0),
            ("catalogue.topic_share", c.topic_share, 0.0, 1.0),
            ("catalogue.quality_deviation", c.quality_deviation, 0.0, 10.0),
            ("catalogue.lure_deviation", c.lure_deviation, 0.0, 10.0),
            ("people.users", p.users as f64, 1.0, 1e6),
            ("people.arrivals_per_day", p.arrivals_per_day, 0.0, 1e6),
            ("people.visits_per_day", p.visits_per_day, 0.0, 1000.0),
            ("people.visits_deviation", p.visits_deviation, 0.0, 5.0),
            ("people.weekend_shift", p.weekend_shift, 0.0, 1.0),
            ("people.drift_per_day", p.drift_per_day, 0.0, 10.0),
            ("people.churn_per_day", p.churn_per_day, 0.0, 0.5),
            ("people.churn_slope", p.churn_slope, 0.0, 100.0),
            ("people.satisfaction_needed", p.satisfaction_needed, 0.0, 100.0),
            ("people.attribute_noise", p.attribute_noise, 0.0, 100.0),
            ("behaviour.position_power", b.position_power, 0.0, 10.0),
            ("behaviour.go_on", b.go_on, 0.0, 1.0),
            ("behaviour.go_on_after_click", b.go_on_after_click, 0.0, b.go_on),
            ("behaviour.click_bias", b.click_bias, -20.0, 20.0),
            ("behaviour.taste_strength", b.taste_strength, 0.0, 100.0),
            ("behaviour.satiation", b.satiation, 0.0, 100.0),
            (
                "behaviour.satiation_half_life_days",
                b.satiation_half_life_days,
                0.001,
                1e6,
            ),
            ("behaviour.boredom", b.boredom, 0.0, 100.0),
            (
                "behaviour.boredom_half_life_days",
                b.boredom_half_life_days,
                0.001,
                1e6,
            ),
            ("behaviour.dwell_seconds", b.dwell_seconds, 0.0, 1e6),
            ("behaviour.return_days", b.return_days, 0.0, 1e4),
            ("history.days", h.days, 0.0, 1e4),
            ("history.encounters_per_user", h.encounters_per_user, 0.0, 1e4),
            ("history.popularity_power", h.popularity_power, 0.0, 10.0),
            ("run.days", r.days as f64, 1.0, 10_000.0),
            ("run.tick_hours", r.tick_hours, 0.05, 24.0),
            ("run.round_days", r.round_days as f64, 1.0, 10_000.0),
            ("run.n", r.n as f64, 1.0, 100.0),
            ("run.regret_share", r.regret_share, 0.0, 1.0),
            ("run.new_days", r.new_days, 0.0, 1e4),
            ("run.new_share", r.new_share, 0.0, 1.0),
            ("rewards.click", w.click, -1e6, 1e6),
            ("rewards.purchase", w.purchase, -1e6, 1e6),
            ("rewards.return", w.returned, -1e6, 1e6),
        ];
        for (key, value, low, high) in ranges {
            within(key, *value, *low, *high)?;
        }
        for (day, factor) in p.week.iter().enumerate() {
            within(&format!("people.week[{day}]"), *factor, 0.0, 100.0)?;
        }
        let placements = self.config()?.placements;
        if !placements.contains_key(&r.placement) {
            let known: Vec<&str> = placements.keys().map(String::as_str).collect();
            return Err(format!(
                "run.placement: got {:?}, expected one of {}",
                r.placement,
                known.join(", ")
            ));
        }
        Ok(())
    }

    /// The configuration of the service as a file.
    pub(crate) fn service_toml(&self) -> Result<String, String> {
        toml::to_string(&self.service).map_err(|e| format!("service: {e}"))
    }

    fn config(&self) -> Result<assembly::Config, String> {
        let text = self.service_toml()?;
        assembly::Config::parse(&text, std::path::Path::new("service")).map_err(|e| e.to_string())
    }
}

/// Puts the keys of `over` into `base`, table by table; what is no table is replaced.
pub(crate) fn overlay(base: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Named figures in order.
pub(crate) type Figures = BTreeMap<String, f64>;
