//! Verification: every block's checksum, and that heap, indexes and counts agree.
//!
//! Reads everything, changes nothing. What it finds wrong is listed, not raised: a check of a damaged database says as
//! much as it can.

use std::collections::BTreeMap;
use std::fmt;

use crate::block::BlockKind;
use crate::catalog::{IndexDef, TableDef};
use crate::database::Database;
use crate::error::Result;
use crate::ids::{BlockId, RowId};
use crate::manifest::SegmentImage;
use crate::row::Datum;
use crate::table::{ReadView, TableView, encode_index_key};

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
    let mut expected: Vec<BTreeMap<(Vec<u8>, RowId), bool>> = vec![BTreeMap::new(); table.indexes.len()];
    let mut rows = 0u64;
    for segment in table_view.segments()? {
        for slot in table_view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))? {
            let row = segment.segment().first_row().offset(u64::from(slot));
            rows += 1;
            match table_view.row(row).and_then(|stored| stored.to_datums(&table.schema)) {
                Ok(values) => {
                    if let Err(error) = table.schema.check_not_null(&values) {
                        report.problem(format_args!("table \"{}\" row {row}: {error}", table.name));
                    }
                    expect_keys(table, &values, row, &mut expected)?;
                }
                Err(error) => report.problem(format_args!("table \"{}\" row {row}: {error}", table.name)),
            }
        }
    }
    report.rows += rows;
    let counted = table_view.row_count();
    if counted != rows {
        report.problem(format_args!("table \"{}\" has {rows} live rows and counts {counted}", table.name));
    }
    for (index, expected) in table.indexes.iter().zip(expected) {
        check_index(&table_view, index, expected, report)?;
    }
    Ok(())
}

fn expect_keys(
    table: &TableDef,
    values: &[Datum],
    row: RowId,
    expected: &mut [BTreeMap<(Vec<u8>, RowId), bool>],
) -> Result<()> {
    for (index, expected) in table.indexes.iter().zip(expected) {
        let mut key = Vec::new();
        encode_index_key(table, index, values, &mut key)?;
        let has_null = index
            .columns
            .iter()
            .any(|column| values.get(column.column.get() as usize).is_none_or(|value| *value == Datum::Null));
        expected.insert((key, row), has_null);
    }
    Ok(())
}

fn check_index(
    table: &TableView,
    index: &IndexDef,
    mut expected: BTreeMap<(Vec<u8>, RowId), bool>,
    report: &mut CheckReport,
) -> Result<()> {
    if index.unique {
        let mut last: Option<&Vec<u8>> = None;
        for ((key, row), has_null) in &expected {
            if last == Some(key) && !has_null {
                report.problem(format_args!("index \"{}\" has two live rows of one key, {row}", index.name));
            }
            last = Some(key);
        }
    }
    let unbounded = std::ops::Bound::Unbounded;
    let mut scan = table.range(index.id, unbounded.clone(), unbounded, false)?;
    while let Some((key, row)) = scan.next_entry()? {
        report.entries += 1;
        if expected.remove(&(key, row)).is_none() {
            report.problem(format_args!(
                "index \"{}\" has an entry for row {row} with another key",
                index.name
            ));
        }
    }
    for (_, row) in expected.keys() {
        report.problem(format_args!("index \"{}\" lacks row {row}", index.name));
    }
    Ok(())
}
