//! Bytes that were not written by the writer.

use super::super::directory::{ColumnMeta, Directory, PageEntry};
use super::super::header::{HEADER_BYTES, Header};
use super::*;
use crate::error::Error;

fn sample() -> (Vec<(Column, Vec<Datum>)>, Vec<u8>) {
    let text = |at: i32| match at % 5 {
        0 => Datum::Null,
        _ => Datum::Text(format!("regular accounts nag {} quickly after {at}", at * 7919 % 1000)),
    };
    let long: Vec<Datum> = (0..300).map(text).collect();
    let few: Vec<Datum> = (0..300).map(|at| Datum::Bytes(vec![at as u8 % 3; 20])).collect();
    let decimal = |at: i32| match at {
        7 => Datum::Null,
        50 => Datum::Float64(-0.0),
        120 => Datum::Float64(f64::NAN),
        _ => Datum::Float64(f64::from(at * 7919 % 503) / 100.0),
    };
    let data = vec![
        (column(0, &ColumnType::Int32), (0..300).map(|at| Datum::Int32(at * at)).collect()),
        (column(1, &ColumnType::Text), long),
        (column(2, &ColumnType::Bytes), few),
        (column(3, &ColumnType::Float64), (0..300).map(|at| Datum::Float64(f64::from(at).sqrt())).collect()),
        (column(4, &ColumnType::Bool), vec![Datum::Bool(true); 300]),
        (column(5, &ColumnType::Float64), (0..300).map(decimal).collect()),
        (column(6, &ColumnType::Date), (0..300).map(|at| Datum::Date(20_000 + at / 20)).collect()),
        (column(7, &ColumnType::Text), (0..300).map(|at| Datum::Text(format!("part {}", at / 50))).collect()),
    ];
    let columns: Vec<_> = data
        .iter()
        .map(|(column, values)| (column.id, column.column_type.clone(), array(&column.column_type, values)))
        .collect();
    let mut words = [u64::MAX; 5];
    words[4] = (1 << 44) - 1;
    let payload = encode_block(&columns, Some(&words), 320, &EncodeOptions::default()).expect("encodes");
    (data, payload)
}

/// Reads everything; `Ok` only if all of it is right.
fn read_all(payload: &[u8], data: &[(Column, Vec<Datum>)]) -> Result<()> {
    let block = open(payload)?;
    for (column, values) in data {
        let array = block.read(column, &Selection::Range(0..300), Access::Scan)?;
        let expected: Vec<&Datum> = values.iter().collect();
        assert_array(&array, &column.column_type, &expected, "read after damage");
        assert!(same(&block.get(column, 299)?, &values[299]));
        let zone = block.zone(column.id, 0)?;
        assert_eq!(zone.map(|zone| zone.rows), Some(300));
    }
    Ok(())
}

#[test]
fn every_flipped_byte_is_found_or_harmless() {
    let (data, payload) = sample();
    read_all(&payload, &data).expect("undamaged");
    let block = open(&payload).expect("opens");
    let encodings: Vec<Encoding> = block.columns().iter().map(|meta| meta.encoding).collect();
    use Encoding::*;
    assert_eq!(encodings, [BitPacked, Fsst, Dictionary, Plain, Constant, Alp, RunEnd, RunEndDictionary]);
    for at in 0..payload.len() {
        let mut bad = payload.clone();
        bad[at] ^= 1 << (at % 8);
        let error = read_all(&bad, &data).expect_err("every byte is covered by a checksum");
        assert!(matches!(error, Error::CorruptBlock { .. }), "byte {at}: {error}");
    }
}

#[test]
fn every_cut_is_found() {
    let (data, payload) = sample();
    for end in (0..payload.len()).step_by(31) {
        assert!(read_all(&payload[..end], &data).is_err(), "cut at {end}");
    }
}

#[test]
fn damage_of_one_page_leaves_the_others_readable() {
    let (data, payload) = sample();
    let block = open(&payload).expect("opens");
    let meta = block.column(ColumnId::new(1)).expect("has it");
    let start = payload.len() - (block.columns()[4].bytes_on_disk() as usize);
    let extent = meta.page_extent(0).expect("has it");
    let last_end = block.columns()[4].statistics.offset + block.columns()[4].statistics.bytes;
    assert!(extent.offset < last_end && start < payload.len());
    let pages_start =
        payload.len() - block.columns().iter().map(|meta| meta.bytes_on_disk() as usize).sum::<usize>();
    let mut bad = payload.clone();
    bad[pages_start + extent.offset as usize + 30] ^= 1;
    let block = open(&bad).expect("opens");
    let read = |at: usize| block.read(&data[at].0, &Selection::Range(0..300), Access::Scan);
    let Err(Error::CorruptBlock { block: id, offset, detail }) = read(1) else { panic!("damage expected") };
    assert_eq!(id, block.handle().id());
    assert_eq!(offset, (64 + pages_start + extent.offset as usize) as u64, "{detail}");
    assert!(detail.contains("checksum"), "{detail}");
    for at in [0, 2, 3, 4] {
        assert!(read(at).is_ok(), "column {at}");
    }
}

