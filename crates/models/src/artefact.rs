//! How models are written and read back.
//!
//! `magic "CNCM" | version u16 | name length u8, name | payload length u64 | CRC-32 u32 | payload`,
//! little-endian, the checksum over name and payload. A reader trusts nothing: every length is
//! checked against the bytes that are left before memory is taken for it.

use crate::ModelError;
use dataset::Vocabulary;
use domain::ItemId;
use std::sync::Arc;

const MAGIC: &[u8; 4] = b"CNCM";
const VERSION: u16 = 1;

/// Writes a whole artefact.
pub(crate) fn seal(name: &str, to: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
    to.extend_from_slice(MAGIC);
    to.extend_from_slice(&VERSION.to_le_bytes());
    to.push(u8::try_from(name.len()).expect("model names are short"));
    to.extend_from_slice(name.as_bytes());
    let header = to.len();
    to.extend_from_slice(&[0; 12]);
    write(&mut Writer { to });
    let length = (to.len() - header - 12) as u64;
    let sum = checksum(name, &to[header + 12..]);
    to[header..header + 8].copy_from_slice(&length.to_le_bytes());
    to[header + 8..header + 12].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(name: &str, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Name and payload of an artefact whose checksum holds.
pub(crate) fn open(bytes: &[u8]) -> Result<(&str, &[u8]), ModelError> {
    let damaged = |reason: &str| ModelError::Damaged {
        model: "unknown".to_owned(),
        reason: reason.to_owned(),
    };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("not a model"))?;
    let (version, rest) = rest
        .split_first_chunk::<2>()
        .ok_or_else(|| damaged("cut short"))?;
    let version = u16::from_le_bytes(*version);
    if version != VERSION {
        return Err(damaged(&format!("format version {version}, expected {VERSION}")));
    }
    let (length, rest) = rest.split_first().ok_or_else(|| damaged("cut short"))?;
    let (name, rest) = rest
        .split_at_checked(usize::from(*length))
        .ok_or_else(|| damaged("cut short"))?;
    let name = std::str::from_utf8(name).map_err(|_| damaged("its name is not text"))?;
    let (length, rest) = rest
        .split_first_chunk::<8>()
        .ok_or_else(|| damaged("cut short"))?;
    let (sum, payload) = rest
        .split_first_chunk::<4>()
        .ok_or_else(|| damaged("cut short"))?;
    if u64::from_le_bytes(*length) != payload.len() as u64 {
        return Err(damaged("its length is not the one written"));
    }
    if u32::from_le_bytes(*sum) != checksum(name, payload) {
        return Err(damaged("its checksum is not the one written"));
    }
    Ok((name, payload))
}

/// Appends values.
pub(crate) struct Writer<'a> {
    to: &'a mut Vec<u8>,
}

