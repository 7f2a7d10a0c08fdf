//! Bulk loads that commit while maintenance is at work.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::common::*;
use strata_core::ids::TableId;
use strata_core::table::Isolation;
use strata_core::txn::block_on;
use strata_core::vfs::{File, Lock, MemVfs, OpenMode, Vfs};
use strata_core::{Database, Options, Sizes};

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// Files in memory that run something once, before the next write to the blocks.
#[derive(Debug)]
struct HookedVfs {
    inner: MemVfs,
    hook: Hooked,
}

#[derive(Clone, Default)]
struct Hooked(Hook);

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

#[derive(Debug)]
struct HookedFile {
    inner: Arc<dyn File>,
    hook: Hooked,
}

impl Vfs for HookedVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.open(path, mode)?;
        let is_blocks = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("blocks"));
        let hook = if is_blocks { self.hook.clone() } else { Hooked::default() };
        Ok(Arc::new(HookedFile { inner, hook }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.inner.try_lock(path)
    }
}

impl File for HookedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let hook = self.hook.0.lock().expect("not poisoned").take();
        if let Some(run) = hook {
            run();
        }
        self.inner.write_at(offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.punch_hole(offset, len)
    }
}

/// The checkpoint of a VACUUM met the rows of a load that it had not counted, and named their block. A rewrite then freed
/// it, and the next checkpoint named the freed block once more.
#[test]
fn a_load_that_commits_during_a_checkpoint_is_named_once() {
    let hook = Hooked::default();
    let vfs: Arc<dyn Vfs> = Arc::new(HookedVfs { inner: MemVfs::new(), hook: hook.clone() });
    let sizes = Sizes { bulk_rows: 16, ..Sizes::default() };
    let db = Database::open_with_vfs(vfs, Path::new(DIR), Options { sizes, ..manual() }).expect("opens");
    let (other, table) = (create_accounts(&db, "other"), create_accounts(&db, "accounts"));
    insert(&db, other, &[account(1, 0), account(2, 0)]).expect("inserts");
    db.checkpoint().expect("writes");
    // The next block that is written is that of this mark, before the checkpoint comes to the other table.
    delete(&db, other, 0..2);

    let loader = db.clone();
    *hook.0.lock().expect("not poisoned") = Some(Box::new(move || {
        let txn = loader.begin(Isolation::ReadCommitted).expect("begins");
        let mut load = block_on(txn.bulk_load(table)).expect("locked");
        load.append(&batch(0..64)).expect("fits");
        block_on(load.finish()).expect("written");
        txn.commit().expect("commits").wait().expect("durable");
        delete(&loader, table, 0..48);
        insert(&loader, table, &[account(1_000, 0)]).expect("begins another segment");
    }));
    db.vacuum().expect("reclaims");
    assert!(hook.0.lock().expect("not poisoned").is_none(), "the load came in between");
    for id in 2_000..2_010 {
        insert(&db, table, &[account(id, 0)]).expect("inserts");
        db.checkpoint().expect("writes");
    }
    assert_clean(&db);
    let expected: Vec<i64> = (48..64).chain([1_000]).chain(2_000..2_010).collect();
    let found: Vec<i64> = scan(&db, table).into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, expected);
}

/// Deletes those of these accounts that are there.
fn delete(db: &Database, table: TableId, ids: std::ops::Range<i64>) {
    let txn = writer(db, table);
    for id in ids {
        let Some((row, _)) = find(&txn, db, table, id) else { continue };
        let view = txn.view().table(table).expect("is there");
        txn.delete(&view, row).expect("deletes");
    }
    txn.commit().expect("commits").wait().expect("durable");
}

/// The rows have no RowIds yet that the index could name: it would find none of them.
#[test]
fn an_index_after_a_load_of_its_transaction_is_refused() {
    let db = Database::in_memory(manual()).expect("opens");
    let table = create_accounts(&db, "accounts");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(async {
        let mut load = txn.bulk_load(table).await.expect("locked");
        load.append(&batch(0..20_000)).expect("fits");
        load.finish().await.expect("loads");
    });
    let mut by_balance = primary_key("by_balance");
    by_balance.columns[0].column = strata_core::ids::ColumnId::new(1);
    (by_balance.primary, by_balance.unique, by_balance.constraint) = (false, false, false);
    let refused = block_on(txn.create_index(table, by_balance));
    assert!(matches!(refused, Err(strata_core::Error::Unsupported(_))), "{refused:?}");
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table).len(), 20_000);
    assert_clean(&db);
}