/// Changes a byte of the directory and mends the checksums.
fn forge(payload: &[u8], directory_offset: usize, value: u8) -> Vec<u8> {
    let mut bad = payload.to_vec();
    let directory_bytes = u32::from_le_bytes(bad[44..48].try_into().expect("four bytes")) as usize;
    bad[64 + directory_offset] = value;
    let checksum = crc32fast::hash(&bad[64..64 + directory_bytes]);
    bad[56..60].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32fast::hash(&bad[..60]);
    bad[60..64].copy_from_slice(&checksum.to_le_bytes());
    bad
}

#[test]
fn a_forged_directory_is_refused_or_read_without_panic() {
    let (data, payload) = sample();
    let directory_bytes = u32::from_le_bytes(payload[44..48].try_into().expect("four bytes")) as usize;
    for at in 0..directory_bytes {
        for value in [0, 1, 0x7F, 0xFF] {
            let bad = forge(&payload, at, value);
            let Ok(block) = open(&bad) else { continue };
            for (column, values) in &data {
                let _ = block.read(column, &Selection::Slots(vec![0, 5, 299]), Access::Scan);
                let _ = block.get(column, 7);
                let _ = block.filter(column, Comparison::Lt, &values[9], 0..300);
                let _ = block.zones(column.id);
            }
        }
    }
}

#[test]
fn an_unknown_encoding_is_of_a_newer_version_unless_it_is_none() {
    let (_, payload) = sample();
    // The first column follows the presence bitmap of five words: id, type, encoding.
    for number in [9, 77, 255] {
        let error = open(&forge(&payload, 40 + 8, number)).expect_err("unknown");
        let is_newer = matches!(error, Error::UnsupportedFormat { found, supported: 8, .. } if found == u32::from(number));
        assert!(is_newer && error.to_string().contains("the encoding of column 0 of block"), "{error}");
    }
    let error = open(&forge(&payload, 40 + 8, 0)).expect_err("none");
    assert!(matches!(error, Error::CorruptBlock { .. }), "{error}");
    let mut torn = payload.clone();
    torn[64 + 40 + 8] = 9;
    let error = open(&torn).expect_err("fails its checksum");
    assert!(matches!(error, Error::CorruptBlock { .. }), "{error}");
    let error = open(&forge(&payload, 40 + 4, 77)).expect_err("unknown");
    assert!(error.to_string().contains("unknown column type 77"), "{error}");
}

#[test]
fn an_encoding_that_does_not_fit_the_values_is_refused() {
    let mut random = Random::new(5);
    let integers = (0..100).map(|_| Datum::Int64(random.next() as i64)).collect();
    let floats = (0..100).map(|at| Datum::Float64(f64::from(at).sqrt())).collect();
    let uuids = (0..100_u8).map(|at| Datum::Uuid([at; 16])).collect();
    let cases: [(ColumnType, Vec<Datum>, [Encoding; 2]); 3] = [
        (ColumnType::Int64, integers, [Encoding::Alp, Encoding::Plain]),
        (ColumnType::Float64, floats, [Encoding::RunEnd, Encoding::BitPacked]),
        (ColumnType::Uuid, uuids, [Encoding::Alp, Encoding::RunEnd]),
    ];
    for (column_type, values, others) in cases {
        let columns = [(ColumnId::new(0), column_type.clone(), array(&column_type, &values))];
        let payload = encode_block(&columns, None, 100, &EncodeOptions::default()).expect("encodes");
        for encoding in others {
            let error = open(&forge(&payload, 8, encoding as u8)).expect_err("does not fit");
            assert!(error.to_string().contains("encoding and form do not fit"), "{encoding:?}: {error}");
        }
    }
}

