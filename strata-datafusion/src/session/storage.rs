//! A session's hold on the storage engine: its transaction, and the relations that a statement sees.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use datafusion::prelude::SessionConfig;
use strata_core::catalog::{Catalog, Relation, ViewDef};
use strata_core::ids::{RowId, TableId};
use strata_core::table::{ReadView, Transaction};
use strata_core::{Database, table};

use crate::error::SqlResult;
use crate::provider::{StatementContext, StrataTable};
use crate::session::cancel::CancelHandle;
use crate::session::definition::name_error;
use crate::sql::names::RelationName;

/// The isolation levels there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement has a new snapshot.
    ReadCommitted,
    /// One snapshot for the transaction.
    RepeatableRead,
    /// As if transactions ran one after another.
    Serializable,
}

impl Isolation {
    /// As SHOW prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }
}

/// A transaction of the storage engine.
pub(crate) struct EngineTransaction {
    inner: Transaction,
}

impl EngineTransaction {
    /// Begins a transaction. Does no I/O and takes no snapshot.
    pub(crate) fn begin(database: &Database, isolation: Isolation) -> SqlResult<Self> {
        let isolation = match isolation {
            Isolation::ReadCommitted => table::Isolation::ReadCommitted,
            Isolation::RepeatableRead => table::Isolation::RepeatableRead,
            Isolation::Serializable => table::Isolation::Serializable,
        };
        Ok(Self { inner: database.begin(isolation)? })
    }

    /// Starts a statement: under READ COMMITTED its snapshot is taken here.
    pub(crate) fn start_statement(&self, cancel: &CancelHandle) -> Relations {
        Relations { view: self.inner.view(), cancel: cancel.clone() }
    }

    /// The engine's transaction.
    pub(crate) fn inner(&mut self) -> &mut Transaction {
        &mut self.inner
    }

    /// Commits, and waits until that is durable.
    pub(crate) async fn commit(self) -> SqlResult<()> {
        let catalog = self.inner.newest_catalog();
        // A key may turn out here to be taken: by a bulk load, or for one.
        let outcome = match self.inner.commit() {
            Ok(ticket) => ticket.await,
            Err(error) => Err(error),
        };
        outcome.map(drop).map_err(|error| name_error(error, &catalog))
    }

    /// Forgets all that the transaction did.
    pub(crate) fn rollback(self) {
        self.inner.rollback();
    }
}

/// The relations that one statement sees: bound to its snapshot and to what the transaction wrote before it.
#[derive(Clone)]
pub(crate) struct Relations {
    view: ReadView,
    cancel: CancelHandle,
}

/// What a name stands for.
pub(crate) enum Found {
    /// A table, or a system view.
    Source(Arc<dyn TableSource>),
    /// A view, to be planned.
    View(Arc<ViewDef>),
}

impl Relations {
    /// The table or view of this name, if there is one.
    pub(crate) fn relation(&self, name: &RelationName) -> Option<Found> {
        match self.view.catalog().relation(&name.schema, &name.relation)? {
            Relation::Table(table) => {
                Some(Found::Source(provider_as_source(Arc::new(StrataTable::new(table)))))
            }
            Relation::View(view) => Some(Found::View(view.clone())),
        }
    }

    /// The table's rows with their RowIds, for finding the rows that a statement changes.
    pub(crate) fn target(&self, name: &RelationName) -> Option<Arc<dyn TableSource>> {
        match self.view.catalog().relation(&name.schema, &name.relation)? {
            Relation::Table(table) => Some(provider_as_source(Arc::new(StrataTable::with_row_id(table)))),
            Relation::View(_) => None,
        }
    }

    /// What the statement reads.
    pub(crate) fn view(&self) -> &ReadView {
        &self.view
    }

    /// The catalog. A plan made with another one may not hold.
    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        self.view.catalog()
    }

    /// Adds what scans need to know (snapshot, write set, position) to the statement's configuration.
    pub(crate) fn configure(&self, config: SessionConfig) -> SessionConfig {
        config.with_extension(Arc::new(
            StatementContext::new(self.view.clone()).with_cancel(self.cancel.clone()),
        ))
    }

    /// As [`configure`](Self::configure), with only these rows of a target table.
    pub(crate) fn restrict(&self, config: SessionConfig, table: TableId, rows: Vec<RowId>) -> SessionConfig {
        let context = StatementContext::new(self.view.clone())
            .with_cancel(self.cancel.clone())
            .with_target_rows(table, rows);
        config.with_extension(Arc::new(context))
    }
}
