//! What can go wrong, and what the caller must do about it.

use std::io;
use std::path::PathBuf;

use crate::ids::{BlockId, IndexId, Lsn, TableId};

/// The result of an operation of the engine.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller must do: the variants of [`Error`] fall into these kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The statement was wrong or broke a constraint: mend it.
    Invalid,
    /// Another transaction was in the way: roll back and try again.
    Retry,
    /// Memory or disk ran short; nothing was done: free some, then try again.
    Resource,
    /// Bytes on disk are not what was written: that object is unreadable, others go on.
    Corrupt,
    /// The database can not go on writing: reopen it.
    Fatal,
    /// The caller's cancellation took effect.
    Cancelled,
}

/// An error of the storage engine.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A call to the file system failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried: "open", "read", "sync", …
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: std::sync::Arc<io::Error>,
    },
    /// Bytes of a file fail their checksum or their bounds.
    #[error("{file} is damaged at offset {offset}: {detail}")]
    Corrupt {
        /// The file's name.
        file: String,
        /// The byte offset of the damaged structure in it.
        offset: u64,
        /// What was expected and what was found.
        detail: String,
    },
    /// A block of the block store fails its checksum or its bounds.
    #[error("block {block} is damaged at byte {offset} of its extent: {detail}")]
    CorruptBlock {
        /// The block.
        block: BlockId,
        /// The byte offset in its extent.
        offset: u64,
        /// What was expected and what was found.
        detail: String,
    },
    /// A file or block of a kind or version that this program does not know.
    #[error(
        "{what} has format version {found}, and this program reads up to {supported}: a newer Strata wrote it. Open the \
         database with that version, or export its tables there and load them here"
    )]
    UnsupportedFormat {
        /// The kind of file or block.
        what: String,
        /// The version found.
        found: u32,
        /// The newest version known.
        supported: u32,
    },
    /// Another process has the database open.
    #[error("the database in {} is in use by another process", path.display())]
    InUse {
        /// The database's folder.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space left on the device for {what}")]
    DiskFull {
        /// What was to be written.
        what: &'static str,
    },
    /// The memory pool cannot give as much as was asked for.
    #[error("out of memory: {consumer} asked for {requested} bytes, {available} of {cap} are free")]
    OutOfMemory {
        /// Who asked.
        consumer: &'static str,
        /// Bytes asked for.
        requested: usize,
        /// Bytes that were free.
        available: usize,
        /// The pool's cap.
        cap: usize,
    },
    /// An earlier write failed after it had been journaled: outcomes are unknown until the database is reopened.
    #[error(
        "the database has stopped accepting writes since {reason}; reopen it to learn which commits are durable"
    )]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// The journal ends before what the manifest builds on.
    #[error(
        "{} is damaged at offset {offset}: the journal ends there, at position {end}, before position {needed} that the \
         manifest builds on", file.display()
    )]
    JournalTruncated {
        /// The file, or the folder where no file is left.
        file: PathBuf,
        /// Where in the file the journal ends.
        offset: u64,
        /// Where the journal ends.
        end: Lsn,
        /// What the manifest needs.
        needed: Lsn,
    },
    /// A unique key is there already.
    #[error("duplicate key value in index {index} of table {table}")]
    DuplicateKey {
        /// The table.
        table: TableId,
        /// The unique index.
        index: IndexId,
        /// The encoded key.
        key: Vec<u8>,
    },
    /// A concurrent transaction changed what this one wants to write.
    #[error("could not serialize access due to concurrent update")]
    SerializationFailure,
    /// What a SERIALIZABLE transaction read has changed before it could commit.
    #[error("could not serialize access due to read/write dependencies among transactions")]
    ReadConflict,
    /// Waiting would never end; this transaction was chosen to give way.
    #[error("deadlock detected")]
    Deadlock,
    /// A lock was not granted in time.
    #[error("canceling statement due to lock timeout")]
    LockTimeout,
    /// The caller cancelled the operation.
    #[error("canceling statement due to user request")]
    Cancelled,
    /// A row or value is larger than the engine stores.
    #[error("{what} of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A named object does not exist.
    #[error("{kind} \"{name}\" does not exist")]
    NotFound {
        /// "table", "schema", …
        kind: &'static str,
        /// The name as given.
        name: String,
    },
    /// A named object exists already.
    #[error("{kind} \"{name}\" already exists")]
    AlreadyExists {
        /// "table", "schema", …
        kind: &'static str,
        /// The name as given.
        name: String,
    },
    /// A NOT NULL column was given NULL.
    #[error("null value in column \"{column}\" violates not-null constraint")]
    NotNull {
        /// The column.
        column: String,
    },
    /// An argument that the engine cannot act on.
    #[error("{0}")]
    Invalid(String),
    /// A feature that the engine does not have.
    #[error("{0}")]
    Unsupported(String),
}

impl Error {
    /// An [`Error::Io`], or [`Error::DiskFull`] where the system says so.
    pub fn io(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::DiskFull { what: operation };
        }
        Self::Io { operation, path: path.into(), source: std::sync::Arc::new(source) }
    }

    /// What the caller must do about this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } | Self::Poisoned { .. } | Self::JournalTruncated { .. } | Self::InUse { .. } => {
                ErrorKind::Fatal
            }
            Self::Corrupt { .. } | Self::CorruptBlock { .. } | Self::UnsupportedFormat { .. } => {
                ErrorKind::Corrupt
            }
            Self::DiskFull { .. } | Self::OutOfMemory { .. } => ErrorKind::Resource,
            Self::SerializationFailure | Self::ReadConflict | Self::Deadlock | Self::LockTimeout => {
                ErrorKind::Retry
            }
            Self::Cancelled => ErrorKind::Cancelled,
            Self::DuplicateKey { .. }
            | Self::TooLarge { .. }
            | Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::NotNull { .. }
            | Self::Invalid(_)
            | Self::Unsupported(_) => ErrorKind::Invalid,
        }
    }
}
