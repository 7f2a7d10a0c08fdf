//! The journal itself: opening, appending, waiting, truncating.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::journal::batch::{ALIGNMENT, HEADER_BYTES};
use crate::journal::options::JournalOptions;
use crate::journal::record::{FRAME_BYTES, MAX_RECORD_BYTES};
use crate::journal::recovery::{Recovered, recover};
use crate::journal::replay::Replay;
use crate::journal::segment::{Segment, SegmentHeader};
use crate::journal::shared::{ClosedSegment, Pending, Shared, SharedRef};
use crate::journal::sleeper::Sleeper;
use crate::journal::space::{JournalSpace, Preparer, Space, first_bytes};
use crate::journal::sync_thread::Threads;
use crate::journal::walk::TailBatch;
use crate::journal::writer::Writer;
use crate::vfs::{File, OpenMode, Vfs, make_dir};

/// An open journal. See the module doc.
///
/// Dropping it stops its threads after a last flush; a journal without threads is dropped as it is.
pub struct Journal {
    pub(super) shared: SharedRef,
    recycled_segments: usize,
    threads: Mutex<Option<Threads>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("end", &self.end())
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal in `dir`, which is made if it is not there, and starts a new epoch. The records from
    /// `start` on, which must be 0 or a position that [`append`](Self::append) returned, come out of the [`Replay`].
    ///
    /// # Errors
    /// `Corrupt` with file and offset where durable bytes are damaged; `JournalTruncated` where the stream ends
    /// before `start` or `min_end` (the highest position that the manifest builds on); `UnsupportedFormat` where a newer
    /// version wrote any of it, which is left as it is; `Io`.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        start: Lsn,
        min_end: Lsn,
        options: JournalOptions,
    ) -> Result<(Self, Replay)> {
        make_dir(&*vfs, dir)?;
        let recovered = recover(&*vfs, dir, start, min_end, OpenMode::ReadWrite)?;
        options.check_format(recovered.newest_format)?;
        secure_tail(&recovered.tail)?;
        if let Some((path, file)) = &recovered.last {
            secure_header(path, &**file)?;
            vfs.sync_dir(dir).map_err(|source| Error::io("sync folder", dir, source))?;
        }
        if let Some(path) = &recovered.unfinished {
            // Before a number is handed out: only the highest-numbered file may be unfinished.
            vfs.remove(path).map_err(|source| Error::io("remove", path, source))?;
            vfs.sync_dir(dir).map_err(|source| Error::io("sync folder", dir, source))?;
        }
        let segment_bytes = options.rounded_segment_bytes();
        let header = SegmentHeader {
            epoch: recovered.next_epoch,
            segment: recovered.next_segment,
            cut: Some(recovered.cut),
            file_bytes: first_bytes(segment_bytes),
        };
        let active = Segment::prepare(&*vfs, dir, header, recovered.spare.as_deref())?;
        let end = recovered.cut.position;
        let shared = Arc::new(Shared::begin(vfs, dir, &options, active, &recovered));
        let replay = Replay::new(recovered.extents, start, end);
        let spare = recovered.spare;
        let old = recovered.segments.into_iter().filter(|segment| spare.as_ref() != Some(&segment.path));
        *shared.segments.lock() = old.map(ClosedSegment::from).collect();
        let recycled_segments = options.recycled_segments;
        Ok((Self { shared, recycled_segments, threads: Mutex::new(None) }, replay))
    }

    /// Adds a record and returns the position behind it. Neither fails nor waits for a disk; the record is durable
    /// once [`durable`](Self::durable) has reached the position. After a failure the record goes nowhere.
    ///
    /// # Panics
    /// If the record is longer than [`reserve`](Self::reserve) allows.
    pub fn append(&self, record: &[u8]) -> Lsn {
        assert!(record.len() <= MAX_RECORD_BYTES, "reserve refuses records above 1 GiB");
        let length = u32::try_from(record.len()).expect("1 GiB fits");
        let end = {
            let mut pending = self.shared.pending.lock();
            pending.end = Lsn::new(pending.end.get() + (FRAME_BYTES + record.len()) as u64);
            if self.shared.latch.get().is_none() {
                pending.buffer.extend_from_slice(&length.to_le_bytes());
                pending.buffer.extend_from_slice(record);
            }
            self.shared.appended.store(pending.end.get(), Ordering::SeqCst);
            pending.end
        };
        self.shared.sync_thread.wake();
        end
    }

    /// Sees to it that a record of `bytes` can be appended and written: takes memory for it, makes segments if need
    /// be. Held until the record is durable.
    ///
    /// # Errors
    /// `DiskFull`, `OutOfMemory`, `TooLarge`, `Poisoned`, `Io`; nothing is reserved then.
    pub fn reserve(&self, bytes: usize) -> Result<JournalSpace> {
        JournalSpace::reserve(&self.shared, bytes)
    }

    /// All records that end at or below this survive a crash.
    pub fn durable(&self) -> Lsn {
        self.shared.durable()
    }

    /// The position behind the last appended record.
    pub fn end(&self) -> Lsn {
        Lsn::new(self.shared.appended.load(Ordering::SeqCst))
    }

    /// Writes and syncs everything appended before the call, and returns the durable position.
    ///
    /// # Errors
    /// What the write or sync failed with; `Poisoned` from then on.
    pub fn flush(&self) -> Result<Lsn> {
        let flushed = self.shared.flush();
        // It reports to its callback whoever flushed.
        self.shared.sync_thread.wake();
        flushed
    }

    /// Starts the thread that flushes as soon as records are there, and the one that prepares segments.
    /// `on_durable` is called once a batch, from the sync thread; after an error it is not called again. Only the
    /// first call has an effect.
    pub fn start_sync_thread(&self, on_durable: Arc<dyn Fn(Result<Lsn>) + Send + Sync>) {
        let mut threads = self.threads.lock();
        if threads.is_none() {
            *threads = Threads::start(&self.shared, on_durable);
        }
    }

    /// Blocks until everything up to `lsn` is durable. Flushes itself where no sync thread runs.
    ///
    /// # Errors
    /// `Poisoned`, or the error of the flush.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<()> {
        if !self.shared.sync_thread.is_started() {
            while self.durable() < lsn {
                self.flush()?;
            }
            return Ok(());
        }
        let mut guard = self.shared.waiters.lock();
        while self.durable() < lsn {
            self.shared.check_latch()?;
            self.shared.durable_changed.wait(&mut guard);
        }
        Ok(())
    }

    /// Gives up whole segments that lie below `lsn`, which must be durable as the journal start in the manifest.
    ///
    /// # Errors
    /// `Io`; what was not removed is tried again by the next call.
    pub fn truncate_before(&self, lsn: Lsn) -> Result<()> {
        // A full segment stays until the one behind it has a durable batch: until then it alone tells the position.
        // Behind an older epoch stands a header that names the cut.
        let durable = self.durable();
        let goes =
            |segment: &&ClosedSegment| segment.end <= lsn && (segment.end < durable || !segment.recyclable);
        let mut segments = self.shared.segments.lock();
        let count = segments.iter().take_while(goes).count();
        let mut given_up: Vec<ClosedSegment> = segments.drain(..count).collect();
        drop(segments);
        let mut failed = None;
        let mut kept = Vec::new();
        for segment in given_up.drain(..) {
            if segment.recyclable && self.recycle(&segment) {
                continue;
            }
            if let Err(source) = self.shared.space.vfs.remove(&segment.path) {
                failed = Some(Error::io("remove", &segment.path, source));
                kept.push(segment);
            }
        }
        if !kept.is_empty() {
            let mut segments = self.shared.segments.lock();
            segments.splice(0..0, kept);
        }
        failed.map_or(Ok(()), Err)
    }

    fn recycle(&self, segment: &ClosedSegment) -> bool {
        let mut preparer = self.shared.space.preparer.lock();
        let keep = preparer.recycled.len() < self.recycled_segments;
        if keep {
            preparer.recycled.push(segment.path.clone());
        }
        keep
    }

    /// Why the journal takes no more records, if it does not.
    pub fn poison_reason(&self) -> Option<String> {
        self.shared.latch.get().cloned()
    }
}

