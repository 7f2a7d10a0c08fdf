//! Writes the seeds of the corpora: what the engine itself writes, taken out of the files of a small database and of the newest
//! fixture of strata-core, and column blocks of every encoding. `cargo run --bin seeds` in `fuzz/`; the fuzzer takes it from there.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::catalog::{IndexColumn, TableDef};
use strata_core::heap::column::{EncodeOptions, Encoding, encode_block};
use strata_core::heap::{MarkGroup, MarksImage};
use strata_core::ids::{ColumnId, HeapId, Lsn, RowId, SegmentId, TableId, Timestamp};
use strata_core::journal::{Journal, JournalOptions};
use strata_core::maintenance::MaintenanceMode;
use strata_core::manifest::Manifest;
use strata_core::row::{ColumnBuilder, ColumnType, Datum, KeyOrder};
use strata_core::table::Isolation;
use strata_core::txn::{TableLockMode, block_on};
use strata_core::vfs::{MemVfs, OpenMode, Vfs};
use strata_core::{Database, Options};

const DIR: &str = "/db";
const PAGE: usize = 4096;

fn main() {
    let vfs = database();
    let file = |path: &Path| {
        let file = vfs.open(path, OpenMode::Read).expect("is there");
        let mut bytes = vec![0; file.len().expect("len") as usize];
        file.read_exact_at(0, &mut bytes).expect("read");
        bytes
    };
    let names = |dir: &str| vfs.read_dir(Path::new(dir)).expect("listed");
    for name in names(DIR)
        .into_iter()
        .chain(names("/db/manifest").into_iter().map(|name| Path::new("manifest").join(name)))
    {
        let path = Path::new(DIR).join(&name);
        match name.to_string_lossy() {
            name if name.contains("MANIFEST-") => manifest(&file(&path)),
            name if name.contains("blocks") => blocks(&file(&path)),
            _ => {}
        }
    }
    records("commit", vfs, Lsn::new(0));
    let vfs = fixture("v3");
    let start = Manifest::read(&vfs, &Path::new(DIR).join("manifest")).expect("reads").journal_start;
    records("v3", vfs, start);
    column_blocks();
    by_hand();
}

/// The records of a journal.
fn records(name: &str, vfs: MemVfs, start: Lsn) {
    let dir = Path::new(DIR).join("journal");
    let opened = Journal::open(Arc::new(vfs), &dir, start, start, JournalOptions::default());
    let (_, replay) = opened.expect("opens");
    for (at, record) in replay.enumerate() {
        put("record", &format!("{name}-{at}"), &record.expect("reads").payload);
    }
}

/// A database among the fixtures of strata-core: its journal has many marks on segments, and rows that were written out.
fn fixture(name: &str) -> MemVfs {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strata-core/tests/fixtures").join(name);
    let vfs = MemVfs::new();
    for folder in ["", "manifest", "journal"] {
        vfs.create_dir_all(&Path::new(DIR).join(folder)).expect("made");
        for entry in fs::read_dir(root.join(folder)).expect("is there") {
            let path = entry.expect("readable").path();
            if path.is_file() {
                let name = path.strip_prefix(&root).expect("is below");
                let file = vfs.open(&Path::new(DIR).join(name), OpenMode::CreateNew).expect("made");
                file.write_at(0, &fs::read(&path).expect("readable")).expect("written");
            }
        }
    }
    vfs
}

/// A seed of a target.
fn put(target: &str, name: &str, bytes: &[u8]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&dir).expect("made");
    fs::write(dir.join(format!("seed-{name}")), bytes).expect("written");
}

fn prefixed(mode: &[u8], bytes: &[u8]) -> Vec<u8> {
    [mode, bytes].concat()
}

/// A database that has written row pages, marks, index files, a manifest and commit records.
fn database() -> MemVfs {
    let vfs = MemVfs::new();
    let options =
        Options { memory_bytes: 64 << 20, maintenance: MaintenanceMode::Manual, ..Options::default() };
    let db = Database::open_with_vfs(Arc::new(vfs.clone()), DIR, options).expect("opens");
    let table = create(&db);
    let mut written = 0;
    for part in 0..4 {
        let txn = db.begin(Isolation::ReadCommitted).expect("begins");
        block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
        let def: Arc<TableDef> = Arc::clone(db.catalog().table(table).expect("is there"));
        for _ in 0..1 + part * 3 {
            written += 1;
            let row =
                [Datum::Int64(written), Datum::Text(format!("row {written}")), Datum::Int64(written % 3)];
            block_on(txn.insert(&def, &row)).expect("inserted");
        }
        if part > 0 {
            let view = txn.view().table(table).expect("is there");
            let index = view.def().primary_key().expect("has one").id;
            let mut scan = view.range(index, Bound::Unbounded, Bound::Unbounded, false).expect("reads");
            let (_, row) = scan.next_entry().expect("reads").expect("has rows");
            txn.delete(&view, row).expect("deleted");
        }
        txn.commit().expect("commits").wait().expect("durable");
        if part == 2 {
            db.checkpoint().expect("written");
        }
    }
    db.sync().expect("synced");
    drop(db);
    vfs
}

