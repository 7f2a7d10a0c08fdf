//! Opening, closing, and the handles of a database.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::{BlockKind, BlockStore, FileBlockStore};
use crate::cache::{CacheOptions, PageCache};
use crate::catalog::system::{SystemTable, heap_of_new_table, heap_of_table};
use crate::catalog::{Catalog, CatalogStore, read_catalog};
use crate::error::{Error, Result};
use crate::heap::{Heap, HeapEnv};
use crate::ids::{BlockId, HeapId, LoadId, Lsn, Timestamp};
use crate::journal::{Journal, JournalOptions};
use crate::lsm::IndexTree;
use crate::maintenance::{Maintainer, MaintenanceMode, MaintenanceOptions, MaintenanceThread, Step};
use crate::manifest::{Manifest, ManifestState};
use crate::memory::MemoryPool;
use crate::sizes::Sizes;
use crate::table::{BulkSizes, Isolation, ReadView, Shared, Transaction};
use crate::txn::record;
use crate::txn::recovery::{Known, Replayed, replay};
use crate::txn::{HeapSet, Loads, Store, StoreParts};
use crate::vfs::{MemVfs, OsVfs, Vfs, make_dir};

/// So many segments fit into memory, at least.
const SEGMENTS_OF_MEMORY: u64 = 32;
/// However small the memory, segments are not smaller for it.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cap of the process: page cache, memtables, write sets, and whoever else draws on
    /// [`Database::pool`]. In bytes.
    pub memory_bytes: usize,
    /// Who runs maintenance.
    pub maintenance: MaintenanceMode,
    /// When maintenance is due; `None` derives it from the memory.
    pub thresholds: Option<MaintenanceOptions>,
    /// Whether commits are synced by a thread of their own (the default), or by [`Database::sync`] only.
    pub sync_thread: bool,
    /// When storage takes its next form: for tests and simulations.
    pub sizes: Sizes,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            maintenance: MaintenanceMode::Background,
            thresholds: None,
            sync_thread: true,
            sizes: Sizes::default(),
        }
    }
}

/// An open database. Cheap to clone; closed when the last clone and transaction is gone.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    // Declaration order is drop order: maintenance stops before the journal does.
    _thread: Option<MaintenanceThread>,
    maintainer: Arc<Maintainer>,
    shared: Arc<Shared>,
    replayed: Replayed,
    path: Option<PathBuf>,
}

