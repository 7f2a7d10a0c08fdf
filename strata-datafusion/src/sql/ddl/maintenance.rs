//! VACUUM and ANALYZE.

use datafusion::sql::sqlparser::ast::{Analyze, Statement as Ast, VacuumStatement};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{find_relation, undefined_table};
use crate::error::{SqlError, SqlResult};
use crate::session::{Session, TransactionStatus};

/// Parses VACUUM as Postgres has it: options in parentheses or as words, then tables. Of those only the first is kept,
/// to be looked up, since all of the database is vacuumed. sqlparser knows Redshift's statement.
pub(crate) fn parse_vacuum(parser: &mut Parser<'_>) -> Result<Ast, ParserError> {
    parser.expect_keyword(Keyword::VACUUM)?;
    if parser.consume_token(&Token::LParen) {
        while parser.next_token().token != Token::RParen {
            if parser.peek_token_ref().token == Token::EOF {
                return parser.expected(")", parser.peek_token());
            }
        }
    }
    let words = [Keyword::FULL, Keyword::FREEZE, Keyword::VERBOSE, Keyword::ANALYZE];
    let mut full = false;
    while let Some(word) = parser.parse_one_of_keywords(&words) {
        full |= word == Keyword::FULL;
    }
    let mut table_name = None;
    if !matches!(parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
        let tables = parser.parse_comma_separated(|parser| {
            let name = parser.parse_object_name(false)?;
            if parser.consume_token(&Token::LParen) {
                parser.parse_comma_separated(Parser::parse_identifier)?;
                parser.expect_token(&Token::RParen)?;
            }
            Ok(name)
        })?;
        table_name = tables.into_iter().next();
    }
    Ok(Ast::Vacuum(VacuumStatement {
        full,
        sort_only: false,
        delete_only: false,
        reindex: false,
        recluster: false,
        table_name,
        threshold: None,
        boost: false,
    }))
}

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

#[cfg(test)]
mod tests {
    use crate::sql::parse::parse;

    #[test]
    fn vacuum_is_read_as_clients_write_it() {
        for (sql, table) in [
            ("vacuum", None),
            ("vacuum analyze pgbench_branches", Some("pgbench_branches")),
            ("VACUUM (VERBOSE, ANALYZE true, PARALLEL 2) public.t;", Some("public.t")),
            ("VACUUM FULL FREEZE VERBOSE t (a, b), u", Some("t")),
        ] {
            let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            let super::Ast::Vacuum(vacuum) = statements[0].ast() else { panic!("{sql}") };
            assert_eq!(vacuum.table_name.as_ref().map(ToString::to_string).as_deref(), table, "{sql}");
        }
        for sql in ["vacuum (analyze", "vacuum t u", "vacuum 1"] {
            assert_eq!(parse(sql).unwrap_err().sqlstate, "42601", "{sql}");
        }
    }
}
