//! Following the chain of batches through the segments of an epoch.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::ids::Lsn;
use crate::journal::batch::{ALIGNMENT, BatchAt, BatchHeader};
use crate::journal::record::Assembler;
use crate::journal::recovery::SegmentFile;
use crate::journal::segment::Cut;
use crate::vfs::File;

/// The batches of one segment that belong to the stream, up to a limit.
pub(super) struct Extent {
    pub path: PathBuf,
    pub file: Arc<dyn File>,
    pub epoch: u64,
    pub segment: u64,
    /// Batches stand from the header page up to here.
    pub end_offset: u64,
    /// The stream position at which this segment's epoch is cut.
    pub limit: Lsn,
}

/// A kept batch that is not known to be durable.
pub(super) struct TailBatch {
    pub path: PathBuf,
    pub file: Arc<dyn File>,
    pub offset: u64,
    pub bytes: u64,
    pub position: Lsn,
    pub end: Lsn,
}

/// The first place that does not continue the stream.
pub(super) struct Stop<'a> {
    pub file: &'a SegmentFile,
    pub index: usize,
    pub offset: u64,
    /// Nothing was written there.
    pub absent: bool,
    pub detail: &'static str,
    /// What a search for intact batches may pass over.
    pub bytes: u64,
}

pub(super) struct Walk {
    /// The stream position of the batch that is wanted next.
    pub position: Lsn,
    /// The checksum it must be chained to; unknown for the first one that is read.
    previous: Option<u32>,
    pub assembler: Assembler,
    pub boundary_checksum: u32,
    pub extents: Vec<Extent>,
    pub tail: VecDeque<TailBatch>,
    durable: Lsn,
}

impl Walk {
    pub fn new(files: &[SegmentFile], start: Lsn) -> Result<Self> {
        let first = files.first();
        let position = first.map(SegmentFile::first_position).transpose()?.flatten().unwrap_or(start);
        Ok(Self {
            position,
            previous: first.and_then(|file| file.header.cut.map(|_| file.header_checksum)),
            assembler: Assembler::new(start, false),
            boundary_checksum: 0,
            extents: Vec::new(),
            tail: VecDeque::new(),
            durable: Lsn::new(0),
        })
    }

    /// Walks the segments of one epoch up to its limit; `None` when the limit was reached.
    pub fn run<'a>(&mut self, files: &'a [SegmentFile], limit: Option<Cut>) -> Result<Option<Stop<'a>>> {
        let limit = limit.map_or(Lsn::new(u64::MAX), |cut| cut.position);
        for (index, file) in files.iter().enumerate() {
            let mut window = file.window();
            let mut offset = ALIGNMENT;
            let stop = loop {
                if self.position >= limit {
                    break None;
                }
                match file.read(&mut window, offset)? {
                    BatchAt::Intact { header, checksum, payload } if self.continues(&header) => {
                        self.take(file, offset, limit, (header, checksum, payload))?;
                        offset += header.total_bytes();
                    }
                    found => break Some(Stop::new(file, index, offset, &found)),
                }
            };
            self.push_extent(file, offset, limit);
            let Some(stop) = stop else { return Ok(None) };
            let Some(next) = files.get(index + 1) else { return Ok(Some(stop)) };
            let mut window = next.window();
            match next.read(&mut window, ALIGNMENT)? {
                BatchAt::Intact { header, .. } if self.continues(&header) => {}
                found @ BatchAt::Broken { .. } if stop.absent => {
                    return Ok(Some(Stop::new(next, index + 1, ALIGNMENT, &found)));
                }
                _ => return Ok(Some(stop)),
            }
        }
        Ok(None)
    }

    fn continues(&self, header: &BatchHeader) -> bool {
        header.position == self.position && self.previous.is_none_or(|previous| previous == header.previous)
    }

    fn take(
        &mut self,
        file: &SegmentFile,
        offset: u64,
        limit: Lsn,
        (header, checksum, payload): (BatchHeader, u32, &[u8]),
    ) -> Result<()> {
        let kept = usize::try_from(limit.get().saturating_sub(header.position.get())).unwrap_or(usize::MAX);
        let payload = payload.get(..kept).unwrap_or(payload);
        self.assembler
            .feed(header.position, payload, |_| ())
            .map_err(|_| file.damaged(offset, "a record's length exceeds what a writer writes"))?;
        let end = header.end();
        let boundary = self.assembler.boundary();
        if header.position < boundary && boundary <= end {
            self.boundary_checksum = checksum;
        }
        if header.durable > self.durable {
            self.durable = header.durable;
            while self.tail.front().is_some_and(|batch| batch.end <= self.durable) {
                self.tail.pop_front();
            }
        }
        self.tail.push_back(TailBatch {
            path: file.path.clone(),
            file: Arc::clone(&file.file),
            offset,
            bytes: header.total_bytes(),
            position: header.position,
            end,
        });
        self.position = end;
        self.previous = Some(checksum);
        Ok(())
    }

    fn push_extent(&mut self, file: &SegmentFile, end_offset: u64, limit: Lsn) {
        if end_offset > ALIGNMENT {
            self.extents.push(Extent {
                path: file.path.clone(),
                file: Arc::clone(&file.file),
                epoch: file.header.epoch,
                segment: file.header.segment,
                end_offset,
                limit,
            });
        }
    }

    /// Goes on behind a cut: what the older epoch holds beyond it is dead.
    pub fn enter_epoch(&mut self, cut: Cut, first: Option<&SegmentFile>) -> Result<()> {
        let Some(first) = first else { return Ok(()) };
        if self.assembler.boundary() != cut.position || self.boundary_checksum != cut.checksum {
            return Err(first.damaged(0, "the cut that it names does not fit the epoch before it"));
        }
        self.position = cut.position;
        self.previous = Some(first.header_checksum);
        self.boundary_checksum = 0;
        self.tail.clear();
        Ok(())
    }
}

impl<'a> Stop<'a> {
    fn new(file: &'a SegmentFile, index: usize, offset: u64, found: &BatchAt<'_>) -> Self {
        let (absent, detail, bytes) = match found {
            BatchAt::Absent => (true, "a batch is missing", ALIGNMENT),
            BatchAt::Broken { detail, bytes } => (false, *detail, *bytes),
            // In the wrong place, it still tells what had been synced.
            BatchAt::Intact { .. } => (false, "the batch does not continue the one before it", 0),
        };
        Self { file, index, offset, absent, detail, bytes }
    }
}
