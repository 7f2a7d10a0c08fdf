//! FSST symbol tables: training and compressing by `fsst-rs`, decompressing here.
//!
//! ```text
//! offset  size  field
//! 0       1     count n of symbols, 0 to 255
//! 1       n     length of each symbol, 1 to 8
//! …       …     the symbols' bytes, one after another
//! ```
//!
//! A compressed string is a list of codes: below `n` a symbol, 255 an escape that the byte itself follows. The crate's
//! own decompressor trusts lengths and codes and writes past its buffer where they lie; this one writes eight bytes
//! for each code into a slice that is checked, and is not measurably slower.

use fsst::Compressor;

use crate::codec::{Cursor, Damage, Decoded};

const ESCAPE: u8 = fsst::ESCAPE_CODE;
const SYMBOL_BYTES: usize = 8;

/// Trains a table on these strings.
#[allow(clippy::ptr_arg, reason = "the crate asks for one")]
pub(super) fn train(sample: &Vec<&[u8]>) -> Compressor {
    Compressor::train(sample)
}

/// Compresses strings one by one: all codes, and where each string's end.
pub(super) fn compress(compressor: &Compressor, strings: &[&[u8]]) -> (Vec<u8>, Vec<u64>) {
    let (mut codes, mut ends) = (Vec::new(), Vec::new());
    compressor.compress_bulk_into::<{ Compressor::DEFAULT_BULK_LANES }>(strings, &mut codes, &mut ends);
    (codes, ends)
}

/// Appends the table.
pub(super) fn encode(compressor: &Compressor, out: &mut Vec<u8>) {
    let lengths = compressor.symbol_lengths();
    let count = u8::try_from(lengths.len()).expect("a table has at most 255 symbols");
    out.push(count);
    out.extend(lengths);
    for (symbol, length) in compressor.symbol_table().iter().zip(lengths) {
        out.extend(symbol.to_u64().to_le_bytes().iter().take(usize::from(*length)));
    }
}

/// A table to decompress with.
#[derive(Debug)]
pub(super) struct SymbolTable {
    symbols: [[u8; SYMBOL_BYTES]; 256],
    /// Zero for codes that do not exist.
    lengths: [u8; 256],
}

impl SymbolTable {
    /// Parses a table; refuses lengths that are not 1 to 8.
    pub fn parse(bytes: &[u8]) -> Decoded<Self> {
        let mut cursor = Cursor::new(bytes);
        let count = usize::from(cursor.u8()?);
        let mut table = Self { symbols: [[0; SYMBOL_BYTES]; 256], lengths: [0; 256] };
        let lengths = cursor.take(count)?;
        for (code, length) in lengths.iter().enumerate() {
            let length_bytes = usize::from(*length);
            if !(1..=SYMBOL_BYTES).contains(&length_bytes) {
                return Err(Damage::at(code + 1, format!("symbol of {length} bytes")));
            }
            let symbol = cursor.take(length_bytes)?;
            table.symbols[code][..length_bytes].copy_from_slice(symbol);
            table.lengths[code] = *length;
        }
        cursor.finish()?;
        Ok(table)
    }

    /// Decompresses into `buffer` from `start` on, growing it; returns where the string ends. What lies beyond
    /// that end is undefined.
    pub fn decompress(&self, codes: &[u8], buffer: &mut Vec<u8>, start: usize) -> Decoded<usize> {
        let needed = start + (codes.len() + 1) * SYMBOL_BYTES;
        if buffer.len() < needed {
            buffer.resize(needed.max(buffer.len() * 2), 0);
        }
        let out = buffer.get_mut(start..).unwrap_or_default();
        let mut end = 0;
        let mut unknown = false;
        let mut rest = codes.iter();
        while let Some(code) = rest.next() {
            let (symbol, length) = if *code == ESCAPE {
                let byte = rest.next().ok_or_else(|| Damage::at(0, "escape at the end of a string"))?;
                ([*byte, 0, 0, 0, 0, 0, 0, 0], 1)
            } else {
                (self.symbols[usize::from(*code)], self.lengths[usize::from(*code)])
            };
            let Some(place) = out.get_mut(end..end + SYMBOL_BYTES) else {
                return Err(Damage::at(0, "string outgrew its buffer"));
            };
            place.copy_from_slice(&symbol);
            end += usize::from(length);
            unknown |= length == 0;
        }
        if unknown {
            return Err(Damage::at(0, "code without a symbol"));
        }
        Ok(start + end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_of(compressor: &Compressor) -> SymbolTable {
        let mut bytes = Vec::new();
        encode(compressor, &mut bytes);
        SymbolTable::parse(&bytes).expect("parses")
    }

    #[test]
    fn strings_round_trip() {
        let text =
            ["carefully final deposits", "", "x", "furiously ironic deposits", "ÄÖ\u{10FFFF}\0\0", "\0"];
        let strings: Vec<&[u8]> = text.iter().cycle().take(600).map(|text| text.as_bytes()).collect();
        let compressor = train(&strings);
        let (codes, ends) = compress(&compressor, &strings);
        let table = table_of(&compressor);
        let mut buffer = Vec::new();
        let mut start = 0;
        for (string, end) in strings.iter().zip(ends) {
            let end = usize::try_from(end).expect("small");
            let stop = table.decompress(&codes[start..end], &mut buffer, 3).expect("decompresses");
            assert_eq!(&buffer[3..stop], *string);
            start = end;
        }
        assert!(codes.len() < 600 * 6);
    }

    #[test]
    fn golden_bytes() {
        let bytes = [2, 3, 1, b'a', b'b', b'c', b'z'];
        let table = SymbolTable::parse(&bytes).expect("parses");
        let mut buffer = Vec::new();
        let end = table.decompress(&[0, 1, 255, b'!', 0], &mut buffer, 0).expect("decompresses");
        assert_eq!(&buffer[..end], b"abcz!abc");
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in [&[][..], &[1], &[1, 0], &[1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[1, 2, b'a'], &[0, 1]] {
            assert!(SymbolTable::parse(bytes).is_err(), "{bytes:?}");
        }
        let table = SymbolTable::parse(&[1, 1, b'a']).expect("parses");
        assert!(table.decompress(&[1], &mut Vec::new(), 0).is_err());
        assert!(table.decompress(&[0, 255], &mut Vec::new(), 0).is_err());
    }
}
