//! The commit record: what the journal holds of one commit (docs/format/commit-record.md).
//!
//! A record has a *body*, encoded before the commit section, and a *trailer* that the section adds: the commit
//! timestamp and where each heap's rows were placed. Rows are named by ordinal in the body, so that nothing of it
//! changes when RowIds are handed out. The record holds every index key, so that recovery needs no catalog.

use std::ops::Range;

use super::write_set::{BulkPart, FinalMarks, HeapWrites, OwnRow, WriteSet};
use crate::codec::{Cursor, Damage, Decoded, put_count, put_i64, put_sized, put_u32, put_u64};
use crate::heap::{DenseMarks, RowRun};
use crate::ids::{HeapId, IndexId, LoadId, RowId, SLOTS_PER_SEGMENT, SegmentId, Timestamp};
use crate::manifest::SsTableMeta;

/// The newest format of a record: its first byte.
pub const FORMAT: u8 = 3;
/// The first format that tells moved rows from changed ones.
const MOVED_FORMAT: u8 = 2;
/// The first format that has many marks on a segment together.
const DENSE_FORMAT: u8 = 3;
const NO_SUCCESSOR: u64 = u64::MAX;
/// Bytes before a row: its length.
const SIZE_BYTES: usize = 4;
/// Bytes before the key of an entry: the index, the ordinal, the length.
const ENTRY_BYTES: usize = 16;
/// What most records have behind their rows and entries.
const REST_BYTES: usize = 256;
/// Of the ordinal of a successor: the row was moved.
const MOVED: u64 = 1 << 63;

/// One heap's part of a record's body.
#[derive(Clone, Debug)]
pub struct HeapSection {
    /// The heap.
    pub heap: HeapId,
    /// How many rows are inserted.
    pub rows: u32,
    /// Bytes of those rows.
    pub row_bytes: u64,
    /// How many row versions end one by one.
    pub marks: u32,
    /// Segments of which many end.
    pub dense: Vec<(SegmentId, DenseMarks)>,
    /// How many index entries are added.
    pub entries: u32,
    /// Bytes of their keys.
    pub key_bytes: u64,
    /// The largest ordinal that a mark names, and one.
    named_end: u64,
    rows_at: Range<usize>,
    marks_at: Range<usize>,
    entries_at: Range<usize>,
}

/// A record's body, encoded, with the places of its parts.
#[derive(Debug)]
pub struct RecordBody {
    bytes: Vec<u8>,
    sections: Vec<HeapSection>,
    loads: Vec<BulkPart>,
}

/// What the commit section decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The commit timestamp.
    pub timestamp: Timestamp,
    /// For each section, where its rows go.
    pub runs: Vec<Vec<RowRun>>,
    /// For each bulk load, its first RowId.
    pub row_bases: Vec<RowId>,
}

