//! What must hold of any bytes that are read as a column block: each way of reading gives the same values or an error, and
//! values that are written come back.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};

use super::bits::GROUP;
use super::directory::{ColumnMeta, Directory, Extent};
use super::encoding::Encoding;
use super::header::{HEADER_BYTES, Header};
use super::page::PagePlace;
use super::{ColumnBlock, Comparison, EncodeOptions, FORMAT, Origin, Selection, encode_block};
use crate::block::{BlockKind, BlockStore, MemBlockStore};
use crate::cache::{Access, CacheOptions, PageCache};
use crate::codec::choices::Choices;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, LoadId, RowId, SchemaVersion};
use crate::memory::MemoryPool;
use crate::row::fuzzing::{any_type, any_value, column_of, not_null, same};
use crate::row::{Column, ColumnBuilder, ColumnType, Datum, compare, datum_at};

/// The rows of a crafted block are read one by one up to here.
const ROWS_CHECKED: usize = 4096;

/// A column block of any bytes, checksums mended; or of any values, written and read.
pub(crate) fn column_block(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(2) {
        0 => written(&mut choices),
        _ => {
            let payload = seal(choices.rest().to_vec());
            match open(&payload) {
                Ok(block) => crafted(&block),
                Err(Error::UnsupportedFormat { found, .. }) => {
                    assert!(found > (Encoding::NEWEST as u8).into(), "encoding {found}");
                }
                Err(error) => assert_damage(&error),
            }
        }
    }
}

fn open(payload: &[u8]) -> Result<ColumnBlock> {
    let store = Arc::new(MemBlockStore::new());
    let id = store.write(BlockKind::ColumnBlock, FORMAT, payload)?;
    let cache = PageCache::new(store, MemoryPool::new(256 << 20), CacheOptions::default());
    let handle = cache.handle(id);
    ColumnBlock::open(cache, handle)
}

fn assert_damage(error: &Error) {
    assert!(matches!(error, Error::CorruptBlock { .. }), "{error:?}");
}

/// Gives bytes the lengths and checksums that let them be read as a block.
pub(super) fn seal(mut payload: Vec<u8>) -> Vec<u8> {
    let Some(pages) = payload.len().checked_sub(HEADER_BYTES) else { return payload };
    payload[..8].copy_from_slice(b"STRACOLB");
    let directory =
        u32::from_le_bytes([payload[44], payload[45], payload[46], payload[47]]) as usize % (pages + 1);
    let pages_start = HEADER_BYTES + directory;
    payload[44..48].copy_from_slice(&(directory as u32).to_le_bytes());
    payload[48..52].copy_from_slice(&((pages - directory) as u32).to_le_bytes());
    let checksum = crc32fast::hash(&payload[HEADER_BYTES..pages_start]);
    payload[56..60].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32fast::hash(&payload[..60]);
    payload[60..64].copy_from_slice(&checksum.to_le_bytes());
    let Ok(header) = Header::decode(payload[..HEADER_BYTES].try_into().expect("64 bytes")) else {
        return payload;
    };
    let Ok(directory) = Directory::decode(&header, &payload[HEADER_BYTES..pages_start]) else {
        return payload;
    };
    for meta in &directory.columns {
        for extent in extents(meta) {
            let start = pages_start + extent.offset as usize;
            let Some(page) = payload.get_mut(start..start + extent.bytes as usize) else { continue };
            if page.len() > 4 {
                let checksum =
                    PagePlace { column: meta.id.get(), offset: extent.offset }.checksum(&page[4..]);
                page[..4].copy_from_slice(&checksum.to_le_bytes());
            }
        }
    }
    payload
}

fn extents(meta: &ColumnMeta) -> impl Iterator<Item = Extent> {
    let pages = (0..meta.pages.len()).filter_map(|page| meta.page_extent(page));
    [meta.statistics, meta.auxiliary].into_iter().chain(pages)
}

/// A block whose checksums hold, though nobody wrote it.
fn crafted(block: &ColumnBlock) {
    let slots: Vec<u32> = (0..block.slots()).filter(|slot| block.contains(*slot)).collect();
    assert_eq!(slots.len(), block.rows() as usize);
    let mut whole = Vec::new();
    for meta in block.columns() {
        let column = column_of(meta.id.get(), meta.column_type.clone(), Datum::Null, false);
        for outcome in [block.zones(meta.id).map(drop), block.sketch(meta.id).map(drop)] {
            outcome.unwrap_or_else(|error| assert_damage(&error));
        }
        match values(block, &column, Selection::Slots(slots.clone())) {
            Ok((array, values)) => {
                agree(block, &column, &slots, &values);
                whole.push((meta.id, meta.column_type.clone(), array));
            }
            Err(error) => {
                assert_damage(&error);
                for slot in slots.iter().take(ROWS_CHECKED) {
                    let _ = block.get(&column, *slot as u16);
                }
            }
        }
    }
    again(block, &whole);
}

