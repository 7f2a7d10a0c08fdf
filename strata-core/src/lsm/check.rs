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
    /// sources: a lookup finds the largest row first.
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

/// A walk over all entries of a source.
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

    fn advance(&mut self) -> Result<()> {
        if let Some(cursor) = self.cursors.get_mut(self.at) {
            cursor.advance()?;
        }
        self.skip_ended();
        Ok(())
    }
}

/// Walks all sources together. Each entry is found in the earliest source that has it; as the rows of a key descend, that
/// source must never be an earlier one than before: a lookup below the larger row would end there.
fn check_rule_3(sources: &[SearchedSource], report: &mut CheckReport) -> Result<()> {
    let mut walks = Vec::with_capacity(sources.len());
    for source in sources {
        walks.push(Walk::new(source)?);
    }
    let mut last: Option<(usize, PositionBuf)> = None;
    loop {
        let current = walks.iter().enumerate().filter_map(|(at, walk)| Some((walk.current()?, at)));
        let Some((entry, earliest)) = current.min().map(|(entry, at)| (entry.to_owned(), at)) else { break };
        for (walk, source) in walks.iter_mut().zip(sources) {
            if walk.current() == Some(entry.as_position()) {
                report.entries += u64::from(matches!(source, SearchedSource::Memtable(_)));
                walk.advance()?;
            }
        }
        if let Some((before, larger)) = &last
            && larger.prefix == entry.prefix
            && earliest < *before
        {
            report.problem(format!("rule 3: {larger:?} is searched later than row {}", entry.row));
        }
        last = Some((earliest, entry));
    }
    Ok(())
}