impl RecordBody {
    /// Encodes a write set.
    pub fn encode(writes: &WriteSet) -> Self {
        let loads = writes.final_loads().cloned().collect();
        let mut body = Self { bytes: vec![FORMAT], sections: Vec::new(), loads };
        let count_at = body.bytes.len();
        put_u32(&mut body.bytes, 0);
        for (heap, heap_writes) in writes.final_heaps() {
            let span = loaded_span(&body.loads, heap, heap_writes.spilled().part().map(|part| part.load));
            body.push_section(heap, heap_writes, span);
        }
        let count = u32::try_from(body.sections.len()).expect("fewer heaps than 2^32");
        body.bytes[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
        put_count(&mut body.bytes, body.loads.len());
        for load in &body.loads {
            put_load(&mut body.bytes, load);
        }
        body
    }

    /// Own rows that were written out are rows of a load, from the ordinal `loaded` on of all that the heap loads.
    fn push_section(&mut self, heap: HeapId, writes: &HeapWrites, loaded: u64) {
        let out = &mut self.bytes;
        let mut section = HeapSection {
            heap,
            rows: 0,
            row_bytes: 0,
            marks: 0,
            dense: Vec::new(),
            entries: 0,
            key_bytes: 0,
            named_end: 0,
            rows_at: 0..0,
            marks_at: 0..0,
            entries_at: 0..0,
        };
        // Ordinals in the record count only the rows that are left.
        let first = writes.first_in_memory();
        let mut renumbered = vec![NO_SUCCESSOR; if writes.has_removed() { writes.row_count() } else { 0 }];
        let key_bytes = |row: &OwnRow| row.keys.iter().map(|(_, key)| ENTRY_BYTES + key.len()).sum::<usize>();
        let row_bytes = |row: &OwnRow| SIZE_BYTES + row.bytes.len() + key_bytes(row);
        out.reserve(writes.final_rows().map(|(_, row)| row_bytes(row)).sum::<usize>() + REST_BYTES);
        put_u32(out, heap.get());
        let counts_at = out.len();
        out.extend_from_slice(&[0; 16]);
        let start = out.len();
        for (ordinal, row) in writes.final_rows() {
            if let Some(place) = renumbered.get_mut((ordinal - first) as usize) {
                *place = u64::from(section.rows);
            }
            put_sized(out, &row.bytes);
            section.rows += 1;
            section.row_bytes += row.bytes.len() as u64;
        }
        section.rows_at = start..out.len();
        let rows = u64::from(section.rows);
        // Where a row is, and how many follow it there in the same order.
        let place = |ordinal: u64| match ordinal.checked_sub(first) {
            Some(place) if renumbered.is_empty() => (place, u32::MAX),
            Some(place) => (renumbered.get(place as usize).copied().unwrap_or(NO_SUCCESSOR), 1),
            None => {
                let place = writes.spilled().dense_ordinal(ordinal);
                let left = SLOTS_PER_SEGMENT - ordinal as u32 % SLOTS_PER_SEGMENT;
                place.map_or((NO_SUCCESSOR, 1), |place| (rows + loaded + place, left))
            }
        };
        let renumber = |ordinal: u64| place(ordinal).0;
        for marks in writes.final_marks() {
            match marks {
                FinalMarks::Few(marks) => {
                    for (row, successor, moved) in marks {
                        put_u64(out, row.get());
                        let successor = successor.map_or(NO_SUCCESSOR, renumber);
                        put_u64(out, if moved { successor | MOVED } else { successor });
                        section.marks += 1;
                    }
                }
                FinalMarks::Many(segment, marks) if renumbered.is_empty() && first == 0 => {
                    section.dense.push((segment, marks));
                }
                FinalMarks::Many(segment, marks) => {
                    section.dense.push((segment, marks.map(|first, _| place(first))));
                }
            }
        }
        for (base, dead) in writes.spilled_dead() {
            section.dense.push((RowId::provisional(loaded + base).segment(), dead));
        }
        section.marks_at = section.rows_at.end..out.len();
        for (place, (_, row)) in writes.final_rows().enumerate() {
            for (index, key) in &row.keys {
                put_u32(out, index.get());
                put_u64(out, place as u64);
                put_sized(out, key);
                section.entries += 1;
                section.key_bytes += key.len() as u64;
            }
        }
        section.entries_at = section.marks_at.end..out.len();
        for (segment, marks) in &section.dense {
            put_u64(out, segment.get());
            marks.encode(out);
        }
        let dense = u32::try_from(section.dense.len()).expect("fewer segments than 2^32");
        for (place, count) in [section.rows, section.marks, section.entries, dense].into_iter().enumerate() {
            out[counts_at + place * 4..counts_at + place * 4 + 4].copy_from_slice(&count.to_le_bytes());
        }
        self.sections.push(section);
    }

    /// The whole record, once its place is known.
    pub fn finish(&mut self, placement: &Placement) -> &[u8] {
        let start = self.bytes.len();
        let out = &mut self.bytes;
        put_u64(out, placement.timestamp.get());
        for runs in &placement.runs {
            put_count(out, runs.len());
            for run in runs {
                put_u64(out, run.first.get());
                put_u32(out, run.rows);
            }
        }
        for base in &placement.row_bases {
            put_u64(out, base.get());
        }
        let length = (out.len() - start) as u64;
        put_u64(out, length);
        out
    }

    /// Bytes that the trailer takes at most, for a reservation made ahead.
    pub fn trailer_bound(&self, segment_bytes: u64) -> usize {
        let runs: usize = self.sections.iter().map(|section| 4 + 12 * section.run_bound(segment_bytes)).sum();
        16 + runs + 8 * self.loads.len()
    }

    /// Bytes of the body.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Reads a record back. Its checksum was verified, so damage means that a program wrote it wrongly.
    pub(crate) fn decode(mut bytes: Vec<u8>) -> Decoded<(Self, Placement)> {
        let short = || Damage::at(0, "a record is shorter than its trailer says");
        let (rest, length) = bytes.split_last_chunk::<8>().ok_or_else(short)?;
        let trailer_bytes = usize::try_from(u64::from_le_bytes(*length)).ok();
        let body_end = trailer_bytes.and_then(|bytes| rest.len().checked_sub(bytes)).ok_or_else(short)?;
        let (body, trailer) = rest.split_at(body_end);
        let mut fields = Cursor::new(body);
        let format = fields.u8()?;
        if !(1..=FORMAT).contains(&format) {
            return Err(Damage::at(0, format!("records of format {format} are not known")));
        }
        let section_count = fields.u32()?;
        let mut sections = Vec::new();
        for _ in 0..section_count {
            sections.push(take_section(&mut fields, format)?);
        }
        let load_count = fields.u32()?;
        let mut loads = Vec::new();
        for _ in 0..load_count {
            loads.push(take_load(&mut fields)?);
        }
        fields.finish()?;
        check_named(&sections, &loads).map_err(|detail| Damage::at(body_end, detail))?;
        let mut fields = Cursor::new(trailer);
        let placement = take_placement(&mut fields, &sections, &loads)
            .and_then(|placement| fields.finish().map(|()| placement))
            .map_err(|damage| damage.within(body_end))?;
        bytes.truncate(body_end);
        Ok((Self { bytes, sections, loads }, placement))
    }

    /// The heaps' sections.
    pub fn sections(&self) -> &[HeapSection] {
        &self.sections
    }

    /// The bulk loads that the commit adopts.
    pub fn loads(&self) -> &[BulkPart] {
        &self.loads
    }

    /// The loads of a heap, each with its first RowId.
    pub fn loads_of<'a>(
        &'a self,
        heap: HeapId,
        placement: &'a Placement,
    ) -> impl Iterator<Item = (&'a BulkPart, RowId)> {
        let loads = self.loads.iter().zip(placement.row_bases.iter().copied());
        loads.filter(move |(load, _)| load.heap == heap)
    }

