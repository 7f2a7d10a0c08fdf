//! Fields of fixed width, little-endian, as all formats but SSTables and keys have them: appending, reading with every
//! length checked, and what a codec says of bytes that it cannot read.

#[cfg(any(test, fuzzing))]
pub(crate) mod choices;

use crate::ids::BlockId;

/// Why bytes could not be decoded, and where in them. The file or block adds its name and its own offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Byte offset in what was being decoded.
    pub offset: usize,
    /// What was expected and what was found.
    pub detail: String,
}

impl Damage {
    /// Damage at `offset`.
    pub fn at(offset: usize, detail: impl Into<String>) -> Self {
        Self { offset, detail: detail.into() }
    }

    /// The same damage, as seen from a structure that holds these bytes from `base` on.
    pub fn within(mut self, base: usize) -> Self {
        self.offset += base;
        self
    }
}

/// The result of decoding bytes from disk.
pub(crate) type Decoded<T> = Result<T, Damage>;

/// Reads fields one after another; never past the end.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// The offset of the next byte.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Decoded<&'a [u8]> {
        let end = self.offset.checked_add(count);
        let Some(taken) = end.and_then(|end| self.bytes.get(self.offset..end)) else {
            let detail = format!("{count} bytes expected, {} left", self.remaining());
            return Err(Damage::at(self.offset, detail));
        };
        self.offset += count;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let taken = self.take(N)?;
        let mut array = [0; N];
        array.copy_from_slice(taken);
        Ok(array)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Decoded<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Decoded<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Decoded<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The next eight bytes, signed.
    pub fn i64(&mut self) -> Decoded<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A byte string that its length, as u32, precedes.
    pub fn sized(&mut self) -> Decoded<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    /// The id of a block.
    pub fn block(&mut self) -> Decoded<BlockId> {
        let at = self.offset;
        BlockId::from_raw(self.u64()?).ok_or_else(|| Damage::at(at, "a block id has no pages"))
    }

    /// Fails unless all bytes have been read.
    pub fn finish(&self) -> Decoded<()> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(Damage::at(self.offset, format!("{left} bytes too many"))),
        }
    }
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends how many elements follow.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u32(out, u32::try_from(count).expect("rows, keys and lists are bounded far below 2^32"));
}

/// Appends a byte string behind its length.
pub(crate) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends zeros up to the next multiple of eight, counted from `start`.
pub(crate) fn pad_to_8(out: &mut Vec<u8>, start: usize) {
    let used = out.len() - start;
    out.resize(start + used.next_multiple_of(8), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_stops_at_the_end_and_says_where() {
        let mut cursor = Cursor::new(&[1, 2, 0, 9]);
        assert_eq!((cursor.u8(), cursor.u16()), (Ok(1), Ok(2)));
        assert_eq!(cursor.finish(), Err(Damage::at(3, "1 bytes too many")));
        assert_eq!(cursor.u16(), Err(Damage::at(3, "2 bytes expected, 1 left")));
        assert_eq!(cursor.take(usize::MAX).map_err(|damage| damage.within(10).offset), Err(13));
        assert_eq!((cursor.u8(), cursor.finish()), (Ok(9), Ok(())));
    }

    #[test]
    fn a_length_is_believed_only_as_far_as_the_bytes_reach() {
        let mut out = Vec::new();
        put_sized(&mut out, b"key");
        put_u32(&mut out, u32::MAX);
        out.push(7);
        let mut cursor = Cursor::new(&out);
        assert_eq!(cursor.sized(), Ok(&b"key"[..]));
        assert_eq!(cursor.sized(), Err(Damage::at(11, "4294967295 bytes expected, 1 left")));
    }
}
