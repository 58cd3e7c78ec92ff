//! Planted worlds: rows whose truth is known.

use numeric::SeededStream;

/// Someone took something on some day.
#[derive(Debug, Clone, PartialEq)]
pub struct PlantedRow {
    /// Who.
    pub user: String,
    /// What.
    pub item: String,
    /// How strongly.
    pub weight: f32,
    /// When, days after some beginning.
    pub day: i64,
}

/// People and items of two kinds; everyone takes items of their own kind, except for some noise.
#[derive(Debug, Clone)]
pub struct Checkerboard {
    /// What is known.
    pub rows: Vec<PlantedRow>,
    /// What each person takes later: user and item, one each, of their kind and new to them.
    pub held_out: Vec<(String, String)>,
    /// All items with their kind, `even` or `odd`.
    pub items: Vec<(String, &'static str)>,
}

/// Name of a kind.
fn kind(n: usize) -> &'static str {
    if n.is_multiple_of(2) { "even" } else { "odd" }
}

/// A checkerboard: user u is of the kind of u, item i of the kind of i. Each takes `per_user` items of
/// their kind, low numbers more often, and one in ten events is on an item of the other kind.
pub fn checkerboard(users: usize, items: usize, per_user: usize, seed: u64) -> Checkerboard {
    let user_name = |u: usize| format!("user-{u:04}");
    let item_name = |i: usize| format!("item-{i:04}");
    let mut world = Checkerboard {
        rows: Vec::new(),
        held_out: Vec::new(),
        items: (0..items).map(|i| (item_name(i), kind(i))).collect(),
    };
    for user in 0..users {
        let mut stream = SeededStream::new(seed, user as u64);
        let mut own: Vec<usize> = (0..items).filter(|i| i % 2 == user % 2).collect();
        stream.shuffle(&mut own);
        // Each is kept with a chance that falls with its number, so that some items are popular.
        own.sort_by_cached_key(|i| (stream.uniform() * (10 + i) as f64 * 1e3) as u64);
        let taken = &own[..per_user.min(own.len().saturating_sub(1))];
        let Some((last, known)) = taken.split_last() else {
            continue;
        };
        for (n, item) in known.iter().enumerate() {
            let noise = stream.below(10) == 0;
            let item = if noise { (item + 1) % items } else { *item };
            world.rows.push(PlantedRow {
                user: user_name(user),
                item: item_name(item),
                weight: 1.0,
                day: n as i64,
            });
        }
        world.held_out.push((user_name(user), item_name(*last)));
    }
    world
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_out_is_of_the_kind_and_new() {
        let world = checkerboard(20, 30, 8, 1);
        assert_eq!(world.held_out.len(), 20);
        for (n, (user, item)) in world.held_out.iter().enumerate() {
            let kind_of = world.items.iter().find(|i| i.0 == *item).unwrap().1;
            assert_eq!(kind_of, kind(n));
            assert!(!world.rows.iter().any(|r| r.user == *user && r.item == *item));
        }
        assert_eq!(world.rows, checkerboard(20, 30, 8, 1).rows);
        assert_ne!(world.rows, checkerboard(20, 30, 8, 2).rows);
    }
}
