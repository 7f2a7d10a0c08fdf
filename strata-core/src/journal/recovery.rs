//! Reading what is there: where the stream ends, and whether it may end there.
//!
//! Nothing here writes. `store` then makes the end durable (rewrites the kept tail, starts an epoch).
//!
//! The files that matter begin with the last one whose first position is at or below the wanted start; what lies
//! before are leftovers of a truncation. From there the stream is walked epoch by epoch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::journal::batch::{ALIGNMENT, BatchAt, BatchHeader, HEADER_BYTES, read_batch};
use crate::journal::segment::{Cut, SegmentHeader, parse_file_name};
use crate::journal::walk::{Extent, Stop, TailBatch, Walk};
use crate::journal::window::Window;
use crate::vfs::{File, OpenMode, Vfs};

/// A segment file with an intact header.
pub(super) struct SegmentFile {
    pub path: PathBuf,
    pub file: Arc<dyn File>,
    pub header: SegmentHeader,
    pub header_checksum: u32,
}

impl SegmentFile {
    pub fn damaged(&self, offset: u64, detail: impl Into<String>) -> Error {
        Error::Corrupt { file: self.path.display().to_string(), offset, detail: detail.into() }
    }

    pub fn window(&self) -> Window {
        Window::new(Arc::clone(&self.file))
    }

    pub fn read<'a>(&self, window: &'a mut Window, offset: u64) -> Result<BatchAt<'a>> {
        read_batch(window, &self.path, offset, self.header.epoch, self.header.segment)
    }

    /// The stream position of the segment's first batch, if it is known.
    pub fn first_position(&self) -> Result<Option<Lsn>> {
        if let Some(cut) = self.header.cut {
            return Ok(Some(cut.position));
        }
        let mut bytes = [0; HEADER_BYTES];
        match self.file.read_exact_at(ALIGNMENT, &mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(source) => return Err(Error::io("read", &self.path, source)),
        }
        Ok(BatchHeader::decode(&bytes, self.header.segment)?
            .filter(|(batch, _)| (batch.epoch, batch.segment) == (self.header.epoch, self.header.segment))
            .map(|(batch, _)| batch.position))
    }
}

/// A segment of an earlier opening, for truncation.
pub(super) struct OldSegment {
    pub path: PathBuf,
    /// Everything in it lies below this position.
    pub end: Lsn,
}

/// What the folder holds.
pub(super) struct Recovered {
    /// The end of the stream, where the next epoch begins.
    pub cut: Cut,
    pub next_epoch: u64,
    pub next_segment: u64,
    /// What replay reads, in order.
    pub extents: Vec<Extent>,
    pub tail: Vec<TailBatch>,
    pub segments: Vec<OldSegment>,
    /// The highest-numbered file with a header: the only one whose header may not be durable.
    pub last: Option<(PathBuf, Arc<dyn File>)>,
    /// A prepared segment that was never used.
    pub spare: Option<PathBuf>,
    /// A file whose preparation was interrupted.
    pub unfinished: Option<PathBuf>,
    /// The newest format that a record has, and where.
    pub newest_format: Option<(u8, Lsn)>,
}

/// Reads the journal in `dir` without changing it, and returns where it ends.
///
/// # Errors
/// Those of [`Journal::open`](super::Journal::open).
pub fn verify(vfs: &dyn Vfs, dir: &Path, start: Lsn, min_end: Lsn) -> Result<Lsn> {
    Ok(recover(vfs, dir, start, min_end, OpenMode::Read)?.cut.position)
}

