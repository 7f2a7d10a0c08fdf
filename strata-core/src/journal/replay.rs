//! Handing the kept records to whoever applies them, one at a time.
//!
//! The end was found by `recovery`; here the same batches are read again, so that memory holds one batch and the
//! record under assembly, whatever the journal's length.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::journal::batch::{ALIGNMENT, BatchAt, read_batch};
use crate::journal::record::{Assembler, Record};
use crate::journal::walk::Extent;
use crate::journal::window::Window;

/// The records from the start up to the end that recovery found. After an error it yields nothing more.
///
/// It reads files that [`Journal::truncate_before`](super::Journal::truncate_before) removes: finish it first.
pub struct Replay {
    extents: VecDeque<Extent>,
    current: Option<Reading>,
    assembler: Assembler,
    ready: VecDeque<Record>,
}

struct Reading {
    extent: Extent,
    window: Window,
    offset: u64,
}

impl Replay {
    pub(super) fn new(extents: Vec<Extent>, start: Lsn, end: Lsn) -> Self {
        let mut extents = VecDeque::from(extents);
        for extent in &mut extents {
            extent.limit = extent.limit.min(end);
        }
        Self { extents, current: None, assembler: Assembler::new(start, true), ready: VecDeque::new() }
    }

    /// Reads the next batch into `ready`; false at the end.
    fn read_batch(&mut self) -> Result<bool> {
        loop {
            if let Some(reading) = &mut self.current
                && reading.offset < reading.extent.end_offset
            {
                reading.offset += Self::feed(reading, &mut self.assembler, &mut self.ready)?;
                return Ok(true);
            }
            let Some(extent) = self.extents.pop_front() else { return Ok(false) };
            let window = Window::new(Arc::clone(&extent.file));
            self.current = Some(Reading { extent, window, offset: ALIGNMENT });
        }
    }

    fn feed(reading: &mut Reading, assembler: &mut Assembler, ready: &mut VecDeque<Record>) -> Result<u64> {
        let Reading { extent, window, offset } = reading;
        let damaged = |detail: &str| Error::Corrupt {
            file: extent.path.display().to_string(),
            offset: *offset,
            detail: detail.to_owned(),
        };
        let found = read_batch(window, &extent.path, *offset, extent.epoch, extent.segment)?;
        let BatchAt::Intact { header, payload, .. } = found else {
            return Err(damaged("the batch was intact when the journal was opened and is not any more"));
        };
        let kept = extent.limit.get().saturating_sub(header.position.get());
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        assembler
            .feed(header.position, payload.get(..kept).unwrap_or(payload), |record| ready.push_back(record))
            .map_err(|_| damaged("a record's length exceeds what a writer writes"))?;
        Ok(header.total_bytes())
    }
}

impl Iterator for Replay {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Some(Ok(record));
            }
            match self.read_batch() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.extents.clear();
                    self.current = None;
                    return Some(Err(error));
                }
            }
        }
    }
}