fn create(db: &Database) -> TableId {
    let columns = vec![
        NewColumn::new("id", ColumnType::Int64),
        NewColumn::new("note", ColumnType::Text),
        NewColumn::new("kind", ColumnType::Int64),
    ];
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let table =
        block_on(txn.change_catalog(|catalog| catalog.create_table("public", "t", columns))).expect("new");
    for (name, place, primary) in [("t_pkey", 0, true), ("t_kind", 2, false)] {
        let columns = vec![IndexColumn { column: ColumnId::new(place), order: KeyOrder::default() }];
        let index = NewIndex { name: name.into(), primary, unique: primary, constraint: primary, columns };
        block_on(txn.create_index(table, index)).expect("indexed");
    }
    txn.commit().expect("commits").wait().expect("durable");
    table
}

/// The groups of a manifest, each alone, and all as a file.
fn manifest(file: &[u8]) {
    let (mut all, mut last) = (vec![2, 1], 0);
    for (at, group) in file.chunks(PAGE).enumerate().filter(|(_, page)| page.starts_with(b"SMEG")) {
        let length = u32::from_le_bytes(group[28..32].try_into().expect("four bytes")) as usize;
        let Some(payload) = file.get(at * PAGE + 64..at * PAGE + 64 + length) else { continue };
        put("manifest", &format!("group-{at}"), &prefixed(&[0], payload));
        last = all.len();
        all.push(0);
        all.extend((length as u16).to_le_bytes());
        all.extend(payload);
    }
    put("manifest", "file", &all);
    all[last] = 10;
    put("manifest", "other-version", &all);
}

/// The blocks of a store, by kind.
fn blocks(file: &[u8]) {
    for (at, block) in file.chunks(PAGE).enumerate().filter(|(_, page)| page.starts_with(b"STBK")) {
        let length = u64::from_le_bytes(block[24..32].try_into().expect("eight bytes")) as usize;
        let Some(payload) = file.get(at * PAGE + 64..at * PAGE + 64 + length) else { continue };
        match block[6] {
            1 => {
                let used = u32::from_le_bytes(payload[20..24].try_into().expect("four bytes")) as usize;
                let slots =
                    usize::from(u16::from_le_bytes(payload[18..20].try_into().expect("two bytes"))) * 2;
                let ends = [&payload[..used], &payload[payload.len() - slots..]].concat();
                put("row_page", &format!("page-{at}"), &prefixed(&[2, slots as u8 / 2], &ends));
            }
            3 => put("marks", &format!("block-{at}"), &prefixed(&[1], payload)),
            4 => put("sstable", &format!("table-{at}"), &prefixed(&[4, 0, 3], payload)),
            _ => {}
        }
    }
}

fn column_blocks() {
    let text = |at: i64| format!("regular accounts nag {} quickly", at * 7919 % 1000);
    let cases: Vec<(&str, ColumnType, Box<dyn Fn(i64) -> Datum>)> = vec![
        ("constant", ColumnType::Int32, Box::new(|_| Datum::Int32(7))),
        ("packed", ColumnType::Int64, Box::new(|at| Datum::Int64(at * at))),
        ("line", ColumnType::Int64, Box::new(|at| Datum::Int64(at * 40 + at % 3))),
        ("few", ColumnType::Text, Box::new(move |at| Datum::Text(text(at % 3)))),
        ("fsst", ColumnType::Text, Box::new(move |at| Datum::Text(text(at)))),
        ("bytes", ColumnType::Bytes, Box::new(|at| Datum::Bytes(vec![at as u8; (at % 9) as usize]))),
        ("float", ColumnType::Float64, Box::new(|at| Datum::Float64((at as f64).sqrt()))),
        ("price", ColumnType::Float64, Box::new(|at| Datum::Float64((at * 7919 % 503) as f64 / 100.0))),
        ("real", ColumnType::Float32, Box::new(|at| Datum::Float32(at as f32 / 8.0))),
        ("bool", ColumnType::Bool, Box::new(|at| Datum::Bool(at % 3 == 0))),
        ("runs", ColumnType::Date, Box::new(|at| Datum::Date(20_000 + (at / 20) as i32))),
        ("few-in-runs", ColumnType::Text, Box::new(|at| Datum::Text(format!("part {}", at / 50)))),
        (
            "decimal",
            ColumnType::Decimal { precision: 38, scale: 2 },
            Box::new(|at| Datum::Decimal(i128::from(at) << 70)),
        ),
        ("uuid", ColumnType::Uuid, Box::new(|at| Datum::Uuid([at as u8; 16]))),
        (
            "array",
            ColumnType::Array(Box::new(ColumnType::Int32)),
            Box::new(|at| Datum::Array(vec![Datum::Int32(at as i32), Datum::Null])),
        ),
    ];
    let mut encodings = BTreeSet::new();
    for (name, column_type, value) in cases {
        for (sparse, rows) in [(false, 30_i64), (true, 100), (false, 300)] {
            let mut words = vec![0_u64; rows.unsigned_abs().div_ceil(64) as usize];
            (0..rows).for_each(|slot| words[slot as usize / 64] |= u64::from(slot % 3 != 1) << (slot % 64));
            let slots = (0..rows).filter(|slot| !sparse || slot % 3 != 1);
            let mut builder = ColumnBuilder::new(&column_type, 0);
            for slot in slots {
                let value = if sparse && slot % 7 == 0 { Datum::Null } else { value(slot) };
                builder.push_datum(&value).expect("of the type");
            }
            let columns = [(ColumnId::new(1), column_type.clone(), builder.finish())];
            let presence = sparse.then_some(&words[..]);
            let payload =
                encode_block(&columns, presence, rows as u32, &EncodeOptions::default()).expect("encodes");
            let form = match (sparse, rows) {
                (true, _) => "sparse",
                (false, 30) => "dense",
                (false, _) => "long",
            };
            put("column_block", &format!("{name}-{form}"), &prefixed(&[1], &payload));
            if !sparse {
                // The header, the column's id and type.
                encodings.insert(payload[64 + 4 + 4]);
            }
        }
    }
    assert_eq!(encodings, Encoding::ALL.map(|encoding| encoding as u8).into(), "seeds of every encoding");
}

