//! A block store in one file, `blocks.strata`.
//!
//! **Space.** Extents come from [`ExtentAllocator`]. Freed runs that still take much space are punched, a long free
//! tail is cut off. A run is out of the allocator while it is punched, and cutting holds the allocator's lock, so
//! neither can meet a write to the same pages.
//!
//! **Failures.** A write that fails gives its extent back: nothing names it. A sync that fails latches the store:
//! which writes are on the device is then unknown, and a second sync would not tell (the system may have dropped the
//! dirty pages), so every later write and sync answers `Poisoned`; reads go on.
//!
//! **Concurrency.** `syncing` is held during a sync; `extents` never during I/O other than a cut. Lock order:
//! `syncing`, `extents`.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use super::extents::{ExtentAllocator, Run};
use super::header::{BlockHeader, HEADER_BYTES, pages_for};
use super::{BlockInfo, BlockKind, BlockStore};
use crate::error::{Error, Result};
use crate::ids::BlockId;
use crate::vfs::{File, OpenMode, Vfs};

/// The file's name in the database's folder.
pub const BLOCKS_FILE: &str = "blocks.strata";

/// A payload up to here is written, and read, in one call with its header.
const SMALL_BYTES: usize = 128 << 10;

/// How a [`FileBlockStore`] keeps its file.
#[derive(Clone, Copy, Debug)]
pub struct FileBlockStoreOptions {
    /// A free tail of twice this is cut down to this.
    pub slack_bytes: u64,
    /// A free run is punched when more than this of it takes space.
    pub punch_bytes: u64,
}

impl Default for FileBlockStoreOptions {
    fn default() -> Self {
        Self { slack_bytes: 4 << 20, punch_bytes: 1 << 20 }
    }
}

/// A block store in one file.
#[derive(Debug)]
pub struct FileBlockStore {
    file: Arc<dyn File>,
    path: PathBuf,
    options: FileBlockStoreOptions,
    extents: Mutex<ExtentAllocator>,
    syncing: Mutex<()>,
    unsynced: AtomicBool,
    poisoned: RwLock<Option<String>>,
    can_punch: AtomicBool,
}

impl FileBlockStore {
    /// Opens the store of the database in `folder`, making it if need be. The store is then in recovery: adopt what
    /// is in use and call [`BlockStore::finish_recovery`].
    ///
    /// # Errors
    /// `Io`, `DiskFull`.
    pub fn open(vfs: &dyn Vfs, folder: &Path, options: FileBlockStoreOptions) -> Result<Self> {
        let path = folder.join(BLOCKS_FILE);
        let file =
            vfs.open(&path, OpenMode::CreateOrOpen).map_err(|error| Error::io("open", &path, error))?;
        vfs.sync_dir(folder).map_err(|error| Error::io("sync", folder, error))?;
        let len = file.len().map_err(|error| Error::io("measure", &path, error))?;
        Ok(Self {
            file,
            path,
            options,
            extents: Mutex::new(ExtentAllocator::recovering(len.div_ceil(BlockId::PAGE_BYTES))),
            syncing: Mutex::new(()),
            unsynced: AtomicBool::new(false),
            poisoned: RwLock::new(None),
            can_punch: AtomicBool::new(true),
        })
    }

    fn check_latch(&self) -> Result<()> {
        match &*self.poisoned.read() {
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn io_error(&self, operation: &'static str, error: io::Error) -> Error {
        Error::io(operation, &self.path, error)
    }

    fn write_extent(&self, header: &BlockHeader, payload: &[u8]) -> io::Result<()> {
        let page = BlockId::PAGE_BYTES as usize;
        let offset = header.id.offset_bytes();
        let (head, rest) = payload.split_at(payload.len().min(SMALL_BYTES - HEADER_BYTES));
        let mut first = Vec::with_capacity((HEADER_BYTES + head.len()).next_multiple_of(page));
        first.extend_from_slice(&header.encode());
        first.extend_from_slice(head);
        if rest.is_empty() {
            first.resize(first.len().next_multiple_of(page), 0);
            return self.file.write_at(offset, &first);
        }
        // The head fills whole pages, so the rest starts on one. The last page goes out with its zeros.
        let (whole, tail) = rest.split_at(rest.len() / page * page);
        self.file.write_at(offset, &first)?;
        let mut at = offset + first.len() as u64;
        if !whole.is_empty() {
            self.file.write_at(at, whole)?;
            at += whole.len() as u64;
        }
        if !tail.is_empty() {
            first.clear();
            first.extend_from_slice(tail);
            first.resize(page, 0);
            self.file.write_at(at, &first)?;
        }
        Ok(())
    }

    fn read_extent(&self, id: BlockId, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(id.offset_bytes() + offset, buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                let detail =
                    format!("the file ends before byte {}", offset.saturating_add(buffer.len() as u64));
                return Error::CorruptBlock { block: id, offset, detail };
            }
            self.io_error("read", error)
        })
    }

    fn read_header(&self, id: BlockId, expected: BlockKind) -> Result<BlockInfo> {
        let mut bytes = [0; HEADER_BYTES];
        self.read_extent(id, 0, &mut bytes)?;
        Ok(BlockHeader::decode(&bytes, id, expected)?.info)
    }