    /// A section's rows, in order.
    pub fn rows<'a>(&'a self, section: &HeapSection) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut fields = Cursor::new(&self.bytes[section.rows_at.clone()]);
        (0..section.rows).map_while(move |_| fields.sized().ok())
    }

    /// A section's marks: the row that ends, the ordinal of the one that replaces it, and whether it was only moved.
    pub fn marks<'a>(
        &'a self,
        section: &HeapSection,
    ) -> impl Iterator<Item = (RowId, Option<u64>, bool)> + use<'a> {
        let mut fields = Cursor::new(&self.bytes[section.marks_at.clone()]);
        (0..section.marks).map_while(move |_| {
            let row = RowId::new(fields.u64().ok()?);
            let successor = fields.u64().ok()?;
            match successor {
                NO_SUCCESSOR => Some((row, None, false)),
                ordinal => Some((row, Some(ordinal & !MOVED), ordinal & MOVED != 0)),
            }
        })
    }

    /// A section's index entries: index, ordinal of the row, key.
    pub fn entries<'a>(
        &'a self,
        section: &HeapSection,
    ) -> impl Iterator<Item = (IndexId, u64, &'a [u8])> + use<'a> {
        let mut fields = Cursor::new(&self.bytes[section.entries_at.clone()]);
        (0..section.entries).map_while(move |_| {
            Some((IndexId::new(fields.u32().ok()?), fields.u64().ok()?, fields.sized().ok()?))
        })
    }
}

impl HeapSection {
    /// How many row versions end.
    pub fn ended(&self) -> u64 {
        let dense: u64 = self.dense.iter().map(|(_, marks)| u64::from(marks.count())).sum();
        u64::from(self.marks) + dense
    }

    /// Runs that the rows are placed in at most, where segments take no more rows after so many bytes: all but two fill a
    /// segment.
    pub fn run_bound(&self, segment_bytes: u64) -> usize {
        let by_bytes = usize::try_from(self.row_bytes / segment_bytes.max(1)).unwrap_or(usize::MAX);
        2 + by_bytes + (self.rows / SLOTS_PER_SEGMENT) as usize
    }
}

/// Ordinals that the rows of a load take up: those of its blocks begin at multiples of a segment's slots.
fn span_of(load: &BulkPart) -> u64 {
    load.blocks.len() as u64 * u64::from(SLOTS_PER_SEGMENT)
}

/// Ordinals that the rows take up which a heap loads before a certain load, or in all.
fn loaded_span(loads: &[BulkPart], heap: HeapId, before: Option<LoadId>) -> u64 {
    let loads = loads.iter().take_while(|load| Some(load.load) != before);
    loads.filter(|load| load.heap == heap).map(span_of).sum()
}

