//! Whom a blend is fitted by: people of a sample with what is held out of training.
//!
//! *Usual cases*: the last events (a fifth, at least one, at most ten; equal moments in an order drawn by hash). People go on with what they are at or come
//! back after a while, and what tells best of one tells worse of the other: so of every second person who came back in the later half of their history, all since
//! they last did is held out, and the first ten of that are what is looked for.
//!
//! *Newcomers*: a tenth of all people at most, of whom everything is held out. They are asked at several short lengths from their first event on, and the ten
//! events that follow are looked for. The latest events of somebody who has been there for long say less of that: they are what is left after the hits that
//! everybody begins with, and what follows at once is like them. With too few people there are no newcomers.

use crate::blend::LENGTHS;
use crate::common::summed;
use crate::{Someone, TrainingData, UserFeatures};
use dataset::Interactions;
use domain::HistoryEvent;
use numeric::{hash_bytes, mix};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// People below which nothing can be said of a range of lengths.
pub(crate) const CASES_MIN: usize = 40;
/// One of so many people is a newcomer, and no more than a third of the usual cases.
const NEWCOMERS_SHARE: usize = 10;
/// Lengths at which newcomers are asked, for the first ranges.
const STARTS: [&[usize]; 3] = [&[0], &[1, 2], &[3, 5, 8]];
/// A pause after which somebody comes back, milliseconds: half an hour, as sessions are commonly cut.
const PAUSE_MS: i64 = 30 * 60 * 1000;
/// Most events that are looked for.
const LATER_MAX: usize = 10;

/// Someone's history with what they took after it.
pub(crate) struct Case {
    pub(crate) history: Vec<HistoryEvent>,
    attributes: UserFeatures,
    pub(crate) later: Vec<u32>,
}

/// Data without the held-out events, and those.
pub(crate) struct HeldOut {
    pub(crate) data: TrainingData,
    pub(crate) cases: Vec<Case>,
    /// People of whom nothing was learnt, with all that they did in order.
    newcomers: Vec<(Vec<HistoryEvent>, UserFeatures)>,
}

impl Case {
    pub(crate) fn with<'a>(&'a self, history: &'a [HistoryEvent]) -> Someone<'a> {
        Someone {
            history,
            attributes: &self.attributes,
        }
    }
}

impl HeldOut {
    /// Newcomers as they were when they had so many events as make this range, with what they took next; none beyond the first ranges.
    pub(crate) fn starts(&self, range: usize) -> Vec<Case> {
        let lengths = STARTS.get(range).copied().unwrap_or_default();
        let of = |length: usize| {
            self.newcomers.iter().filter_map(move |(events, attributes)| {
                let (first, rest) = events.split_at_checked(length)?;
                let later: Vec<u32> = rest.iter().take(LATER_MAX).map(|event| event.item).collect();
                (!later.is_empty()).then(|| Case {
                    history: first.to_vec(),
                    attributes: attributes.clone(),
                    later,
                })
            })
        };
        lengths.iter().flat_map(|length| of(*length)).collect()
    }
}

/// Users in an order drawn by hash of their ids.
fn sampled(data: &Interactions, most: usize, seed: u64, least: usize) -> Vec<usize> {
    let mut users: Vec<(u64, usize)> = (0..data.n_users())
        .filter(|u| data.of_user(*u).len() >= least)
        .map(|u| (mix(hash_bytes(data.users[u].as_str().as_bytes()) ^ seed), u))
        .collect();
    users.sort_unstable();
    users.truncate(most);
    users.sort_unstable_by_key(|entry| entry.1);
    users.into_iter().map(|entry| entry.1).collect()
}

fn history_of(list: &[(u32, f32)]) -> Vec<HistoryEvent> {
    let event = |(item, weight): &(u32, f32)| HistoryEvent {
        item: *item,
        weight: *weight,
        age_days: 0.0,
    };
    list.iter().map(event).collect()
}

fn attributes_of(data: &TrainingData, user: usize) -> UserFeatures {
    data.user_features.get(user).cloned().unwrap_or_default()
}

