//! Rows, and ways to cut them into what is learnt from and what is judged by.

use crate::EvaluateError;
use domain::{ItemId, Timestamp, UserId};
use hashbrown::HashMap;
use numeric::{hash_bytes, mix};
use std::str::FromStr;

/// One interaction as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Who.
    pub user: UserId,
    /// With what.
    pub item: ItemId,
    /// Rating or count, if there was one.
    pub value: Option<f64>,
    /// When; zero if unknown.
    pub timestamp: Timestamp,
}

/// How to cut one set of rows in two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Split {
    /// The earliest share of all rows is learnt from. Rows of one moment stay together, on the
    /// later side, so the share is reached from below.
    Temporal(f64),
    /// Each user's last rows are judged by (by moment, then item id); users with no more rows
    /// than that are learnt from entirely.
    Last(usize),
    /// Each user-item pair is learnt from with this probability, by a hash of seed, user and item.
    Random(f64),
}

impl FromStr for Split {
    type Err = EvaluateError;

    /// `temporal:0.8`, `last:1` or `random:0.8`.
    fn from_str(text: &str) -> Result<Split, EvaluateError> {
        let wrong = || EvaluateError::Split { got: text.to_owned() };
        let (kind, amount) = text.split_once(':').ok_or_else(wrong)?;
        let share = || match amount.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
            _ => Err(wrong()),
        };
        match kind {
            "temporal" => Ok(Split::Temporal(share()?)),
            "random" => Ok(Split::Random(share()?)),
            "last" => match amount.parse() {
                Ok(count) if count > 0 => Ok(Split::Last(count)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

/// Cuts rows into (train, test); each part keeps the order of the rows.
///
/// # Errors
/// [`EvaluateError::NoTime`] for a split by time of rows that all have the same moment.
pub fn split(rows: Vec<Row>, how: Split, seed: u64) -> Result<(Vec<Row>, Vec<Row>), EvaluateError> {
    let needs_time = matches!(how, Split::Temporal(_) | Split::Last(_));
    let same_moment = rows.windows(2).all(|pair| pair[0].timestamp == pair[1].timestamp);
    if needs_time && same_moment && rows.len() > 1 {
        return Err(EvaluateError::NoTime { rows: rows.len() });
    }
    let in_test = match how {
        Split::Temporal(share) => after_quantile(&rows, share),
        Split::Last(count) => last_of_each(&rows, count),
        Split::Random(share) => rows.iter().map(|row| uniform(row, seed) >= share).collect(),
    };
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (row, in_test) in rows.into_iter().zip(in_test) {
        if in_test { &mut test } else { &mut train }.push(row);
    }
    Ok((train, test))
}

fn after_quantile(rows: &[Row], share: f64) -> Vec<bool> {
    let mut moments: Vec<Timestamp> = rows.iter().map(|row| row.timestamp).collect();
    moments.sort_unstable();
    let at = (rows.len() as f64 * share).floor() as usize;
    let cut = moments
        .get(at.min(rows.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default();
    rows.iter().map(|row| row.timestamp >= cut).collect()
}

fn last_of_each(rows: &[Row], count: usize) -> Vec<bool> {
    let mut by_user: HashMap<&UserId, Vec<usize>> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        by_user.entry(&row.user).or_default().push(at);
    }
    let mut in_test = vec![false; rows.len()];
    for mut own in by_user.into_values() {
        if own.len() <= count {
            continue;
        }
        own.sort_by(|a, b| (rows[*a].timestamp, &rows[*a].item).cmp(&(rows[*b].timestamp, &rows[*b].item)));
        for at in &own[own.len() - count..] {
            in_test[*at] = true;
        }
    }
    in_test
}

fn uniform(row: &Row, seed: u64) -> f64 {
    let user = hash_bytes(row.user.as_str().as_bytes());
    let item = hash_bytes(row.item.as_str().as_bytes());
    (mix(mix(user ^ mix(seed)) ^ item) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: usize) -> Vec<Row> {
        (0..n)
            .map(|i| Row {
                user: UserId::new(format!("u{}", i % 7)).expect("an id"),
                item: ItemId::new(format!("i{i}")).expect("an id"),
                value: None,
                timestamp: Timestamp((i as i64 * 37) % 50),
            })
            .collect()
    }

    #[test]
    fn by_time_nothing_learnt_is_later_than_anything_judged() {
        let (train, test) = split(rows(100), Split::Temporal(0.8), 0).expect("moments differ");
        assert_eq!((train.len(), test.len()), (80, 20));
        let last = train.iter().map(|r| r.timestamp).max();
        assert!(last < test.iter().map(|r| r.timestamp).min());
    }

    #[test]
    fn the_last_of_each_user_and_none_of_those_with_too_few() {
        let mut all = rows(70);
        all.push(Row {
            user: UserId::new("lone").expect("an id"),
            ..all[0].clone()
        });
        let (train, test) = split(all, Split::Last(2), 0).expect("moments differ");
        assert_eq!((train.len(), test.len()), (57, 14));
        assert!(test.iter().all(|r| r.user.as_str() != "lone"));
        for user in 0..7 {
            let user = format!("u{user}");
            let latest = |rows: &[Row]| {
                rows.iter()
                    .filter(|r| r.user.as_str() == user)
                    .map(|r| r.timestamp)
                    .max()
            };
            assert!(latest(&train) <= latest(&test));
        }
    }

    #[test]
    fn at_random_by_pair_whatever_the_order() {
        let (train, test) = split(rows(2000), Split::Random(0.75), 1).expect("no time needed");
        // Standard deviation of the count: √(2000 · 0.75 · 0.25) = 19.
        assert!((train.len() as i64 - 1500).abs() < 80, "{}", train.len());
        let mut turned = rows(2000);
        turned.reverse();
        let (_, mut again) = split(turned, Split::Random(0.75), 1).expect("no time needed");
        again.reverse();
        assert_eq!(test, again);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in [
            "temporal",
            "temporal:1",
            "temporal:0",
            "temporal:x",
            "last:0",
            "last:1.5",
            "half:0.5",
            "",
        ] {
            assert!(text.parse::<Split>().is_err(), "{text}");
        }
        assert_eq!("last:1".parse::<Split>(), Ok(Split::Last(1)));
        let mut still = rows(10);
        still.iter_mut().for_each(|r| r.timestamp = Timestamp(0));
        assert_eq!(
            split(still, Split::Last(1), 0),
            Err(EvaluateError::NoTime { rows: 10 })
        );
    }
}
