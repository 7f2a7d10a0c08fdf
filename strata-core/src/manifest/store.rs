//! The open manifest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::ids::Lsn;
use crate::manifest::current::{self, ReplaceError};
use crate::manifest::edit::Edit;
use crate::manifest::group::encode_payload;
use crate::manifest::log::{self, Log};
use crate::manifest::state::ManifestState;
use crate::vfs::{Vfs, make_dir};

/// A file is rewritten when it has grown by this and by the length of its snapshot.
pub const REWRITE_BYTES: u64 = 4 << 20;

/// The manifest of an open database. See the module doc.
#[derive(Debug)]
pub struct Manifest {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    rewrite_bytes: u64,
    writer: Mutex<Writer>,
    state: ArcSwap<ManifestState>,
}

/// A manifest that has been read and not been written to, so that what it names can be looked at first.
#[derive(Debug)]
pub struct FoundManifest {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    /// The highest file number in use, 0 for none.
    used: u64,
    state: ManifestState,
}

#[derive(Debug)]
struct Writer {
    log: Log,
    /// The length at which the file is rewritten.
    rewrite_at: u64,
    /// The first failure.
    latch: Option<String>,
}

impl Manifest {
    /// Opens the manifest in `dir`, or makes one where there is none, and rewrites it as a snapshot.
    ///
    /// # Errors
    /// `Corrupt` with file and offset, `UnsupportedFormat`, `DiskFull`, `Io`.
    pub fn open(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<(Self, ManifestState)> {
        Self::open_with(vfs, dir, REWRITE_BYTES)
    }

    /// As [`open`](Self::open); a file is rewritten when it has grown by `rewrite_bytes` and by the length of its snapshot.
    pub fn open_with(vfs: Arc<dyn Vfs>, dir: &Path, rewrite_bytes: u64) -> Result<(Self, ManifestState)> {
        let found = Self::find(vfs, dir)?;
        let state = found.state.clone();
        Ok((found.open(rewrite_bytes)?, state))
    }

    /// Reads the manifest in `dir`, to be opened then. Makes the folder if it is not there, and changes nothing else.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn find(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<FoundManifest> {
        make_dir(&*vfs, dir)?;
        let (used, state) = read(&*vfs, dir)?;
        Ok(FoundManifest { vfs, dir: dir.to_owned(), used, state })
    }

    /// Reads the state without changing anything; the empty state where there is no manifest.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn read(vfs: &dyn Vfs, dir: &Path) -> Result<ManifestState> {
        Ok(read(vfs, dir)?.1)
    }

    /// Applies edits, all or none; durable when this returns. `journal_lsn` is the highest journal position whose
    /// effects the named blocks contain (rule 6).
    ///
    /// # Errors
    /// `Invalid` where an edit does not fit the state, `DiskFull`, `TooLarge`: nothing was done. Any other failure
    /// latches, and every later commit fails with `Poisoned`: the edits may be there after the next opening, or not.
    pub fn commit(&self, journal_lsn: Lsn, edits: Vec<Edit>) -> Result<()> {
        let mut writer = self.writer.lock();
        if let Some(reason) = &writer.latch {
            return Err(Error::Poisoned { reason: reason.clone() });
        }
        let mut state = ManifestState::clone(&self.state.load());
        log::apply_group(&mut state, journal_lsn, &edits)
            .map_err(|detail| Error::Invalid(format!("manifest edit refused: {detail}")))?;
        debug_assert_eq!(state.check(), Ok(()));
        let payload = encode_payload(journal_lsn, &edits);
        let room = writer.log.make_room(payload.len());
        if let Err(error) = room {
            let harmless = matches!(error.kind(), ErrorKind::Resource | ErrorKind::Invalid);
            return Err(if harmless { error } else { writer.fail(error) });
        }
        if let Err(error) = writer.log.append(&payload) {
            return Err(writer.fail(error));
        }
        let state = Arc::new(state);
        self.state.store(Arc::clone(&state));
        if writer.log.end >= writer.rewrite_at {
            self.rewrite(&mut writer, &state);
        }
        Ok(())
    }

    /// The state as of the last commit.
    pub fn state(&self) -> Arc<ManifestState> {
        self.state.load_full()
    }

    /// Why the manifest takes no more edits, if it does not.
    pub fn poison_reason(&self) -> Option<String> {
        self.writer.lock().latch.clone()
    }

    /// Goes on in a new file. The edits are durable already, so a failure that leaves `CURRENT` alone only means
    /// that the old file grows on.
    fn rewrite(&self, writer: &mut Writer, state: &ManifestState) {
        let number = writer.log.number + 1;
        match begin_file(&*self.vfs, &self.dir, number, state) {
            Ok(log) => {
                let old = std::mem::replace(&mut writer.log, log);
                writer.rewrite_at = 2 * writer.log.end + self.rewrite_bytes;
                // Best effort: the next opening removes what is left.
                let _ = self.vfs.remove(&old.path);
            }
            Err(ReplaceError::Before(error)) => {
                tracing::warn!(%error, "could not rewrite the manifest");
                writer.rewrite_at = 2 * writer.log.end;
            }
            Err(ReplaceError::Unknown(error)) => {
                writer.fail(error);
            }
        }
    }
}

