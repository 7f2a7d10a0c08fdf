//! A full disk: statements fail with 53100, the server goes on, and nothing that was acknowledged is lost.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use strata_core::vfs::{File, Lock, MemVfs, OpenMode, Random, SeededRandom, Vfs};
use strata_core::{Database, Options};
use strata_datafusion::session::{Engine, EngineOptions};
use strata_server::ServerOptions;
use tokio_postgres::{Client, Error};

use crate::client::TestServer;
use crate::copy::copy_in;

/// A file system whose files may only be so long in sum. As on a disk, what has room already can be written over.
#[derive(Clone, Debug)]
struct SmallDisk {
    inner: MemVfs,
    capacity: Arc<AtomicU64>,
    used: Arc<AtomicU64>,
}

impl SmallDisk {
    /// A disk with room, which counts what is there already as a terabyte.
    fn over(inner: MemVfs) -> Self {
        let (used, capacity) = (AtomicU64::new(1 << 40), AtomicU64::new(1 << 41));
        Self { inner, capacity: Arc::new(capacity), used: Arc::new(used) }
    }

    /// From now on it takes so much more.
    fn leave(&self, bytes: u64) {
        self.capacity.store(self.used.load(Ordering::SeqCst) + bytes, Ordering::SeqCst);
    }

    /// Room for a file that is `from` long to be `to` long.
    fn resize(&self, from: u64, to: u64) -> io::Result<()> {
        if to <= from {
            self.used.fetch_sub(from - to, Ordering::SeqCst);
            return Ok(());
        }
        let taken = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
            let used = used + (to - from);
            (used <= self.capacity.load(Ordering::SeqCst)).then_some(used)
        });
        taken.map(|_| ()).map_err(|_| io::ErrorKind::StorageFull.into())
    }
}

impl Vfs for SmallDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.inner.open(path, mode)?;
        Ok(Arc::new(SmallFile { disk: self.clone(), file, growing: Mutex::default() }))
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
        let length = self.inner.open(path, OpenMode::Read)?.len()?;
        self.inner.remove(path)?;
        self.resize(length, 0)
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

#[derive(Debug)]
struct SmallFile {
    disk: SmallDisk,
    file: Arc<dyn File>,
    /// Held from the look at the length to its change.
    growing: Mutex<()>,
}

impl File for SmallFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let _growing = self.growing.lock().expect("nobody panics");
        let length = self.file.len()?;
        self.disk.resize(length, length.max(offset + data.len() as u64))?;
        self.file.write_at(offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _growing = self.growing.lock().expect("nobody panics");
        self.disk.resize(self.file.len()?, len)?;
        self.file.set_len(len)
    }

    fn punch_hole(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn open(vfs: Arc<dyn Vfs>) -> Arc<Engine> {
    let options = Options { memory_bytes: 256 << 20, ..Options::default() };
    let database = Database::open_with_vfs(vfs, "/db", options).expect("opens");
    Engine::new(database, EngineOptions::default()).expect("an engine")
}

fn code(error: &Error) -> &str {
    error.as_db_error().unwrap_or_else(|| panic!("the connection broke: {error}")).code().code()
}

async fn insert(client: &Client, id: i32) -> Result<(), Error> {
    client.batch_execute(&format!("insert into t values ({id}, repeat('{id} ', 20000))")).await
}

/// Inserts rows until one is refused. The journal has some room ahead; and what the commit before has reserved of it may not
/// be given back yet when the next one asks, so that a full disk may have room for one more a moment later.
async fn fill(client: &Client, rows: &mut i32) {
    let refused = loop {
        match insert(client, *rows + 1).await {
            Ok(()) => *rows += 1,
            Err(error) => break error,
        }
        assert!(*rows < 2000, "a full disk goes unnoticed");
    };
    assert_eq!(code(&refused), "53100", "{refused:?}");
}

/// What the table holds: as many rows as were acknowledged, each whole.
async fn assert_holds(client: &Client, rows: i32) {
    let sql = "select count(*), max(id), count(*) filter (where length(body) >= 40000) from t";
    let row = client.query_one(sql, &[]).await.expect("reads");
    let count = i64::from(rows);
    assert_eq!((row.get(0), row.get(1), row.get(2)), (count, Some(rows), count));
}

#[test]
fn statements_fail_and_the_server_goes_on() {
    let disk = SmallDisk::over(MemVfs::new());
    let server = TestServer::of(open(Arc::new(disk.clone())), ServerOptions::default());
    let rows = server.runtime.block_on(async {
        let (client, other) = (server.client().await, server.client().await);
        client.batch_execute("create table t (id int primary key, body text)").await.expect("creates");
        let mut rows = 0;
        for _ in 0..20 {
            insert(&client, rows + 1).await.expect("inserts");
            rows += 1;
        }
        disk.leave(3 << 20);
        fill(&client, &mut rows).await;
        assert_holds(&client, rows).await;
        assert_holds(&other, rows).await;
        // Text that no encoding makes short.
        let random = SeededRandom::new(7);
        let noise = || (0..20).map(|_| format!("{:x}", random.below(u64::MAX))).collect::<String>();
        let lines = (0..40_000).map(|row| format!("{}\t{}\n", 10_000 + row, noise())).collect();
        let error = copy_in(&other, "copy t from stdin", vec![lines]).await.expect_err("no room for that");
        assert_eq!(code(&error), "53100", "{error:?}");
        fill(&client, &mut rows).await;
        assert_holds(&client, rows).await;
        disk.leave(512 << 20);
        insert(&client, rows + 1).await.expect("there is room again");
        insert(&other, rows + 2).await.expect("for others too");
        rows += 2;
        other.batch_execute("vacuum").await.expect("vacuums");
        assert_holds(&other, rows).await;
        rows
    });
    reopened(&SmallDisk::over(disk.inner.crash_clone(&SeededRandom::new(1))), rows);
    server.stop();
    reopened(&disk, rows);
}

/// Nothing that was acknowledged is lost.
fn reopened(disk: &SmallDisk, rows: i32) {
    let server = TestServer::of(open(Arc::new(disk.clone())), ServerOptions::default());
    server.runtime.block_on(async { assert_holds(&server.client().await, rows).await });
    server.stop();
}
