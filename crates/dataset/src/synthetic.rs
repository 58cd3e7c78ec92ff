//! Made-up behaviour of any size: seeded, streamed, with tastes that a model can find.
//!
//! Users are busy and items popular by Zipf's law. Every item belongs to one of some tastes and so does every user;
//! a user takes an item of the own taste with probability `loyalty`, and of any taste otherwise. Moments rise
//! evenly through the period. The same configuration gives the same events, whatever is done with them.
//!
//! Cost: O(users + items) once, then O(log) per event; memory 8 bytes per user and per item.

use crate::{Interaction, Interactions, Vocabulary};
use domain::{Attributes, Event, EventType, Item, ItemId, RawAttribute, Timestamp, UserId};
use numeric::{SeededStream, parallel_chunks};
use std::sync::Arc;

/// How the events are to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    /// Number of users, at least 1.
    pub users: u32,
    /// Number of items, at least 1.
    pub items: u32,
    /// Number of events.
    pub events: u64,
    /// Exponent of Zipf's law, for both; 0 for no differences.
    pub exponent: f64,
    /// Number of tastes, at least 1.
    pub tastes: u32,
    /// Probability that an item is of the user's own taste, 0 to 1.
    pub loyalty: f64,
    /// Moment of the first event.
    pub start: Timestamp,
    /// Days from the first event to the last.
    pub days: u32,
    /// Source of all randomness.
    pub seed: u64,
}

impl Default for Synthetic {
    fn default() -> Self {
        Synthetic {
            users: 100_000,
            items: 20_000,
            events: 1_000_000,
            exponent: 1.0,
            tastes: 20,
            loyalty: 0.8,
            start: Timestamp(1_700_000_000_000),
            days: 90,
            seed: 1,
        }
    }
}

/// Ranks drawn by Zipf's law, by inversion of the cumulative weights.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(n: u32, exponent: f64) -> Zipf {
        let mut total = 0.0;
        let weights = (1..=n.max(1)).map(|rank| {
            total += f64::from(rank).powf(-exponent);
            total
        });
        Zipf(weights.collect())
    }

    /// A rank from 0.
    fn draw(&self, stream: &mut SeededStream) -> u32 {
        let total = self.0.last().copied().unwrap_or(1.0);
        let point = stream.uniform() * total;
        let rank = self.0.partition_point(|sum| *sum <= point);
        rank.min(self.0.len() - 1) as u32
    }
}

/// Acts with their shares of all events, cumulative.
const ACTS: [(&str, f64); 4] = [("click", 0.70), ("view", 0.90), ("cart", 0.97), ("purchase", 1.0)];

impl Synthetic {
    /// The taste of a user or of an item.
    fn taste(&self, number: u32) -> u32 {
        number % self.tastes.max(1)
    }

    /// Id of the user of this rank.
    pub fn user_id(&self, rank: u32) -> UserId {
        UserId::new(format!("u{rank:07}")).expect("letters and digits are a valid id")
    }

    /// Id of the item of this rank.
    pub fn item_id(&self, rank: u32) -> ItemId {
        ItemId::new(format!("i{rank:06}")).expect("letters and digits are a valid id")
    }