/// Whether the marks name rows that the record has, or loads.
fn check_named(sections: &[HeapSection], loads: &[BulkPart]) -> Result<(), String> {
    for section in sections {
        let (rows, loaded) = (u64::from(section.rows), loaded_span(loads, section.heap, None));
        if section.named_end > rows + loaded {
            return Err(format!("successor {} of {rows} rows and {loaded} loaded", section.named_end - 1));
        }
        for (segment, _) in &section.dense {
            let first = segment.first_row();
            if first.is_provisional() && first.provisional_ordinal() >= loaded {
                return Err(format!("marks on {first}, of {loaded} rows loaded"));
            }
        }
    }
    Ok(())
}

/// Where the rows of a section are, and those that its heap loads after them: finds them by ordinal.
#[derive(Debug)]
pub struct RowPlaces {
    runs: Vec<RowRun>,
    /// The ordinal of each run's first row.
    first: Vec<u64>,
    /// Runs of rows that are not loaded.
    placed: usize,
}

impl RowPlaces {
    /// The rows of these runs, in order, and those of the loads of one heap, each from its base on.
    pub fn new<'a>(runs: &[RowRun], loads: impl Iterator<Item = (&'a BulkPart, RowId)>) -> Self {
        let placed = runs.len();
        let mut runs = runs.to_vec();
        for (load, base) in loads {
            let segments = (base.segment().get()..).take(load.blocks.len());
            runs.extend(segments.map(|segment| RowRun {
                first: SegmentId::new(segment).first_row(),
                rows: SLOTS_PER_SEGMENT,
            }));
        }
        let mut next = 0;
        let first = runs.iter().map(|run| {
            let first = next;
            next += u64::from(run.rows);
            first
        });
        Self { first: first.collect(), runs, placed }
    }

    /// The segment that a mark of the section is on: one of the loaded ones has a provisional number.
    pub fn segment(&self, segment: SegmentId) -> Option<SegmentId> {
        let first = segment.first_row();
        if !first.is_provisional() {
            return Some(segment);
        }
        let place = usize::try_from(first.provisional_ordinal() / u64::from(SLOTS_PER_SEGMENT)).ok()?;
        Some(self.runs.get(self.placed + place)?.first.segment())
    }

    /// The RowId of a row, and how many follow it there, itself counted.
    pub fn find(&self, ordinal: u64) -> Option<(RowId, u32)> {
        let place = self.first.partition_point(|first| *first <= ordinal).checked_sub(1)?;
        let (run, skip) = (self.runs.get(place)?, ordinal - self.first.get(place)?);
        let left = u64::from(run.rows).checked_sub(skip).filter(|left| *left > 0)?;
        Some((run.first.offset(skip), left as u32))
    }
}

fn take_section(fields: &mut Cursor<'_>, format: u8) -> Decoded<HeapSection> {
    let heap = HeapId::new(fields.u32()?);
    let (rows, marks, entries) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let dense_count = if format >= DENSE_FORMAT { fields.u32()? } else { 0 };
    let rows_start = fields.offset();
    let mut row_bytes = 0;
    for _ in 0..rows {
        row_bytes += fields.sized()?.len() as u64;
    }
    let marks_start = fields.offset();
    let mut named_end = 0;
    for _ in 0..marks {
        let (row, mut successor) = (RowId::new(fields.u64()?), fields.u64()?);
        if row.is_provisional() {
            return Err(Damage::at(fields.offset(), format!("a mark on row {row}, which no heap has")));
        }
        if successor != NO_SUCCESSOR && format >= MOVED_FORMAT {
            successor &= !MOVED;
        }
        if successor != NO_SUCCESSOR {
            if successor >= MOVED {
                return Err(Damage::at(fields.offset(), format!("successor {successor} of {rows} rows")));
            }
            named_end = named_end.max(successor + 1);
        }
    }
    let entries_start = fields.offset();
    let mut key_bytes = 0;
    for _ in 0..entries {
        let (_, ordinal, key) = (fields.u32()?, fields.u64()?, fields.sized()?);
        if ordinal >= u64::from(rows) {
            return Err(Damage::at(fields.offset(), format!("an entry of row {ordinal} of {rows}")));
        }
        key_bytes += key.len() as u64;
    }
    let entries_end = fields.offset();
    let mut dense: Vec<(SegmentId, DenseMarks)> = Vec::new();
    for _ in 0..dense_count {
        let segment = SegmentId::new(fields.u64()?);
        let ascends = dense.last().is_none_or(|(last, _)| *last < segment);
        if segment > RowId::MAX.segment() || !ascends {
            return Err(Damage::at(fields.offset(), format!("marks on segment {segment}")));
        }
        let marks = DenseMarks::decode(fields, MOVED)?;
        let ends = marks.runs().filter(|(first, _)| *first != DenseMarks::NONE);
        named_end = named_end.max(ends.map(|(first, count)| first + u64::from(count)).max().unwrap_or(0));
        dense.push((segment, marks));
    }
    Ok(HeapSection {
        heap,
        rows,
        row_bytes,
        marks,
        dense,
        entries,
        key_bytes,
        named_end,
        rows_at: rows_start..marks_start,
        marks_at: marks_start..entries_start,
        entries_at: entries_start..entries_end,
    })
}

