//! Reading and writing the integers of an SSTable: little-endian fixed widths and LEB128 varints.

/// Bytes that are not what a writer wrote; the caller adds block and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub &'static str);

/// A cursor over untrusted bytes: every step is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(len).ok_or(Malformed("a length overflows"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed("a length runs past the end"))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("an integer is cut"))
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(Malformed("a varint is cut"))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a varint is too long"))
    }

    #[inline]
    pub fn varint_len(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).map_err(|_| Malformed("a length overflows"))
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_len(out: &mut Vec<u8>, len: usize) {
    put_varint(out, len as u64);
}

/// The difference `to - from`, wrapping, small in magnitude being small in bytes.
pub(crate) fn zigzag_between(from: u64, to: u64) -> u64 {
    let delta = to.wrapping_sub(from);
    (delta << 1) ^ (((delta as i64) >> 63) as u64)
}

/// Undoes [`zigzag_between`].
pub(crate) fn add_zigzag(from: u64, zigzag: u64) -> u64 {
    from.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_and_zigzags_round_trip_at_their_edges() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut input = Input::new(&bytes, 0);
            assert_eq!(input.varint(), Ok(value));
            assert!(input.is_at_end());
            for from in [0, 5, u64::MAX] {
                assert_eq!(add_zigzag(from, zigzag_between(from, value)), value);
            }
        }
        assert_eq!((zigzag_between(10, 11), zigzag_between(10, 9)), (2, 1));
    }

    #[test]
    fn cut_and_endless_varints_are_errors() {
        assert!(Input::new(&[0x80], 0).varint().is_err());
        assert!(Input::new(&[0xff; 11], 0).varint().is_err());
        assert!(Input::new(&[1, 2], 0).take(usize::MAX).is_err());
        assert!(Input::new(&[1, 2], 1).take(2).is_err());
    }
}
