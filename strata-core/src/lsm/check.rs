//! The checker: reads every entry of the tree and verifies what readers rely on.

use std::sync::Arc;

use crate::cache::Access;
use crate::error::Result;
use crate::ids::RowId;
use crate::lsm::key::{Position, PositionBuf, Probe, split_prefix};
use crate::lsm::memtable_cursor::MemtableCursor;
use crate::lsm::sstable::cursor::RunCursor;
use crate::lsm::sstable::table::SsTable;
use crate::lsm::tree::{IndexTree, SearchedSource};
use crate::lsm::version::Run;

/// What the checker has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Tables read.
    pub tables: u64,
    /// Entries read, those of memtables included.
    pub entries: u64,
    /// What does not hold, one line each; at most [`PROBLEMS_MAX`].
    pub problems: Vec<String>,
}

/// Where the checker stops listing.
pub const PROBLEMS_MAX: usize = 100;

impl CheckReport {
    fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }
}

impl IndexTree {
    /// Reads all of the tree: checksums, order, bounds, counts and filters of every table, and rule 3 over all
    /// sources: for any key, one that is searched earlier holds no smaller row.
    ///
    /// # Errors
    /// What keeps a table from being read goes into the report; only errors that are not damage are returned.
    pub fn check(&self) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        let sources = self.sources_in_order();
        for source in &sources {
            if let SearchedSource::Run(run) = source {
                for table in run.tables() {
                    match check_table(table, &mut report) {
                        Err(error) if error.kind() == crate::error::ErrorKind::Corrupt => {
                            report.problem(error.to_string());
                        }
                        result => result?,
                    }
                }
            }
        }
        if report.problems.is_empty() {
            check_rule_3(&sources, &mut report)?;
        }
        Ok(report)
    }
}

fn check_table(table: &Arc<SsTable>, report: &mut CheckReport) -> Result<()> {
    report.tables += 1;
    let run = Arc::new(Run::new(0, vec![Arc::clone(table)]));
    let mut cursor = RunCursor::new(run, false, Access::Scan);
    cursor.seek_end()?;
    let mut last: Option<PositionBuf> = None;
    let mut entries = 0u64;
    while let Some(entry) = cursor.current() {
        entries += 1;
        match &last {
            None if entry != table.smallest() => {
                report.problem(format!("{table:?} starts elsewhere: {entry:?}"))
            }
            Some(last) if last.as_position() >= entry => {
                report.problem(format!("{table:?} is out of order at {entry:?}"));
            }
            _ => {}
        }
        if last.as_ref().is_none_or(|last| last.prefix != entry.prefix) && !finds(table, entry)? {
            report.problem(format!("a lookup in {table:?} misses {entry:?}"));
        }
        last = Some(entry.to_owned());
        cursor.advance()?;
    }
    if last.is_none_or(|last| last.as_position() != table.largest()) {
        report.problem(format!("{table:?} ends elsewhere"));
    }
    if entries != table.entries() {
        report.problem(format!("{table:?} has {entries} entries"));
    }
    report.entries += entries;
    Ok(())
}

fn finds(table: &SsTable, entry: Position<'_>) -> Result<bool> {
    let Some((index, key)) = split_prefix(entry.prefix) else { return Ok(false) };
    Ok(table.find(&Probe::new(index, key, entry.row))? == Some(entry.row))
}

/// A source and the rows of the key it is on.
struct Walk {
    cursors: Vec<WalkCursor>,
    at: usize,
}

enum WalkCursor {
    Memtable(MemtableCursor),
    Run(RunCursor),
}

impl WalkCursor {
    fn current(&self) -> Option<Position<'_>> {
        match self {
            Self::Memtable(cursor) => cursor.current(),
            Self::Run(cursor) => cursor.current(),
        }
    }

    fn advance(&mut self) -> Result<()> {
        match self {
            Self::Memtable(cursor) => cursor.advance(),
            Self::Run(cursor) => cursor.advance(),
        }
    }
}

impl Walk {
    /// A walk over all of a source: its indexes one after another.
    fn new(source: &SearchedSource) -> Result<Self> {
        let cursors = match source {
            SearchedSource::Run(run) => {
                let mut cursor = RunCursor::new(Arc::clone(run), false, Access::Scan);
                cursor.seek_end()?;
                vec![WalkCursor::Run(cursor)]
            }
            SearchedSource::Memtable(memtable) => {
                let open = |index| {
                    let mut cursor = MemtableCursor::new(Arc::clone(memtable), index, false, RowId::MAX);
                    cursor.seek(None);
                    WalkCursor::Memtable(cursor)
                };
                memtable.indexes().into_iter().map(open).collect()
            }
        };
        let mut walk = Self { cursors, at: 0 };
        walk.skip_ended();
        Ok(walk)
    }

    fn skip_ended(&mut self) {
        while self.cursors.get(self.at).is_some_and(|cursor| cursor.current().is_none()) {
            self.at += 1;
        }
    }

    fn current(&self) -> Option<Position<'_>> {
        self.cursors.get(self.at)?.current()
    }

    /// Passes the entries with this prefix; returns how many, and the largest and smallest row.
    fn pass(&mut self, prefix: &[u8]) -> Result<Option<(u64, RowId, RowId)>> {
        let mut passed: Option<(u64, RowId, RowId)> = None;
        while let Some(row) = self.current().filter(|entry| entry.prefix == prefix).map(|entry| entry.row) {
            passed = Some(passed.map_or((1, row, row), |(count, largest, _)| (count + 1, largest, row)));
            if let Some(cursor) = self.cursors.get_mut(self.at) {
                cursor.advance()?;
            }
            self.skip_ended();
        }
        Ok(passed)
    }
}

fn check_rule_3(sources: &[SearchedSource], report: &mut CheckReport) -> Result<()> {
    let mut walks = Vec::with_capacity(sources.len());
    for source in sources {
        walks.push(Walk::new(source)?);
    }
    let mut memtable_entries = 0;
    loop {
        let prefix = walks.iter().filter_map(|walk| walk.current().map(|entry| entry.prefix)).min();
        let Some(prefix) = prefix.map(<[u8]>::to_vec) else { break };
        let mut floor: Option<RowId> = None;
        for (walk, source) in walks.iter_mut().zip(sources) {
            let Some((count, largest, smallest)) = walk.pass(&prefix)? else { continue };
            if matches!(source, SearchedSource::Memtable(_)) {
                memtable_entries += count;
            }
            if floor.is_some_and(|floor| largest > floor) {
                report.problem(format!("rule 3: a source searched later has row {largest} of {prefix:02x?}"));
            }
            floor = Some(floor.map_or(smallest, |floor| floor.min(smallest)));
        }
    }
    report.entries += memtable_entries;
    Ok(())
}