impl Database {
    /// Opens the database in a folder, made if it is not there.
    ///
    /// # Errors
    /// `InUse` where another process has it; `Corrupt`, `JournalTruncated`, `UnsupportedFormat` where the files cannot
    /// be trusted; `Io`.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = path.as_ref();
        Self::open_on(Arc::new(OsVfs::new()), path, Some(path.to_owned()), options)
    }

    /// A database in memory, gone with its last handle.
    pub fn in_memory(options: Options) -> Result<Self> {
        Self::open_on(Arc::new(MemVfs::new()), Path::new("/strata"), None, options)
    }

    /// Opens the database in a folder of any file system.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_vfs(vfs: Arc<dyn Vfs>, path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::open_on(vfs, path.as_ref(), Some(path.as_ref().to_owned()), options)
    }

    fn open_on(vfs: Arc<dyn Vfs>, dir: &Path, path: Option<PathBuf>, options: Options) -> Result<Self> {
        make_dir(&*vfs, dir)?;
        let lock_path = dir.join("LOCK");
        let lock = vfs.try_lock(&lock_path).map_err(|source| Error::io("lock", &lock_path, source))?;
        let lock = lock.ok_or_else(|| Error::InUse { path: dir.to_owned() })?;
        let pool = MemoryPool::new(options.memory_bytes);
        // Nothing is written before all that a newer version may have written has been looked at.
        let found = Manifest::find(vfs.clone(), &dir.join("manifest"))?;
        let state = found.state();
        let blocks = FileBlockStore::open(vfs.as_ref(), dir, options.sizes.blocks)?;
        for block in state.blocks() {
            blocks.adopt(block)?;
        }
        let blocks: Arc<dyn BlockStore> = Arc::new(blocks);
        let cache = PageCache::new(blocks.clone(), pool.clone(), CacheOptions::default());
        let env = HeapEnv { cache: cache.clone(), pool: pool.clone() };
        // To freeze a segment takes several times its bytes: they must be there.
        let most = (options.memory_bytes as u64 / SEGMENTS_OF_MEMORY).max(SEGMENT_BYTES_MIN);
        let segment_bytes = options.sizes.segment_bytes.min(most);
        let heaps = HeapSet::new(env.clone(), segment_bytes);
        for (id, heap) in &state.heaps {
            heaps.insert(Heap::open(*id, env.clone(), heap)?);
        }
        for table in SystemTable::ALL {
            heaps.get_or_create(table.heap());
        }
        let mut index = options.sizes.index.clone();
        index.table.limit_to(pool.cap());
        let next_sequence = state.counters.next_sstable_sequence;
        let tree = IndexTree::open(cache.clone(), &state.sstables, next_sequence, index)?;
        let (journal, records) = Journal::open(
            vfs,
            &dir.join("journal"),
            state.journal_start,
            state.journal_lsn,
            JournalOptions {
                segment_bytes: options.sizes.journal_file_bytes,
                pool: Some(pool.clone()),
                newest_format: Some(record::FORMAT),
                ..JournalOptions::default()
            },
        )?;
        let manifest = found.open(options.sizes.manifest_growth_bytes)?;
        let state = manifest.state();
        let last_commit = state.counters.last_commit;
        let store = Store::new(StoreParts { pool, cache, heaps, tree, journal, manifest, last_commit });
        let known = Known {
            index_flushed: state.index_flushed,
            loads: &KnownLoads(&state),
            tables: SystemTable::Tables.heap(),
            heap_of_table,
            heap_of_new_table,
        };
        let replayed = replay(&store, records, &known)?;
        blocks.finish_recovery()?;
        let catalog = load_catalog(&store)?;
        let next_load =
            LoadId::new(state.counters.next_load.max(replayed.last_load.map_or(0, |load| load.get() + 1)));
        let Sizes { bulk_rows: rows, beside_bytes, encode_threads, own_rows, .. } = options.sizes;
        let bulk = BulkSizes { rows, segment_bytes, beside_bytes, encode_threads, own_rows };
        let shared = Arc::new(Shared::new(store, CatalogStore::new(catalog), next_load, bulk, lock));
        if options.sync_thread {
            let publisher = shared.store.publisher().clone();
            shared
                .store
                .journal
                .start_sync_thread(Arc::new(move |durable: Result<Lsn>| publisher.on_durable(durable)));
        }
        let thresholds = options
            .thresholds
            .clone()
            .unwrap_or_else(|| MaintenanceOptions::for_memory(options.memory_bytes));
        let maintainer = Arc::new(Maintainer::new(shared.clone(), thresholds));
        let thread = match options.maintenance {
            MaintenanceMode::Manual => None,
            MaintenanceMode::Background => Some(
                MaintenanceThread::start(maintainer.clone())
                    .map_err(|source| Error::io("start a thread for", dir, source))?,
            ),
        };
        let inner = Inner { _thread: thread, maintainer, shared, replayed, path };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn begin(&self, isolation: Isolation) -> Result<Transaction> {
        Transaction::begin(self.inner.shared.clone(), isolation)
    }

    /// What is published now.
    pub fn view(&self) -> ReadView {
        self.inner.shared.view()
    }

    /// The catalog of the last commit.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.view().catalog().clone()
    }

    /// The last commit that new snapshots see.
    pub fn last_commit(&self) -> Timestamp {
        self.inner.shared.store.snapshots.published()
    }

    /// The cap of the process, for whoever else must stay under it.
    pub fn pool(&self) -> &MemoryPool {
        &self.inner.shared.store.pool
    }

    /// Does one step of maintenance that is due: for [`MaintenanceMode::Manual`].
    ///
    /// # Errors
    /// See [`Maintainer::step`].
    pub fn maintain(&self) -> Result<Step> {
        self.inner.maintainer.step()
    }

    /// Does all maintenance there is to do: VACUUM.
    ///
    /// # Errors
    /// See [`Maintainer::step`].
    pub fn vacuum(&self) -> Result<()> {
        self.inner.maintainer.run_to_end()
    }

    /// Makes everything committed so far part of the manifest.
    ///
    /// # Errors
    /// See [`Maintainer::step`].
    pub fn checkpoint(&self) -> Result<()> {
        self.inner.maintainer.checkpoint()
    }

    /// Syncs the journal and publishes what is durable: for databases opened without a sync thread.
    ///
    /// # Errors
    /// `Io`, after which the database is poisoned.
    pub fn sync(&self) -> Result<()> {
        let durable = self.inner.shared.store.journal.flush();
        self.inner.shared.store.publisher().on_durable(durable.clone());
        durable.map(|_| ())
    }

    /// How many journal records opening had to replay.
    pub fn replayed_records(&self) -> u64 {
        self.inner.replayed.records
    }

    /// The folder, unless it is in memory.
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn maintainer(&self) -> &Maintainer {
        &self.inner.maintainer
    }

    pub(crate) fn pause_maintenance(&self) -> crate::maintenance::Pause<'_> {
        self.inner.maintainer.pause()
    }

    pub(crate) fn manifest_state(&self) -> Arc<ManifestState> {
        self.inner.shared.store.manifest.state()
    }

    /// The blocks that the journal names and the manifest does not yet: those of bulk loads, and of their keys.
    pub(crate) fn pending_blocks(&self) -> Vec<(BlockId, BlockKind)> {
        let store = &self.inner.shared.store;
        let (loads, version) =
            store.with_section(|section| (section.pending_loads.clone(), store.tree.version()));
        let state = store.manifest.state();
        let known: HashSet<BlockId> = state.sstables.iter().map(|table| table.block).collect();
        let tables =
            version.metas().into_iter().map(|table| table.block).filter(|block| !known.contains(block));
        let columns = loads.iter().flat_map(|load| &load.blocks).map(|(_, block, _)| *block);
        tables
            .map(|block| (block, BlockKind::SsTable))
            .chain(columns.map(|block| (block, BlockKind::ColumnBlock)))
            .collect()
    }

    pub(crate) fn block_store(&self) -> &Arc<dyn BlockStore> {
        self.inner.shared.store.cache.store()
    }

    /// Figures about storage and memory.
    pub fn stats(&self) -> DatabaseStats {
        let store = &self.inner.shared.store;
        DatabaseStats {
            cache: store.cache.stats(),
            memory_used_bytes: store.pool.used(),
            memory_cap_bytes: store.pool.cap(),
            blocks_used_bytes: store.cache.store().used_bytes(),
            blocks_total_bytes: store.cache.store().total_bytes(),
            journal_bytes: store.journal.end().get() - store.manifest.state().journal_start.get(),
            memtable_bytes: store.tree.memtable_bytes(),
            index_steps: store.tree.steps(),
            moves: self.inner.maintainer.moves(),
            last_commit: store.snapshots.published(),
            snapshots: store.snapshots.live_count(),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self._thread = None;
        // A clean close leaves nothing to replay; a failure here costs only time at the next open.
        if self.shared.store.check_writable().is_ok()
            && let Err(error) = self.maintainer.close()
        {
            tracing::warn!(%error, "the closing checkpoint failed");
        }
    }
}

