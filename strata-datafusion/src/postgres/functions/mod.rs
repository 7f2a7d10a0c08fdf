//! Postgres' functions that DataFusion lacks, or has with another meaning.
//!
//! Most are rows of tables: a name, and for each list of argument types a result type and a body over arrays.

mod bytes;
mod datetime;
mod definition;
mod encoding;
mod field;
mod format;
mod info;
mod numeric;
mod session;
mod template;
mod text;
mod truncate;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

pub(crate) use bytes::substr;
pub(crate) use info::SessionInfo;

/// All of them, by the names that SQL uses.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions =
        vec![super::cast::CastFunction::udf(), field::extract(), field::date_part(), truncate::date_trunc()];
    functions.extend(session::clocks());
    functions.extend(bytes::functions());
    functions.push(session::pg_typeof());
    functions.push(format::format());
    for table in [datetime::FUNCTIONS, numeric::FUNCTIONS, session::FUNCTIONS, text::FUNCTIONS] {
        functions.extend(table.iter().map(definition::function));
    }
    functions.extend(series_list());
    functions
}

/// `generate_series` as a list: what a SELECT list unnests.
fn series_list() -> Option<Arc<ScalarUDF>> {
    let list = datafusion::functions_nested::range::gen_series_udf();
    Some(Arc::new(list.as_ref().clone().with_aliases([crate::sql::rewrite::SERIES_LIST])))
}

#[cfg(test)]
mod tests;
