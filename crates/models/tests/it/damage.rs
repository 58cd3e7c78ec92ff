//! Artefacts that are not what was written.

use crate::world::*;
use models::ModelError;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::LazyLock;

static ARTEFACTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let world = world(45, 12, 5);
    let config = |name: &str| match name {
        "als" => serde_json::json!({"factors": 4, "epochs": 2}),
        "blend" => serde_json::json!({"parts": [{"model": "popular"}, {"model": "content"}]}),
        _ => Value::Null,
    };
    let model = |entry: &models::TrainerEntry| saved(&*fit(entry.name, &config(entry.name), &world.data, 1));
    models::trainers().iter().map(model).collect()
});

/// Where the checksum stands: after magic, version, name and payload length.
fn checksum_at(bytes: &[u8]) -> usize {
    4 + 2 + 1 + usize::from(bytes[6]) + 8
}

/// Makes length and checksum right again, so that only the payload is wrong.
fn reseal(bytes: &mut [u8]) {
    let at = checksum_at(bytes);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[7..at - 8]);
    hasher.update(&bytes[at + 4..]);
    let length = (bytes.len() - at - 4) as u64;
    bytes[at - 8..at].copy_from_slice(&length.to_le_bytes());
    bytes[at..at + 4].copy_from_slice(&hasher.finalize().to_le_bytes());
}

fn is_damaged(bytes: &[u8]) -> bool {
    matches!(models::load(bytes), Err(ModelError::Damaged { .. }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_flipped_bit_or_a_cut_is_refused(which in 0usize..100, at in any::<prop::sample::Index>(), bit in 0u32..8) {
        let whole = &ARTEFACTS[which % ARTEFACTS.len()];
        let mut bytes = whole.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(is_damaged(&bytes));
        prop_assert!(is_damaged(&whole[..at]));
    }

    #[test]
    fn a_payload_that_was_tampered_with_never_panics(
        which in 0usize..100,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = ARTEFACTS[which % ARTEFACTS.len()].clone();
        let start = checksum_at(&bytes) + 4;
        for (at, value) in edits {
            let at = start + at.index(bytes.len() - start);
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(start + cut.index(bytes.len() - start));
        }
        reseal(&mut bytes);
        if let Ok(model) = models::load(&bytes) {
            let n = model.vocabulary().len() as u32;
            let event = |item| domain::HistoryEvent { item, weight: 1.0, age_days: 0.0 };
            let history: Vec<_> = (0..3).map(event).collect();
            let items: Vec<u32> = (0..n).collect();
            prop_assert!(scores(&*model, &history, &items).iter().all(|s| s.is_finite()), "{}", model.name());
            model.recommend(&history, 5, &|_| true);
            model.similar(0, 5, &|_| true);
            model.explain(&history, 1);
            model.features_shared(&history, 1, 3);
        }
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(is_damaged(&bytes));
    }
}