    /// Gives the space of a run back to the system, if it takes enough to be worth a call.
    fn punch(&self, run: Run) {
        let page = BlockId::PAGE_BYTES;
        if run.unpunched * page < self.options.punch_bytes.max(1) || !self.can_punch.load(Ordering::Relaxed) {
            return;
        }
        let Some(mut taken) = self.extents.lock().take_run(run.first) else {
            return;
        };
        match self.file.punch_hole(taken.first * page, taken.pages * page) {
            Ok(()) => taken.unpunched = 0,
            Err(error) => {
                if error.kind() == io::ErrorKind::Unsupported {
                    self.can_punch.store(false, Ordering::Relaxed);
                } else {
                    tracing::warn!(path = %self.path.display(), %error, "cannot punch a hole");
                }
            }
        }
        self.extents.lock().put_back(taken);
    }

    /// Cuts a free tail off the file, if it is long beside the slack. Failing costs space only.
    fn cut_tail(&self, slack_bytes: u64) {
        let mut extents = self.extents.lock();
        if extents.is_recovering() {
            return;
        }
        if let Some(end) = extents.cut_tail(slack_bytes / BlockId::PAGE_BYTES) {
            let result = self.file.len().and_then(|len| match end * BlockId::PAGE_BYTES {
                wanted if wanted < len => self.file.set_len(wanted),
                _ => Ok(()),
            });
            if let Err(error) = result {
                tracing::warn!(path = %self.path.display(), %error, "cannot cut the free tail");
            }
        }
    }
}

impl BlockStore for FileBlockStore {
    fn write(&self, kind: BlockKind, format: u16, payload: &[u8]) -> Result<BlockId> {
        self.check_latch()?;
        let pages = pages_for(payload.len())?;
        let info = BlockInfo {
            kind,
            format,
            payload_bytes: payload.len() as u64,
            payload_crc: crc32fast::hash(payload),
        };
        let allocated = self.extents.lock().allocate(pages);
        let id = allocated.ok_or(Error::DiskFull { what: "a block" })?;
        let written = self.write_extent(&BlockHeader { id, info }, payload);
        self.unsynced.store(true, Ordering::Release);
        if let Err(error) = written {
            self.free(id);
            // Where the file could not grow there is no free page either, though it would be the best fit next time.
            self.cut_tail(0);
            return Err(match Error::io("write", &self.path, error) {
                Error::DiskFull { .. } => Error::DiskFull { what: "a block" },
                other => other,
            });
        }
        Ok(id)
    }

    fn info(&self, id: BlockId, expected: BlockKind) -> Result<BlockInfo> {
        self.read_header(id, expected)
    }

    fn read(&self, id: BlockId, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let room = id.len_bytes() - HEADER_BYTES as u64;
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > room) {
            let detail =
                format!("{} bytes wanted at payload offset {offset} of at most {room}", buffer.len());
            return Err(Error::CorruptBlock {
                block: id,
                offset: offset.saturating_add(HEADER_BYTES as u64),
                detail,
            });
        }
        self.read_extent(id, HEADER_BYTES as u64 + offset, buffer)
    }

    fn read_all(&self, id: BlockId, expected: BlockKind) -> Result<(BlockInfo, Vec<u8>)> {
        let (info, payload) = if id.len_bytes() <= SMALL_BYTES as u64 {
            let mut bytes = vec![0; id.len_bytes() as usize];
            self.read_extent(id, 0, &mut bytes)?;
            let mut header = [0; HEADER_BYTES];
            header.copy_from_slice(&bytes[..HEADER_BYTES]);
            let info = BlockHeader::decode(&header, id, expected)?.info;
            // The header's own check keeps payload_bytes within the extent.
            let mut payload = bytes.split_off(HEADER_BYTES);
            payload.truncate(info.payload_bytes as usize);
            payload.shrink_to_fit();
            (info, payload)
        } else {
            let info = self.read_header(id, expected)?;
            let len = self.file.len().map_err(|error| self.io_error("measure", error))?;
            if id.offset_bytes() + id.len_bytes() > len {
                let detail = format!("the file ends at byte {len}, within the extent");
                return Err(Error::CorruptBlock { block: id, offset: 0, detail });
            }
            let mut bytes = vec![0; info.payload_bytes as usize];
            self.read_extent(id, HEADER_BYTES as u64, &mut bytes)?;
            (info, bytes)
        };
        let crc = crc32fast::hash(&payload);
        if crc != info.payload_crc {
            let detail = format!("payload checksum is {:08x}, its bytes give {crc:08x}", info.payload_crc);
            return Err(Error::CorruptBlock { block: id, offset: HEADER_BYTES as u64, detail });
        }
        Ok((info, payload))
    }

    fn sync(&self) -> Result<()> {
        let _syncing = self.syncing.lock();
        self.check_latch()?;
        if !self.unsynced.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        self.file.sync().map_err(|error| {
            let error = self.io_error("sync", error);
            *self.poisoned.write() = Some(error.to_string());
            error
        })
    }

    fn adopt(&self, id: BlockId) -> Result<()> {
        self.extents.lock().adopt(id)
    }

    fn finish_recovery(&self) -> Result<()> {
        self.extents.lock().finish_recovery();
        self.cut_tail(self.options.slack_bytes);
        Ok(())
    }

    fn free(&self, id: BlockId) {
        let run = self.extents.lock().free(id);
        if let Some(run) = run {
            self.punch(run);
        }
        self.cut_tail(self.options.slack_bytes);
    }

    fn keep_freed(&self) {
        self.extents.lock().keep_freed();
    }

    fn used_bytes(&self) -> u64 {
        self.extents.lock().used_pages() * BlockId::PAGE_BYTES
    }

    fn total_bytes(&self) -> u64 {
        self.extents.lock().end() * BlockId::PAGE_BYTES
    }
}
