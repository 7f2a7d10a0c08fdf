//! Clients that are wrong on purpose: what the engine would show if it had such a bug. The checker must name each.

use std::sync::Arc;

use parking_lot::Mutex;
use strata_core::row::Datum;
use strata_core::table::{Isolation, Locked, ReadView, TableView, Transaction};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::{Database, Result};

use super::client::find;
use super::history::{Key, Value};
use super::tables::Tables;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Statements read a snapshot that somebody took some statements ago.
    StaleSnapshot,
    /// Statements see what another transaction has written so far.
    DirtyRead,
    /// Statements do not see what their own transaction has written.
    ForgottenWrites,
    /// An append is computed from the snapshot and written over whatever is there by then.
    UnlockedWrite,
    /// A transaction commits what it has so far before it goes on.
    EarlyCommit,
    /// A rollback commits.
    CommittedRollback,
    /// Going back to a savepoint undoes nothing.
    ForgottenSavepoint,
}

/// A fault, and what the faulty clients of a run share.
pub struct Fault {
    kind: FaultKind,
    database: Database,
    isolation: Isolation,
    view: Arc<Mutex<Option<ReadView>>>,
}

impl Fault {
    /// A fault of clients of this database, whose transactions are of this level.
    pub fn new(kind: FaultKind, database: &Database, isolation: Isolation) -> Self {
        Self { kind, database: database.clone(), isolation, view: Arc::default() }
    }

    /// Goes before each statement.
    pub(super) fn before_statement(&self, transaction: &mut Transaction, in_savepoint: bool) -> Result<()> {
        if self.kind == FaultKind::EarlyCommit && !in_savepoint && !transaction.is_read_only() {
            let next = self.database.begin(self.isolation)?;
            std::mem::replace(transaction, next).commit()?.wait()?;
        }
        Ok(())
    }

    /// What a reading statement reads.
    pub(super) fn read_view(&self, transaction: &Transaction) -> ReadView {
        match self.kind {
            // A view that shows own writes would be another's dirty read.
            FaultKind::StaleSnapshot if transaction.is_read_only() => {
                self.view.lock().replace(self.database.view()).unwrap_or_else(|| transaction.view())
            }
            FaultKind::DirtyRead if transaction.is_read_only() => {
                self.view.lock().take().unwrap_or_else(|| transaction.view())
            }
            FaultKind::DirtyRead => {
                *self.view.lock() = Some(transaction.view());
                transaction.view()
            }
            FaultKind::ForgottenWrites => self.database.view(),
            _ => transaction.view(),
        }
    }

    /// Whether going back to a savepoint does nothing.
    pub(super) fn forgets_savepoints(&self) -> bool {
        self.kind == FaultKind::ForgottenSavepoint
    }

    /// Appends in a transaction of its own, over whatever is there, what follows from `values`. `None` where the fault is
    /// another, or the list is not there for others.
    pub(super) fn write_through_another(
        &self,
        view: &TableView,
        key: Key,
        values: &[Value],
        value: Value,
    ) -> Option<Result<()>> {
        if self.kind != FaultKind::UnlockedWrite {
            return None;
        }
        let list = [values, &[value]].concat();
        self.overwrite(view, key, &Tables::list(key, &list)).transpose()
    }

    fn overwrite(&self, view: &TableView, key: Key, row: &[Datum]) -> Result<Option<()>> {
        let transaction = self.database.begin(Isolation::ReadCommitted)?;
        block_on(transaction.lock_table(view.def().id, TableLockMode::RowExclusive))?;
        let newest = transaction.view().table(view.def().id)?;
        let Some(found) = find(&newest, key)? else { return Ok(None) };
        let found = match block_on(transaction.lock_row(&newest, found, RowLockMode::Update))? {
            Locked::Current => found,
            Locked::Moved(moved) => moved,
            Locked::Gone => return Ok(None),
        };
        let newest = transaction.view().table(view.def().id)?;
        block_on(transaction.update(&newest, found, row))?;
        transaction.commit()?.wait()?;
        Ok(Some(()))
    }

    /// Ends a transaction that is to be rolled back.
    pub(super) fn roll_back(&self, transaction: Transaction) -> Result<()> {
        if self.kind == FaultKind::CommittedRollback {
            return transaction.commit()?.wait().map(drop);
        }
        transaction.rollback();
        Ok(())
    }
}
