//! Verification: every block's checksum, and that heap, indexes and counts agree.
//!
//! Reads everything, changes nothing. What it finds wrong is listed, not raised: a check of a damaged database says as
//! much as it can. Indexes are compared with their tables by [digests](Digest), in little memory however large they are.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::block::BlockKind;
use crate::catalog::{IndexDef, TableDef};
use crate::database::Database;
use crate::error::Result;
use crate::ids::{BlockId, RowId};
use crate::manifest::SegmentImage;
use crate::row::Datum;
use crate::table::{ReadView, TableView, key_has_null, key_of};

/// Problems listed at most; the rest are counted.
const LISTED_MAX: usize = 100;

/// What a check read and found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Blocks whose checksum was verified.
    pub blocks: u64,
    /// Live rows read.
    pub rows: u64,
    /// Index entries read.
    pub entries: u64,
    /// What is wrong, in words.
    pub problems: Vec<String>,
    /// How many problems there are beyond those listed.
    pub unlisted: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, text: impl fmt::Display) {
        if self.problems.len() < LISTED_MAX {
            self.problems.push(text.to_string());
        } else {
            self.unlisted += 1;
        }
    }
}

impl Database {
    /// Verifies the database as it stands: blocks in the manifest, then each table at one snapshot.
    pub fn check(&self) -> CheckReport {
        let mut report = CheckReport::default();
        // Maintenance stands still, so that no block of the manifest is freed meanwhile.
        let _pause = self.pause_maintenance();
        self.check_blocks(&mut report);
        let view = self.view();
        for table in view.catalog().tables() {
            if let Err(error) = check_table(&view, table, &mut report) {
                report.problem(format_args!("table \"{}\": {error}", table.name));
            }
        }
        report
    }

    fn check_blocks(&self, report: &mut CheckReport) {
        let state = self.manifest_state();
        if let Err(problem) = state.check() {
            report.problem(problem);
        }
        let mut blocks: Vec<(BlockId, BlockKind)> =
            state.sstables.iter().map(|table| (table.block, BlockKind::SsTable)).collect();
        for segment in state.heaps.values().flat_map(|heap| heap.segments.values()) {
            let kind = match &segment.image {
                SegmentImage::Hot { .. } => BlockKind::RowPage,
                SegmentImage::Column { .. } | SegmentImage::Dropped => BlockKind::ColumnBlock,
            };
            blocks.extend(segment.image.blocks().map(|block| (block, kind)));
            blocks.extend(segment.marks.map(|block| (block, BlockKind::Marks)));
        }
        blocks.extend(self.pending_blocks());
        for (block, kind) in blocks {
            report.blocks += 1;
            if let Err(error) = self.block_store().read_all(block, kind) {
                report.problem(error);
            }
        }
    }
}

fn check_table(view: &ReadView, table: &TableDef, report: &mut CheckReport) -> Result<()> {
    let table_view = view.table(table.id)?;
    let mut expected: Vec<Digest> = table.indexes.iter().map(|_| Digest::new()).collect();
    let mut rows = 0u64;
    each_row(&table_view, |row, values| {
        rows += 1;
        let values = match values {
            Ok(values) => values,
            Err(error) => {
                report.problem(format_args!("table \"{}\" row {row}: {error}", table.name));
                return Ok(());
            }
        };
        if let Err(error) = table.schema.check_not_null(&values) {
            report.problem(format_args!("table \"{}\" row {row}: {error}", table.name));
        }
        for (index, expected) in table.indexes.iter().zip(&mut expected) {
            expected.add(&key_of(table, index, &values)?, row);
        }
        Ok(())
    })?;
    report.rows += rows;
    let counted = table_view.row_count();
    if counted != rows {
        report.problem(format_args!("table \"{}\" has {rows} live rows and counts {counted}", table.name));
    }
    for (index, expected) in table.indexes.iter().zip(expected) {
        check_index(&table_view, index, &expected, report)?;
    }
    Ok(())
}

/// Shows all visible rows, or why they cannot be read.
fn each_row(table: &TableView, mut visit: impl FnMut(RowId, Result<Vec<Datum>>) -> Result<()>) -> Result<()> {
    for segment in table.segments()? {
        for slot in table.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))? {
            let row = segment.segment().first_row().offset(u64::from(slot));
            visit(row, table.row(row).and_then(|stored| stored.to_datums(&table.def().schema)))?;
        }
    }
    Ok(())
}

/// Shows all visible entries of an index, in order.
fn each_entry(
    table: &TableView,
    index: &IndexDef,
    mut visit: impl FnMut(Vec<u8>, RowId) -> Result<()>,
) -> Result<()> {
    let mut scan = table.range(index.id, Bound::Unbounded, Bound::Unbounded, false)?;
    while let Some((key, row)) = scan.next_entry()? {
        visit(key, row)?;
    }
    Ok(())
}

/// An index against the keys that the rows should have in it.
fn check_index(
    table: &TableView,
    index: &IndexDef,
    expected: &Digest,
    report: &mut CheckReport,
) -> Result<()> {
    let (mut found, mut last) = (Digest::new(), Vec::new());
    each_entry(table, index, |key, row| {
        report.entries += 1;
        if index.unique && last == key && !key_has_null(table.def(), index, &key)? {
            report.problem(format_args!("index \"{}\" has two live rows of one key, {row}", index.name));
        }
        found.add(&key, row);
        last = key;
        Ok(())
    })?;
    let differing = expected.differing(&found);
    if differing.is_empty() { Ok(()) } else { explain(table, index, &differing, report) }
}

