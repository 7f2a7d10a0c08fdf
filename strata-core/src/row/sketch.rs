//! A sketch of how many distinct values a column has: HyperLogLog with 1,024 registers.
//!
//! Each column block stores one for each of its columns; a table's distinct count is estimated from their
//! union, which no sum of counts could tell. The standard error is 1.04 / √1024, about 3 %. Registers are a
//! byte each: the block that carries a sketch is a thousand times larger, and bytes merge with one vector
//! instruction. A sketch of few values is written sparsely, as most columns of small tables and all
//! dictionaries of flags need.
//!
//! A value's hash is XXH3-64 over its [`key`](super::key) bytes in ascending order, so that values that are
//! equal in SQL (0 and -0, '1 month' and '30 days') count once. The upper 10 bits choose the register, the
//! rank of the first set bit of the others is what it keeps the maximum of. NULLs are not counted. The
//! estimator is Otmar Ertl's improved raw one ("New cardinality estimation algorithms for HyperLogLog
//! sketches", 2017): it needs no bias tables and is good over the whole range.
//!
//! # Bytes
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | form: 1 sparse, 2 dense |
//! | sparse 1 | 2 | count of the non-zero registers, at most 341 |
//! | sparse 3 | 3 each | register number (`u16`, ascending), rank (`u8`, 1 to 55) |
//! | dense 1 | 1024 | rank of each register (0 to 55) |

use xxhash_rust::xxh3::xxh3_64;

use super::damaged;
use super::key::{KeyOrder, encode_key_value, int32_key, int64_key};
use super::types::ColumnType;
use super::value::DatumRef;
use crate::error::{Error, Result};

/// Bits of the hash that choose the register.
const PRECISION: u32 = 10;
const REGISTERS: usize = 1 << PRECISION;
/// Bits of the hash that the rank is taken from.
const RANK_BITS: u32 = u64::BITS - PRECISION;
/// The rank where none of them is set.
const MAX_RANK: u8 = 55;
const _: () = assert!(RANK_BITS + 1 == MAX_RANK as u32);

const FORM_SPARSE: u8 = 1;
const FORM_DENSE: u8 = 2;
const SPARSE_ENTRY_BYTES: usize = 3;
/// With more registers in use the dense form is the smaller one.
const SPARSE_LIMIT: usize = 341;

const WHAT: &str = "distinct sketch";

/// A HyperLogLog sketch.
#[derive(Clone, PartialEq, Eq)]
pub struct DistinctSketch {
    registers: Box<[u8; REGISTERS]>,
}

impl Default for DistinctSketch {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for DistinctSketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DistinctSketch(about {})", self.estimate())
    }
}

impl DistinctSketch {
    /// The sketch of no values.
    pub fn new() -> Self {
        Self { registers: Box::new([0; REGISTERS]) }
    }

