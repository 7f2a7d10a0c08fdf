//! The bytes of the format. They never change: a new meaning is a new number.

use super::*;
use crate::manifest::codec::Reader;
use crate::manifest::group::{GroupHeader, decode_payload, encode_payload};
use crate::manifest::log::FileHeader;

fn every_kind() -> Vec<(Edit, Vec<u8>)> {
    let heap = HeapId::new(0x0403_0201);
    let segment = SegmentId::new(5);
    let extent = BlockId::from_extent(0x22, 3).expect("fits");
    let raw = [3, 0, 0, 0x22, 0, 0, 0, 0];
    let meta = SsTableMeta {
        block: extent,
        level: 1,
        sequence: 2,
        row_base: 3,
        entries: 4,
        payload_bytes: 5,
        smallest: b"a".to_vec(),
        largest: b"zz".to_vec(),
    };
    let counters = Counters {
        last_commit: Timestamp::new(1),
        next_heap: 2,
        next_table: 3,
        next_index: 4,
        next_schema: 5,
        next_load: 6,
        next_sstable_sequence: 7,
        clock_us: 8,
    };
    let page = HotPageMeta { block: extent, first_slot: 0x0605, rows: 9 };
    let hot = SegmentImage::Hot { pages: vec![page] };
    let column = SegmentImage::Column { block: extent, slots: 7, rows: 6 };
    let put = |image| Edit::PutSegment { heap, segment, image };
    let in_segment = b"\x01\x02\x03\x04\x05\0\0\0\0\0\0\0".as_slice();
    let u64s = |values: &[u8]| -> Vec<u8> {
        values.iter().flat_map(|value| u64::from(*value).to_le_bytes()).collect()
    };
    vec![
        (
            Edit::AddSsTable(meta),
            [&[1], raw.as_slice(), &[1], &u64s(&[2, 3, 4, 5]), b"\x01\0\0\0a\x02\0\0\0zz"].concat(),
        ),
        (Edit::RemoveSsTable(extent), [&[2], raw.as_slice()].concat()),
        (Edit::CreateHeap(heap), vec![3, 1, 2, 3, 4]),
        (Edit::DropHeap(heap), vec![4, 1, 2, 3, 4]),
        (put(SegmentImage::Dropped), [&[5], in_segment, &[0]].concat()),
        (
            put(hot),
            [&[5], in_segment, &[1], b"\x01\0\0\0", raw.as_slice(), b"\x05\x06", b"\x09\0\0\0"].concat(),
        ),
        (put(column), [&[5], in_segment, &[2], raw.as_slice(), b"\x07\0\0\0\x06\0\0\0"].concat()),
        (
            Edit::PutMarks { heap, segment, block: Some(extent), dead: 8 },
            [&[6], in_segment, raw.as_slice(), b"\x08\0\0\0"].concat(),
        ),
        (Edit::PutMarks { heap, segment, block: None, dead: 0 }, [&[6], in_segment, &[0; 12]].concat()),
        (
            Edit::PutHeap { heap, row_end: RowId::new(2), live_rows: 1 },
            [[7, 1, 2, 3, 4].as_slice(), &u64s(&[2, 1])].concat(),
        ),
        (Edit::JournalStart(Lsn::new(3)), [&[8], u64s(&[3]).as_slice()].concat()),
        (
            Edit::Counters(counters),
            [&[9], u64s(&[1]).as_slice(), b"\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05\0\0\0", &u64s(&[6, 7, 8])]
                .concat(),
        ),
    ]
}

fn reader(bytes: &[u8]) -> Reader<'_> {
    Reader::new(crate::codec::Cursor::new(bytes))
}

#[test]
fn golden_edits() {
    for (edit, bytes) in every_kind() {
        let mut encoded = Vec::new();
        crate::manifest::codec::encode(&edit, &mut encoded);
        assert_eq!(encoded, bytes, "{edit:?}");
        let mut reader = reader(&bytes);
        assert_eq!(reader.edit(), Ok(edit));
        assert_eq!(reader.finish(), Ok(()));
    }
}

