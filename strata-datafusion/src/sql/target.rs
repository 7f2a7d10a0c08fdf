//! Locking the table that a statement is planned for.
//!
//! A plan is made before its table is locked, which may be another one by then. So a statement is planned again, until what it is
//! planned for is the table as it is locked.
//!
//! **Above READ COMMITTED** each plan is made with the catalog of the transaction's snapshot, so that no further one would fit a table
//! that was altered after it. To go on with the old definition would leave new row versions out of new indexes: the statement
//! fails as one whose rows were changed after the snapshot does. Postgres, whose catalogs are of no snapshot, goes on with the
//! new definition.

use strata_core::Error;
use strata_core::catalog::TableDef;
use strata_core::table::Isolation;
use strata_core::txn::TableLockMode;

use crate::error::{SqlError, SqlResult};
use crate::session::Session;
use crate::session::run::Limits;

/// What a statement does to its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetUse {
    /// Its new row versions are those of the newest definition, and stand in all indexes.
    Write,
    /// It locks rows, and writes none: an index may be made at any time beside it.
    LockRows,
}

impl TargetUse {
    fn lock_mode(self) -> TableLockMode {
        match self {
            Self::Write => TableLockMode::RowExclusive,
            Self::LockRows => TableLockMode::RowShare,
        }
    }

    /// What the statement is called where a read-only transaction refuses it.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Write => "this statement",
            Self::LockRows => "SELECT FOR UPDATE",
        }
    }

    /// Whether a plan for one definition of a table does for another.
    fn fits(self, planned: &TableDef, newest: &TableDef) -> bool {
        let but_for_indexes = || TableDef { indexes: newest.indexes.clone(), ..planned.clone() } == *newest;
        *planned == *newest || (self == Self::LockRows && but_for_indexes())
    }
}

/// Locks the table that a statement was planned for; `false` where it is to be planned again: the table is another one, or
/// was waited for, and a new snapshot shows what for.
pub(crate) async fn lock_planned(
    session: &mut Session,
    planned: &TableDef,
    usage: TargetUse,
    limits: &Limits,
) -> SqlResult<bool> {
    let txn = session.write_transaction(usage.command())?;
    let ticket = txn.lock_table(planned.id, usage.lock_mode());
    let waited = !ticket.is_granted();
    limits.race(ticket).await??;
    let newest = match txn.newest_table(planned.id) {
        Err(Error::NotFound { .. }) => {
            let message = format!("relation \"{}\" does not exist", planned.name);
            return Err(SqlError::new("42P01", message));
        }
        newest => newest?,
    };
    if usage.fits(planned, &newest) {
        return Ok(!waited);
    }
    if txn.isolation() != Isolation::ReadCommitted {
        let detail = format!("Table \"{}\" was altered after the transaction's snapshot.", planned.name);
        return Err(SqlError::from(Error::SerializationFailure).with_detail(detail));
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