    /// The hash under which a value is counted; `None` for NULL, which is not.
    ///
    /// # Errors
    /// `Invalid` where the value is not of this type.
    pub fn hash(
        value: &DatumRef<'_>,
        column_type: &ColumnType,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<u64>> {
        if value.is_null() {
            return Ok(None);
        }
        scratch.clear();
        encode_key_value(scratch, value, column_type, KeyOrder::default())?;
        Ok(Some(xxh3_64(scratch)))
    }

    /// Counts a value. `scratch` is a buffer to reuse. Errors as [`hash`](Self::hash).
    pub fn add(
        &mut self,
        value: &DatumRef<'_>,
        column_type: &ColumnType,
        scratch: &mut Vec<u8>,
    ) -> Result<()> {
        if let Some(hash) = Self::hash(value, column_type, scratch)? {
            self.add_hash(hash);
        }
        Ok(())
    }

    /// The [`hash`](Self::hash) of a value that a column of this type keeps as this integer; `None` where the type has none that is
    /// quickly told, or not this value.
    pub fn hash_of_integer(value: i64, column_type: &ColumnType) -> Option<u64> {
        match column_type {
            ColumnType::Int64 | ColumnType::Time | ColumnType::Timestamp | ColumnType::TimestampTz => {
                Some(xxh3_64(&int64_key(value)))
            }
            ColumnType::Int32 | ColumnType::Date => Some(xxh3_64(&int32_key(i32::try_from(value).ok()?))),
            _ => None,
        }
    }

    /// Counts a value by its [`hash`](Self::hash).
    pub fn add_hash(&mut self, hash: u64) {
        // Ten bits: below the number of registers.
        let register = (hash >> RANK_BITS) as usize;
        // A bit behind the last ends the search. At most 55.
        let rank = ((hash << PRECISION) | 1 << (PRECISION - 1)).leading_zeros() as u8 + 1;
        let kept = &mut self.registers[register];
        *kept = rank.max(*kept);
    }

    /// Counts what the other sketch has counted.
    pub fn merge(&mut self, other: &Self) {
        for (kept, rank) in self.registers.iter_mut().zip(other.registers.iter()) {
            *kept = (*kept).max(*rank);
        }
    }

    /// About how many distinct values were counted.
    pub fn estimate(&self) -> u64 {
        let mut counts = [0_u32; MAX_RANK as usize + 1];
        for rank in self.registers.iter() {
            if let Some(count) = counts.get_mut(usize::from(*rank)) {
                *count += 1;
            }
        }
        let registers = REGISTERS as f64;
        let last = counts.len() - 1;
        let mut sum = registers * tau(1.0 - f64::from(counts[last]) / registers);
        for count in counts[1..last].iter().rev() {
            sum = 0.5 * (sum + f64::from(*count));
        }
        sum += registers * sigma(f64::from(counts[0]) / registers);
        // No values give an infinite sum; a float that is too large saturates.
        (registers * registers / (2.0 * std::f64::consts::LN_2 * sum)).round() as u64
    }

    /// Appends the sketch's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let used = self.registers.iter().filter(|rank| **rank != 0).count();
        match u16::try_from(used) {
            Ok(count) if used <= SPARSE_LIMIT => {
                out.push(FORM_SPARSE);
                out.extend_from_slice(&count.to_le_bytes());
                for (register, rank) in (0_u16..).zip(self.registers.iter()).filter(|(_, rank)| **rank != 0) {
                    out.extend_from_slice(&register.to_le_bytes());
                    out.push(*rank);
                }
            }
            _ => {
                out.push(FORM_DENSE);
                out.extend_from_slice(&self.registers[..]);
            }
        }
    }

    /// Takes a sketch off the front of `bytes`.
    ///
    /// # Errors
    /// `Corrupt` where the bytes are none; `UnsupportedFormat` for a form of a later version.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self> {
        let short = || damaged(WHAT, bytes.len(), "it is cut short");
        let (form, rest) = bytes.split_first().ok_or_else(short)?;
        let mut sketch = Self::new();
        let rest = match *form {
            FORM_SPARSE => {
                let (count, rest) = rest.split_first_chunk().ok_or_else(short)?;
                let size = usize::from(u16::from_le_bytes(*count)) * SPARSE_ENTRY_BYTES;
                let (entries, rest) = rest.split_at_checked(size).ok_or_else(short)?;
                sketch.fill_sparse(entries)?;
                rest
            }
            FORM_DENSE => {
                let (ranks, rest) = rest.split_first_chunk::<REGISTERS>().ok_or_else(short)?;
                *sketch.registers = *ranks;
                rest
            }
            found => {
                let what = WHAT.to_owned();
                return Err(Error::UnsupportedFormat {
                    what,
                    found: found.into(),
                    supported: FORM_DENSE.into(),
                });
            }
        };
        if let Some(rank) = sketch.registers.iter().find(|rank| **rank > MAX_RANK) {
            return Err(damaged(WHAT, 1, format!("a rank of {rank}")));
        }
        *bytes = rest;
        Ok(sketch)
    }

    fn fill_sparse(&mut self, entries: &[u8]) -> Result<()> {
        let mut lowest = 0;
        for entry in entries.chunks_exact(SPARSE_ENTRY_BYTES) {
            let [low, high, rank] = *entry else { continue };
            let register = usize::from(u16::from_le_bytes([low, high]));
            let kept = self.registers.get_mut(register).filter(|_| register >= lowest && rank != 0);
            *kept.ok_or_else(|| {
                damaged(WHAT, 3, format!("register {register} of rank {rank} is out of place"))
            })? = rank;
            lowest = register + 1;
        }
        Ok(())
    }
}

/// Ertl's σ: what the registers at zero contribute, of which `x` is the share.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * power;
        power += power;
        if sum == before {
            return sum;
        }
    }
}