#[test]
fn a_newer_format_is_refused() {
    let (_, payload) = sample();
    let store = Arc::new(MemBlockStore::new());
    let id = store.write(BlockKind::ColumnBlock, FORMAT + 1, &payload).expect("writes");
    let cache = PageCache::new(store, MemoryPool::new(1 << 20), CacheOptions::default());
    let handle = cache.handle(id);
    let error = ColumnBlock::open(cache, handle).expect_err("newer");
    assert!(matches!(error, Error::UnsupportedFormat { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn bytes_that_claim_to_be_text_must_be_utf8() {
    let invalid = |at: i32| match at % 40 {
        17 => vec![b'a', 0xFF, b'b'],
        _ => format!("request {} of account {} is final", at * 7919 % 1009, at * 31).into_bytes(),
    };
    let random = |at: i32| {
        let mut random = Random::new(at as u64 + 1);
        (0..30).map(|_| random.next() as u8).collect()
    };
    let cases: [(Encoding, Vec<Vec<u8>>); 4] = [
        (Encoding::Constant, vec![vec![0xC3]; 100]),
        (Encoding::Plain, (0..300).map(random).collect()),
        (Encoding::Dictionary, (0..300).map(|at| vec![b'x', 0xF0 | (at % 3) as u8]).collect()),
        (Encoding::Fsst, (0..300).map(invalid).collect()),
    ];
    for (encoding, values) in cases {
        let values: Vec<Datum> = values.into_iter().map(Datum::Bytes).collect();
        let columns = [(ColumnId::new(0), ColumnType::Bytes, array(&ColumnType::Bytes, &values))];
        let slots = u32::try_from(values.len()).expect("a segment");
        let payload = encode_block(&columns, None, slots, &EncodeOptions::default()).expect("encodes");
        let found = open(&payload).expect("opens").columns()[0].encoding;
        assert_eq!(found, encoding);
        // Without bounds, which are text too and would be refused at open: flags and both bounds are cut out.
        let Some(block) = without_bounds(&payload) else {
            panic!("{encoding:?}: the forged block must open")
        };
        let text = column(0, &ColumnType::Text);
        let error = block.read(&text, &Selection::Range(0..slots), Access::Scan).expect_err("not UTF-8");
        assert!(error.to_string().contains("UTF-8"), "{encoding:?}: {error}");
        let refused = (0..slots as u16).filter(|slot| block.get(&text, *slot).is_err()).count();
        assert!(refused > 0, "{encoding:?}");
    }
}

/// Makes the only column of a block of bytes one of text, and takes its bounds away.
fn without_bounds(payload: &[u8]) -> Option<ColumnBlock> {
    let directory_bytes = u32::from_le_bytes(payload[44..48].try_into().ok()?) as usize;
    let mut directory = payload[64..64 + directory_bytes].to_vec();
    directory[4] = 8;
    let min = directory[21] as usize;
    let max = directory[22 + min] as usize;
    directory.splice(20..23 + min + max, [0]);
    let mut bad = payload[..64].to_vec();
    bad[44..48].copy_from_slice(&u32::try_from(directory.len()).ok()?.to_le_bytes());
    bad.extend(directory);
    bad.extend(&payload[64 + directory_bytes..]);
    open(&forge(&bad, 4, 8)).ok()
}

/// Changes what the directory says of the columns, and mends the checksums.
fn with_columns(payload: &[u8], change: impl FnOnce(&mut [ColumnMeta])) -> Vec<u8> {
    let (header, rest) = payload.split_at(HEADER_BYTES);
    let header = Header::decode(header).expect("a header");
    let (directory, pages) = rest.split_at(header.directory_bytes as usize);
    let mut directory = Directory::decode(&header, directory).expect("a directory");
    change(&mut directory.columns);
    let directory = directory.encode();
    let directory_bytes = u32::try_from(directory.len()).expect("small");
    let header = Header { directory_bytes, directory_crc: crc32fast::hash(&directory), ..header };
    [header.encode(), directory, pages.to_vec()].concat()
}

#[test]
fn pages_that_overlap_are_refused() {
    let mut random = Random::new(7);
    let mut value =
        |at: u64| if at.is_multiple_of(9) { Datum::Null } else { Datum::Int64(random.next() as i64) };
    let data: Vec<(Column, Vec<Datum>)> =
        (0..2).map(|id| (column(id, &ColumnType::Int64), (0..2048).map(&mut value).collect())).collect();
    let columns: Vec<_> = data
        .iter()
        .map(|(column, values)| (column.id, column.column_type.clone(), array(&column.column_type, values)))
        .collect();
    let options = EncodeOptions { page_bytes: 8192, ..EncodeOptions::default() };
    let payload = encode_block(&columns, None, 2048, &options).expect("encodes");
    let read = |payload: &[u8]| {
        let block = open(payload)?;
        for (column, values) in &data {
            let array = block.read(column, &Selection::Range(0..2048), Access::Scan)?;
            assert_array(&array, &column.column_type, &values.iter().collect::<Vec<_>>(), "read");
            block.zones(column.id)?;
        }
        Ok(())
    };
    read(&with_columns(&payload, |_| ())).expect("undamaged");
    type Change = fn(&mut ColumnMeta, &ColumnMeta);
    let changes: [(&str, Change); 5] = [
        ("a page of 2,048 rows at one of 1,024", |column, other| {
            column.pages = vec![PageEntry { first: 0, offset: other.pages[0].offset }];
            column.pages_end = other.pages[1].offset;
        }),
        ("the other column's pages", |column, other| {
            column.pages = other.pages.clone();
            column.pages_end = other.pages_end;
        }),
        ("the other column's statistics", |column, other| column.statistics = other.statistics),
        ("statistics at the column's own page", |column, _| {
            column.statistics = column.page_extent(0).expect("a page");
        }),
        ("statistics that end in a page", |column, _| column.statistics.bytes += 1),
    ];
    for (what, change) in changes {
        let forged = with_columns(&payload, |columns| {
            let [first, second] = columns else { panic!("two columns") };
            assert_eq!((first.pages.len(), second.pages.len()), (2, 2));
            change(second, first);
        });
        let error: Error = read(&forged).expect_err(what);
        assert!(matches!(error, Error::CorruptBlock { .. }), "{what}: {error}");
        assert!(error.to_string().contains("overlap"), "{what}: {error}");
    }
}