#[test]
fn an_edit_cut_short_anywhere_is_refused() {
    for (edit, bytes) in every_kind() {
        for length in 0..bytes.len() {
            assert!(reader(&bytes[..length]).edit().is_err(), "{edit:?} cut to {length}");
        }
    }
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    let in_segment = b"\x01\x02\x03\x04\x05\0\0\0\0\0\0\0".as_slice();
    let pages = [&[5], in_segment, &[1], &[0xff; 4], &[0; 32]].concat();
    let refused = reader(&pages).edit().expect_err("too long");
    assert_eq!(refused.detail, "a list of pages is cut short");
    let key = [&[1_u8][..], &[3, 0, 0, 0x22, 0, 0, 0, 0], &[0; 33], &[0xff; 4], b"abc"].concat();
    let refused = reader(&key).edit().expect_err("too long");
    assert_eq!(refused.detail, "4294967295 bytes expected, 3 left");
    let payload = [&[0_u8; 8][..], &[0xff; 4], &[3, 1, 0, 0, 0]].concat();
    assert!(decode_payload(&payload).is_err());
}

#[test]
fn golden_payload() {
    let edits = vec![Edit::CreateHeap(HeapId::new(1)), Edit::JournalStart(Lsn::new(2))];
    let payload = encode_payload(Lsn::new(0x0304), &edits);
    let wanted =
        [b"\x04\x03\0\0\0\0\0\0".as_slice(), b"\x02\0\0\0", b"\x03\x01\0\0\0", b"\x08\x02\0\0\0\0\0\0\0"]
            .concat();
    assert_eq!(payload, wanted);
    assert_eq!(decode_payload(&payload), Ok((Lsn::new(0x0304), edits)));
    let longer = [wanted.as_slice(), &[0]].concat();
    assert!(decode_payload(&longer).is_err());
}

// Checksums in these two were computed with another CRC-32 implementation.

#[test]
fn golden_file_header() {
    let header = FileHeader { number: 3, snapshot_groups: 2 };
    let (bytes, checksum) = header.encode();
    let mut wanted = b"STRAMANI\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0".to_vec();
    wanted.extend_from_slice(&[0; 28]);
    wanted.extend_from_slice(FILE_CHECKSUM);
    assert_eq!(bytes.as_slice(), wanted);
    assert_eq!(FileHeader::decode(&bytes).expect("known"), Some((header, checksum)));
    let mut newer = bytes;
    newer[8] = 2;
    let own = crc32fast::hash(&newer[..60]);
    newer[60..].copy_from_slice(&own.to_le_bytes());
    assert!(matches!(
        FileHeader::decode(&newer),
        Err(crate::error::Error::UnsupportedFormat { found: 2, .. })
    ));
}

#[test]
fn golden_group_header() {
    for (room, checksums) in [(0, GROUP_CHECKSUMS), (5, GROUP_CHECKSUMS_OF_ROOM)] {
        let header = GroupHeader {
            number: 3,
            sequence: 4,
            previous: 0xddcc_bbaa,
            payload_bytes: 2,
            room: room.into(),
        };
        let (bytes, checksum) = header.encode(b"hi");
        let mut wanted = [b"SMEG\x01\0".as_slice(), &[room, 0]].concat();
        wanted.extend_from_slice(b"\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\xaa\xbb\xcc\xdd\x02\0\0\0");
        wanted.extend_from_slice(checksums);
        wanted.extend_from_slice(&[0; 24]);
        assert_eq!(bytes.as_slice(), wanted);
        assert_eq!(GroupHeader::decode(&bytes, header.number).expect("known"), Some((header, checksum)));
    }
}

const FILE_CHECKSUM: &[u8] = b"\x15\x35\xd6\xd7";
const GROUP_CHECKSUMS: &[u8] = b"\x29\x02\x5b\x9f\xb0\x62\x44\xb5";
const GROUP_CHECKSUMS_OF_ROOM: &[u8] = b"\x40\x0b\x39\x98\x18\x12\xf7\xf8";