impl Writer<'_> {
    pub(crate) fn u32(&mut self, value: u32) {
        self.to.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.to.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f32(&mut self, value: f32) {
        self.to.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f64(&mut self, value: f64) {
        self.to.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.u64(value.len() as u64);
        self.to.extend_from_slice(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(crate) fn u32s(&mut self, values: &[u32]) {
        self.u64(values.len() as u64);
        if cfg!(target_endian = "little") {
            self.to.extend_from_slice(bytemuck::cast_slice(values));
        } else {
            values.iter().for_each(|v| self.u32(*v));
        }
    }

    pub(crate) fn f32s(&mut self, values: &[f32]) {
        self.u64(values.len() as u64);
        if cfg!(target_endian = "little") {
            self.to.extend_from_slice(bytemuck::cast_slice(values));
        } else {
            values.iter().for_each(|v| self.f32(*v));
        }
    }

    pub(crate) fn f64s(&mut self, values: &[f64]) {
        self.u64(values.len() as u64);
        values.iter().for_each(|v| self.f64(*v));
    }

    pub(crate) fn vocabulary(&mut self, vocabulary: &Vocabulary) {
        self.u64(vocabulary.len() as u64);
        for id in vocabulary.ids() {
            self.text(id.as_str());
        }
    }

    /// Configuration, as JSON.
    pub(crate) fn json(&mut self, value: &serde_json::Value) {
        self.text(&value.to_string());
    }
}

/// Takes values off a payload.
pub(crate) struct Reader<'a> {
    model: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(model: &'static str, payload: &'a [u8]) -> Reader<'a> {
        Reader { model, rest: payload }
    }

    pub(crate) fn damaged(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Damaged {
            model: self.model.to_owned(),
            reason: reason.into(),
        }
    }

    /// An error unless `holds`.
    pub(crate) fn expect(&self, holds: bool, reason: &str) -> Result<(), ModelError> {
        if holds { Ok(()) } else { Err(self.damaged(reason)) }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], ModelError> {
        let (head, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| self.damaged("cut short"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.damaged("cut short"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ModelError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ModelError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A finite number.
    pub(crate) fn f32(&mut self) -> Result<f32, ModelError> {
        let value = f32::from_le_bytes(self.array()?);
        self.expect(value.is_finite(), "a number is not finite")?;
        Ok(value)
    }

    /// A finite number.
    pub(crate) fn f64(&mut self) -> Result<f64, ModelError> {
        let value = f64::from_le_bytes(self.array()?);
        self.expect(value.is_finite(), "a number is not finite")?;
        Ok(value)
    }

    /// A length of things of at least `size` bytes each, which must still be there.
    pub(crate) fn length(&mut self, size: usize) -> Result<usize, ModelError> {
        let length = usize::try_from(self.u64()?).map_err(|_| self.damaged("a length is impossible"))?;
        let fits = length
            .checked_mul(size.max(1))
            .is_some_and(|bytes| bytes <= self.rest.len());
        self.expect(fits, "a length exceeds what is there")?;
        Ok(length)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], ModelError> {
        let length = self.length(1)?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, ModelError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged("a text is not UTF-8"))
    }

    pub(crate) fn u32s(&mut self) -> Result<Vec<u32>, ModelError> {
        let length = self.length(4)?;
        let (chunks, _) = self.take(length * 4)?.as_chunks::<4>();
        Ok(chunks.iter().map(|c| u32::from_le_bytes(*c)).collect())
    }

    /// Finite numbers.
    pub(crate) fn f32s(&mut self) -> Result<Vec<f32>, ModelError> {
        let length = self.length(4)?;
        let (chunks, _) = self.take(length * 4)?.as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().map(|c| f32::from_le_bytes(*c)).collect();
        self.expect(values.iter().all(|v| v.is_finite()), "a number is not finite")?;
        Ok(values)
    }

    /// Finite numbers.
    pub(crate) fn f64s(&mut self) -> Result<Vec<f64>, ModelError> {
        let length = self.length(8)?;
        (0..length).map(|_| self.f64()).collect()
    }

    pub(crate) fn vocabulary(&mut self) -> Result<Arc<Vocabulary>, ModelError> {
        let length = self.length(8)?;
        let mut vocabulary = Vocabulary::default();
        for position in 0..length {
            let id = ItemId::new(self.text()?).map_err(|e| self.damaged(e.to_string()))?;
            let fresh = vocabulary.insert(&id) as usize == position;
            self.expect(fresh, "an item is there twice")?;
        }
        Ok(Arc::new(vocabulary))
    }

    pub(crate) fn json(&mut self) -> Result<serde_json::Value, ModelError> {
        let text = self.text()?;
        serde_json::from_str(text).map_err(|e| self.damaged(format!("configuration: {e}")))
    }

    /// True if there is something left.
    pub(crate) fn more(&self) -> bool {
        !self.rest.is_empty()
    }

    /// An error unless everything has been read.
    pub(crate) fn end(&self) -> Result<(), ModelError> {
        self.expect(self.rest.is_empty(), "there is more than was expected")
    }
}
