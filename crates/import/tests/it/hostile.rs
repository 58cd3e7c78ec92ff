//! Whatever the bytes, there is an answer: rows or an error, never a panic.

use crate::world::{Kept, import};
use import::{Kind, Options};
use proptest::prelude::*;

const SEEDS: [&[u8]; 3] = [
    b"user_id,item_id,timestamp,value\nu,i,1000000000,3\n\"v,w\",j,2020-01-01,4.5\n",
    b"{\"user_id\":\"u\",\"item_id\":\"i\",\"timestamp\":1,\"context\":{\"a\":[1,2]}}\n{\"user_id\":2,\"item_id\":\"j\",\"timestamp\":\"2020-01-01\"}\n",
    b"item_id\ttitle\ttags\n1\tHeat\ta|b\n2\t\"T\"\"S\"\tc\n",
];

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    (0..SEEDS.len(), prop::collection::vec(change, 0..12), 0..3u8).prop_map(|(seed, changes, packing)| {
        let mut bytes = SEEDS[seed].to_vec();
        let change = |bytes: &mut Vec<u8>, (at, byte, how): &(prop::sample::Index, u8, u8)| {
            if bytes.is_empty() {
                return;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = *byte,
                1 => bytes.insert(at, *byte),
                2 => {
                    bytes.remove(at);
                }
                _ => bytes.truncate(at),
            }
        };
        let (before, after) = changes.split_at(changes.len() / 2);
        before.iter().for_each(|c| change(&mut bytes, c));
        bytes = match packing {
            0 => bytes,
            1 => zstd::encode_all(&bytes[..], 1).unwrap(),
            _ => {
                use std::io::Write;
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packed.write_all(&bytes).unwrap();
                packed.finish().unwrap()
            }
        };
        after.iter().for_each(|c| change(&mut bytes, c));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, rng_seed: proptest::test_runner::RngSeed::Fixed(12), ..ProptestConfig::default() })]

    #[test]
    fn mutated_files(bytes in mutated(), kind in prop::sample::select(vec![Kind::Events, Kind::Items, Kind::Users])) {
        let mut kept = Kept::default();
        let options = Options { max_bad_share: 1.0, ..Options::new(kind) };
        if let Ok(imported) = import(&bytes, &options, &mut kept) {
            let stored = kept.events.len() + kept.items.len() + kept.users.len();
            prop_assert!(stored > 0);
            prop_assert_eq!(imported.summary.accepted, stored as u64);
            prop_assert_eq!(imported.rejects.lines().count() as u64, imported.summary.bad);
        }
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = import(&bytes, &Options::new(Kind::Events), &mut Kept::default());
    }
}
