//! Going on in a short segment, so that an idle journal takes no room on the disk.

use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::ids::Lsn;
use crate::journal::Journal;
use crate::journal::batch::ALIGNMENT;
use crate::journal::segment::{Cut, Segment, SegmentHeader};
use crate::journal::shared::{ClosedSegment, Shared};
use crate::journal::space::Preparer;
use crate::journal::writer::Writer;

impl Journal {
    /// Begins an epoch in a short segment, as opening does, and gives up what lies below `start`, prepared and
    /// recycled segments too. `start` must be durable as the journal start in the manifest. Where a commit is under
    /// way only the truncation is done.
    ///
    /// # Errors
    /// `DiskFull` and `Io`, after which the journal goes on in its old segments; `Poisoned`.
    pub fn shorten(&self, start: Lsn) -> Result<()> {
        self.flush()?;
        let shared = &*self.shared;
        {
            let mut writer = shared.writer.lock();
            shared.check_latch()?;
            let mut preparer = shared.space.preparer.lock();
            if shared.is_long(&writer, &preparer) {
                shared.begin_epoch(&mut writer, &mut preparer)?;
            }
        }
        self.truncate_before(start)
    }
}

impl Shared {
    fn is_long(&self, writer: &Writer, preparer: &Preparer) -> bool {
        let spare = self.space.ready.lock().len() + preparer.recycled.len();
        spare > 0 || writer.active.bytes > self.space.first_bytes()
    }

    /// Everything appended is durable and nobody has a promise of room, or nothing happens: a promise counts on the
    /// segments that are given up here. Who reserves meanwhile finds the room of the new segment only, and waits for
    /// the preparer if that is too little.
    fn begin_epoch(&self, writer: &mut Writer, preparer: &mut Preparer) -> Result<()> {
        let room = self.space.first_bytes() - ALIGNMENT;
        let before = self.space.free.swap(room, Ordering::SeqCst);
        if self.space.promised.load(Ordering::SeqCst) > 0 || self.in_flight() > 0 {
            self.space.free.store(before, Ordering::SeqCst);
            return Ok(());
        }
        let empty = writer.position == writer.epoch_start;
        let cut = Cut { position: writer.position, checksum: if empty { 0 } else { writer.previous } };
        let epoch = writer.epoch + 1;
        let bytes = self.space.first_bytes();
        let segment = preparer.next_segment;
        let header = SegmentHeader { epoch, segment, cut: Some(cut), file_bytes: bytes };
        let made = Segment::prepare(&*self.space.vfs, &self.space.dir, header, None);
        let active = match made {
            Ok(active) => active,
            Err(error) => {
                self.space.free.store(before, Ordering::SeqCst);
                self.disown(header.segment)?;
                return Err(error);
            }
        };
        preparer.epoch = epoch;
        preparer.next_segment += 1;
        preparer.next_bytes = bytes.saturating_mul(4).min(self.space.segment_bytes);
        self.space.low_water.store(bytes / 2, Ordering::SeqCst);
        writer.offset = ALIGNMENT;
        writer.epoch = epoch;
        writer.epoch_start = writer.position;
        writer.previous = active.header_checksum;
        let old = std::mem::replace(&mut writer.active, active);
        let spare = self.space.ready.lock().drain(..).collect::<Vec<_>>();
        let unused = preparer.recycled.drain(..).map(|path| ClosedSegment::unused(path, Lsn::new(0)));
        let mut segments = self.segments.lock();
        segments.splice(0..0, unused);
        segments.push(ClosedSegment::unused(old.path, cut.position));
        segments.extend(spare.into_iter().map(|segment| ClosedSegment::unused(segment.path, cut.position)));
        // The new epoch's header tells the position, so none is needed for that or worth its room.
        segments.iter_mut().for_each(|segment| segment.recyclable = false);
        Ok(())
    }

    /// Sees to it that a half-made segment never comes back: its header would cut off what is written from now on.
    fn disown(&self, segment: u64) -> Result<()> {
        self.space.remove(segment).inspect_err(|error| self.poison(error))
    }
}
