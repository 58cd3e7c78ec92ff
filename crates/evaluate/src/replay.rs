//! A log replayed: learnt from up to a moment, and the events after it handed to the model as they came.
//!
//! What a service does all day: batches of events in the order of time, each with what its person had done before. Positions
//! are those of the whole training data from the beginning, as if every item had been in the catalogue; an item that
//! has no event before the moment is new all the same.

use crate::EvaluateError;
use dataset::{Interaction, Interactions};
use domain::HistoryEvent;
use models::TrainingData;
use std::sync::Arc;

/// Training data cut at a moment.
#[derive(Debug, Clone)]
pub struct Replay {
    /// What is learnt from first.
    pub before: TrainingData,
    /// What comes after, in order of time.
    later: Vec<Interaction>,
    batch: usize,
    n_users: usize,
    /// Rows before, by position of the user in the whole.
    known: Vec<Vec<(u32, f32)>>,
}

/// Events handed over at once.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// In order of time.
    pub interactions: Vec<Interaction>,
    /// For each, what its person had done before.
    pub histories: Vec<Vec<HistoryEvent>>,
}

impl Replay {
    /// Cuts off the last `share` of the rows by time, to be handed over in batches of `batch` rows.
    ///
    /// # Errors
    /// [`EvaluateError::NoTime`] if all rows have the same moment, [`EvaluateError::Scheme`] if nothing is left on
    /// one side.
    pub fn new(training: &TrainingData, share: f64, batch: usize) -> Result<Replay, EvaluateError> {
        let all = &training.interactions;
        let mut rows = all.rows.clone();
        rows.sort_by_key(|row| row.timestamp);
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Err(EvaluateError::EmptyTrain(String::new()));
        };
        if first.timestamp == last.timestamp {
            return Err(EvaluateError::NoTime { rows: rows.len() });
        }
        let later = rows.split_off(rows.len() - (rows.len() as f64 * share).round() as usize);
        if rows.is_empty() || later.is_empty() || batch == 0 {
            return Err(EvaluateError::Scheme {
                field: if batch == 0 { "batch" } else { "share" },
                got: if batch == 0 {
                    batch.to_string()
                } else {
                    share.to_string()
                },
                expected: "at least one row before and one after, and batches of at least one",
            });
        }
        let mut known: Vec<Vec<(u32, f32)>> = vec![Vec::new(); all.n_users()];
        rows.iter()
            .for_each(|row| add(&mut known[row.user as usize], row));
        let now = rows.last().map_or(training.now, |row| row.timestamp);
        let interactions = only(all, rows);
        let of_user: std::collections::BTreeMap<_, _> =
            all.users.iter().zip(&*training.user_features).collect();
        let user_features = interactions.users.iter();
        let user_features =
            user_features.map(|user| of_user.get(user).map_or_else(Default::default, |f| (*f).clone()));
        let user_features = user_features.collect();
        Ok(Replay {
            before: TrainingData {
                interactions: Arc::new(interactions),
                features: Arc::clone(&training.features),
                user_features: Arc::new(user_features),
                now,
            },
            later,
            batch,
            n_users: all.n_users(),
            known,
        })
    }

    /// Rows that are handed over.
    pub fn n_later(&self) -> usize {
        self.later.len()
    }

    /// Rows handed over at once.
    pub fn batch_size(&self) -> usize {
        self.batch
    }

    /// The batches in order. Made one by one: the histories of all would take much memory.
    pub fn batches(&self) -> impl Iterator<Item = Batch> + '_ {
        let mut known = self.known.clone();
        debug_assert_eq!(known.len(), self.n_users);
        self.later.chunks(self.batch).map(move |rows| {
            let mut batch = Batch::default();
            for row in rows {
                let own = &mut known[row.user as usize];
                batch.histories.push(own.iter().map(event).collect());
                batch.interactions.push(*row);
                add(own, row);
            }
            batch
        })
    }
}

fn event((item, weight): &(u32, f32)) -> HistoryEvent {
    HistoryEvent {
        item: *item,
        weight: *weight,
        age_days: 0.0,
    }
}

/// Adds a strength to the entry of an item, which moves to the end.
fn add(own: &mut Vec<(u32, f32)>, row: &Interaction) {
    let earlier = own.iter().position(|(item, _)| *item == row.item);
    let before = earlier.map_or(0.0, |at| own.remove(at).1);
    own.push((row.item, before + row.weight));
}

/// These rows with the items of all and the users who are left.
fn only(all: &Interactions, mut rows: Vec<Interaction>) -> Interactions {
    let mut counts = vec![0usize; all.n_users()];
    rows.iter().for_each(|row| counts[row.user as usize] += 1);
    let (mut places, mut users, mut offsets) = (vec![0u32; all.n_users()], Vec::new(), vec![0usize]);
    let mut end = 0;
    for (user, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        places[user] = users.len() as u32;
        users.push(all.users[user].clone());
        end += count;
        offsets.push(end);
    }
    rows.iter_mut()
        .for_each(|row| row.user = places[row.user as usize]);
    rows.sort_by_key(|row| (row.user, row.timestamp, row.item));
    Interactions {
        items: Arc::clone(&all.items),
        users,
        offsets,
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::InteractionsBuilder;
    use domain::{ItemId, Timestamp, UserId};

    #[test]
    fn by_hand() {
        let mut builder = InteractionsBuilder::default();
        for (user, item, at) in [
            ("b", "x", 1),
            ("a", "x", 2),
            ("b", "y", 3),
            ("b", "x", 4),
            ("c", "z", 5),
        ] {
            let user = UserId::new(user).expect("an id");
            builder.push(&user, &ItemId::new(item).expect("an id"), 1.0, Timestamp(at));
        }
        let interactions = builder.build();
        let training = TrainingData {
            features: Arc::new(vec![Default::default(); interactions.n_items()]),
            user_features: Arc::default(),
            now: Timestamp(5),
            interactions: Arc::new(interactions),
        };
        let replay = Replay::new(&training, 0.6, 2).expect("sound");
        assert_eq!((replay.before.interactions.rows.len(), replay.n_later()), (2, 3));
        assert_eq!(replay.before.interactions.users.len(), 2);
        assert_eq!(
            replay.before.interactions.n_items(),
            3,
            "all items from the beginning"
        );
        assert_eq!(replay.before.interactions.of_user(1)[0].timestamp, Timestamp(1));
        let batches: Vec<Batch> = replay.batches().collect();
        let sizes: Vec<usize> = batches.iter().map(|b| b.interactions.len()).collect();
        assert_eq!(sizes, [2, 1]);
        let history = |batch: usize, at: usize| -> Vec<(u32, f32)> {
            batches[batch].histories[at]
                .iter()
                .map(|h| (h.item, h.weight))
                .collect()
        };
        assert_eq!(history(0, 0), [(0, 1.0)], "b had x before y");
        assert_eq!(history(0, 1), [(0, 1.0), (1, 1.0)], "y is known by then");
        assert_eq!(history(1, 0), [], "c is new");
        assert!(Replay::new(&training, 0.01, 2).is_err());
    }
}
