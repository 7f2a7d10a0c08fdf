//! One more commit, by somebody who is alone: it must be made.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use strata_core::row::Datum;
use strata_core::table::Isolation;
use strata_core::txn::TableLockMode;
use strata_core::{Database, Error};

use super::model::Write;
use super::schema;

/// Inserts a row that nobody else has, and commits; what was written, unless there is no table.
///
/// # Errors
/// In words: where it is refused, and where it has to wait.
pub(super) fn one_more_row(database: &Database, tag: i64) -> Result<Option<Write>, String> {
    let about = |error: Error| format!("one more commit: {error}");
    let txn = database.begin(Isolation::ReadCommitted).map_err(about)?;
    let catalog = txn.newest_catalog();
    let Some(def) = catalog.tables().next() else { return Ok(None) };
    // Loads have keys from 1,000 on, others smaller ones; none is below zero.
    let values = schema::plain_row(def, tag, Datum::Int64(-tag));
    let inserted = at_once(async {
        txn.lock_table(def.id, TableLockMode::RowExclusive).await?;
        txn.insert(def, &values).await
    });
    inserted.ok_or("one more commit waits for a lock, and nobody is there")?.map_err(about)?;
    let ticket = txn.commit().map_err(about)?;
    database.sync().map_err(about)?;
    at_once(ticket).ok_or("one more commit is synced, and not told")?.map_err(about)?;
    Ok(Some(Write::Put { table: def.id, tag, values, replaces: None }))
}

/// What comes of something that has nobody to wait for; `None` where it waits.
fn at_once<F: Future>(doing: F) -> Option<F::Output> {
    match pin!(doing).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
