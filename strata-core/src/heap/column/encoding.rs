//! The encodings of columns and the physical forms of values. Numbers are never reused.

use crate::codec::{Damage, Decoded};
use crate::row::ColumnType;

/// How the values of a column are encoded in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// One value, or none but NULLs. The value is the only entry of a dictionary.
    Constant = 1,
    /// Values one after another; strings with lengths.
    Plain = 2,
    /// Bit-packed integers over a base or a line, by groups.
    BitPacked = 3,
    /// Bit-packed codes of a dictionary.
    Dictionary = 4,
    /// Strings compressed with a symbol table.
    Fsst = 5,
    /// Floats as bit-packed decimals.
    Alp = 6,
    /// Runs of equal integers.
    RunEnd = 7,
    /// Runs of equal codes of a dictionary.
    RunEndDictionary = 8,
}

impl Encoding {
    /// All encodings, as they were added and numbered.
    pub const ALL: [Self; 8] = [
        Self::Constant,
        Self::Plain,
        Self::BitPacked,
        Self::Dictionary,
        Self::Fsst,
        Self::Alp,
        Self::RunEnd,
        Self::RunEndDictionary,
    ];
    /// The newest one.
    pub(super) const NEWEST: Self = Self::ALL[Self::ALL.len() - 1];

    /// The encoding of this number, if it is known.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| *encoding as u8 == number)
    }

    /// Whether a column so encoded has a dictionary, which a constant one may lack if all is NULL.
    pub(super) fn has_dictionary(self) -> bool {
        matches!(self, Self::Constant | Self::Dictionary | Self::RunEndDictionary)
    }
}

/// The form in which the values of a type are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// 64-bit integers.
    Integers,
    /// This many bytes each.
    Fixed(usize),
    /// Byte strings.
    Strings,
}

impl Form {
    /// The number on disk: 0 integers, 255 strings, others the width.
    pub fn number(self) -> u8 {
        match self {
            Self::Integers => 0,
            Self::Fixed(width) => u8::try_from(width).expect("no value is wider than 16 bytes"),
            Self::Strings => 255,
        }
    }

    /// Whether a column of this type may have this form; only decimals have two.
    pub fn fits(self, column_type: &ColumnType) -> bool {
        use ColumnType::*;
        match column_type {
            Bool | Int16 | Int32 | Int64 | Date | Time | Timestamp | TimestampTz => self == Self::Integers,
            Decimal { .. } => self == Self::Integers || self == Self::Fixed(16),
            Float32 => self == Self::Fixed(4),
            Float64 => self == Self::Fixed(8),
            Interval | Uuid => self == Self::Fixed(16),
            Text | Bytes | Array(_) => self == Self::Strings,
        }
    }

    /// The form of this number, if the type can have it.
    pub fn from_number(number: u8, column_type: &ColumnType, offset: usize) -> Decoded<Self> {
        let form = match number {
            0 => Self::Integers,
            255 => Self::Strings,
            width => Self::Fixed(usize::from(width)),
        };
        if form.fits(column_type) {
            return Ok(form);
        }
        Err(Damage::at(offset, format!("form {number} does not fit a column of type {column_type:?}")))
    }
}