fn values(block: &ColumnBlock, column: &Column, selection: Selection) -> Result<(ArrayRef, Vec<Datum>)> {
    let count = selection.len();
    let array = block.read(column, &selection, Access::Scan)?;
    assert_eq!(array.len(), count);
    array.to_data().validate_full().expect("an array that Arrow takes");
    let count = count.min(ROWS_CHECKED);
    let values =
        (0..count).map(|at| datum_at(&array, at, &column.column_type).expect("of the type")).collect();
    Ok((array, values))
}

/// All that was read at once is read so in parts, one by one and through filters.
fn agree(block: &ColumnBlock, column: &Column, slots: &[u32], expected: &[Datum]) {
    for (slot, value) in slots.iter().zip(expected) {
        let found = match block.get(column, *slot as u16) {
            Ok(found) => found,
            Err(error) => {
                // Many at once are narrowed to their type without a look at each, one alone is looked at.
                assert!(is_narrow(&column.column_type), "what is read with others is read alone: {error}");
                return assert_damage(&error);
            }
        };
        assert!(
            same(&found, value),
            "slot {slot} of {:?}: {found:?} alone, {value:?} with others",
            column.column_type
        );
    }
    let checked = &slots[..expected.len()];
    let odd: Vec<u32> = checked.iter().copied().skip(1).step_by(3).collect();
    let (_, found) = values(block, column, Selection::Slots(odd)).expect("what is read is read in parts");
    assert!(found.iter().zip(expected.iter().skip(1).step_by(3)).all(|(left, right)| same(left, right)));
    if block.presence().is_none() {
        let (start, end) = (checked.len() / 3, checked.len() - checked.len() / 4);
        let range = Selection::Range(start as u32..end as u32);
        let (_, found) = values(block, column, range).expect("what is read is read in parts");
        assert!(found.iter().zip(&expected[start..end]).all(|(left, right)| same(left, right)));
    }
    for literal in [expected.first(), expected.get(expected.len() / 2)].into_iter().flatten() {
        filtered(block, column, checked, expected, literal);
    }
}

/// Whether the type's integers are narrower than those of a page.
fn is_narrow(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Bool | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Date)
}

fn filtered(block: &ColumnBlock, column: &Column, slots: &[u32], values: &[Datum], literal: &Datum) {
    let Some(last) = slots.last() else { return };
    for comparison in [Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Ge] {
        let words = match block.filter(column, comparison, literal, 0..last + 1) {
            Ok(Some(words)) => words,
            Ok(None) => return,
            Err(error) => return assert_damage(&error),
        };
        let mut expected = vec![0_u64; words.len()];
        for (slot, value) in
            slots.iter().zip(values).filter(|(_, value)| !value.is_null() && !literal.is_null())
        {
            let order = compare(value, literal);
            let accepted = match comparison {
                Comparison::Eq => order.is_eq(),
                Comparison::Ne => order.is_ne(),
                Comparison::Lt => order.is_lt(),
                _ => order.is_ge(),
            };
            expected[*slot as usize / 64] |= u64::from(accepted) << (slot % 64);
        }
        assert_eq!(words, expected, "{comparison:?} {literal:?} of {:?}", column.column_type);
    }
}

/// What was read of a block is written, and read as the same.
fn again(block: &ColumnBlock, columns: &[(ColumnId, ColumnType, ArrayRef)]) {
    let presence = block.presence().map(|presence| presence.words().to_vec());
    let options = EncodeOptions {
        schema_version: block.schema_version(),
        origin: block.origin(),
        page_bytes: 1024,
        threads: 1,
    };
    // A value that Arrow holds and a column may not: a decimal of too many digits, an array within an array.
    let Ok(payload) = encode_block(columns, presence.as_deref(), block.slots(), &options) else { return };
    let written = open(&payload).expect("what was encoded opens");
    assert_eq!(
        (written.slots(), written.rows(), written.origin()),
        (block.slots(), block.rows(), block.origin())
    );
    let slots: Vec<u32> = (0..block.slots()).filter(|slot| block.contains(*slot)).collect();
    for (id, column_type, array) in columns {
        let column = column_of(id.get(), column_type.clone(), Datum::Null, false);
        let read = written.read(&column, &Selection::Slots(slots.clone()), Access::Scan).expect("reads");
        for at in 0..array.len().min(ROWS_CHECKED) {
            let datum = |array: &ArrayRef| datum_at(array, at, column_type).expect("of the type");
            let (found, expected) = (datum(&read), datum(array));
            assert!(same(&found, &expected), "{found:?} was written as {expected:?}");
        }
    }
}

