//! Metrics of lists that were made elsewhere.

use crate::measure::coverage;
use crate::set::{Judge, Lens};
use crate::{EvaluateError, MetricSet, Popularity, Row};
use dataset::{InteractionsBuilder, Vocabulary};
use domain::{ItemId, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// One user's list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Whose.
    pub user: UserId,
    /// Best first.
    pub items: Vec<ItemId>,
}

/// What is given.
#[derive(Debug, Clone, Default)]
pub struct ListsInput {
    /// Relevant items, with the gain as value (one if there is none). The highest counts for a
    /// pair that is given twice; a gain of zero or less is not relevant.
    pub relevance: Vec<Row>,
    /// The lists, one per user.
    pub lists: Vec<Listed>,
    /// Earlier interactions, for novelty; without them these metrics are not taken.
    pub train: Option<Vec<Row>>,
    /// Number of items that could have been listed; without it the distinct items of all rows.
    pub catalogue_items: Option<usize>,
}

/// Metrics of all users.
#[derive(Debug, Clone, PartialEq)]
pub struct ListMetrics {
    /// Names of the columns of `per_user`.
    pub names: Vec<String>,
    /// User by user, by id: not a number where a metric is not defined for a user (accuracy
    /// without relevant items, novelty without a list).
    pub per_user: Vec<(UserId, Vec<f64>)>,
    /// Means over the users for whom a metric is defined. A user with relevant items but without a
    /// list counts as zero.
    pub means: BTreeMap<String, f64>,
}

/// Takes the metrics of `set` of some lists.
///
/// # Errors
/// [`EvaluateError::EmptyTest`] if nothing is relevant to anyone; [`EvaluateError::Twice`] if an
/// item stands twice in a list.
pub fn measure_lists(input: &ListsInput, set: &MetricSet) -> Result<ListMetrics, EvaluateError> {
    let mut builder = InteractionsBuilder::default();
    for row in input.train.iter().flatten() {
        builder.push(&row.user, &row.item, 1.0, row.timestamp);
    }
    let train = builder.build();
    let mut items: Vocabulary = train.items.as_ref().clone();
    let gains = gains(&input.relevance, &mut items);
    if gains.is_empty() {
        return Err(EvaluateError::EmptyTest(" with a gain above zero".to_owned()));
    }
    let lists = lists(&input.lists, &mut items)?;
    let n_catalogue = input.catalogue_items.unwrap_or(items.len());
    let popularity = input.train.as_ref().map(|_| Popularity::new(&train, n_catalogue));
    let lens = Lens {
        popularity: popularity.as_ref(),
        ..Lens::default()
    };
    let names = set.names(lens);
    let users: BTreeSet<&UserId> = gains.keys().chain(lists.keys()).copied().collect();
    let none = BTreeMap::new();
    let per_user: Vec<(UserId, Vec<f64>)> = users
        .into_iter()
        .map(|user| {
            let list = lists.get(user).map_or(&[][..], Vec::as_slice);
            let own = gains.get(user).unwrap_or(&none);
            let along: Vec<f64> = list
                .iter()
                .map(|item| own.get(item).copied().unwrap_or(0.0))
                .collect();
            let mut ideal: Vec<f64> = own.values().copied().collect();
            ideal.sort_unstable_by(|a, b| b.total_cmp(a));
            let mut row = Vec::with_capacity(names.len());
            let judge = Judge {
                ideal: &ideal,
                relevant: &[],
                n_relevant: ideal.len(),
                history: &[],
            };
            set.row(list, &along, judge, lens, &mut row);
            (user.clone(), row)
        })
        .collect();
    let mut means: BTreeMap<String, f64> = names
        .iter()
        .enumerate()
        .map(|(column, name)| {
            let values = per_user.iter().map(|(_, row)| row[column]);
            let defined: Vec<f64> = values.filter(|value| value.is_finite()).collect();
            (name.clone(), numeric::mean(&defined))
        })
        .collect();
    if popularity.is_some() {
        let covered = coverage(lists.values().map(Vec::as_slice), set, n_catalogue);
        means.extend(covered.into_iter().map(|(name, share)| (name, share.mean)));
    }
    Ok(ListMetrics {
        names,
        per_user,
        means,
    })
}