/// Marks of a block that take a bitmap, and ways to choose many marks.
fn many_marks() {
    let dead = vec![0x5555_5555_5555_5555; 1024];
    let marks =
        (0..600_u16).map(|place| (2 * place, (place % 3 > 0).then(|| RowId::new(place.into()).into())));
    let groups = vec![MarkGroup { end_ts: Timestamp::new(9), marks: marks.collect() }];
    let (heap, segment, floor) = (HeapId::new(7), SegmentId::new(5), Timestamp::new(3));
    let image = MarksImage { heap, segment, dead, floor, groups };
    put("marks", "bitmap", &prefixed(&[1], &image.encode()));
    // Two stretches of slots, of which every second, and every one: first slot, 64s, step.
    let slots = [2, 0, 0, 40, 1, 0, 0xC0, 3, 0];
    put("marks", "chosen-bitmap", &[&[0], &slots[..], &[1, 4, 0, 0, 3]].concat());
    let mut chosen = [&[2], &slots[..]].concat();
    for kind in 0..4 {
        chosen.extend([kind, 0x40, 1, 0, 0, 1, 0, 0, 0, 0, 0]);
    }
    put("marks", "many-chosen", &chosen);
    // 1,281 slots and 193: those without a successor, and those of a run.
    let mut runs = [&[3], &slots[..], &[0, 2, 0, 0, 0]].concat();
    for (first, count) in [(u64::MAX, 1_281_u32), (4_096, 193)] {
        runs.extend(first.to_le_bytes());
        runs.extend(count.to_le_bytes());
    }
    put("marks", "many-in-runs", &runs);
    let mut offsets = [&[3], &[1, 0, 0, 8, 0][..], &[1], &70_000_u64.to_le_bytes()].concat();
    (0..513_u32).for_each(|place| offsets.extend((place * 7919 % 1021).to_le_bytes()));
    put("marks", "many-as-offsets", &offsets);
}

/// Targets whose bytes are choices: a few that lead into each of their modes.
fn by_hand() {
    let counting: Vec<u8> = (0..200).collect();
    for mode in 0..8_u8 {
        for target in ["journal", "sstable", "key", "row"] {
            put(target, &format!("mode-{mode}"), &prefixed(&[mode, mode, 1], &counting));
        }
        put("column_block", &format!("mode-{mode}"), &prefixed(&[0, mode, mode, 1], &counting));
    }
    // One segment of two batches, of which the second is of another version.
    put("journal", "other-version", &[3, 0, 1, 0, 2, 0, 0, 3, 7, 7, 7, 0, 8, 0, 1, 7, 0, 1]);
    many_marks();
    put("marks", "chosen", &prefixed(&[0], &counting));
    put("row_page", "chosen", &prefixed(&[0], &counting));
    let startup = b"\0\0\0\x08\x04\xd2\x16\x2f";
    let session = b"\0\0\0\x13\0\x03\0\0user\0me\0\0\0\0";
    let query = b"Q\0\0\0\x0dselect 1\0";
    let extended = b"P\0\0\0\x13s\0select $1\0\0\x01\0\0\0\x17B\0\0\0\x15p\0s\0\0\x01\0\x01\0\x01\0\0\0\x017\0\0D\0\0\0\x07Pp\0E\0\0\0\x0ap\0\0\0\0\0S\0\0\0\x04";
    let copy = b"d\0\0\0\x081\t2\nc\0\0\0\x04f\0\0\0\x09oops\0C\0\0\0\x07Ss\0H\0\0\0\x04X\0\0\0\x04";
    for (name, bytes) in [
        ("ssl", &startup[..]),
        ("startup", session),
        ("query", query),
        ("extended", extended),
        ("copy", copy),
    ] {
        put("frame", name, &prefixed(&[3], bytes));
    }
}
