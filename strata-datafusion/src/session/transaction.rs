//! Where a session stands between BEGIN and COMMIT.
//!
//! ```text
//!  Idle ──statement──▶ Implicit ──Sync──▶ Idle
//!   │                     │BEGIN
//!   └──BEGIN──▶ Block ◀───┘      Block ──COMMIT, ROLLBACK──▶ Idle
//!                 │ error
//!                 ▼
//!               Failed ──COMMIT (which rolls back), ROLLBACK──▶ Idle
//!                 └──ROLLBACK TO a savepoint──▶ Block
//! ```
//!
//! Statements outside a block share an implicit transaction until Sync, or the end of a simple query.

use chrono::{DateTime, Utc};

use strata_core::Database;

use super::savepoint::Savepoint;
use super::storage::{EngineTransaction, Isolation};
use super::types::TransactionStatus;
use crate::error::{SqlError, SqlResult};

/// The state, with the storage transaction that belongs to it.
pub(crate) enum State {
    /// No transaction.
    Idle,
    /// A transaction that Sync ends.
    Implicit(Open),
    /// A transaction block.
    Block(Open),
    /// A transaction block after an error.
    Failed(Failed),
}

/// What is left of a failed block.
pub(crate) struct Failed {
    /// The transaction as it was at its last savepoint, if it has one.
    pub(crate) open: Option<Open>,
    /// The modes of the block, for AND CHAIN.
    pub(crate) modes: (Isolation, bool),
}

/// An open transaction.
pub(crate) struct Open {
    pub(crate) storage: EngineTransaction,
    pub(crate) isolation: Isolation,
    pub(crate) read_only: bool,
    /// What now() says.
    pub(crate) began: DateTime<Utc>,
    /// Whether a statement took a snapshot: the isolation level is fixed from then on.
    pub(crate) used: bool,
    /// The last one last.
    pub(crate) savepoints: Vec<Savepoint>,
}

impl Open {
    /// Begins a transaction.
    pub(crate) fn begin(database: &Database, isolation: Isolation, read_only: bool) -> SqlResult<Self> {
        Ok(Self {
            storage: EngineTransaction::begin(database, isolation)?,
            isolation,
            read_only,
            began: Utc::now(),
            used: false,
            savepoints: Vec::new(),
        })
    }

    /// Changes the modes, which is allowed before the first query only.
    pub(crate) fn set_modes(
        &mut self,
        database: &Database,
        isolation: Isolation,
        read_only: bool,
    ) -> SqlResult<()> {
        if self.used && isolation != self.isolation {
            return Err(SqlError::new(
                "25001",
                "SET TRANSACTION ISOLATION LEVEL must be called before any query",
            ));
        }
        if !self.savepoints.is_empty() && isolation != self.isolation {
            return Err(SqlError::new(
                "25001",
                "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction",
            ));
        }
        if !self.savepoints.is_empty() && self.read_only && !read_only {
            return Err(SqlError::new(
                "25001",
                "cannot set transaction read-write mode inside a read-only transaction",
            ));
        }
        if self.used && self.read_only && !read_only {
            return Err(SqlError::new("25001", "transaction read-write mode must be set before any query"));
        }
        if isolation != self.isolation {
            let fresh = EngineTransaction::begin(database, isolation)?;
            std::mem::replace(&mut self.storage, fresh).rollback();
        }
        self.isolation = isolation;
        self.read_only = read_only;
        Ok(())
    }
}

impl State {
    /// What ReadyForQuery says.
    pub(crate) fn status(&self) -> TransactionStatus {
        match self {
            Self::Idle | Self::Implicit(_) => TransactionStatus::Idle,
            Self::Block(_) => TransactionStatus::InTransaction,
            Self::Failed(_) => TransactionStatus::Failed,
        }
    }

    /// The open transaction.
    pub(crate) fn open(&mut self) -> Option<&mut Open> {
        match self {
            Self::Implicit(open) | Self::Block(open) => Some(open),
            Self::Idle | Self::Failed(_) => None,
        }
    }

    /// An error if the block failed.
    pub(crate) fn check(&self) -> SqlResult<()> {
        match self {
            Self::Failed(_) => Err(SqlError::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            _ => Ok(()),
        }
    }

    /// A failed block that has gone back to a savepoint is usable again.
    pub(crate) fn mend(&mut self) {
        *self = match self.take() {
            Self::Failed(Failed { open: Some(open), .. }) => Self::Block(open),
            other => other,
        };
    }

    /// Takes the state and leaves [`Idle`](Self::Idle).
    pub(crate) fn take(&mut self) -> State {
        std::mem::replace(self, State::Idle)
    }
}