/// Finds the end of the stream that begins at `start` and must reach `min_end`.
pub(super) fn recover(
    vfs: &dyn Vfs,
    dir: &Path,
    start: Lsn,
    min_end: Lsn,
    mode: OpenMode,
) -> Result<Recovered> {
    let needed = start.max(min_end);
    let (files, unfinished) = list(vfs, dir, mode)?;
    let Some(last) = files.last() else {
        if needed > Lsn::new(0) {
            let file = unfinished.unwrap_or_else(|| dir.to_owned());
            return Err(Error::JournalTruncated { file, offset: 0, end: Lsn::new(0), needed });
        }
        let cut = Cut { position: start, checksum: 0 };
        let (extents, tail, segments) = (Vec::new(), Vec::new(), Vec::new());
        return Ok(Recovered {
            cut,
            next_epoch: 1,
            next_segment: 1,
            extents,
            tail,
            segments,
            last: None,
            spare: None,
            unfinished,
            newest_format: None,
        });
    };
    let next_epoch = last.header.epoch + 1;
    let next_segment = last.header.segment + 1;
    let begin = find_begin(dir, &files, start)?;
    let live = files.get(begin..).unwrap_or(&[]);
    let walk = walk_all(live, start, needed)?;
    let cut = Cut { position: walk.assembler.boundary(), checksum: walk.boundary_checksum };
    let newest_format = walk.assembler.newest_format();
    let segments = files
        .iter()
        .enumerate()
        .map(|(index, file)| OldSegment {
            path: file.path.clone(),
            end: if index < begin { start } else { cut.position },
        })
        .collect();
    let used = walk.extents.last().map(|extent| extent.segment);
    let spare = files
        .last()
        .filter(|file| file.header.cut.is_none() && used.is_some_and(|used| used < file.header.segment))
        .map(|file| file.path.clone());
    let tail = walk.tail.into_iter().filter(|batch| batch.position < cut.position).collect();
    let extents = walk.extents;
    let last = files.last().map(|file| (file.path.clone(), Arc::clone(&file.file)));
    Ok(Recovered {
        cut,
        next_epoch,
        next_segment,
        extents,
        tail,
        segments,
        last,
        spare,
        unfinished,
        newest_format,
    })
}

/// The segment files in order of their numbers, and the one that was never finished.
fn list(vfs: &dyn Vfs, dir: &Path, mode: OpenMode) -> Result<(Vec<SegmentFile>, Option<PathBuf>)> {
    let names = vfs.read_dir(dir).map_err(|source| Error::io("read folder", dir, source))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| parse_file_name(name)).collect();
    numbers.sort_unstable();
    let mut files: Vec<SegmentFile> = Vec::with_capacity(numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        let path = dir.join(super::segment::file_name(*number));
        let file = vfs.open(&path, mode).map_err(|source| Error::io("open", &path, source))?;
        let mut bytes = [0; HEADER_BYTES];
        let header = match file.read_exact_at(0, &mut bytes) {
            Ok(()) => SegmentHeader::decode(&bytes)?.filter(|(header, _)| header.segment == *number),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => None,
            Err(source) => return Err(Error::io("read", &path, source)),
        };
        let Some((header, header_checksum)) = header else {
            if index + 1 == numbers.len() && !holds_batch_of(&file, &path, *number)? {
                return Ok((files, Some(path)));
            }
            let detail = "the segment header fails its checksum or names another segment".into();
            return Err(Error::Corrupt { file: path.display().to_string(), offset: 0, detail });
        };
        let file = SegmentFile { path, file, header, header_checksum };
        if files.last().is_some_and(|before| before.header.epoch > header.epoch) {
            return Err(file.damaged(0, "its epoch is older than that of the segment before it"));
        }
        let len = file.file.len().map_err(|source| Error::io("measure", &file.path, source))?;
        if len < header.file_bytes {
            let detail = format!("the file ends here; its header says {} bytes", header.file_bytes);
            return Err(file.damaged(len, detail));
        }
        files.push(file);
    }
    Ok((files, None))
}

/// Whether a file without a header has had batches written to it.
fn holds_batch_of(file: &Arc<dyn File>, path: &Path, segment: u64) -> Result<bool> {
    let failed = |source| Error::io("read", path, source);
    let len = file.len().map_err(failed)?;
    let mut window = Window::new(Arc::clone(file));
    let mut offset = ALIGNMENT;
    while offset < len {
        let bytes = window.slice(offset, HEADER_BYTES).map_err(failed)?.first_chunk::<HEADER_BYTES>();
        let found = bytes.map(|bytes| BatchHeader::decode(bytes, segment)).transpose()?.flatten();
        if found.is_some_and(|(header, _)| header.segment == segment) {
            return Ok(true);
        }
        offset += ALIGNMENT;
    }
    Ok(false)
}

