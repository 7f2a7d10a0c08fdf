//! The frame of a page: checksum, NULLs, compression.
//!
//! ```text
//! offset  size  field
//! 0       4     CRC-32 of column id, page offset (both u32) and all that follows here
//! 4       1     flags: bit 0 has a validity bitmap, bit 1 the body is lz4
//! 5       3     0
//! 8       4     values
//! 12      4     bytes of the body once decompressed
//! 16      …     body: the validity bitmap (1 = not NULL) in whole 8-byte words, then the content
//! ```
//!
//! The page offset counts from the start of the block's pages. It is in the checksum, and so is the column, lest a
//! page that was read from the wrong place be taken for the right one. A page without NULLs has no bitmap. The body is lz4
//! where that saves an eighth.

use arrow_buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer};

use crate::codec::{Cursor, Damage, Decoded, pad_to_8};

/// Bytes before the body.
pub(super) const FRAME_BYTES: usize = 16;
const HAS_VALIDITY: u8 = 1;
const IS_LZ4: u8 = 2;
/// More than any lz4 block expands.
const LZ4_MAX_EXPANSION: usize = 256;

/// Where a page belongs, as its checksum has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PagePlace {
    /// The raw column id.
    pub column: u32,
    /// The page's offset from the start of the block's pages.
    pub offset: u32,
}

impl PagePlace {
    pub fn checksum(self, framed: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.column.to_le_bytes());
        hasher.update(&self.offset.to_le_bytes());
        hasher.update(framed);
        hasher.finalize()
    }
}

/// Frames a page of `values` values: its NULLs, if it has any, and its content.
///
/// # Errors
/// `None` where the page would be above 4 GiB.
pub(super) fn seal(
    place: PagePlace,
    values: usize,
    nulls: Option<&NullBuffer>,
    content: &[u8],
) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(content.len());
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    let mut flags = 0;
    if let Some(nulls) = nulls {
        flags |= HAS_VALIDITY;
        let bits = BooleanBuffer::from_bits(nulls.validity(), nulls.offset(), values).sliced();
        let whole_bytes = bits.as_slice().get(..values / 8).unwrap_or_default();
        body.extend(whole_bytes);
        if !values.is_multiple_of(8) {
            let last =
                (values / 8 * 8..values).fold(0, |byte, at| byte | u8::from(nulls.is_valid(at)) << (at % 8));
            body.push(last);
        }
        pad_to_8(&mut body, 0);
    }
    body.extend(content);
    let body_bytes = u32::try_from(body.len()).ok()?;
    if let Some(packed) = compress(&body) {
        flags |= IS_LZ4;
        body = packed;
    }
    let mut page = vec![0; 4];
    page.extend([flags, 0, 0, 0]);
    page.extend(u32::try_from(values).ok()?.to_le_bytes());
    page.extend(body_bytes.to_le_bytes());
    page.extend(body);
    let checksum = place.checksum(page.get(4..)?);
    page.get_mut(..4)?.copy_from_slice(&checksum.to_le_bytes());
    Some(page)
}

/// The body as lz4, where that saves an eighth.
fn compress(body: &[u8]) -> Option<Vec<u8>> {
    let packed = lz4_flex::block::compress(body);
    (packed.len() + body.len() / 8 < body.len()).then_some(packed)
}

/// How many bytes a body takes on disk.
pub(super) fn stored_bytes(body: &[u8]) -> usize {
    compress(body).map_or(body.len(), |packed| packed.len())
}

/// A page whose frame has been verified.
#[derive(Debug)]
pub(super) struct Opened {
    /// How many values it has, NULLs included.
    pub values: usize,
    /// Which are not NULL; `None` where all are not.
    pub validity: Option<BooleanBuffer>,
    /// What the encoding wrote, aligned to eight bytes.
    pub content: Buffer,
}

/// Zeros for a page, aligned to eight bytes and no more: Arrow's own buffers are aligned to a cache line, and where general
/// allocators take a little more room for that, the hole that an evicted page leaves does not take the next one.
pub(super) fn buffer(bytes: usize) -> MutableBuffer {
    let mut buffer = MutableBuffer::from(vec![0_u64; bytes.div_ceil(8)]);
    buffer.truncate(bytes);
    buffer
}

