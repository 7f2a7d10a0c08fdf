//! Cutting the client's byte stream into frames.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | tag, absent from startup packets |
//! | 4 | length, big-endian, of itself and the body |
//! | length - 4 | body |
//!
//! Nothing here allocates by a claimed length: a frame is cut once its bytes are there, and [`Cut::Needs`] tells how many are
//! missing, so that the reader grows its buffer as bytes arrive. A length below 4 or above the tag's cap ends the connection, since
//! where the next frame starts is unknown from then on.

use bytes::{Buf, Bytes, BytesMut};

/// What a startup packet may measure, as in PostgreSQL.
pub const STARTUP_LIMIT: usize = 10_000;
/// What a frame without data of the user's may measure, as in PostgreSQL.
pub const SMALL_LIMIT: usize = 10_000;
/// What a frame that carries queries or data may measure.
pub const LARGE_LIMIT: usize = 1 << 30;

/// The size of the length field, which counts itself.
const LENGTH_SIZE: usize = 4;

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message type; 0 for a startup packet.
    pub tag: u8,
    /// What follows the length.
    pub body: Bytes,
}

/// The outcome of looking for a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A frame, taken out of the buffer.
    Frame(Frame),
    /// At least so many bytes are missing.
    Needs(usize),
}

/// A frame that no reader can get past.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The tag is none that a client sends.
    #[error("invalid frontend message type {0}")]
    UnknownTag(u8),
    /// The length is too small or too large for the tag.
    #[error("invalid length of a message: {length}, at most {limit}")]
    Length {
        /// The length claimed.
        length: u32,
        /// The tag's cap.
        limit: usize,
    },
}

/// The cap of a tag's length, or nothing where no such message exists.
fn limit_of(tag: u8) -> Option<usize> {
    match tag {
        b'Q' | b'P' | b'B' | b'd' | b'F' => Some(LARGE_LIMIT),
        b'D' | b'E' | b'C' | b'S' | b'H' | b'X' | b'c' | b'f' | b'p' => Some(SMALL_LIMIT),
        _ => None,
    }
}

/// Takes the next tagged frame out of `buffer`.
pub fn cut_frame(buffer: &mut BytesMut) -> Result<Cut, FrameError> {
    let Some(&tag) = buffer.first() else {
        return Ok(Cut::Needs(1 + LENGTH_SIZE));
    };
    let limit = limit_of(tag).ok_or(FrameError::UnknownTag(tag))?;
    cut(buffer, tag, 1, limit)
}

/// Takes an untagged startup packet out of `buffer`.
pub fn cut_startup(buffer: &mut BytesMut) -> Result<Cut, FrameError> {
    cut(buffer, 0, 0, STARTUP_LIMIT)
}

fn cut(buffer: &mut BytesMut, tag: u8, tag_size: usize, limit: usize) -> Result<Cut, FrameError> {
    let header_size = tag_size + LENGTH_SIZE;
    let Some(header) = buffer.get(tag_size..header_size) else {
        return Ok(Cut::Needs(header_size - buffer.len()));
    };
    let length = header.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if !(LENGTH_SIZE..=limit).contains(&size) {
        return Err(FrameError::Length { length, limit });
    }
    let frame_size = tag_size + size;
    if buffer.len() < frame_size {
        return Ok(Cut::Needs(frame_size - buffer.len()));
    }
    let mut body = buffer.split_to(frame_size).freeze();
    body.advance(header_size);
    Ok(Cut::Frame(Frame { tag, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_frames_one_after_another_and_keeps_the_rest() {
        let mut buffer = BytesMut::from(&b"Q\0\0\0\x06a\0S\0\0\0\x04X\0\0"[..]);
        let first = cut_frame(&mut buffer);
        assert_eq!(first, Ok(Cut::Frame(Frame { tag: b'Q', body: Bytes::from_static(b"a\0") })));
        assert_eq!(cut_frame(&mut buffer), Ok(Cut::Frame(Frame { tag: b'S', body: Bytes::new() })));
        assert_eq!(cut_frame(&mut buffer), Ok(Cut::Needs(2)));
        assert_eq!(&buffer[..], b"X\0\0");
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut buffer = BytesMut::from(&b"d\x3f\xff\xff\xff"[..]);
        assert_eq!(cut_frame(&mut buffer), Ok(Cut::Needs(0x3fff_ffff - 4)));
        assert!(buffer.capacity() < 100);
    }

    #[test]
    fn refuses_lengths_outside_the_caps() {
        let refused = |bytes: &[u8]| cut_frame(&mut BytesMut::from(bytes)).is_err();
        assert!(refused(b"Q\0\0\0\x03"));
        assert!(refused(b"Q\x80\0\0\0"));
        assert!(refused(b"Q\x40\0\0\x01"));
        assert!(refused(b"S\0\0\x27\x11"));
        assert!(refused(b"?\0\0\0\x04"));
        assert!(cut_startup(&mut BytesMut::from(&b"\0\0\x27\x11"[..])).is_err());
        assert_eq!(cut_startup(&mut BytesMut::from(&b"\0\0\x27\x10"[..])), Ok(Cut::Needs(9_996)));
    }
}
