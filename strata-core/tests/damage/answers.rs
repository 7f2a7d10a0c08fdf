//! All that a database answers: each question by itself, so that an error costs what it is about and nothing else.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use arrow_array::{ArrayRef, UInt64Array};
use strata_core::catalog::IndexDef;
use strata_core::heap::column::{ColumnBlock, Comparison, Selection};
use strata_core::heap::{Image, SegmentView};
use strata_core::ids::{ColumnId, SegmentId};
use strata_core::row::{Column, Datum};
use strata_core::table::{TableView, encode_index_key};
use strata_core::{Database, Result};

use crate::files::{Files, open, system_of};

/// About how many rows of a segment are read by their RowId: some of each page. Scans read all.
const ROWS: usize = 100;

/// What can be asked about a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub table: String,
    pub part: Part,
}

/// What of a table is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// How many rows there are.
    Count,
    /// The rows of an index, in its order.
    Index(String),
    /// Rows found by the keys of the first index, and read.
    Lookups,
    /// The rows of a segment, each by its RowId.
    Rows(SegmentId),
    /// All columns of a segment at once.
    Scan(SegmentId),
    /// One column of a segment alone.
    Column(SegmentId, ColumnId),
    /// What the directory, the zones and the sketch of a frozen segment say of a column.
    Statistics(SegmentId, ColumnId),
    /// Which rows have more than the least value of a column, asked of the encoded values.
    Filter(SegmentId, ColumnId),
}

impl Part {
    /// The segment that it is about, if it is about one.
    pub fn segment(&self) -> Option<SegmentId> {
        match self {
            Self::Count | Self::Index(_) | Self::Lookups => None,
            Self::Rows(segment)
            | Self::Scan(segment)
            | Self::Column(segment, _)
            | Self::Statistics(segment, _)
            | Self::Filter(segment, _) => Some(*segment),
        }
    }
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Text(String),
    Rows(Vec<String>),
    Columns(Vec<ArrayRef>),
}

/// What came of each question that there is.
pub type Answers = BTreeMap<Question, std::result::Result<Answer, String>>;

/// What came of reading files.
pub struct Reading {
    pub answers: Answers,
    /// What the check found wrong, if it was run.
    pub check: Option<Vec<String>>,
}

/// Opens a copy of the files, asks for everything, and lets the engine check itself.
///
/// # Errors
/// What opening has to say.
pub fn read(files: &Files, is_checked: bool) -> std::result::Result<Reading, String> {
    let db = open(system_of(files)).map_err(|error| error.to_string())?;
    let answers = answers(&db);
    let check = is_checked.then(|| db.check().problems);
    Ok(Reading { answers, check })
}

/// Asks for everything.
pub fn answers(db: &Database) -> Answers {
    let view = db.view();
    let mut answers = Answers::new();
    for def in view.catalog().tables() {
        let table = view.table(def.id).expect("is in the catalog");
        Asking { table, answers: &mut answers }.all();
    }
    answers
}

struct Asking<'a> {
    table: TableView,
    answers: &'a mut Answers,
}

impl Asking<'_> {
    fn ask(&mut self, part: Part, question: impl FnOnce(&TableView) -> Result<Answer>) {
        let answer = question(&self.table).map_err(|error| error.to_string());
        let table = self.table.def().name.clone();
        self.answers.insert(Question { table, part }, answer);
    }

    fn all(mut self) {
        self.ask(Part::Count, |table| Ok(Answer::Text(table.row_count().to_string())));
        let contents = self.table.contents().expect("names segments that were opened");
        assert!(contents.own_rows.is_empty(), "no transaction has written");
        for segment in contents.segments {
            self.segment(&segment);
        }
        let def = Arc::clone(self.table.def());
        for index in &def.indexes {
            self.ask(Part::Index(index.name.clone()), |table| rows_of_index(table, index));
        }
        if let Some(index) = def.primary_key() {
            self.ask(Part::Lookups, |table| look_up(table, index));
        }
    }

    fn segment(&mut self, segment: &SegmentView) {
        let id = segment.segment();
        let def = Arc::clone(self.table.def());
        let columns = &def.schema.columns;
        self.ask(Part::Rows(id), |table| rows(table, segment));
        self.ask(Part::Scan(id), |table| scan(table, segment, columns));
        for column in columns.iter() {
            self.ask(Part::Column(id, column.id), |table| scan(table, segment, std::slice::from_ref(column)));
            if let Image::Column(image) = segment.image() {
                self.ask(Part::Statistics(id, column.id), |_| statistics(&*image.open()?, segment, column));
                self.ask(Part::Filter(id, column.id), |_| filter(&*image.open()?, column));
            }
        }
    }
}

