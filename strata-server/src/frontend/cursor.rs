//! Reading fields out of a message's body: every read is checked, none copies.

use bytes::{Buf, Bytes};

use super::DecodeError;

/// A position in a message's body.
pub struct Cursor {
    rest: Bytes,
}

impl Cursor {
    /// At the body's first byte.
    pub fn new(body: Bytes) -> Self {
        Self { rest: body }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `size` bytes.
    pub fn bytes(&mut self, size: usize) -> Result<Bytes, DecodeError> {
        if size > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(self.rest.split_to(size))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.rest.try_get_u8().map_err(|_| DecodeError::Truncated)
    }

    /// A signed 16-bit number.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.rest.try_get_i16().map_err(|_| DecodeError::Truncated)
    }

    /// A signed 32-bit number.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.rest.try_get_i32().map_err(|_| DecodeError::Truncated)
    }

    /// An unsigned 32-bit number.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.rest.try_get_u32().map_err(|_| DecodeError::Truncated)
    }

    /// A 16-bit count of elements of at least `element_size` bytes, which the rest of the body must be able to hold.
    pub fn count(&mut self, element_size: usize) -> Result<usize, DecodeError> {
        let count = usize::from(self.rest.try_get_u16().map_err(|_| DecodeError::Truncated)?);
        if count * element_size > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }

    /// A string that ends with a zero byte.
    pub fn text(&mut self) -> Result<Text, DecodeError> {
        let size = self.rest.iter().position(|byte| *byte == 0).ok_or(DecodeError::Unterminated)?;
        let bytes = self.rest.split_to(size);
        self.rest.advance(1);
        Text::new(bytes)
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}

/// UTF-8 text that shares the buffer it was read into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text(Bytes);

impl Text {
    fn new(bytes: Bytes) -> Result<Self, DecodeError> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(error) => {
                let bad: Vec<u8> = bytes.iter().skip(error.valid_up_to()).take(4).copied().collect();
                Err(DecodeError::InvalidText(bad))
            }
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Checked in `new`, and `Bytes` do not change: the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
