//! What someone does with a slate, and what is to be expected of it. Both come from the same probabilities, so that regret is exact in expectation.
//!
//! Sources: position model: Richardson, Dominowska and Ragno (2007), WWW; Craswell, Zoeter, Taylor and Ramsey (2008), WSDM. Cascade with
//! probabilities of going on: Guo, Liu and Wang (2009), WSDM (dependent click model); the best slate is the most attractive first (Katariya et al. 2016, ICML).

use crate::catalogue::Catalogue;
use crate::people::Mood;
use crate::setup::{Behaviour, ClickModel, Rewards};
use numeric::SeededStream;

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// How attractive an item is to someone now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Appeal {
    /// Probability of a click, if it is looked at.
    pub(crate) click: f64,
    /// Probability of a purchase after a click.
    pub(crate) purchase: f64,
    /// Probability that a purchase is sent back.
    pub(crate) returned: f64,
    /// Log odds from taste and quality alone.
    pub(crate) liking: f64,
}

impl Appeal {
    /// Worth to be expected if it is looked at.
    pub(crate) fn value(&self, rewards: &Rewards) -> f64 {
        self.click * (rewards.click + self.purchase * (rewards.purchase + self.returned * rewards.returned))
    }
}

/// What someone did with one item.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Act {
    pub(crate) click: bool,
    /// Seconds.
    pub(crate) dwell: f64,
    pub(crate) purchase: bool,
    pub(crate) returned: bool,
}

/// The truth about one person at one moment.
pub(crate) struct Judge<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) behaviour: &'a Behaviour,
    pub(crate) fade_half_life_days: f64,
    pub(crate) mood: Mood<'a>,
    pub(crate) day: f64,
}

