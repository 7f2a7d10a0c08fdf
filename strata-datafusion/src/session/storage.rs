//! What a session asks of the storage engine: transactions, and the relations that a statement sees.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::logical_expr::TableSource;
use datafusion::prelude::SessionConfig;

use crate::error::SqlResult;
use crate::sql::names::RelationName;

/// The isolation levels there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement has a new snapshot.
    ReadCommitted,
    /// One snapshot for the transaction.
    RepeatableRead,
}

impl Isolation {
    /// As SHOW prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
        }
    }
}

/// Where transactions come from.
pub trait Storage: Send + Sync + 'static {
    /// Begins a transaction. Does no I/O and takes no snapshot.
    fn begin(&self, isolation: Isolation, read_only: bool) -> SqlResult<Box<dyn StorageTransaction>>;
}

/// A transaction of the storage engine.
#[async_trait]
pub trait StorageTransaction: Send {
    /// Starts a statement: under READ COMMITTED its snapshot is taken here. What is returned stays bound to that
    /// snapshot and to what the transaction wrote before this statement.
    fn start_statement(&mut self) -> SqlResult<Arc<dyn Relations>>;

    /// Commits, and waits until that is durable.
    async fn commit(self: Box<Self>) -> SqlResult<()>;

    /// Forgets all that the transaction did.
    fn rollback(self: Box<Self>);
}

/// The relations that one statement sees.
pub trait Relations: Send + Sync {
    /// The table or view of this name, if there is one. The schema is always given.
    fn relation(&self, name: &RelationName) -> SqlResult<Option<Arc<dyn TableSource>>>;

    /// Whether a schema of this name exists.
    fn schema_exists(&self, schema: &str) -> SqlResult<bool>;

    /// Changes whenever a plan made before may no longer hold.
    fn version(&self) -> u64;

    /// Adds what scans need to know (snapshot, write set, position) to the statement's configuration.
    fn configure(&self, config: SessionConfig) -> SessionConfig;
}

/// A storage engine without relations: expressions and table functions are all that there is to query.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRelations;

impl Storage for NoRelations {
    fn begin(&self, _isolation: Isolation, _read_only: bool) -> SqlResult<Box<dyn StorageTransaction>> {
        Ok(Box::new(Self))
    }
}

#[async_trait]
impl StorageTransaction for NoRelations {
    fn start_statement(&mut self) -> SqlResult<Arc<dyn Relations>> {
        Ok(Arc::new(Self))
    }

    async fn commit(self: Box<Self>) -> SqlResult<()> {
        Ok(())
    }

    fn rollback(self: Box<Self>) {}
}

impl Relations for NoRelations {
    fn relation(&self, _name: &RelationName) -> SqlResult<Option<Arc<dyn TableSource>>> {
        Ok(None)
    }

    fn schema_exists(&self, schema: &str) -> SqlResult<bool> {
        Ok(schema == "public")
    }

    fn version(&self) -> u64 {
        0
    }

    fn configure(&self, config: SessionConfig) -> SessionConfig {
        config
    }
}
