//! Simulated people, whose taste is known: they look at all of a slate and click on what they like.

use super::FULL;
use super::folder::{brand_of, price_of};
use assembly::{Clock as _, EventInput, FixedClock, Moment, RecommendRequest, Service};
use dataset::Synthetic;
use domain::{RawAttribute, Timestamp};
use numeric::SeededStream;

/// Decisions between two writes of what came of them.
const ROUND: u64 = 100;
/// Milliseconds between two people.
const BETWEEN_MS: i64 = 200;

pub(super) struct People {
    world: Synthetic,
    seed: u64,
}

impl People {
    pub(super) fn new(world: Synthetic, seed: u64) -> People {
        People { world, seed }
    }

    /// The probability that somebody who looks at the item clicks: likes are the own taste, some brands, and what is cheap.
    fn appeal(&self, user: u32, item: u32) -> f64 {
        let tastes = self.world.tastes.max(1);
        let taste = if user % tastes == item % tastes {
            0.35
        } else {
            0.04
        };
        let brand = if (u64::from(user) + brand_of(item)).is_multiple_of(4) {
            1.6
        } else {
            0.8
        };
        let price = 1.3 - 0.25 * (price_of(item) / 5.0).log10();
        f64::min(taste * brand * price, 0.95)
    }

    /// So many decisions for people drawn evenly, each followed by what came of it. Counts clicks.
    pub(super) fn come(&self, service: &Service, clock: &FixedClock, decisions: u64) -> anyhow::Result<u64> {
        let mut stream = SeededStream::new(self.seed, 78);
        let (mut clicks, mut waiting) = (0, Vec::new());
        for number in 0..decisions {
            let user = (stream.uniform() * f64::from(self.world.users)) as u32;
            let name = self.world.user_id(user).as_str().to_owned();
            let device = RawAttribute::Text(if number % 3 == 0 { "desktop" } else { "phone" }.to_owned());
            let answer = service.recommend(&RecommendRequest {
                placement: FULL.to_owned(),
                user_id: Some(name.clone()),
                context: [("device".to_owned(), device)].into(),
                ..RecommendRequest::default()
            })?;
            let now = clock.now();
            for shown in &answer.items {
                let mut note = |event_type: &str, after_ms: i64| {
                    waiting.push(Ok(EventInput {
                        event_id: None,
                        user_id: name.clone(),
                        item_id: shown.item_id.clone(),
                        event_type: event_type.to_owned(),
                        timestamp: Some(Moment::Number((now.0 + after_ms) as f64)),
                        value: None,
                        session_id: None,
                        decision_id: Some(answer.decision_id.clone()),
                        context: Default::default(),
                    }));
                };
                note("impression", 0);
                let item: u32 = shown.item_id.trim_start_matches('i').parse()?;
                if stream.uniform() < self.appeal(user, item) {
                    clicks += 1;
                    note("click", 10);
                    if stream.uniform() < 0.2 {
                        note("cart", 20);
                    }
                }
            }
            clock.set(Timestamp(now.0 + BETWEEN_MS));
            if number % ROUND == ROUND - 1 || number + 1 == decisions {
                let rows = std::mem::take(&mut waiting);
                let report = service.ingest(rows)?;
                anyhow::ensure!(report.rejected.is_empty(), "events were refused: {report:?}");
                service.absorb()?;
            }
        }
        Ok(clicks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_taste_is_liked_most_and_cheap_things_more() {
        let people = People::new(
            Synthetic {
                tastes: 10,
                ..Synthetic::default()
            },
            1,
        );
        let mean = |items: &mut dyn Iterator<Item = u32>| {
            let all: Vec<f64> = items.map(|item| people.appeal(3, item)).collect();
            assert!(all.iter().all(|appeal| (0.0..=1.0).contains(appeal)));
            all.iter().sum::<f64>() / all.len() as f64
        };
        let own = mean(&mut (0..10_000).filter(|item| item % 10 == 3));
        let other = mean(&mut (0..10_000).filter(|item| item % 10 != 3));
        assert!(own > 5.0 * other, "{own} {other}");
        let cheap = mean(&mut (0..10_000).filter(|item| price_of(*item) < 20.0));
        let dear = mean(&mut (0..10_000).filter(|item| price_of(*item) > 200.0));
        assert!(cheap > dear, "{cheap} {dear}");
    }
}
