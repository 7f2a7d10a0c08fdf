//! The statistics page of a column: its sketch of distinct values and the bounds of each group of 1,024 rows.
//!
//! ```text
//! offset  size   field
//! 0       4      bytes s of the sketch
//! 4       s      the sketch (docs/format/sketch.md)
//! …       2 g    NULLs of each group, u16, only if the column has any
//! ```
//! Then, of integers:
//! ```text
//! …       1      bytes w of a bound, 0 to 8
//! …       8      base, i64
//! …       w g    minimum of each group, less the base
//! …       w g    maximum of each group, less the base
//! ```
//! and of other columns the bounds of each group as in the directory, strings cut to 16 bytes.
//!
//! The directory, which stays in memory, has only the bounds of the whole column. This page is read when a filter or
//! the planner asks for it.

use super::bits::GROUP;
use super::bounds::Bounds;
use super::datum;
use super::encoding::Form;
use crate::codec::{Cursor, Damage, Decoded};
use crate::row::{ColumnType, Datum, DistinctSketch};

/// What is known of a group of 1,024 rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// How many rows it has: 1,024, less in the last group.
    pub rows: u32,
    /// How many of them are NULL.
    pub null_count: u32,
    /// The bounds of the others.
    pub bounds: Bounds,
}

/// The statistics page in memory.
#[derive(Debug)]
pub(super) struct Statistics {
    /// One for each group.
    pub zones: Vec<Zone>,
    /// The column's distinct values.
    pub sketch: DistinctSketch,
}

/// What the page must be read with, from the directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub form: Form,
    pub column_type: &'a ColumnType,
    pub rows: u32,
    pub has_nulls: bool,
}

impl Statistics {
    /// The content of the page.
    pub fn encode(&self, shape: Shape<'_>) -> Vec<u8> {
        let mut sketch = Vec::new();
        self.sketch.encode(&mut sketch);
        let mut out = Vec::new();
        let sketch_bytes = u32::try_from(sketch.len()).expect("a sketch is about a KiB");
        out.extend(sketch_bytes.to_le_bytes());
        out.extend(sketch);
        if shape.has_nulls {
            let counts = self.zones.iter().map(|zone| u16::try_from(zone.null_count).expect("at most 1,024"));
            out.extend(counts.flat_map(u16::to_le_bytes));
        }
        match shape.form {
            Form::Integers => encode_integers(&self.zones, &mut out),
            form => self.zones.iter().for_each(|zone| zone.bounds.encode(form, &mut out)),
        }
        out
    }

    /// Reads the page.
    pub fn decode(shape: Shape<'_>, content: &[u8]) -> Decoded<Self> {
        let mut cursor = Cursor::new(content);
        let sketch_bytes = cursor.u32()? as usize;
        let mut sketch_content = cursor.take(sketch_bytes)?;
        let sketch =
            DistinctSketch::decode(&mut sketch_content).map_err(|error| Damage::at(4, error.to_string()))?;
        let rows = shape.rows as usize;
        let groups = rows.div_ceil(GROUP);
        let null_counts: Vec<u16> = match shape.has_nulls {
            true => {
                let counts = cursor.take(groups * 2)?;
                counts.chunks_exact(2).map(|chunk| chunk.try_into().map_or(0, u16::from_le_bytes)).collect()
            }
            false => vec![0; groups],
        };
        let lengths = (0..groups).map(|group| (rows - group * GROUP).min(GROUP));
        let lengths: Vec<u32> = lengths.map(|length| u32::try_from(length).unwrap_or(0)).collect();
        let all_null =
            |group: usize| null_counts.get(group).copied().map(u32::from) == lengths.get(group).copied();
        let bounds: Vec<Bounds> = match shape.form {
            Form::Integers => decode_integers(shape.column_type, groups, all_null, &mut cursor)?,
            form => (0..groups)
                .map(|_| Bounds::decode(form, shape.column_type, &mut cursor))
                .collect::<Decoded<_>>()?,
        };
        cursor.finish()?;
        let zones = bounds.into_iter().zip(&lengths).zip(&null_counts).map(|((bounds, rows), null_count)| {
            Zone { rows: *rows, null_count: u32::from(*null_count), bounds }
        });
        Ok(Self { zones: zones.collect(), sketch })
    }

    /// Bytes held in memory.
    pub fn bytes_in_memory(&self) -> usize {
        let heap: usize = self.zones.iter().map(|zone| zone.bounds.heap_bytes()).sum();
        self.zones.len() * size_of::<Zone>() + heap + 1024
    }
}

fn encode_integers(zones: &[Zone], out: &mut Vec<u8>) {
    let of = |bound: &Datum| datum::to_integer(bound);
    let base = zones.iter().filter_map(|zone| of(&zone.bounds.min)).min().unwrap_or(0);
    let delta = |bound: &Datum| of(bound).map_or(0, |value| value.wrapping_sub(base) as u64);
    let widest = zones.iter().map(|zone| delta(&zone.bounds.max)).max().unwrap_or(0);
    let width = (u64::BITS - widest.leading_zeros()).div_ceil(8) as usize;
    out.push(width as u8);
    out.extend(base.to_le_bytes());
    let push = |out: &mut Vec<u8>, bound: &Datum| out.extend(delta(bound).to_le_bytes().iter().take(width));
    zones.iter().for_each(|zone| push(out, &zone.bounds.min));
    zones.iter().for_each(|zone| push(out, &zone.bounds.max));
}

fn decode_integers(
    column_type: &ColumnType,
    groups: usize,
    all_null: impl Fn(usize) -> bool,
    cursor: &mut Cursor<'_>,
) -> Decoded<Vec<Bounds>> {
    let offset = cursor.offset();
    let width = usize::from(cursor.u8()?);
    if width > 8 {
        return Err(Damage::at(offset, format!("bounds of {width} bytes")));
    }
    let base = cursor.i64()?;
    let mins = cursor.take(groups * width)?;
    let maxes = cursor.take(groups * width)?;
    let bound = |bytes: &[u8], group: usize| {
        let mut delta = [0; 8];
        let stored = bytes.get(group * width..(group + 1) * width).unwrap_or_default();
        delta.iter_mut().zip(stored).for_each(|(to, from)| *to = *from);
        let value = base.wrapping_add(i64::from_le_bytes(delta));
        datum::of_integer(column_type, value).map_err(|damage| damage.within(offset))
    };
    let zone = |group| match all_null(group) {
        true => Ok(Bounds::NONE),
        false => Ok(Bounds {
            min: bound(mins, group)?,
            max: bound(maxes, group)?,
            min_exact: true,
            max_exact: true,
        }),
    };
    (0..groups).map(zone).collect()
}