impl Shared {
    fn begin(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        options: &JournalOptions,
        active: Segment,
        recovered: &Recovered,
    ) -> Self {
        let segment_bytes = options.rounded_segment_bytes();
        let end = recovered.cut.position;
        let preparer = Preparer {
            epoch: recovered.next_epoch,
            next_segment: recovered.next_segment + 1,
            next_bytes: active.bytes.saturating_mul(4).min(segment_bytes),
            recycled: Vec::new(),
        };
        let active_bytes = active.bytes;
        let writer = Writer {
            previous: active.header_checksum,
            active,
            offset: ALIGNMENT,
            epoch: recovered.next_epoch,
            epoch_start: end,
            position: end,
            buffer: vec![0; HEADER_BYTES],
        };
        Self {
            pending: Mutex::new(Pending { buffer: vec![0; HEADER_BYTES], end }),
            appended: AtomicU64::new(end.get()),
            durable: AtomicU64::new(end.get()),
            writer: Mutex::new(writer),
            space: Space {
                vfs,
                dir: dir.to_owned(),
                segment_bytes,
                pool: options.pool.clone(),
                free: AtomicU64::new(active_bytes - ALIGNMENT),
                low_water: AtomicU64::new(active_bytes / 2),
                promised: AtomicU64::new(0),
                ready: Mutex::default(),
                preparer: Mutex::new(preparer),
            },
            segments: Mutex::default(),
            latch: OnceLock::new(),
            waiters: Mutex::new(()),
            durable_changed: Condvar::new(),
            sync_thread: Sleeper::new(),
            prepare_thread: Sleeper::new(),
            stopping: AtomicBool::new(false),
        }
    }
}

/// Makes the header of the last file durable, with the caller's sync of the folder: a preparation that was cut short by a kill
/// may have left it written, not synced. What comes next builds on it.
fn secure_header(path: &Path, file: &dyn File) -> Result<()> {
    let failed = |operation| move |source| Error::io(operation, path, source);
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(0, &mut header).map_err(failed("read"))?;
    file.write_at(0, &header).map_err(failed("rewrite"))?;
    file.sync().map_err(failed("sync"))
}

/// Makes the kept tail durable. It is written again, not only synced: after a failed sync the system may hold pages
/// for clean that never reached the disk. The bytes are the same, so a torn write changes nothing.
fn secure_tail(tail: &[TailBatch]) -> Result<()> {
    let mut bytes = Vec::new();
    for (index, batch) in tail.iter().enumerate() {
        let failed = |operation| move |source| Error::io(operation, &batch.path, source);
        let length = usize::try_from(batch.bytes).expect("a batch is at most 1 MiB");
        bytes.resize(length, 0);
        bytes.fill(0);
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            // The padding of the last batch may lie behind the end of a file that was cut.
            match batch.file.read_at(batch.offset + filled as u64, rest).map_err(failed("read"))? {
                0 => break,
                count => filled += count,
            }
        }
        batch.file.write_at(batch.offset, &bytes).map_err(failed("rewrite"))?;
        let next = tail.get(index + 1);
        if next.is_none_or(|next| next.path != batch.path) {
            batch.file.sync().map_err(failed("sync"))?;
        }
    }
    Ok(())
}