fn rows(table: &TableView, segment: &SegmentView) -> Result<Answer> {
    let slots = table.visible_slots(segment, 0..segment.slots().next_multiple_of(64))?;
    let mut rows = Vec::new();
    for slot in slots.iter().step_by(slots.len().div_ceil(ROWS).max(1)) {
        let row = segment.segment().first_row().offset(u64::from(*slot));
        rows.push(format!("{row}: {:?}", table.row(row)?.to_datums(&table.def().schema)?));
    }
    Ok(Answer::Rows(rows))
}

/// As a scan reads: a range where all rows are there, else the slots of those that are.
fn scan(table: &TableView, segment: &SegmentView, columns: &[Column]) -> Result<Answer> {
    let ids: Vec<ColumnId> = columns.iter().map(|column| column.id).collect();
    let mut slots = table.visible_slots(segment, 0..segment.slots().next_multiple_of(64))?;
    if let Image::Column(image) = segment.image()
        && image.rows() < image.slots()
    {
        let block = image.open()?;
        slots.retain(|slot| block.contains(*slot));
    }
    let is_whole = slots.len() == segment.slots() as usize;
    let selection = if is_whole { Selection::Range(0..segment.slots()) } else { Selection::Slots(slots) };
    segment.read(&table.def().schema, &ids, &selection).map(Answer::Columns)
}

fn statistics(block: &ColumnBlock, segment: &SegmentView, column: &Column) -> Result<Answer> {
    let meta = block.column(column.id);
    let zones = block.zones(column.id)?;
    for (group, zone) in zones.iter().flat_map(|zones| zones.as_slice()).enumerate() {
        assert_eq!(segment.zone(column.id, group)?.as_ref(), Some(zone));
    }
    let sketch = block.sketch(column.id)?;
    Ok(Answer::Text(format!("{meta:?} {zones:?} {sketch:?}")))
}

fn filter(block: &ColumnBlock, column: &Column) -> Result<Answer> {
    let Some(meta) = block.column(column.id).filter(|meta| meta.bounds.min != Datum::Null) else {
        return Ok(Answer::Text("nothing to compare with".into()));
    };
    let words = block.filter(column, Comparison::Gt, &meta.bounds.min, 0..block.slots())?;
    Ok(words.map_or(Answer::Text("not without decoding".into()), |words| {
        Answer::Columns(vec![Arc::new(UInt64Array::from(words))])
    }))
}

fn rows_of_index(table: &TableView, index: &IndexDef) -> Result<Answer> {
    let rows = table.range(index.id, Bound::Unbounded, Bound::Unbounded, false)?;
    let rows = rows.map(|row| row.map(|row| row.get())).collect::<Result<Vec<u64>>>()?;
    Ok(Answer::Columns(vec![Arc::new(UInt64Array::from(rows))]))
}

/// Rows whose first column is one of some small numbers, many of which no row has.
fn look_up(table: &TableView, index: &IndexDef) -> Result<Answer> {
    let def = table.def();
    let mut rows = Vec::new();
    for id in (-1..410).step_by(3) {
        let mut values = vec![Datum::Null; def.schema.columns.len()];
        if let Some(first) = values.first_mut() {
            *first = Datum::Int64(id);
        }
        let mut key = Vec::new();
        encode_index_key(def, index, &values, &mut key)?;
        if let Some(row) = table.first(index.id, &key)? {
            rows.push(format!("{:?}", table.row(row)?.to_datums(&def.schema)?));
        }
    }
    Ok(Answer::Rows(rows))
}
