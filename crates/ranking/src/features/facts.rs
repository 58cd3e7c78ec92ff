//! Attributes as features read them: numbers, and values as hashes.

use domain::Timestamp;

/// What features know of one item.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ItemFacts {
    /// Numbers by the hash of the attribute's name.
    numbers: Vec<(u64, f32)>,
    /// Categories, tags and references, one entry per value: hash of the attribute's name, hash of the value.
    values: Vec<(u64, u64)>,
    /// When it was added.
    pub added_at: Option<Timestamp>,
}

/// The number that stands for a text.
pub(crate) fn hash(text: &str) -> u64 {
    numeric::hash_bytes(text.as_bytes())
}

impl ItemFacts {
    /// Nothing known but when it was added.
    pub fn added(added_at: Option<Timestamp>) -> ItemFacts {
        ItemFacts {
            added_at,
            ..ItemFacts::default()
        }
    }

    /// Notes a number.
    pub fn number(&mut self, attribute: &str, value: f64) {
        self.numbers.push((hash(attribute), value as f32));
    }

    /// Notes a category, or one of several tags or references.
    pub fn value(&mut self, attribute: &str, value: &str) {
        self.values.push((hash(attribute), hash(value)));
    }

    /// Share of all values of both that both have (Jaccard), 0 if there are none.
    pub fn likeness(&self, other: &ItemFacts) -> f64 {
        let both = self
            .values
            .iter()
            .filter(|value| other.values.contains(value))
            .count();
        let all = self.values.len() + other.values.len() - both;
        if all == 0 { 0.0 } else { both as f64 / all as f64 }
    }

    /// Looks at what is known of these without waiting for one after the other: it lies all over the memory, and so comes at once.
    pub(crate) fn bring_near(all: &[Option<&ItemFacts>]) {
        let near = all.iter().flatten().map(|facts| {
            let numbers = facts.numbers.first().map_or(0, |(name, _)| *name);
            facts.values.first().map_or(numbers, |(name, _)| numbers ^ name)
        });
        std::hint::black_box(near.fold(0, |all, one| all ^ one));
    }

    pub(crate) fn get_number(&self, attribute: u64) -> Option<f32> {
        self.numbers
            .iter()
            .find(|(name, _)| *name == attribute)
            .map(|(_, value)| *value)
    }

    /// Hashes of the values of the attribute whose name has this hash; that of a text is [`numeric::hash_bytes`].
    pub fn get_values(&self, attribute: u64) -> impl Iterator<Item = u64> {
        self.values
            .iter()
            .filter(move |(name, _)| *name == attribute)
            .map(|(_, value)| *value)
    }
}

/// Facts by position in the catalogue.
pub trait FactsSource: Send + Sync {
    /// What is known of an item, if it is there.
    fn facts(&self, item: u32) -> Option<&ItemFacts>;
}