/// Verifies and opens a page.
pub(super) fn open(place: PagePlace, page: Buffer) -> Decoded<Opened> {
    let mut cursor = Cursor::new(page.as_slice());
    let stored = cursor.u32()?;
    let computed = place.checksum(page.as_slice().get(4..).unwrap_or_default());
    if stored != computed {
        let detail = format!("page checksum is {computed:#010x}, {stored:#010x} was stored");
        return Err(Damage::at(0, detail));
    }
    let [flags, zeros @ ..] = cursor.array::<4>()?;
    if flags & !(HAS_VALIDITY | IS_LZ4) != 0 || zeros != [0; 3] {
        return Err(Damage::at(4, format!("unknown page flags {flags:#x}")));
    }
    let values = cursor.u32()? as usize;
    let body_bytes = cursor.u32()? as usize;
    let stored_bytes = cursor.remaining();
    let body = if flags & IS_LZ4 != 0 {
        decompress(cursor.take(stored_bytes)?, body_bytes)?
    } else if stored_bytes == body_bytes {
        page.slice(FRAME_BYTES)
    } else {
        return Err(Damage::at(12, format!("page body has {stored_bytes} bytes, not {body_bytes}")));
    };
    if flags & HAS_VALIDITY == 0 {
        return Ok(Opened { values, validity: None, content: body });
    }
    let bitmap_bytes = values.div_ceil(64) * 8;
    if body.len() < bitmap_bytes {
        return Err(Damage::at(FRAME_BYTES, "validity bitmap ends early"));
    }
    let validity = BooleanBuffer::new(body.slice_with_length(0, bitmap_bytes), 0, values);
    Ok(Opened { values, validity: Some(validity), content: body.slice(bitmap_bytes) })
}

fn decompress(packed: &[u8], body_bytes: usize) -> Decoded<Buffer> {
    let damage = |detail: String| Damage::at(FRAME_BYTES, detail);
    if body_bytes > packed.len().saturating_mul(LZ4_MAX_EXPANSION) {
        return Err(damage(format!("{} bytes of lz4 cannot hold {body_bytes}", packed.len())));
    }
    let mut body = buffer(body_bytes);
    match lz4_flex::block::decompress_into(packed, body.as_slice_mut()) {
        Ok(count) if count == body_bytes => Ok(body.into()),
        Ok(count) => Err(damage(format!("lz4 body has {count} bytes, not {body_bytes}"))),
        Err(error) => Err(damage(format!("lz4 body: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: PagePlace = PagePlace { column: 3, offset: 77 };

    fn opened(page: &[u8]) -> Decoded<Opened> {
        open(PLACE, Buffer::from_slice_ref(page))
    }

    #[test]
    fn a_page_round_trips_with_nulls_and_lz4() {
        let nulls: NullBuffer = (0..100).map(|i| i % 7 != 2).collect();
        for content in [b"abcdefgh".repeat(50), (0..=255).collect()] {
            let page = seal(PLACE, 99, Some(&nulls.slice(1, 99)), &content).expect("fits");
            let opened = opened(&page).expect("opens");
            assert_eq!((opened.values, opened.content.as_slice()), (99, &content[..]));
            let validity = opened.validity.expect("has NULLs");
            assert!((0..99).all(|i| validity.value(i) == nulls.is_valid(i + 1)));
            assert_eq!(page[4], if content.len() == 400 { 3 } else { 1 });
        }
        let all_valid: NullBuffer = (0..5).map(|_| true).collect();
        let page = seal(PLACE, 5, Some(&all_valid), b"12345").expect("fits");
        assert!(opened(&page).expect("opens").validity.is_none());
    }

    #[test]
    fn golden_bytes() {
        let nulls: NullBuffer = [true, false, true].into_iter().collect();
        let page = seal(PagePlace { column: 1, offset: 0 }, 3, Some(&nulls), b"xyz").expect("fits");
        let body = [5, 0, 0, 0, 0, 0, 0, 0, b'x', b'y', b'z'];
        let rest = [&[1, 0, 0, 0, 3, 0, 0, 0, 11, 0, 0, 0][..], &body].concat();
        assert_eq!(page[4..], rest);
        assert_eq!(
            page[..4],
            crc32fast::hash(&[&[1, 0, 0, 0, 0, 0, 0, 0][..], &rest].concat()).to_le_bytes()
        );
    }

    #[test]
    fn every_flipped_bit_and_every_other_place_is_refused() {
        let page = seal(PLACE, 3, None, &b"abc".repeat(40)).expect("fits");
        for at in 0..page.len() {
            let mut bad = page.clone();
            bad[at] ^= 0x10;
            assert!(opened(&bad).is_err(), "byte {at}");
            assert!(opened(&page[..at]).is_err(), "cut at {at}");
        }
        let elsewhere = PagePlace { column: 3, offset: 78 };
        assert!(open(elsewhere, Buffer::from_slice_ref(&page)).is_err());
    }

    #[test]
    fn a_vast_body_is_refused_before_it_is_allocated() {
        let mut page = seal(PLACE, 3, None, &[0; 5000]).expect("fits");
        page[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        let checksum = PLACE.checksum(&page[4..]);
        page[..4].copy_from_slice(&checksum.to_le_bytes());
        let damage = opened(&page).expect_err("too large");
        assert!(damage.detail.contains("cannot hold 4294967295"), "{}", damage.detail);
    }
}