    /// The items with their taste as an attribute.
    pub fn items(&self) -> impl Iterator<Item = Item> + '_ {
        (0..self.items.max(1)).map(|rank| {
            let taste = format!("taste-{:03}", self.taste(rank));
            let attributes = [
                ("title", RawAttribute::Text(format!("Item {rank}"))),
                ("tastes", RawAttribute::Texts(vec![taste])),
            ];
            let attributes: Attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
            Item {
                item_id: self.item_id(rank),
                attributes,
                hidden: false,
                added_at: Some(self.start),
            }
        })
    }

    /// What such people take, as interactions of weight 1 without moments: for training at a size at which events one by one would take
    /// longer than the training. Drawn user by user by the same laws, each pair once, so these are not the pairs of
    /// [`events`](Self::events). In parallel; the same at any number of threads. A user takes at most half of the items, so that there may be fewer than `events`.
    pub fn interactions(&self) -> Interactions {
        let n_users = self.users.max(1) as usize;
        let shares: Vec<f64> = (1..=n_users)
            .map(|rank| (rank as f64).powf(-self.exponent))
            .collect();
        let unit = self.events as f64 / shares.iter().sum::<f64>();
        let items = Zipf::new(self.items, self.exponent);
        let parts = parallel_chunks(n_users, 256, |users| {
            let mut rows = Vec::new();
            let mut own = Vec::new();
            let mut lengths = Vec::with_capacity(users.len());
            for user in users {
                self.basket(user as u32, unit * shares[user], &items, &mut own);
                lengths.push(own.len());
                rows.extend(own.iter().map(|item| Interaction {
                    user: user as u32,
                    item: *item,
                    weight: 1.0,
                    timestamp: self.start,
                }));
            }
            (lengths, rows)
        });
        let mut vocabulary = Vocabulary::default();
        (0..self.items.max(1)).for_each(|rank| {
            vocabulary.insert(&self.item_id(rank));
        });
        let mut offsets = Vec::with_capacity(n_users + 1);
        offsets.push(0);
        let mut rows = Vec::with_capacity(parts.iter().map(|part| part.1.len()).sum());
        let mut end = 0;
        for (lengths, own) in parts {
            offsets.extend(lengths.iter().map(|length| {
                end += length;
                end
            }));
            rows.extend(own);
        }
        Interactions {
            items: Arc::new(vocabulary),
            users: (0..self.users.max(1)).map(|rank| self.user_id(rank)).collect(),
            offsets,
            rows,
        }
    }

    /// How many [`interactions`](Self::interactions) there would be, if everyone found as many different items as wanted: more than
    /// `events` where that is fewer than users, fewer where it is more than the items allow.
    pub fn interactions_wanted(&self) -> f64 {
        let n_users = self.users.max(1);
        let share = |rank: u32| f64::from(rank).powf(-self.exponent);
        let unit = self.events as f64 / (1..=n_users).map(share).sum::<f64>();
        let most = f64::from((self.items.max(1) / 2).max(1));
        (1..=n_users)
            .map(|rank| (unit * share(rank)).clamp(1.0, most))
            .sum()
    }

    /// The items of one user, ascending, about `mean` of them.
    fn basket(&self, user: u32, mean: f64, items: &Zipf, own: &mut Vec<u32>) {
        let mut stream = SeededStream::new(self.seed, 1 + u64::from(user));
        // Rounded at random, so that the sum over users is right.
        let wanted = (mean + stream.uniform()) as usize;
        let wanted = wanted.min(self.items.max(1) as usize / 2).max(1);
        own.clear();
        // Popular items come again and again: draw what is missing, a few times.
        for _ in 0..16 {
            let missing = wanted - own.len();
            if missing == 0 {
                break;
            }
            own.extend((0..missing).map(|_| self.pick(user, items, &mut stream)));
            own.sort_unstable();
            own.dedup();
        }
    }

    /// An item of about the rank drawn, of the user's taste if the user is loyal this time.
    fn pick(&self, user: u32, items: &Zipf, stream: &mut SeededStream) -> u32 {
        let tastes = self.tastes.clamp(1, self.items.max(1));
        let mut item = items.draw(stream);
        if stream.uniform() < self.loyalty {
            // The nearest item of about this rank that is of the user's taste.
            item = item - item % tastes + self.taste(user) % tastes;
            if item >= self.items.max(1) {
                item = item.saturating_sub(tastes);
            }
        }
        item
    }

    /// The events, in order of time. No two are equal.
    pub fn events(&self) -> impl Iterator<Item = Event> + Send + use<> {
        let this = self.clone();
        let users = Zipf::new(self.users, self.exponent);
        let items = Zipf::new(self.items, self.exponent);
        let mut stream = SeededStream::new(self.seed, 0);
        let types = ACTS.map(|(name, _)| EventType::new(name).expect("the literal is an id"));
        let span_ms = f64::from(self.days) * 86_400_000.0;
        (0..self.events).map(move |n| {
            let user = users.draw(&mut stream);
            let item = this.pick(user, &items, &mut stream);
            let act = stream.uniform();
            let act = ACTS.iter().position(|(_, share)| act < *share).unwrap_or(0);
            let elapsed = span_ms * n as f64 / this.events.max(1) as f64;
            Event {
                event_id: None,
                user_id: this.user_id(user),
                item_id: this.item_id(item),
                event_type: types[act].clone(),
                // A millisecond apart at least where there are many: equal acts are then still two.
                timestamp: Timestamp(this.start.0 + (elapsed as i64).max(n as i64)),
                value: (act == 1).then(|| (stream.uniform() * 120.0).round()),
                session_id: None,
                decision_id: None,
                context: Attributes::new(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn the_same_seed_gives_the_same_events_skewed_and_by_taste() {
        let small = Synthetic {
            users: 500,
            items: 200,
            events: 20_000,
            tastes: 5,
            ..Synthetic::default()
        };
        let events: Vec<Event> = small.events().collect();
        assert_eq!(events, small.events().collect::<Vec<_>>());
        assert_ne!(
            events,
            Synthetic {
                seed: 2,
                ..small.clone()
            }
            .events()
            .collect::<Vec<_>>()
        );
        let moments: HashSet<_> = events.iter().map(|e| e.timestamp).collect();
        assert_eq!(moments.len(), events.len());
        let number = |id: &str| id[1..].parse::<u32>().unwrap();
        let own = events
            .iter()
            .filter(|e| number(e.user_id.as_str()) % 5 == number(e.item_id.as_str()) % 5)
            .count();
        // 0.8 by loyalty, and a fifth of the rest by chance.
        assert!((0.81..0.87).contains(&(own as f64 / 20_000.0)), "{own}");
        let mut counts: HashMap<&str, u32> = HashMap::new();
        for event in &events {
            *counts.entry(event.user_id.as_str()).or_default() += 1;
        }
        // The first of 500 has 1/H(500) = 0.147 of all.
        assert!(
            (2600..3300).contains(&counts["u0000000"]),
            "{}",
            counts["u0000000"]
        );
        assert_eq!(small.items().count(), 200);
        assert!(small.items().all(|item| item.attributes.len() == 2));
    }

    #[test]
    fn interactions_follow_the_same_laws_at_any_number_of_threads() {
        let small = Synthetic {
            users: 400,
            items: 1000,
            events: 8_000,
            exponent: 0.5,
            tastes: 5,
            ..Synthetic::default()
        };
        let drawn = numeric::on_threads(1, || small.interactions());
        let again = numeric::on_threads(3, || small.interactions());
        assert!(drawn.rows == again.rows && drawn.offsets == again.offsets);
        assert!((7_900..8_100).contains(&drawn.rows.len()), "{}", drawn.rows.len());
        // Nobody reaches half of the items, and nobody has none.
        assert!((small.interactions_wanted() - 8_000.0).abs() < 1e-6);
        let wanted = |events, items| {
            Synthetic {
                events,
                items,
                ..small.clone()
            }
            .interactions_wanted()
        };
        assert_eq!(
            (wanted(1, 1000), wanted(1_000_000_000, 1000), wanted(8_000, 1)),
            (400.0, 200_000.0, 400.0)
        );
        let own = drawn
            .rows
            .iter()
            .filter(|row| row.user % 5 == row.item % 5)
            .count();
        assert!(
            (0.75..0.87).contains(&(own as f64 / drawn.rows.len() as f64)),
            "{own}"
        );
        let rows =
            |range: std::ops::Range<u32>| drawn.rows.iter().filter(|row| range.contains(&row.item)).count();
        // Zipf's law with exponent 1/2 gives the first tenth about three tenths.
        assert!(
            (0.25..0.36).contains(&(rows(0..100) as f64 / drawn.rows.len() as f64)),
            "{}",
            rows(0..100)
        );
        for user in 0..400 {
            assert!(drawn.of_user(user).is_sorted_by_key(|row| row.item));
        }
    }
}