fn gains<'a>(rows: &'a [Row], items: &mut Vocabulary) -> BTreeMap<&'a UserId, BTreeMap<u32, f64>> {
    let mut gains: BTreeMap<&UserId, BTreeMap<u32, f64>> = BTreeMap::new();
    for row in rows {
        let item = items.insert(&row.item);
        let gain = row.value.unwrap_or(1.0);
        if gain > 0.0 {
            let held = gains.entry(&row.user).or_default().entry(item).or_insert(gain);
            *held = held.max(gain);
        }
    }
    gains
}

fn lists<'a>(
    listed: &'a [Listed],
    items: &mut Vocabulary,
) -> Result<BTreeMap<&'a UserId, Vec<u32>>, EvaluateError> {
    let mut lists: BTreeMap<&UserId, Vec<u32>> = BTreeMap::new();
    for listed in listed {
        let list = lists.entry(&listed.user).or_default();
        let mut held: BTreeSet<u32> = list.iter().copied().collect();
        for item in &listed.items {
            let position = items.insert(item);
            if !held.insert(position) {
                return Err(EvaluateError::Twice {
                    user: listed.user.to_string(),
                    item: item.to_string(),
                });
            }
            list.push(position);
        }
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;

    fn rows(of: &[(&str, &str, f64)]) -> Vec<Row> {
        of.iter()
            .map(|(user, item, value)| Row {
                user: UserId::new(user).expect("an id"),
                item: ItemId::new(item).expect("an id"),
                value: Some(*value),
                timestamp: Timestamp(0),
            })
            .collect()
    }

    fn listed(user: &str, items: &[&str]) -> Listed {
        Listed {
            user: UserId::new(user).expect("an id"),
            items: items
                .iter()
                .map(|item| ItemId::new(item).expect("an id"))
                .collect(),
        }
    }

    /// u has a hit at place 2 of 2 relevant; v has relevant items and no list; w a list and nothing
    /// relevant.
    #[test]
    fn by_hand() {
        let input = ListsInput {
            relevance: rows(&[("u", "a", 2.0), ("u", "b", 1.0), ("v", "a", 1.0), ("w", "a", 0.0)]),
            lists: vec![listed("u", &["x", "a"]), listed("w", &["a", "y"])],
            train: Some(rows(&[
                ("p", "a", 1.0),
                ("q", "a", 1.0),
                ("q", "x", 1.0),
                ("r", "z", 1.0),
            ])),
            catalogue_items: Some(6),
        };
        let set = MetricSet::new(&[2], false).expect("a length");
        let found = measure_lists(&input, &set).expect("sound input");
        let is = |name: &str, expected: f64| {
            let value = found.means[name];
            assert!(
                (value - expected).abs() < 1e-12,
                "{name}: {value} is not {expected}"
            );
        };
        is("precision@2", 0.25);
        is("recall@2", 0.25);
        is("mrr", 0.25);
        is("hit_rate@2", 0.5);
        is("map@2", 0.5 / 2.0 / 2.0);
        let log3 = 3f64.log2();
        is("ndcg@2", (2.0 / log3) / (2.0 + 1.0 / log3) / 2.0);
        // Rows: a 2, x 1, y 0; u's list x a, w's list a y.
        is("avg_rec_popularity@2", (1.5 + 1.0) / 2.0);
        let (a, x, y) = ((1.5f64).log2(), log3, log3);
        is(
            "mean_inv_user_freq@2",
            (f64::midpoint(x, a) + f64::midpoint(a, y)) / 2.0,
        );
        // a is rank 1 of popularity: expected surely, so no surprise.
        is("serendipity@2", 0.0);
        is("catalog_coverage@2", 3.0 / 6.0);
    }

    #[test]
    fn an_item_twice_and_nothing_relevant_are_refused() {
        let set = MetricSet::new(&[2], false).expect("a length");
        let mut input = ListsInput {
            relevance: rows(&[("u", "a", 1.0)]),
            lists: vec![listed("u", &["a", "a"])],
            ..ListsInput::default()
        };
        assert!(matches!(
            measure_lists(&input, &set),
            Err(EvaluateError::Twice { .. })
        ));
        input.relevance = rows(&[("u", "a", 0.0)]);
        assert!(matches!(
            measure_lists(&input, &set),
            Err(EvaluateError::EmptyTest(_))
        ));
    }
}
