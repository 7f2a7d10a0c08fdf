//! Comparing encoded data finds what comparing values finds.

use super::generate::{PROFILES, Profile, types, values};
use super::*;
use crate::row::compare;

const COMPARISONS: [Comparison; 6] =
    [Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge];

fn holds(comparison: Comparison, value: &Datum, literal: &Datum) -> bool {
    let order = compare(value, literal);
    let accepted = match comparison {
        Comparison::Eq => order.is_eq(),
        Comparison::Ne => order.is_ne(),
        Comparison::Lt => order.is_lt(),
        Comparison::Le => order.is_le(),
        Comparison::Gt => order.is_gt(),
        Comparison::Ge => order.is_ge(),
    };
    accepted && !value.is_null() && !literal.is_null()
}

/// Compares all ways with the literals; tells whether the encoding took part.
fn check_filter(
    block: &ColumnBlock,
    column: &Column,
    by_slot: &[Option<&Datum>],
    literals: &[Datum],
    what: &str,
) -> bool {
    let mut answered = true;
    let slots = by_slot.len();
    for (start, end) in [(0, slots), (slots / 5, slots - slots / 7), (slots / 2, slots / 2)] {
        for (comparison, literal) in
            COMPARISONS.iter().flat_map(|op| literals.iter().map(move |to| (*op, to)))
        {
            let range = start as u32..end as u32;
            let Some(words) = block.filter(column, comparison, literal, range).expect("filters") else {
                answered = false;
                continue;
            };
            assert_eq!(words.len(), (end - start).div_ceil(64), "{what}");
            for (at, value) in by_slot[start..end].iter().enumerate() {
                let found = words[at / 64] >> (at % 64) & 1 != 0;
                let expected = value.is_some_and(|value| holds(comparison, value, literal));
                assert_eq!(
                    found,
                    expected,
                    "{what}: slot {} {value:?} {comparison:?} {literal:?}",
                    start + at
                );
            }
            let beyond = (end - start) % 64;
            assert!(
                beyond == 0 || words.last().is_none_or(|last| last >> beyond == 0),
                "{what}: bits past the end"
            );
        }
    }
    answered
}

#[test]
fn every_type_compares_as_its_values_do() {
    for column_type in types() {
        for profile in PROFILES {
            for (rows, null_percent) in [(1, 0), (70, 100), (1500, 15)] {
                let what = format!("{column_type:?} {profile:?} {rows} rows, {null_percent} % NULL");
                let data = values(&column_type, profile, rows, null_percent, 77);
                let mut literals = values(&column_type, Profile::Extreme, 6, 0, 5);
                literals.extend(data.iter().step_by(rows / 3 + 1).cloned());
                literals.push(Datum::Null);
                let block = block_of(&column_type, &data, 2048);
                let by_slot: Vec<Option<&Datum>> = data.iter().map(Some).collect();
                let column = column(0, &column_type);
                let answered = check_filter(&block, &column, &by_slot, &literals, &what);
                let encoding = block.column(column.id).expect("has it").encoding;
                let decodes = matches!(encoding, Encoding::Plain | Encoding::Fsst) && null_percent < 100;
                assert_eq!(answered, !decodes, "{what}: {encoding:?}");
            }
        }
    }
}

#[test]
fn absent_slots_of_a_sparse_block_are_not_found() {
    let mut random = Random::new(11);
    let slots = 5000_u32;
    let present: Vec<u32> = (0..slots).filter(|_| random.below(3) == 0).collect();
    let mut words = vec![0_u64; slots.div_ceil(64) as usize];
    present.iter().for_each(|slot| words[*slot as usize / 64] |= 1 << (slot % 64));
    let data = values(&ColumnType::Int32, Profile::Growing, present.len(), 10, 3);
    let columns = [(ColumnId::new(0), ColumnType::Int32, array(&ColumnType::Int32, &data))];
    let payload = encode_block(&columns, Some(&words), slots, &EncodeOptions::default()).expect("encodes");
    let mut by_slot = vec![None; slots as usize];
    present.iter().zip(&data).for_each(|(slot, value)| by_slot[*slot as usize] = Some(value));
    let literals = [data[100].clone(), Datum::Int32(i32::MIN), Datum::Int32(5000)];
    let block = open(&payload).expect("opens");
    assert!(check_filter(&block, &column(0, &ColumnType::Int32), &by_slot, &literals, "sparse"));
}

#[test]
fn a_literal_of_another_type_and_a_column_that_is_not_there_are_left_to_the_caller() {
    let block = block_of(&ColumnType::Int32, &[Datum::Int32(1), Datum::Int32(2)], 1024);
    let column_of = |id, column_type| column(id, &column_type);
    let here = column_of(0, ColumnType::Int32);
    assert_eq!(block.filter(&here, Comparison::Eq, &Datum::Int64(1), 0..2).expect("filters"), None);
    assert_eq!(block.filter(&here, Comparison::Eq, &Datum::Int32(1), 0..2).expect("filters"), Some(vec![1]));
    let later = column_of(1, ColumnType::Int32);
    assert_eq!(block.filter(&later, Comparison::Eq, &Datum::Int32(1), 0..2).expect("filters"), None);
    assert!(block.filter(&here, Comparison::Eq, &Datum::Int32(1), 0..3).is_err());
}
