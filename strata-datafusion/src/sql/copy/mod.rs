//! COPY: between tables, queries, the client and files of the server.
//!
//! **From the client.** The session keeps a [`CopyIn`] between the chunks that the wire brings. What fits a first
//! [`incoming::CHUNK_BYTES`] is read where it is and goes in as ordinary rows, beside other writers of the table. More
//! than that is a bulk load: a thread that may wait reads the data and writes blocks, chunks cross a short channel,
//! which is the backpressure, and at the end the transaction adopts the load. Dropping the [`CopyIn`] ends the thread.
//!
//! **To the client.** A query like any other; its batches become text on the analytical runtime.
//!
//! Files are read and written by the server's process. One that is written has a temporary name until it is complete.
//!
//! | file | what it holds |
//! |---|---|
//! | `parse`, `options` | the statement |
//! | `target` | the table, its columns and their sources |
//! | `incoming` | COPY FROM |
//! | `outgoing` | COPY TO |

pub(crate) mod incoming;
pub(crate) mod options;
mod outgoing;
pub(crate) mod parse;
mod target;

#[cfg(test)]
mod tests;

use datafusion::sql::sqlparser::ast::{CopyTarget, Statement as Ast};

pub(crate) use incoming::CopyIn;

use crate::error::{SqlError, SqlResult};
use crate::session::Session;
use crate::session::run::Limits;
use crate::session::types::Outcome;
use crate::sql::parse::Statement;
use options::CopyOptions;

/// Whether a statement is handled here.
pub(crate) fn is_copy(statement: &Ast) -> bool {
    matches!(statement, Ast::Copy { .. })
}

/// Runs a statement for which [`is_copy`] holds.
pub(crate) async fn execute(
    session: &mut Session,
    statement: &Statement,
    limits: Limits,
) -> SqlResult<Outcome> {
    let Ast::Copy { source, to, target, .. } = statement.ast() else {
        return Err(SqlError::internal("not COPY"));
    };
    let file = match target {
        CopyTarget::File { filename } => Some(filename.as_str()),
        CopyTarget::Program { .. } => {
            return Err(SqlError::unsupported("COPY to or from a program is not supported"));
        }
        CopyTarget::Stdin | CopyTarget::Stdout => None,
    };
    let options = CopyOptions::resolve(statement.copy_options(), file, *to)?;
    if *to {
        outgoing::copy(session, source, file, &options, limits).await
    } else {
        incoming::copy(session, source, file, options, limits).await
    }
}