impl FoundManifest {
    /// The state; empty where there is no manifest.
    pub fn state(&self) -> &ManifestState {
        &self.state
    }

    /// Opens it: rewrites it as a snapshot, which is rewritten when it has grown by `rewrite_bytes` and by its length.
    ///
    /// # Errors
    /// `DiskFull`, `Io`.
    pub fn open(self, rewrite_bytes: u64) -> Result<Manifest> {
        let Self { vfs, dir, used, state } = self;
        current::remove_leftover(&*vfs, &dir)?;
        let number = used + 1;
        let log = match begin_file(&*vfs, &dir, number, &state) {
            Ok(log) => log,
            Err(ReplaceError::Before(error) | ReplaceError::Unknown(error)) => return Err(error),
        };
        remove_others(&*vfs, &dir, number)?;
        let rewrite_at = 2 * log.end + rewrite_bytes;
        let writer = Mutex::new(Writer { log, rewrite_at, latch: None });
        Ok(Manifest { vfs, dir, rewrite_bytes, writer, state: ArcSwap::from_pointee(state) })
    }
}

impl Writer {
    fn fail(&mut self, error: Error) -> Error {
        let reason = format!("a manifest write failed: {error}");
        tracing::error!(%reason, "the manifest is closed for writing");
        self.latch.get_or_insert(reason);
        error
    }
}

/// Writes a file with a snapshot and makes `CURRENT` name it.
fn begin_file(
    vfs: &dyn Vfs,
    dir: &Path,
    number: u64,
    state: &ManifestState,
) -> std::result::Result<Log, ReplaceError> {
    let made = Log::create(vfs, dir, number, state)
        .map_err(ReplaceError::Before)
        .and_then(|log| current::replace(vfs, dir, number).map(|()| log));
    if let Err(ReplaceError::Before(_)) = &made {
        // Best effort: the next opening removes what is left.
        let _ = vfs.remove(&dir.join(current::file_name(number)));
    }
    made
}

/// The highest file number in use, 0 for none, and the state.
fn read(vfs: &dyn Vfs, dir: &Path) -> Result<(u64, ManifestState)> {
    if let Some(number) = current::read(vfs, dir)? {
        return Ok((number, log::load(vfs, dir, number)?));
    }
    let numbers = file_numbers(vfs, dir)?;
    // The first opening writes MANIFEST-000001, then CURRENT. It may have been interrupted between the two.
    let interrupted = match numbers.as_slice() {
        [] => true,
        [1] => match log::load(vfs, dir, 1) {
            Ok(state) => state == ManifestState::default(),
            Err(Error::Corrupt { .. }) => true,
            Err(error) => return Err(error),
        },
        _ => false,
    };
    if interrupted {
        return Ok((0, ManifestState::default()));
    }
    Err(Error::Corrupt {
        file: dir.display().to_string(),
        offset: 0,
        detail: "CURRENT is missing beside a manifest that has been in use".into(),
    })
}

fn file_numbers(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<u64>> {
    let names = vfs.read_dir(dir).map_err(|source| Error::io("read folder", dir, source))?;
    Ok(names.iter().filter_map(|name| current::parse_file_name(name.to_str()?)).collect())
}

fn remove_others(vfs: &dyn Vfs, dir: &Path, number: u64) -> Result<()> {
    for other in file_numbers(vfs, dir)?.into_iter().filter(|other| *other != number) {
        let path = dir.join(current::file_name(other));
        vfs.remove(&path).map_err(|source| Error::io("remove", &path, source))?;
    }
    Ok(())
}
