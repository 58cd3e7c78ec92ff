//! Numbers and texts in streams of bytes.

pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Room in a stream for so many numbers of at most 35 bits, written without a look at the room at each.
pub(super) struct Wide<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
}

impl<'a> Wide<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, numbers: usize) -> Wide<'a> {
        let at = out.len();
        // Five bytes each; the last is written as eight.
        out.resize(at + 5 * numbers + 3, 0);
        Wide { out, at }
    }

    /// As [`put`], all bytes of the number at once.
    #[inline]
    pub(super) fn put(&mut self, number: u64) {
        let bits = 64 - (number | 1).leading_zeros();
        let len = (bits * 9 + 64) / 64;
        let spread = number & 0x7f
            | (number & 0x7f << 7) << 1
            | (number & 0x7f << 14) << 2
            | (number & 0x7f << 21) << 3
            | (number & 0x7f << 28) << 4;
        let more = 0x80_8080_8080 & ((1 << (8 * (len - 1))) - 1);
        self.out[self.at..self.at + 8].copy_from_slice(&(spread | more).to_le_bytes());
        self.at += len as usize;
    }

    /// A signed number, small ones short.
    #[inline]
    pub(super) fn put_signed(&mut self, number: i64) {
        self.put(((number << 1) ^ (number >> 63)) as u64);
    }

    pub(super) fn end(self) {
        self.out.truncate(self.at);
    }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bit pattern that rises with the number.
pub(super) fn rising(score: f32) -> i64 {
    let bits = score.to_bits();
    i64::from(if bits >> 31 == 1 { !bits } else { bits | 1 << 31 })
}

pub(super) fn risen(number: i64) -> Result<f32, String> {
    let bits = u32::try_from(number).map_err(|_| "a score is out of range")?;
    Ok(f32::from_bits(if bits >> 31 == 1 {
        bits & !(1 << 31)
    } else {
        !bits
    }))
}

/// Reads what was put.
pub(super) struct In<'a>(pub(super) &'a [u8]);

impl<'a> In<'a> {
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or("it runs past the end")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn exactly<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| "it is too short".to_owned())
    }

    pub(super) fn number(&mut self) -> Result<u64, String> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number does not end".to_owned())
    }

    pub(super) fn size(&mut self) -> Result<usize, String> {
        usize::try_from(self.number()?).map_err(|e| e.to_string())
    }

    pub(super) fn signed(&mut self) -> Result<i64, String> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let n = self.size()?;
        self.take(n)
    }

    /// A count of things of at least one byte each.
    pub(super) fn count(&mut self, left: usize) -> Result<usize, String> {
        let n = self.size()?;
        if n > left {
            return Err(format!("{n} things in {left} bytes"));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_numbers_have_the_bytes_of_others() {
        let numbers =
            (0..35).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1, (1 << 35) - 1 - bit]);
        let numbers: Vec<u64> = numbers.filter(|number| *number < 1 << 35).collect();
        let (mut slow, mut fast) = (vec![7], vec![7]);
        numbers.iter().for_each(|number| put(&mut slow, *number));
        let mut wide = Wide::new(&mut fast, numbers.len());
        numbers.iter().for_each(|number| wide.put(*number));
        wide.end();
        assert_eq!(fast, slow);
    }
}