/// Ertl's τ: what the registers at the largest rank contribute; `x` is the share of the others.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut power, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        power *= 0.5;
        sum -= (1.0 - x).powi(2) * power;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch_of(values: std::ops::Range<i64>) -> DistinctSketch {
        let (mut sketch, mut scratch) = (DistinctSketch::new(), Vec::new());
        for value in values {
            sketch.add(&DatumRef::Int64(value), &ColumnType::Int64, &mut scratch).expect("an integer");
        }
        sketch
    }

    #[test]
    fn estimates_of_few_are_exact_and_others_within_four_standard_errors() {
        for count in [0, 1, 2, 10] {
            assert_eq!(sketch_of(0..count).estimate(), count as u64);
        }
        for count in [100, 1_000, 3_000, 10_000, 100_000, 1_000_000] {
            let estimate = sketch_of(0..count).estimate() as f64;
            let error = (estimate - count as f64).abs() / count as f64;
            assert!(error < 4.0 * 1.04 / 32.0, "{count} values were estimated as {estimate}");
        }
    }

    #[test]
    fn a_union_counts_common_values_once() {
        let mut union = sketch_of(0..6_000);
        union.merge(&sketch_of(4_000..10_000));
        assert_eq!(union, sketch_of(0..10_000));
    }

    #[test]
    fn values_equal_in_sql_count_once_and_nulls_not_at_all() {
        let (mut sketch, mut scratch) = (DistinctSketch::new(), Vec::new());
        for value in [DatumRef::Float64(0.0), DatumRef::Float64(-0.0), DatumRef::Null] {
            sketch.add(&value, &ColumnType::Float64, &mut scratch).expect("a float");
        }
        assert_eq!(sketch.estimate(), 1);
    }

    #[test]
    fn bytes_are_golden() {
        let mut bytes = Vec::new();
        sketch_of(1..4).encode(&mut bytes);
        assert_eq!(bytes, [1, 3, 0, 164, 1, 1, 9, 2, 4, 76, 3, 3]);
        bytes.clear();
        sketch_of(0..1_000).encode(&mut bytes);
        assert_eq!((bytes.len(), xxh3_64(&bytes)), (1025, 10_495_581_043_782_614_572));
    }

    #[test]
    fn integers_have_the_hash_of_their_value() {
        let values = [0, 1, -1, 77, i64::from(i32::MIN), i64::from(i32::MAX), i64::MIN, i64::MAX];
        for value in values {
            let narrow = i32::try_from(value).ok();
            let kinds = [
                (ColumnType::Int64, Some(DatumRef::Int64(value))),
                (ColumnType::Time, Some(DatumRef::Time(value))),
                (ColumnType::Timestamp, Some(DatumRef::Timestamp(value))),
                (ColumnType::TimestampTz, Some(DatumRef::TimestampTz(value))),
                (ColumnType::Int32, narrow.map(DatumRef::Int32)),
                (ColumnType::Date, narrow.map(DatumRef::Date)),
            ];
            for (column_type, datum) in kinds {
                let hash = |datum| DistinctSketch::hash(&datum, &column_type, &mut Vec::new());
                let expected = datum.and_then(|datum| hash(datum).expect("is of the type"));
                assert_eq!(
                    DistinctSketch::hash_of_integer(value, &column_type),
                    expected,
                    "{column_type:?} {value}"
                );
            }
        }
    }

    #[test]
    fn hashes_at_the_edges_have_the_smallest_and_the_largest_rank() {
        let mut sketch = DistinctSketch::new();
        sketch.add_hash(0);
        sketch.add_hash(u64::MAX);
        let mut bytes = Vec::new();
        sketch.encode(&mut bytes);
        assert_eq!(bytes, [1, 2, 0, 0, 0, 55, 0xFF, 3, 1]);
    }

    #[test]
    fn both_forms_read_back_and_leave_what_follows() {
        for sketch in [DistinctSketch::new(), sketch_of(0..300), sketch_of(0..5_000)] {
            let mut bytes = Vec::new();
            sketch.encode(&mut bytes);
            bytes.extend_from_slice(b"next");
            let mut rest = bytes.as_slice();
            assert_eq!(DistinctSketch::decode(&mut rest).expect("valid"), sketch);
            assert_eq!(rest, b"next");
            for cut in 0..bytes.len() - 4 {
                assert!(DistinctSketch::decode(&mut &bytes[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let dense = [&[FORM_DENSE][..], &[MAX_RANK + 1; REGISTERS]].concat();
        let cases: [&[u8]; 6] = [
            &[3],
            &[1, 1, 0, 0, 4, 1],
            &[1, 1, 0, 0, 0, 0],
            &[1, 1, 0, 0, 0, 56],
            &[1, 2, 0, 5, 0, 1, 5, 0, 1],
            &dense,
        ];
        for bytes in cases {
            assert!(DistinctSketch::decode(&mut &*bytes).is_err(), "{bytes:?}");
        }
    }
}