/// Complete histories of a sample, nothing held out.
pub(crate) fn whole_histories(data: &TrainingData, most: usize, seed: u64) -> Vec<Case> {
    let case = |user| Case {
        history: history_of(&summed(&data.interactions, user)),
        attributes: attributes_of(data, user),
        later: Vec::new(),
    };
    sampled(&data.interactions, most, seed, 1)
        .into_iter()
        .map(case)
        .collect()
}

/// An item that someone took to: when last, where it stands among those of the same moment, which, and how strongly.
type Taken = (i64, u64, u32, f32);

/// What someone took to, earliest first.
fn in_order(all: &Interactions, user: usize, seed: u64) -> Vec<Taken> {
    let taken = |(item, sum): (u32, f32)| {
        let rows = all.of_user(user).iter().filter(|r| r.item == item);
        let last = rows.map(|r| r.timestamp.0).max().unwrap_or(0);
        let id = all.items.id(item).as_str();
        let drawn = mix(hash_bytes(id.as_bytes()) ^ mix(seed ^ user as u64));
        (last, drawn, item, sum)
    };
    let positive = summed(all, user).into_iter().filter(|(_, sum)| *sum > 0.0);
    let mut items: Vec<Taken> = positive.map(taken).collect();
    items.sort_unstable_by_key(|taken| (taken.0, taken.1, taken.2));
    items
}

fn history_in_order(items: &[Taken]) -> Vec<HistoryEvent> {
    let list: Vec<(u32, f32)> = items.iter().map(|taken| (taken.2, taken.3)).collect();
    history_of(&list)
}

/// Who is held out entirely; nobody if they would be too few.
fn newcomers(all: &Interactions, most: usize, seed: u64) -> BTreeSet<usize> {
    let n = (all.n_users() / NEWCOMERS_SHARE).min(most / 3);
    let drawn = if n < CASES_MIN {
        Vec::new()
    } else {
        sampled(all, n, !seed, 2)
    };
    drawn.into_iter().collect()
}

/// Holds out the last events of a sample and all of some newcomers; `None` if there are too few people.
pub(crate) fn hold_out(data: &TrainingData, most: usize, seed: u64) -> Option<HeldOut> {
    let all = &data.interactions;
    let fresh = newcomers(all, most, seed);
    let mut cases = Vec::new();
    let mut held: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for user in sampled(all, most, seed, 2)
        .into_iter()
        .filter(|user| !fresh.contains(user))
    {
        let items = in_order(all, user, seed);
        if items.len() < 2 {
            continue;
        }
        let usual = items.len() - (items.len() / 5).clamp(1, LATER_MAX);
        let moments: Vec<i64> = items.iter().map(|taken| taken.0).collect();
        let drawn = mix(hash_bytes(all.users[user].as_str().as_bytes()) ^ !seed) & 1 == 1;
        let at = Some(moments)
            .filter(|_| drawn)
            .and_then(|moments| came_back(&moments));
        let (before, after) = items.split_at(at.unwrap_or(usual));
        cases.push(Case {
            history: history_in_order(before),
            attributes: attributes_of(data, user),
            later: after.iter().take(LATER_MAX).map(|taken| taken.2).collect(),
        });
        held.insert(user as u32, after.iter().map(|taken| taken.2).collect());
    }
    if cases.len() < CASES_MIN {
        return None;
    }
    let out = |user: u32, item: u32| {
        fresh.contains(&(user as usize)) || held.get(&user).is_some_and(|items| items.contains(&item))
    };
    let rows: Vec<_> = all
        .rows
        .iter()
        .filter(|r| !out(r.user, r.item))
        .copied()
        .collect();
    let mut offsets = vec![0usize; all.n_users() + 1];
    rows.iter().for_each(|r| offsets[r.user as usize + 1] += 1);
    (0..all.n_users()).for_each(|u| offsets[u + 1] += offsets[u]);
    let interactions = Interactions {
        items: Arc::clone(&all.items),
        users: all.users.clone(),
        offsets,
        rows,
    };
    let data = TrainingData {
        interactions: Arc::new(interactions),
        features: Arc::clone(&data.features),
        user_features: Arc::clone(&data.user_features),
        now: data.now,
    };
    let newcomer = |user: usize| {
        (
            history_in_order(&in_order(all, user, seed)),
            attributes_of(&data, user),
        )
    };
    let newcomers = fresh.into_iter().map(newcomer).collect();
    Some(HeldOut {
        data,
        cases,
        newcomers,
    })
}