/// Values that the bytes choose, in runs, from few or from a line, so that each encoding is met.
fn any_column(column_type: &ColumnType, rows: usize, choices: &mut Choices<'_>) -> Vec<Datum> {
    let few: Vec<Datum> = (0..1 + choices.below(5)).map(|_| any_value(column_type, choices)).collect();
    let (profile, start, step) = (choices.below(4), choices.u64() as i64, i64::from(choices.u16() as i16));
    let mut values = Vec::with_capacity(rows);
    while values.len() < rows {
        let at = values.len() as i64;
        let number = start.wrapping_add(at.wrapping_mul(step)).wrapping_add(i64::from(choices.u8()));
        match profile {
            0 => values.push(few[choices.below(few.len())].clone()),
            1 => {
                let run = 1 + choices.below(256);
                let value = few[choices.below(few.len())].clone();
                values.extend(std::iter::repeat_n(value, run.min(rows - values.len())));
            }
            2 => values.push(on_a_line(column_type, number).unwrap_or_else(|| few[0].clone())),
            _ => values.push(any_value(column_type, choices)),
        }
    }
    values
}

fn on_a_line(column_type: &ColumnType, number: i64) -> Option<Datum> {
    Some(match column_type {
        ColumnType::Int16 => Datum::Int16(number as i16),
        ColumnType::Int32 => Datum::Int32(number as i32),
        ColumnType::Int64 => Datum::Int64(number),
        ColumnType::Float64 => Datum::Float64((number >> 20) as f64 / 100.0),
        ColumnType::Float32 => Datum::Float32((number >> 40) as f32 / 8.0),
        ColumnType::Date => Datum::Date(number as i32),
        ColumnType::Time => Datum::Time(number),
        ColumnType::Timestamp => Datum::Timestamp(number),
        ColumnType::TimestampTz => Datum::TimestampTz(number),
        ColumnType::Text => Datum::Text(format!("value {number} of a line of text")),
        ColumnType::Bytes => Datum::Bytes(number.to_be_bytes().repeat(2)),
        _ => return None,
    })
}

/// Values that the bytes choose come back from the block that they are written to; a flipped byte is found.
fn written(choices: &mut Choices<'_>) {
    let slots = match choices.below(4) {
        0 => 1 + choices.below(20),
        1 => GROUP - 2 + choices.below(5),
        _ => 1 + usize::from(choices.u16()) % 2500,
    };
    let words: Option<Vec<u64>> = (choices.below(2) == 0).then(|| {
        let mut words = vec![0_u64; slots.div_ceil(64)];
        let step = 1 + choices.below(70);
        (choices.below(64)..slots).step_by(step).for_each(|slot| words[slot / 64] |= 1 << (slot % 64));
        words
    });
    let present =
        |slot: &u32| words.as_ref().is_none_or(|words| words[*slot as usize / 64] >> (slot % 64) & 1 == 1);
    let slots_present: Vec<u32> = (0..slots as u32).filter(present).collect();
    let origin = match choices.below(2) {
        0 => Origin::Rows(RowId::new(choices.u64())),
        _ => Origin::Load(LoadId::new(choices.u64()), choices.u64()),
    };
    let options = EncodeOptions {
        schema_version: SchemaVersion::new(choices.u32()),
        origin,
        page_bytes: 64 << choices.below(10),
        threads: 1,
    };
    let flip = (choices.u32() as usize, choices.u8());
    let mut columns = Vec::new();
    for id in 0..1 + choices.below(2) as u32 {
        let column_type = any_type(choices);
        let values = any_column(&column_type, slots_present.len(), choices);
        columns.push((column_of(id, column_type, Datum::Null, false), values));
    }
    let arrays: Vec<_> = (columns.iter())
        .map(|(column, values)| {
            let mut builder = ColumnBuilder::new(&column.column_type, values.len());
            values.iter().for_each(|value| builder.push_datum(value).expect("of the type"));
            (column.id, column.column_type.clone(), builder.finish())
        })
        .collect();
    let mut payload = encode_block(&arrays, words.as_deref(), slots as u32, &options).expect("encodes");
    let block = open(&payload).expect("what was encoded opens");
    for (column, expected) in &columns {
        let (_, found) = values(&block, column, Selection::Slots(slots_present.clone())).expect("reads");
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(same(found, expected), "value {at} is {found:?}, was written as {expected:?}");
        }
        for (slot, value) in slots_present.iter().zip(expected) {
            assert!(same(&block.get(column, *slot as u16).expect("reads"), value), "slot {slot}: {value:?}");
        }
        agree(&block, column, &slots_present, &found);
        let other = not_null(&column.column_type, choices);
        filtered(&block, column, &slots_present, &found, &other);
        let zones = block.zones(column.id).expect("reads");
        assert_eq!(zones.is_none(), slots_present.is_empty());
    }
    if flip.1 != 0 {
        let at = flip.0 % payload.len();
        payload[at] ^= flip.1;
        let damaged = open(&payload).map(|block| {
            let whole = |(column, _): &(Column, _)| {
                let read = values(&block, column, Selection::Slots(slots_present.clone())).map(drop);
                read.and_then(|()| block.zones(column.id).map(drop))
            };
            columns.iter().map(whole).collect::<Vec<_>>()
        });
        match damaged {
            Ok(outcomes) => {
                outcomes.into_iter().filter_map(Result::err).for_each(|error| assert_damage(&error))
            }
            Err(error) => assert_damage(&error),
        }
    }
}
