//! Strengths of events, of which a log has few different ones: a byte each, in the order in which they were met.

use super::numbers::In;

/// Byte of a strength that comes as itself.
const ITSELF: u8 = u8::MAX;
/// Places for strengths by their bits, as a power of 2.
const PLACE_BITS: u32 = 8;

/// Strengths met so far, by number; as many as a byte tells apart.
#[derive(Default)]
pub(super) struct Strengths {
    met: Vec<u32>,
    /// A strength and its number by the place that its bits lead to; the last that was led there.
    places: Vec<Option<(u32, u8)>>,
}

impl Strengths {
    pub(super) fn clear(&mut self) {
        self.met.clear();
        self.places.clear();
    }

    /// Those that a stream tells of.
    pub(super) fn of(stream: &[u8]) -> Strengths {
        let (mut strengths, mut stream) = (Strengths::default(), In(stream));
        while let Ok(bits) = strengths.next(&mut stream) {
            // A strength that has no place would be met again.
            *strengths.place(bits) = strengths.number(bits).map(|number| (bits, number));
        }
        strengths
    }

    fn number(&self, bits: u32) -> Option<u8> {
        self.met.iter().rposition(|met| *met == bits).map(|at| at as u8)
    }

    fn place(&mut self, bits: u32) -> &mut Option<(u32, u8)> {
        if self.places.is_empty() {
            self.places.resize(1 << PLACE_BITS, None);
        }
        &mut self.places[(bits.wrapping_mul(0x9e37_79b9) >> (32 - PLACE_BITS)) as usize]
    }

    /// Appends a strength.
    #[inline]
    pub(super) fn put(&mut self, stream: &mut Vec<u8>, strength: f32) {
        let bits = strength.to_bits();
        match *self.place(bits) {
            Some((met, number)) if met == bits => stream.push(number),
            _ => {
                stream.push(ITSELF);
                stream.extend_from_slice(&bits.to_le_bytes());
                if let Some(number) = self.meet(bits) {
                    *self.place(bits) = Some((bits, number));
                }
            }
        }
    }

    /// Gives a strength the next number, if there is one left.
    fn meet(&mut self, bits: u32) -> Option<u8> {
        let number = u8::try_from(self.met.len())
            .ok()
            .filter(|number| *number != ITSELF)?;
        self.met.push(bits);
        Some(number)
    }

    /// Reads what was put, as bits.
    pub(super) fn next(&mut self, stream: &mut In<'_>) -> Result<u32, String> {
        let [number] = stream.exactly()?;
        if number == ITSELF {
            let bits = u32::from_le_bytes(stream.exactly()?);
            self.meet(bits);
            return Ok(bits);
        }
        let met = self.met.get(usize::from(number)).copied();
        met.ok_or_else(|| format!("there is no strength {number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few and many different ones, some at one place, and the same again where a stream is gone on with.
    #[test]
    fn strengths_come_back_to_the_last_bit() {
        let mut dice = 7u64;
        for different in [1, 10, 200, 254, 255, 256, 5_000] {
            let mut roll = || {
                dice = dice
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                f32::from_bits(((dice >> 33) as u32 % different).wrapping_mul(0x0102_4081))
            };
            let strengths: Vec<f32> = (0..3_000).map(|_| roll()).collect();
            let (mut stream, mut encoder) = (Vec::new(), Strengths::default());
            for (at, strength) in strengths.iter().enumerate() {
                if at % 1_000 == 999 {
                    encoder = Strengths::of(&stream);
                }
                encoder.put(&mut stream, *strength);
            }
            let (mut left, mut decoder) = (In(&stream), Strengths::default());
            for strength in &strengths {
                assert_eq!(decoder.next(&mut left), Ok(strength.to_bits()));
            }
            assert!(left.0.is_empty());
            if different <= 10 {
                assert!(stream.len() < 3_100, "{different}: {} bytes", stream.len());
            }
        }
        let mut unknown = In(&[3]);
        assert!(Strengths::default().next(&mut unknown).is_err());
    }
}