fn take_placement(
    fields: &mut Cursor<'_>,
    sections: &[HeapSection],
    loads: &[BulkPart],
) -> Decoded<Placement> {
    let timestamp = Timestamp::new(fields.u64()?);
    let mut runs = Vec::new();
    for section in sections {
        let count = fields.u32()?;
        let mut section_runs = Vec::new();
        let mut rows = 0u64;
        for _ in 0..count {
            let run = RowRun { first: RowId::new(fields.u64()?), rows: fields.u32()? };
            let end = u32::from(run.first.slot()).checked_add(run.rows);
            if run.first.is_provisional() || end.is_none_or(|end| end > SLOTS_PER_SEGMENT) {
                let detail = format!("a run of {} rows from {} on is of no segment", run.rows, run.first);
                return Err(Damage::at(fields.offset(), detail));
            }
            rows += u64::from(run.rows);
            section_runs.push(run);
        }
        if rows != u64::from(section.rows) {
            let detail = format!("{rows} rows are placed, the record has {}", section.rows);
            return Err(Damage::at(fields.offset(), detail));
        }
        runs.push(section_runs);
    }
    let mut row_bases = Vec::new();
    for load in loads {
        let base = RowId::new(fields.u64()?);
        if base.is_provisional() || base.slot() != 0 && !load.blocks.is_empty() {
            return Err(Damage::at(fields.offset(), format!("a load's blocks begin at {base}")));
        }
        row_bases.push(base);
    }
    Ok(Placement { timestamp, runs, row_bases })
}

fn put_load(out: &mut Vec<u8>, load: &BulkPart) {
    put_u64(out, load.load.get());
    put_u32(out, load.heap.get());
    out.push(u8::from(load.absolute));
    put_count(out, load.blocks.len());
    for (block, slots) in &load.blocks {
        put_u64(out, block.raw());
        put_u32(out, *slots);
    }
    put_count(out, load.tables.len());
    for table in &load.tables {
        put_u64(out, table.block.raw());
        put_u64(out, table.entries);
        put_u64(out, table.payload_bytes);
        put_sized(out, &table.smallest);
        put_sized(out, &table.largest);
    }
    put_i64(out, i64::try_from(load.rows).expect("fewer rows than 2^63"));
}

fn take_load(fields: &mut Cursor<'_>) -> Decoded<BulkPart> {
    let load = LoadId::new(fields.u64()?);
    let heap = HeapId::new(fields.u32()?);
    let absolute = fields.u8()? != 0;
    let mut blocks = Vec::new();
    for _ in 0..fields.u32()? {
        let (block, slots) = (fields.block()?, fields.u32()?);
        if slots > SLOTS_PER_SEGMENT {
            return Err(Damage::at(fields.offset(), format!("a block of {slots} slots")));
        }
        blocks.push((block, slots));
    }
    let mut tables = Vec::new();
    for _ in 0..fields.u32()? {
        tables.push(SsTableMeta {
            block: fields.block()?,
            level: 0,
            sequence: 0,
            row_base: 0,
            entries: fields.u64()?,
            payload_bytes: fields.u64()?,
            smallest: fields.sized()?.to_vec(),
            largest: fields.sized()?.to_vec(),
        });
    }
    let part = BulkPart::new(load, heap, blocks, tables, absolute);
    let rows = fields.i64()?;
    if i64::try_from(part.rows) != Ok(rows) {
        return Err(Damage::at(
            fields.offset(),
            format!("{} rows are loaded, the record says {rows}", part.rows),
        ));
    }
    Ok(part)
}

#[cfg(test)]
mod tests;
