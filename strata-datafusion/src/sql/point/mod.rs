//! Point plans: statements that one index resolves, compiled once and run without a DataFusion plan.
//!
//! A SELECT, UPDATE or DELETE of one table whose WHERE fixes all columns of a unique index by equality (a SELECT: a
//! prefix of any index, and perhaps a range behind it), or an INSERT of a few VALUES. It is planned and analysed by the
//! ordinary planner, and the analysed plan is taken apart ([`compile`](mod@compile)): what is left is an index key, a
//! predicate, and the values to give or to store. Values that are plain columns or parameters are taken as they are; all
//! others are DataFusion physical expressions over a one-row batch, in which parameters are columns ([`program`]). So
//! there is one set of semantics. What does not fit gives `None` and takes the ordinary route, at compilation or, for a
//! value of a shape that was not foreseen, at execution ([`Ran::Refused`]: nothing has been done then).
//!
//! | module | what |
//! |---|---|
//! | `compile` | analysed plans into point plans |
//! | `access` | conditions into an index key |
//! | `program` | expressions over one row |
//! | `read` | SELECT |
//! | `write` | INSERT, UPDATE, DELETE |
//! | `lift` | statement texts with their literals taken out as parameters |
//! | `cache` | what a session remembers of texts |
//! | `explain` | what EXPLAIN shows |
//!
//! **What a plan holds for:** one catalog (by address) and one zone and search path. Whoever runs a plan compares first.
//! A write locks its table and compares with the newest catalog, too: DDL that was committed after the snapshot is then
//! either seen or waited for.
//!
//! `SET strata.point_plans = off` turns them off for a session.

mod access;
pub(crate) mod cache;
mod compile;
mod explain;
pub(crate) mod lift;
mod program;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use strata_core::catalog::{Catalog, TableDef};
use strata_core::ids::ColumnId;

use access::Access;
use program::Program;

use crate::session::types::ResultField;

pub(crate) use compile::{compile, may_be_point};
pub(crate) use read::Read;

/// A compiled statement.
#[derive(Debug)]
pub(crate) struct PointPlan {
    /// The catalog that it was made with.
    pub(crate) catalog: Arc<Catalog>,
    /// The types of its parameters; a value of another one takes the ordinary route.
    parameters: Vec<DataType>,
    table: Arc<TableDef>,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Select(Select),
    Insert(Vec<Row>),
    Update(Change),
    Delete(Change),
}

#[derive(Debug)]
struct Select {
    access: Access,
    /// What the key does not say.
    filter: Option<Program>,
    outputs: Outputs,
    fields: Arc<[ResultField]>,
}

#[derive(Debug)]
enum Outputs {
    /// Columns as they are.
    Columns(Arc<[ColumnId]>),
    /// Expressions.
    Computed(Program),
}

/// The row of an INSERT: a value for each live column.
#[derive(Debug)]
struct Row {
    values: Vec<Assigned>,
    fixed: Program,
}

#[derive(Debug)]
struct Change {
    access: Access,
    /// What the key does not say.
    filter: Option<Program>,
    /// All of WHERE, for a row that was changed meanwhile.
    recheck: Option<Program>,
    /// What is set: for a DELETE nothing.
    values: Vec<(ColumnId, Assigned)>,
    /// Values that are the same for all rows. They are made before the row is looked for: an error is one without it, too.
    fixed: Program,
    computed: Program,
}

/// Where a stored value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Assigned {
    /// A parameter of exactly the column's type, from 0.
    Parameter(usize),
    /// A result of the program that needs no row.
    Fixed(usize),
    /// A result of the program that does.
    Computed(usize),
}

/// What a statement's expressions may see beside the row.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    pub(crate) parameters: &'a [ScalarValue],
    /// When the transaction began.
    pub(crate) now: DateTime<Utc>,
}

/// What running a plan came to.
pub(crate) enum Ran<T> {
    Done(T),
    /// It cannot be run this way; nothing was done.
    Refused,
}

impl PointPlan {
    /// Whether the parameters' values have the types that the plan was made for.
    pub(crate) fn accepts(&self, parameters: &[ScalarValue]) -> bool {
        self.parameters.len() == parameters.len()
            && self.parameters.iter().zip(parameters).all(|(wanted, value)| is_of_type(value, wanted))
    }

    /// The columns of its result.
    pub(crate) fn fields(&self) -> Option<&Arc<[ResultField]>> {
        match &self.action {
            Action::Select(select) => Some(&select.fields),
            _ => None,
        }
    }

    /// Whether it only reads.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.action, Action::Select(_))
    }
}

/// As `value.data_type() == *wanted`, without making a type for the common ones.
fn is_of_type(value: &ScalarValue, wanted: &DataType) -> bool {
    match (value, wanted) {
        (ScalarValue::Int32(_), DataType::Int32)
        | (ScalarValue::Int64(_), DataType::Int64)
        | (ScalarValue::Utf8View(_), DataType::Utf8View) => true,
        _ => value.data_type() == *wanted,
    }
}