impl Judge<'_> {
    /// Log odds from taste and quality, and those of a click, for which looks count too, without satiation.
    fn odds(&self, item: u32) -> (f64, f64) {
        let at = item as usize;
        let fit: f32 = self
            .mood
            .taste
            .iter()
            .zip(self.catalogue.vector(item))
            .map(|(a, b)| a * b)
            .sum();
        let b = self.behaviour;
        let liking = b.taste_strength * f64::from(fit) + f64::from(self.catalogue.quality[at]);
        let mut click = b.click_bias + liking + f64::from(self.catalogue.lure[at]);
        if b.boredom > 0.0 {
            click -= b.boredom * f64::from(self.mood.boredom(self.catalogue.topic[at]));
        }
        if self.fade_half_life_days > 0.0 {
            let age = self.catalogue.age(item, self.day).max(0.0);
            click -= std::f64::consts::LN_2 * age / self.fade_half_life_days;
        }
        (liking, click)
    }

    fn appeal_of(&self, liking: f64, click: f64) -> Appeal {
        let b = self.behaviour;
        Appeal {
            click: sigmoid(click),
            purchase: b.purchase_bias.map_or(0.0, |bias| sigmoid(bias + liking)),
            returned: b.return_bias.map_or(0.0, |bias| sigmoid(bias - liking)),
            liking,
        }
    }

    pub(crate) fn appeal(&self, item: u32) -> Appeal {
        let (liking, click) = self.odds(item);
        let sated = self.behaviour.satiation * self.mood.satiation(item);
        self.appeal_of(liking, click - sated)
    }

    /// The worth to be expected of a slate.
    pub(crate) fn expected(&self, slate: &[Appeal], rewards: &Rewards) -> f64 {
        let b = self.behaviour;
        let mut looks = 1.0;
        let mut total = 0.0;
        for (place, appeal) in slate.iter().enumerate() {
            if b.clicks == ClickModel::Position {
                looks = ((place + 1) as f64).powf(-b.position_power);
            }
            total += looks * appeal.value(rewards);
            if b.clicks == ClickModel::Cascade {
                looks *= appeal.click * b.go_on_after_click + (1.0 - appeal.click) * b.go_on;
            }
        }
        total
    }

    /// The worth to be expected of the best slate of `n` of the items that are there. Looks at every item.
    pub(crate) fn best(&self, n: usize, rewards: &Rewards) -> f64 {
        let clicks_alone = rewards.purchase == 0.0 || self.behaviour.purchase_bias.is_none();
        let mut scored: Vec<(f64, u32)> = Vec::with_capacity(self.catalogue.live.len());
        let sated: Vec<u32> = self.mood.eaten().collect();
        for item in &self.catalogue.live {
            let (liking, mut click) = self.odds(*item);
            if sated.contains(item) {
                click -= self.behaviour.satiation * self.mood.satiation(*item);
            }
            // Worth rises with the log odds if only clicks count.
            let score = if clicks_alone {
                click
            } else {
                self.appeal_of(liking, click).value(rewards)
            };
            scored.push((score, *item));
        }
        let n = n.min(scored.len());
        let order = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if n < scored.len() {
            scored.select_nth_unstable_by(n, order);
            scored.truncate(n);
        }
        scored.sort_unstable_by(order);
        let slate: Vec<Appeal> = scored.iter().map(|(_, item)| self.appeal(*item)).collect();
        self.expected(&slate, rewards)
    }

    /// What someone does with a slate.
    pub(crate) fn react(&self, slate: &[Appeal], stream: &mut SeededStream) -> Vec<Act> {
        let b = self.behaviour;
        let mut acts = vec![Act::default(); slate.len()];
        let mut goes_on = true;
        for (place, (appeal, act)) in slate.iter().zip(&mut acts).enumerate() {
            // The same number of draws whatever happens, so that policies are compared under the same luck.
            let (looks, clicks, buys, sends, noise, on) = (
                stream.uniform(),
                stream.uniform(),
                stream.uniform(),
                stream.uniform(),
                stream.normal(),
                stream.uniform(),
            );
            let seen = match b.clicks {
                ClickModel::Position => looks < ((place + 1) as f64).powf(-b.position_power),
                ClickModel::Cascade => goes_on,
            };
            if !seen {
                continue;
            }
            act.click = clicks < appeal.click;
            if act.click {
                act.dwell = b.dwell_seconds * (0.5 * appeal.liking + 0.7 * noise).exp();
                act.purchase = buys < appeal.purchase;
                act.returned = act.purchase && sends < appeal.returned;
            }
            goes_on = on < if act.click { b.go_on_after_click } else { b.go_on };
        }
        acts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::Person;
    use crate::setup::{CatalogueSetup, People};

    /// What is expected of a slate is the mean of what comes of it, and no slate is expected to be worth more than the best.
    #[test]
    fn expectation_is_the_mean_of_what_happens() {
        let setup = CatalogueSetup {
            items: 12,
            ..CatalogueSetup::default()
        };
        let mut catalogue = Catalogue::new(&setup, &[], 1, 3);
        catalogue.turn(0.0, 0.0);
        let rewards = Rewards {
            click: 0.5,
            purchase: 2.0,
            returned: -3.0,
        };
        for clicks in [ClickModel::Position, ClickModel::Cascade] {
            let behaviour = Behaviour {
                clicks,
                click_bias: -0.5,
                purchase_bias: Some(0.0),
                return_bias: Some(-1.0),
                boredom: 0.4,
                ..Behaviour::default()
            };
            let mut person = Person::new(&People::default(), &catalogue, 0, 0.0, 3);
            person.remember(&[1, 4, 4], 0.0, &behaviour, &catalogue);
            let judge = Judge {
                catalogue: &catalogue,
                behaviour: &behaviour,
                fade_half_life_days: 300.0,
                mood: person.mood(1.0, &People::default(), &behaviour),
                day: 1.0,
            };
            let slate: Vec<Appeal> = [4, 1, 7, 0].map(|item| judge.appeal(item)).into();
            let expected = judge.expected(&slate, &rewards);
            let mut stream = SeededStream::new(7, 7);
            let worth = |act: &Act| {
                let of = |is: bool, worth: f64| if is { worth } else { 0.0 };
                of(act.click, rewards.click)
                    + of(act.purchase, rewards.purchase)
                    + of(act.returned, rewards.returned)
            };
            let draws: Vec<f64> = (0..40_000)
                .map(|_| judge.react(&slate, &mut stream).iter().map(worth).sum())
                .collect();
            let error = (numeric::variance(&draws) / draws.len() as f64).sqrt();
            // Four standard errors.
            assert!(
                (numeric::mean(&draws) - expected).abs() < 4.0 * error,
                "{clicks:?}"
            );
            // Sated of item 4 after two clicks: less likely than without them.
            let fresh = Person::new(&People::default(), &catalogue, 0, 0.0, 3);
            let mood = fresh.mood(1.0, &People::default(), &behaviour);
            assert!(judge.appeal(4).click < Judge { mood, ..judge }.appeal(4).click);
        }
    }

    fn first_day<'a>(catalogue: &'a Catalogue, behaviour: &'a Behaviour, person: &'a Person) -> Judge<'a> {
        Judge {
            catalogue,
            behaviour,
            fade_half_life_days: 0.0,
            mood: person.mood(0.0, &People::default(), behaviour),
            day: 0.0,
        }
    }

    #[test]
    fn no_slate_is_better_than_the_best() {
        let setup = CatalogueSetup {
            items: 6,
            ..CatalogueSetup::default()
        };
        let mut catalogue = Catalogue::new(&setup, &[], 1, 5);
        catalogue.turn(0.0, 0.0);
        for clicks in [ClickModel::Position, ClickModel::Cascade] {
            let behaviour = Behaviour {
                clicks,
                ..Behaviour::default()
            };
            let rewards = Rewards::default();
            let person = Person::new(&People::default(), &catalogue, 0, 0.0, 5);
            let judge = first_day(&catalogue, &behaviour, &person);
            let best = judge.best(3, &rewards);
            let mut highest = f64::NEG_INFINITY;
            // Every slate of three, the slow way.
            for a in 0..6 {
                for b in (0..6).filter(|b| *b != a) {
                    for c in (0..6).filter(|c| *c != a && *c != b) {
                        let slate: Vec<Appeal> = [a, b, c].map(|item| judge.appeal(item)).into();
                        highest = highest.max(judge.expected(&slate, &rewards));
                    }
                }
            }
            assert!((best - highest).abs() < 1e-12, "{clicks:?}: {best} {highest}");
        }
    }

    /// Looks bring clicks, and nothing that comes after them; without, all is as it was.
    #[test]
    fn looks_count_for_clicks_alone() {
        let of = |lure_deviation: f64| {
            let setup = CatalogueSetup {
                items: 40,
                lure_deviation,
                ..CatalogueSetup::default()
            };
            let mut catalogue = Catalogue::new(&setup, &[], 1, 5);
            catalogue.turn(0.0, 0.0);
            let behaviour = Behaviour {
                purchase_bias: Some(0.0),
                return_bias: Some(0.0),
                ..Behaviour::default()
            };
            let person = Person::new(&People::default(), &catalogue, 0, 0.0, 5);
            let judge = first_day(&catalogue, &behaviour, &person);
            let appeals = (0..40).map(|item| judge.appeal(item));
            let odds = |p: f64| (p / (1.0 - p)).ln();
            appeals
                .zip(&catalogue.lure)
                .map(|(a, lure)| (odds(a.click) - f64::from(*lure), a.purchase, a.returned))
                .collect::<Vec<_>>()
        };
        for (plain, lured) in of(0.0).into_iter().zip(of(1.0)) {
            assert!((plain.0 - lured.0).abs() < 1e-9);
            assert_eq!((plain.1, plain.2), (lured.1, lured.2));
        }
    }
}