/// The index of the last live segment that begins at or below `start`.
fn find_begin(dir: &Path, files: &[SegmentFile], start: Lsn) -> Result<usize> {
    for (index, file) in files.iter().enumerate().rev() {
        let Some(first) = file.first_position()? else { continue };
        let limit = limit_of(files, index);
        let dead = file.header.cut.is_none() && limit.is_some_and(|cut| first >= cut.position);
        if first <= start && !dead {
            return Ok(index);
        }
    }
    let detail = format!("no segment holds position {start}, where the manifest wants the journal to begin");
    Err(files.first().map_or_else(
        || Error::JournalTruncated { file: dir.to_owned(), offset: 0, end: Lsn::new(0), needed: start },
        |file| file.damaged(0, detail),
    ))
}

/// Where the epoch of `files[index]` was cut, if a later one is there.
fn limit_of(files: &[SegmentFile], index: usize) -> Option<Cut> {
    let epoch = files.get(index)?.header.epoch;
    files.get(index..)?.iter().find(|file| file.header.epoch > epoch)?.header.cut
}

fn walk_all(files: &[SegmentFile], start: Lsn, needed: Lsn) -> Result<Walk> {
    let mut walk = Walk::new(files, start)?;
    for run in files.chunk_by(|a, b| a.header.epoch == b.header.epoch) {
        let next = files.iter().find(|file| Some(file.header.epoch) > run.first().map(|f| f.header.epoch));
        let limit = match next {
            Some(file) => Some(
                file.header.cut.ok_or_else(|| file.damaged(0, "the first segment of its epoch is gone"))?,
            ),
            None => None,
        };
        let stop = walk.run(run, limit)?;
        match (limit, stop) {
            (Some(cut), Some(stop)) => {
                let says = format!("{}; position {} was durable", stop.detail, cut.position);
                return Err(stop.file.damaged(stop.offset, says));
            }
            (Some(cut), None) => walk.enter_epoch(cut, next)?,
            (None, Some(stop)) => judge_end(run, &stop, &walk, needed)?,
            (None, None) => {}
        }
    }
    Ok(walk)
}

/// Decides whether the stream may end at `stop`.
fn judge_end(run: &[SegmentFile], stop: &Stop<'_>, walk: &Walk, needed: Lsn) -> Result<()> {
    let torn_at = walk.position;
    if let Some(proof) = find_proof(run, stop, torn_at)? {
        let says =
            format!("{}, yet position {proof} was durable when a later batch was written", stop.detail);
        return Err(stop.file.damaged(stop.offset, says));
    }
    let end = walk.assembler.boundary();
    if end >= needed {
        if !stop.absent {
            tracing::warn!(file = %stop.file.path.display(), offset = stop.offset, end = end.get(),
                detail = stop.detail, "cut a torn journal tail");
        }
        return Ok(());
    }
    if stop.absent {
        return Err(Error::JournalTruncated {
            file: stop.file.path.clone(),
            offset: stop.offset,
            end,
            needed,
        });
    }
    let says = format!("{}, yet the manifest builds on position {needed}", stop.detail);
    Err(stop.file.damaged(stop.offset, says))
}

/// Looks at `stop` and behind it for an intact batch which tells that what stood there had been synced.
fn find_proof(run: &[SegmentFile], stop: &Stop<'_>, torn_at: Lsn) -> Result<Option<Lsn>> {
    for (index, file) in run.iter().enumerate().skip(stop.index) {
        let len = file.file.len().map_err(|source| Error::io("measure", &file.path, source))?;
        let mut window = file.window();
        let mut offset = if index == stop.index { stop.offset + stop.bytes } else { ALIGNMENT };
        while offset < len {
            offset += match file.read(&mut window, offset)? {
                BatchAt::Intact { header, .. } if header.durable > torn_at => {
                    return Ok(Some(header.durable));
                }
                BatchAt::Intact { header, .. } => header.total_bytes(),
                BatchAt::Broken { bytes, .. } => bytes,
                BatchAt::Absent => ALIGNMENT,
            };
        }
    }
    Ok(None)
}
