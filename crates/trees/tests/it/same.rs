//! The same bytes, the same bits.

use crate::world::world;
use numeric::{SeededStream, on_threads};
use trees::{Forest, Kernel, Objective, Scorer, TreesConfig, TreesError, train};

fn config(objective: Objective) -> TreesConfig {
    TreesConfig {
        objective,
        trees: 12,
        leaf_rows_min: 5,
        row_share: 0.8,
        feature_share: 0.7,
        ..TreesConfig::default()
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let world = world(80, 1);
    for objective in [Objective::Lambdamart, Objective::SquaredError] {
        let bytes = |threads| {
            on_threads(threads, || {
                train(&world.rows(), None, &config(objective))
                    .expect("rows are fine")
                    .forest
                    .to_bytes()
            })
        };
        let one = bytes(1);
        assert_eq!(one, bytes(2));
        assert_eq!(one, bytes(5));
        let other = TreesConfig {
            seed: 2,
            ..config(objective)
        };
        let other = train(&world.rows(), None, &other)
            .expect("rows are fine")
            .forest
            .to_bytes();
        assert_ne!(one, other, "the seed should matter");
    }
}

#[test]
fn kernels_agree_to_the_last_bit() {
    let world = world(60, 2);
    for leaves in [2, 7, 31, 32, 40] {
        let config = TreesConfig {
            leaves,
            leaf_rows_min: 2,
            category_smooth: 1.0,
            ..config(Objective::Lambdamart)
        };
        let forest = train(&world.rows(), None, &config).expect("rows are fine").forest;
        let scorer = Scorer::from(forest.clone());
        // Odd values besides those of training, and a number of rows that is no multiple of anything.
        let mut values = world.values[..37 * 6].to_vec();
        let mut stream = SeededStream::new(3, 0);
        let odd = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            -0.0,
            1e9,
            -3.5,
            70_000.0,
        ];
        for value in &mut values {
            if stream.uniform() < 0.3 {
                *value = odd[stream.below(odd.len() as u64) as usize];
            }
        }
        let expected: Vec<u32> = values.chunks(6).map(|row| forest.score(row).to_bits()).collect();
        for kernel in [Kernel::Best, Kernel::Avx512, Kernel::Avx2, Kernel::Plain] {
            let mut scores = vec![0.0; 37];
            scorer.score_with(kernel, &values, &mut scores);
            let got: Vec<u32> = scores.iter().map(|score| score.to_bits()).collect();
            assert_eq!(got, expected, "{kernel:?} with {leaves} leaves");
        }
        let columns: Vec<f32> = (0..6)
            .flat_map(|at| values.chunks(6).map(move |row| row[at]))
            .collect();
        let mut scores = vec![0.0; 37];
        scorer.score_columns(&columns, &mut scores);
        let got: Vec<u32> = scores.iter().map(|score| score.to_bits()).collect();
        assert_eq!(got, expected, "columns, {leaves} leaves");
    }
}

#[test]
fn bytes_come_back_and_damage_is_named() {
    let world = world(30, 4);
    let config = TreesConfig {
        trees: 3,
        ..config(Objective::Lambdamart)
    };
    let forest = train(&world.rows(), None, &config).expect("rows are fine").forest;
    let bytes = forest.to_bytes();
    assert_eq!(Forest::from_bytes(&bytes), Ok(forest));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        assert!(
            matches!(Forest::from_bytes(&damaged), Err(TreesError::Damaged(_))),
            "byte {at}"
        );
        assert!(Forest::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        // The same with a checksum that fits: never a panic, never a forest that is none.
        if at >= 18 {
            let sum = crc32(&damaged[18..]).to_le_bytes();
            damaged[14..18].copy_from_slice(&sum);
            if let Ok(forest) = Forest::from_bytes(&damaged) {
                let _ = Scorer::from(forest.clone());
                if forest.features().len() == 6 {
                    let _ = forest.score(world.row(0));
                }
            }
        }
    }
}

/// CRC-32, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
