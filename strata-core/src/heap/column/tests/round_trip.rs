//! What is written is what is read.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use proptest::prelude::*;

use super::generate::{PROFILES, Profile, types, values};
use super::*;

#[test]
fn every_type_spread_and_share_of_nulls_round_trips() {
    for column_type in types() {
        for profile in PROFILES {
            for (rows, null_percent) in [(1, 0), (1, 100), (5, 20), (1025, 100), (1024, 0), (2100, 10)] {
                let what = format!("{column_type:?} {profile:?} {rows} rows, {null_percent} % NULL");
                let values = values(&column_type, profile, rows, null_percent, rows as u64);
                let block = block_of(&column_type, &values, 2048);
                let slots: Vec<u32> = (0..rows as u32).collect();
                check(&block, &column(0, &column_type), &slots, &values, &what);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sparse_blocks_of_several_columns_round_trip(
        seed in any::<u64>(),
        slots in 1_u32..6000,
        keep in 1_u64..100,
        page_bytes in 64_usize..40_000,
    ) {
        let mut random = Random::new(seed);
        let mut words = vec![0_u64; 1024];
        let present: Vec<u32> = (0..slots).filter(|_| random.below(100) < keep).collect();
        present.iter().for_each(|slot| words[*slot as usize / 64] |= 1 << (slot % 64));
        let types = types();
        let kinds: Vec<(u32, &ColumnType)> = (0..3).map(|id| (id * 2, &types[random.below(18) as usize])).collect();
        let data: Vec<Vec<Datum>> = kinds.iter().map(|(id, column_type)| {
            let profile = PROFILES[random.below(6) as usize];
            values(column_type, profile, present.len(), random.below(3) * 10, seed ^ u64::from(*id))
        }).collect();
        let columns: Vec<_> = kinds.iter().zip(&data)
            .map(|((id, column_type), values)| (ColumnId::new(*id), (*column_type).clone(), array(column_type, values)))
            .rev()
            .collect();
        let options = EncodeOptions { page_bytes, ..EncodeOptions::default() };
        let payload = encode_block(&columns, Some(&words), slots, &options).expect("encodes");
        let parallel = EncodeOptions { threads: 2 + random.below(3) as usize, ..options };
        prop_assert_eq!(&encode_block(&columns, Some(&words), slots, &parallel).expect("encodes"), &payload);
        let block = open(&payload).expect("opens");
        prop_assert_eq!((block.slots(), block.rows() as usize), (slots, present.len()));
        if !present.is_empty() {
            for ((id, column_type), values) in kinds.iter().zip(&data) {
                check(&block, &column(*id, column_type), &present, values, &format!("seed {seed} column {id}"));
            }
        }
        let absent = (0..slots).find(|slot| !block.contains(*slot));
        if let Some(slot) = absent {
            let column = column(0, kinds[0].1);
            prop_assert!(block.get(&column, slot as u16).is_err());
            prop_assert!(block.read(&column, &Selection::Slots(vec![slot]), Access::Scan).is_err());
            prop_assert!(block.read(&column, &Selection::Range(slot..slot + 1), Access::Scan).is_err());
        }
    }
}

#[test]
fn a_full_segment_round_trips_with_every_encoding() {
    let rows = 65_536;
    let cases = [
        (ColumnType::Int64, Profile::Growing, Encoding::BitPacked),
        (ColumnType::Text, Profile::Random, Encoding::Fsst),
        (ColumnType::Text, Profile::Few, Encoding::Dictionary),
        (ColumnType::Float64, Profile::Random, Encoding::Plain),
        (ColumnType::Uuid, Profile::Constant, Encoding::Constant),
        (ColumnType::Float64, Profile::Growing, Encoding::Alp),
        (ColumnType::Float32, Profile::Growing, Encoding::Alp),
        (ColumnType::Date, Profile::Clustered, Encoding::RunEnd),
        (ColumnType::Text, Profile::Clustered, Encoding::RunEndDictionary),
        (ColumnType::Float64, Profile::Clustered, Encoding::RunEndDictionary),
    ];
    for (column_type, profile, encoding) in cases {
        let values = values(&column_type, profile, rows, 0, 9);
        let block = block_of(&column_type, &values, 32 << 10);
        let meta = block.column(ColumnId::new(0)).expect("has it");
        assert_eq!(meta.encoding, encoding, "{column_type:?} {profile:?}");
        let column = column(0, &column_type);
        for range in [0..3000, 40_000..48_192, 65_535..65_536] {
            let expected: Vec<&Datum> = values[range.start as usize..range.end as usize].iter().collect();
            let array = block.read(&column, &Selection::Range(range), Access::Scan).expect("reads");
            assert_array(&array, &column_type, &expected, "full segment");
        }
        assert!(same(&block.get(&column, 65_535).expect("reads"), &values[65_535]));
        assert!(block.read(&column, &Selection::Range(0..65_537), Access::Scan).is_err());
    }
}

#[test]
fn one_value_reads_few_bytes() {
    let column_type = ColumnType::Text;
    let values = values(&column_type, Profile::Random, 65_536, 0, 5);
    let block = block_of(&column_type, &values, 32 << 10);
    let meta = block.column(ColumnId::new(0)).expect("has it");
    assert!(meta.bytes_on_disk() > 500 << 10, "{}", meta.bytes_on_disk());
    for page in 0..meta.pages.len() {
        let bytes = meta.page_extent(page).expect("has it").bytes;
        assert!(bytes < 48 << 10, "page {page} has {bytes} bytes");
    }
}

#[test]
fn large_strings_have_pages_of_their_own() {
    let mut values: Vec<Datum> = (0..1500).map(|at| Datum::Bytes(vec![at as u8; at % 50])).collect();
    let mut random = Random::new(3);
    for at in [3, 700, 1300] {
        values[at] = Datum::Bytes((0..200_000).map(|_| random.next() as u8).collect());
    }
    let block = block_of(&ColumnType::Bytes, &values, 4096);
    let slots: Vec<u32> = (0..1500).collect();
    check(&block, &column(0, &ColumnType::Bytes), &slots, &values, "large strings");
    let meta = block.column(ColumnId::new(0)).expect("has it");
    let large = meta.page_of(700).and_then(|page| meta.page_rows(page, 1500)).expect("has it");
    assert!(large.1 - large.0 < 100, "{large:?}");
}

#[test]
fn a_dictionary_is_shared_and_other_strings_are_not() {
    let values: Vec<Datum> =
        (0..4000).map(|at| Datum::Text(format!("a value that is not inlined {}", at % 7))).collect();
    let block = block_of(&ColumnType::Text, &values, 1024);
    let column = column(0, &ColumnType::Text);
    assert_eq!(block.column(column.id).map(|meta| meta.distinct_estimate), Some(7));
    let read = |range| block.read(&column, &Selection::Range(range), Access::Scan).expect("reads");
    let (first, second) = (read(0..100), read(3000..3100));
    let buffer = |array: &ArrayRef| array.as_string_view().data_buffers()[0].as_ptr();
    assert_eq!(buffer(&first), buffer(&second));
    assert_eq!(first.as_string_view().data_buffers()[0].len(), 7 * 29);
}

#[test]
fn a_column_that_the_block_lacks_reads_as_its_missing_value() {
    let block = block_of(&ColumnType::Int32, &[Datum::Int32(1), Datum::Int32(2)], 1024);
    let mut later = column(5, &ColumnType::Text);
    let selection = Selection::Range(0..2);
    assert_eq!(block.read(&later, &selection, Access::Scan).expect("reads").null_count(), 2);
    later.missing = Datum::Text("none".into());
    let array = block.read(&later, &selection, Access::Scan).expect("reads");
    assert_array(&array, &ColumnType::Text, &[&later.missing, &later.missing], "missing");
    assert_eq!(block.get(&later, 1).expect("reads"), later.missing);
    assert!(block.zones(later.id).expect("reads").is_none());
    let retyped = column(0, &ColumnType::Int64);
    assert!(block.get(&retyped, 0).is_err());
}

#[test]
fn an_empty_block_and_ill_fitting_arguments() {
    let none = array(&ColumnType::Text, &[]);
    let columns = [(ColumnId::new(1), ColumnType::Text, none)];
    let words = [0_u64; 2];
    let options = EncodeOptions::default();
    let block = open(&encode_block(&columns, Some(&words), 100, &options).expect("encodes")).expect("opens");
    assert_eq!((block.slots(), block.rows(), block.groups()), (100, 0, 0));
    let column = column(1, &ColumnType::Text);
    let array = block.read(&column, &Selection::Slots(vec![]), Access::Scan).expect("reads");
    assert_eq!(array.len(), 0);
    assert!(block.zones(column.id).expect("reads").is_none());
    assert!(encode_block(&columns, None, 1, &options).is_err(), "no row for the slot");
    assert!(encode_block(&columns, Some(&[1]), 0, &options).is_err(), "presence beyond the slots");
    let twice = [columns[0].clone(), columns[0].clone()];
    assert!(encode_block(&twice, None, 0, &options).is_err(), "a column twice");
    let wrong = [(ColumnId::new(1), ColumnType::Int16, columns[0].2.clone())];
    assert!(encode_block(&wrong, None, 0, &options).is_err(), "another type");
    assert!(encode_block(&[], None, 65_537, &options).is_err(), "too many slots");
}

#[test]
fn sketches_count_distinct_values() {
    let values: Vec<Datum> = (0..20_000).map(|at| Datum::Int64(i64::from(at) * 7919 % 5003)).collect();
    let block = block_of(&ColumnType::Int64, &values, 32 << 10);
    let id = ColumnId::new(0);
    let estimate = block.sketch(id).expect("reads").expect("has it").estimate();
    assert!((4500..5500).contains(&estimate), "{estimate}");
    let meta = block.column(id).expect("has it");
    assert!((4500..5500).contains(&meta.distinct_estimate), "{}", meta.distinct_estimate);
}

#[test]
fn nulls_cost_no_width() {
    let value = |at: i64| Datum::Int64(1_000_000_000_000 + at * 37 % 16);
    let with_nulls: Vec<Datum> =
        (0..4096).map(|at| if at % 5 == 0 { Datum::Null } else { value(at) }).collect();
    let bytes = block_of(&ColumnType::Int64, &with_nulls, 32 << 10).columns()[0].bytes_on_disk();
    // Four bits and a validity bit for each row, the headers, the sketch of 16 values.
    assert!(bytes < 4096 * 5 / 8 + 300, "{bytes}");
}

#[test]
fn a_large_read_is_spread_over_several_buffers() {
    let mut random = Random::new(8);
    let mut string = || (0..40_000).map(|_| random.next() as u8).collect();
    let values: Vec<Datum> = (0..300).map(|_| Datum::Bytes(string())).collect();
    let block = block_of(&ColumnType::Bytes, &values, 32 << 10);
    let column = column(0, &ColumnType::Bytes);
    let array = block.read(&column, &Selection::Range(0..300), Access::Scan).expect("reads");
    assert_array(&array, &ColumnType::Bytes, &values.iter().collect::<Vec<_>>(), "large read");
    let buffers = array.as_binary_view().data_buffers();
    assert_eq!(buffers.len(), 3);
    assert!(buffers.iter().all(|buffer| buffer.capacity() < 6 << 20));
}