/// Where somebody last came back after a pause, in the later half of these moments, which ascend.
fn came_back(moments: &[i64]) -> Option<usize> {
    let half = moments.len().div_ceil(2).max(1);
    (half..moments.len())
        .rev()
        .find(|at| moments[*at].saturating_sub(moments[at - 1]) > PAUSE_MS)
}

/// The case cut to a range of length: its last events; `None` if it is too short.
pub(crate) fn cut(case: &Case, range: usize) -> Option<&[HistoryEvent]> {
    let length = case.history.len();
    if length < LENGTHS[range] {
        return None;
    }
    let most = LENGTHS.get(range + 1).map_or(usize::MAX, |next| next - 1);
    Some(&case.history[length.saturating_sub(most)..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::InteractionsBuilder;
    use domain::{ItemId, Timestamp, UserId};

    /// Nothing of a newcomer is learnt, and what is looked for follows what they did first.
    #[test]
    fn of_newcomers_nothing_is_learnt() {
        let mut builder = InteractionsBuilder::default();
        for user in 0..500i64 {
            let id = UserId::new(format!("u{user}")).unwrap();
            for at in 0..1 + user % 20 {
                let item = ItemId::new(format!("i{}", (user * 7 + at) % 90)).unwrap();
                builder.push(&id, &item, 1.0, Timestamp(at * 60_000));
            }
        }
        let data = TrainingData {
            interactions: Arc::new(builder.build()),
            features: Arc::default(),
            user_features: Arc::default(),
            now: Timestamp(0),
        };
        let held = hold_out(&data, 300, 5).unwrap();
        let all = &data.interactions;
        let missing: Vec<usize> = (0..all.n_users())
            .filter(|user| held.data.interactions.of_user(*user).is_empty())
            .collect();
        assert_eq!(missing.len(), 50);
        assert_eq!(held.newcomers.len(), 50);
        for (user, (events, _)) in missing.iter().zip(&held.newcomers) {
            let items: Vec<u32> = events.iter().map(|event| event.item).collect();
            let rows: Vec<u32> = all.of_user(*user).iter().map(|row| row.item).collect();
            assert_eq!(items.len(), rows.len());
            let moment = |item: &u32| {
                all.of_user(*user)
                    .iter()
                    .find(|row| row.item == *item)
                    .unwrap()
                    .timestamp
            };
            assert!(items.windows(2).all(|pair| moment(&pair[0]) < moment(&pair[1])));
        }
        for (range, lengths) in STARTS.iter().enumerate() {
            let cases = held.starts(range);
            let long = |length: usize| {
                held.newcomers
                    .iter()
                    .filter(move |(events, _)| events.len() > length)
            };
            let expected = lengths.iter().flat_map(|length| {
                long(*length).map(move |(events, _)| {
                    let items: Vec<u32> = events.iter().map(|event| event.item).collect();
                    let end = items.len().min(length + LATER_MAX);
                    (items[..*length].to_vec(), items[*length..end].to_vec())
                })
            });
            let got = cases.iter().map(|case| {
                let history = case.history.iter().map(|event| event.item).collect::<Vec<_>>();
                (history, case.later.clone())
            });
            assert!(got.eq(expected), "range {range}");
        }
        assert!(held.starts(3).is_empty());
        assert!(hold_out(&data, 90, 5).unwrap().newcomers.is_empty());
    }

    #[test]
    fn who_came_back_and_when() {
        let minutes =
            |moments: &[i64]| -> Vec<i64> { moments.iter().map(|minute| minute * 60_000).collect() };
        // The last pause counts, of more than half an hour, in the later half.
        assert_eq!(came_back(&minutes(&[0, 1, 2, 40, 41, 100, 110])), Some(5));
        assert_eq!(came_back(&minutes(&[0, 1, 2, 40, 41, 42, 43])), None);
        assert_eq!(came_back(&minutes(&[0, 30])), None);
        assert_eq!(came_back(&minutes(&[0, 31])), Some(1));
        assert_eq!(came_back(&minutes(&[0])), None);
        assert_eq!(came_back(&[i64::MIN, i64::MAX]), Some(1));
        assert_eq!(came_back(&[]), None);
    }
}