/// Figures about one database, as [`Database::stats`] gives them.
#[derive(Clone, Debug)]
pub struct DatabaseStats {
    /// The page cache.
    pub cache: crate::cache::CacheStats,
    /// Bytes that all consumers of the pool hold.
    pub memory_used_bytes: usize,
    /// The pool's cap.
    pub memory_cap_bytes: usize,
    /// Bytes of blocks in use.
    pub blocks_used_bytes: u64,
    /// Bytes of the block file, free extents included.
    pub blocks_total_bytes: u64,
    /// Journal bytes that opening would replay.
    pub journal_bytes: u64,
    /// Bytes of memtables.
    pub memtable_bytes: usize,
    /// Index entries that scans have stepped over since opening.
    pub index_steps: u64,
    /// Commits of maintenance, which move rows out of nearly empty segments, since opening.
    pub moves: u64,
    /// The last published commit.
    pub last_commit: Timestamp,
    /// Commits that somebody reads as of.
    pub snapshots: usize,
}

#[derive(Debug)]
struct KnownLoads<'a>(&'a ManifestState);

impl Loads for KnownLoads<'_> {
    fn has(&self, load: LoadId) -> bool {
        self.0.loads.contains_key(&load)
    }

    fn has_heap(&self, heap: HeapId) -> bool {
        self.0.heaps.contains_key(&heap)
    }
}

fn load_catalog(store: &Store) -> Result<Catalog> {
    let heaps: Vec<_> =
        SystemTable::ALL.iter().map(|table| (*table, store.heaps.get_or_create(table.heap()))).collect();
    let heaps = heaps.iter().map(|(table, heap)| (*table, heap.as_ref()));
    read_catalog(heaps, store.snapshots.published())
}

#[cfg(test)]
mod tests;
