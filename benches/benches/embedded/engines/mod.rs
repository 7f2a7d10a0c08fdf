//! The engines, each used as its documentation asks for speed with full durability.

pub mod fjall;
pub mod redb;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
pub mod sqlite;
pub mod strata;

use std::path::Path;

use crate::row::Row;

/// What engines fail with.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// The result of an engine's work.
pub type Outcome<T> = Result<T, Failure>;

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Strata,
    Fjall,
    Redb,
    Sqlite,
    #[cfg(feature = "rocksdb")]
    Rocksdb,
}

impl Kind {
    /// All that are built in.
    pub const ALL: &[Self] = &[
        Self::Strata,
        Self::Fjall,
        Self::Redb,
        Self::Sqlite,
        #[cfg(feature = "rocksdb")]
        Self::Rocksdb,
    ];

    /// As the report calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strata => "Strata",
            Self::Fjall => "fjall",
            Self::Redb => "redb",
            Self::Sqlite => "SQLite",
            #[cfg(feature = "rocksdb")]
            Self::Rocksdb => "RocksDB",
        }
    }

    /// Opens or makes a database in `dir`.
    pub fn open(self, dir: &Path, memory_bytes: usize) -> Outcome<Box<dyn Engine>> {
        Ok(match self {
            Self::Strata => Box::new(strata::Strata::open(dir, memory_bytes)?),
            Self::Fjall => Box::new(fjall::Fjall::open(dir, memory_bytes)?),
            Self::Redb => Box::new(redb::Redb::open(dir, memory_bytes)?),
            Self::Sqlite => Box::new(sqlite::Sqlite::open(dir, memory_bytes)?),
            #[cfg(feature = "rocksdb")]
            Self::Rocksdb => Box::new(rocksdb::Rocks::open(dir, memory_bytes)?),
        })
    }
}

/// An open database with one table of [`Row`]s.
pub trait Engine: Sync {
    /// Fills the empty table in key order, by the fastest way there is. Durable when it returns.
    fn load(&self, rows: &mut dyn Iterator<Item = Row>) -> Outcome<()>;

    /// Brings storage into the form that time would: compaction, VACUUM.
    fn settle(&self) -> Outcome<()>;

    /// A handle for one thread.
    fn client(&self) -> Outcome<Box<dyn Client + '_>>;

    /// The sums of price and quantity over all rows, by a full scan.
    fn sums(&self) -> Outcome<(i64, i64)>;

    /// Cache hits and misses so far, where the engine tells.
    fn cache(&self) -> Option<(u64, u64)> {
        None
    }
}

/// One thread's handle.
pub trait Client {
    /// The row of a key.
    fn get(&mut self, id: i64) -> Outcome<Option<Row>>;

    /// The prices of up to `count` rows from a key on, added up, and how many there were.
    fn range(&mut self, from: i64, count: usize) -> Outcome<(i64, usize)>;

    /// Adds rows. Durable when it returns.
    fn insert(&mut self, rows: &[Row]) -> Outcome<()>;

    /// Replaces rows that are there. Durable when it returns.
    fn update(&mut self, rows: &[Row]) -> Outcome<()>;
}
