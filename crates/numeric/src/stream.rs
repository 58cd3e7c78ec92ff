//! Random numbers from named streams: xoshiro256++ (Blackman and Vigna, 2019, "Scrambled linear
//! pseudorandom number generators") seeded through SplitMix64 (Steele, Lea and Flood, 2014).
//!
//! A stream is a seed and a number; streams of different numbers are independent for all purposes
//! here, so that the draws of one item or user do not depend on how many others there are.

/// One step of SplitMix64's output function: a bijection of 64 bits that spreads every input bit.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stable 64-bit hash of bytes (FNV-1a, then mixed). Not for untrusted keys in tables.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

/// A stream of random numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeededStream {
    state: [u64; 4],
}

impl SeededStream {
    /// The stream with this number under this seed.
    pub fn new(seed: u64, stream: u64) -> SeededStream {
        let mut z = mix(seed) ^ mix(stream.wrapping_add(0x51_7c_c1_b7_27_22_0a_95)).rotate_left(32);
        let state = std::array::from_fn(|_| {
            z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(z)
        });
        SeededStream { state }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform on [0, 1), 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform on 0 … `bound` − 1, without bias (Lemire, 2019). Zero for a bound of zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(bound);
            if wide as u64 >= threshold {
                return (wide >> 64) as u64;
            }
        }
    }

    /// Standard normal (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Puts a slice in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_agrees_with_the_reference_sequence() {
        // First outputs of the published SplitMix64 from state 1234567.
        let mut state = 1_234_567u64;
        let mut next = || {
            let out = mix(state);
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            out
        };
        assert_eq!(next(), 6_457_827_717_110_365_317);
        assert_eq!(next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn xoshiro_agrees_with_the_reference_sequence() {
        // First outputs of the published xoshiro256++ from state 1, 2, 3, 4.
        let mut stream = SeededStream { state: [1, 2, 3, 4] };
        let got: Vec<u64> = (0..3).map(|_| stream.next_u64()).collect();
        assert_eq!(got, [41_943_041, 58_720_359, 3_588_806_011_781_223]);
    }

    #[test]
    fn moments_are_right_and_streams_differ() {
        let mut stream = SeededStream::new(7, 1);
        let draws: Vec<f64> = (0..40_000).map(|_| stream.normal()).collect();
        // Standard errors are 0.005 and 0.007: five of them.
        assert!(crate::mean(&draws).abs() < 0.025);
        assert!((crate::variance(&draws) - 1.0).abs() < 0.035);
        let mut counts = [0usize; 7];
        for _ in 0..70_000 {
            counts[stream.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
        assert_ne!(SeededStream::new(7, 1), SeededStream::new(7, 2));
        let mut order: Vec<u32> = (0..50).collect();
        stream.shuffle(&mut order);
        assert_ne!(order, (0..50).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}
