//! VACUUM and ANALYZE.

use datafusion::sql::sqlparser::ast::{Analyze, VacuumStatement};

use super::{find_relation, undefined_table};
use crate::error::{SqlError, SqlResult};
use crate::session::{Session, TransactionStatus};

/// Freezes, drops garbage, compacts and checkpoints, for the whole database: the log-structured index is shared by all
/// tables, so that one table's share cannot be done alone.
pub(super) async fn vacuum(session: &mut Session, vacuum: &VacuumStatement) -> SqlResult<&'static str> {
    if session.status() != TransactionStatus::Idle {
        return Err(SqlError::new("25001", "VACUUM cannot run inside a transaction block"));
    }
    if let Some(name) = &vacuum.table_name {
        check_relation(session, name)?;
    }
    // What the statement itself has opened would keep garbage visible.
    session.finish_implicit().await?;
    let database = session.database().clone();
    let done = tokio::task::spawn_blocking(move || database.vacuum()).await;
    done.map_err(|error| SqlError::internal(format!("VACUUM ended early: {error}")))??;
    Ok("VACUUM")
}

/// Statistics come from zone maps and sketches that every segment carries, so there is nothing to collect.
pub(super) async fn analyze(session: &mut Session, analyze: &Analyze) -> SqlResult<&'static str> {
    if let Some(name) = &analyze.table_name {
        check_relation(session, name)?;
    }
    session.notice("00000", "statistics are kept with the data: nothing to collect".to_owned());
    Ok("ANALYZE")
}

fn check_relation(
    session: &mut Session,
    name: &datafusion::sql::sqlparser::ast::ObjectName,
) -> SqlResult<()> {
    let catalog = session.write_transaction("VACUUM")?.newest_catalog();
    match find_relation(&session.search_path(), &catalog, name)? {
        Some(_) => Ok(()),
        None => Err(undefined_table(name)),
    }
}