/// Names what differs in some parts of an index.
fn explain(table: &TableView, index: &IndexDef, parts: &[usize], report: &mut CheckReport) -> Result<()> {
    let (named, rest) = parts.split_at(parts.len().min(PARTS_NAMED));
    let mut expected = BTreeSet::new();
    each_row(table, |row, values| {
        let Ok(values) = values else { return Ok(()) };
        let key = key_of(table.def(), index, &values)?;
        if named.contains(&part_of(&key)) {
            expected.insert((key, row));
        }
        Ok(())
    })?;
    each_entry(table, index, |key, row| {
        if named.contains(&part_of(&key)) && !expected.remove(&(key, row)) {
            let name = &index.name;
            report.problem(format_args!("index \"{name}\" has an entry for row {row} with another key"));
        }
        Ok(())
    })?;
    for (_, row) in expected {
        report.problem(format_args!("index \"{}\" lacks row {row}", index.name));
    }
    if !rest.is_empty() {
        let (more, of) = (rest.len(), PARTS);
        report.problem(format_args!("index \"{}\": {more} more of {of} parts differ", index.name));
    }
    Ok(())
}

/// Parts that keys are dealt into by their hash.
const PARTS: usize = 4_096;
/// Parts of which the differing entries are named: what is in them is held in memory.
const PARTS_NAMED: usize = 16;

fn part_of(key: &[u8]) -> usize {
    xxh3_64(key) as usize % PARTS
}

/// What a set of entries comes to, whatever their order: so that those of a table need not be held in memory. Of each part the sum of the
/// entries' hashes, of 128 bits.
struct Digest {
    sums: Vec<u128>,
}

impl Digest {
    fn new() -> Self {
        Self { sums: vec![0; PARTS] }
    }

    fn add(&mut self, key: &[u8], row: RowId) {
        if let Some(sum) = self.sums.get_mut(part_of(key)) {
            *sum = sum.wrapping_add(xxh3_128_with_seed(key, row.get()));
        }
    }

    fn differing(&self, other: &Self) -> Vec<usize> {
        let sums = self.sums.iter().zip(&other.sums).enumerate();
        sums.filter(|(_, (left, right))| left != right).map(|(part, _)| part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::IndexColumn;
    use crate::catalog::change::{NewColumn, NewIndex};
    use crate::ids::ColumnId;
    use crate::row::{ColumnType, KeyOrder, encode_row};
    use crate::table::Isolation;
    use crate::txn::{TableLockMode, block_on};
    use crate::{Options, ids::TableId};

    fn database() -> (Database, TableId) {
        let db = Database::in_memory(Options::default()).expect("opens");
        let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
        let column = NewColumn::new("a", ColumnType::Int64);
        let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", "t", vec![column])));
        let table = table.expect("creates");
        let key = IndexColumn { column: ColumnId::new(0), order: KeyOrder::default() };
        let index = NewIndex {
            name: "t_a".into(),
            primary: false,
            unique: true,
            constraint: true,
            columns: vec![key],
        };
        block_on(txn.create_index(table, index)).expect("creates");
        txn.commit().expect("commits").wait().expect("durable");
        (db, table)
    }

    /// Writes rows, each with the key of its value and then with those of others.
    fn write(db: &Database, table: TableId, rows: &[(Datum, Option<Datum>)]) {
        let txn = db.begin(Isolation::ReadCommitted).expect("begins");
        block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
        let def = txn.newest_catalog().table(table).expect("is there").clone();
        for (value, key) in rows {
            let (mut bytes, index) = (Vec::new(), &def.indexes[0]);
            encode_row(&def.schema, std::slice::from_ref(value), &mut bytes).expect("fits");
            let key = key.as_ref().map(|key| key_of(&def, index, std::slice::from_ref(key)).expect("fits"));
            let keys = key.map(|key| (index.id, key.into())).into_iter().collect();
            txn.writes().write().insert(def.heap, bytes.into(), keys).expect("fits");
        }
        txn.commit().expect("commits").wait().expect("durable");
    }

    fn problems(rows: &[(i64, Option<i64>)]) -> Vec<String> {
        let (db, table) = database();
        let sound: Vec<_> =
            (1_000..3_000).map(|value| (Datum::Int64(value), Some(Datum::Int64(value)))).collect();
        write(&db, table, &sound);
        write(&db, table, &[(Datum::Null, Some(Datum::Null)), (Datum::Null, Some(Datum::Null))]);
        assert!(db.check().is_clean());
        let added = rows.iter().map(|(value, key)| (Datum::Int64(*value), key.map(Datum::Int64)));
        write(&db, table, &added.collect::<Vec<_>>());
        let report = db.check();
        assert_eq!(report.rows, 2_002 + rows.len() as u64);
        report.problems
    }

    #[test]
    fn entries_that_rows_lack_or_have_too_much_are_named() {
        assert_eq!(problems(&[(1, Some(1))]), Vec::<String>::new());
        let lacking = problems(&[(1, None)]);
        assert!(matches!(&lacking[..], [one] if one.contains("lacks row")), "{lacking:?}");
        let other = problems(&[(1, Some(2))]);
        assert_eq!(other.len(), 2, "{other:?}");
        assert!(other.iter().any(|problem| problem.contains("with another key")), "{other:?}");
        let twice = problems(&[(1, Some(1)), (1, Some(1))]);
        assert!(matches!(&twice[..], [one] if one.contains("two live rows")), "{twice:?}");
        let many: Vec<(i64, Option<i64>)> = (0..500).map(|value| (value, None)).collect();
        let many = problems(&many);
        assert!(many.last().is_some_and(|last| last.contains("parts differ")), "{many:?}");
    }
}
