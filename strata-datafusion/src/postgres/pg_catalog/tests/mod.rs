//! What psql, SQLAlchemy, asyncpg and psycopg ask, word for word, of a database with a few tables.

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::array_value_to_string;
use futures::StreamExt;
use strata_core::Database;

use super::*;
use crate::error::SqlResult;
use crate::session::{Engine, EngineOptions, Outcome, Parameter, Session, SessionOptions};

mod clients;
mod psql;

const SETUP: &str = "
    CREATE TABLE customers (id bigint PRIMARY KEY, name varchar(40) NOT NULL DEFAULT 'anon', email text UNIQUE,
        balance numeric(10,2), tags text[], created timestamptz, gone int);
    ALTER TABLE customers DROP COLUMN gone;
    CREATE INDEX customers_name_idx ON customers (name DESC, balance);
    CREATE TABLE plain (a int);
    CREATE VIEW rich AS SELECT id, name FROM customers WHERE balance > 100;
    INSERT INTO customers (id) VALUES (1), (2), (3)";

/// A session of a database with two tables and a view.
async fn session() -> Session {
    let options = EngineOptions { analytical_threads: 2 };
    let database = Database::in_memory(strata_core::Options::default()).unwrap();
    let mut session = Session::new(Engine::new(database, options).unwrap(), SessionOptions::default());
    run(&mut session, SETUP).await.unwrap();
    session
}

/// Runs a query string; rows as text, cells joined by `|`.
async fn run(session: &mut Session, sql: &str) -> SqlResult<Vec<String>> {
    let mut rows = Vec::new();
    for statement in session.parse(sql)? {
        let outcome = session.execute_statement(&statement).await?;
        collect(outcome, &mut rows).await?;
    }
    session.finish_implicit().await?;
    Ok(rows)
}

/// Runs one query with parameters given as text.
async fn run_with(session: &mut Session, sql: &str, parameters: &[&str]) -> SqlResult<Vec<String>> {
    let mut rows = Vec::new();
    let statement = session.parse(sql)?.remove(0);
    let prepared = session.prepare(&statement, &[]).await?;
    let parameters: Vec<Parameter<'_>> =
        parameters.iter().map(|text| Parameter { value: Some(text.as_bytes()), binary: false }).collect();
    let outcome = session.execute(&prepared, &parameters).await?;
    collect(outcome, &mut rows).await?;
    session.finish_implicit().await?;
    Ok(rows)
}

async fn collect(outcome: Outcome, rows: &mut Vec<String>) -> SqlResult<()> {
    let Outcome::Rows(mut stream) = outcome else { return Ok(()) };
    while let Some(batch) = stream.batches.next().await {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let cell = |array: &Arc<dyn Array>| {
                if array.is_null(row) || array.data_type() == &DataType::Null {
                    "~".to_owned()
                } else {
                    array_value_to_string(array, row).unwrap()
                }
            };
            rows.push(batch.columns().iter().map(cell).collect::<Vec<_>>().join("|"));
        }
    }
    Ok(())
}

#[test]
fn every_system_relation_is_read_and_makers_name_its_columns() {
    assert_eq!(system_relations().len(), include_str!("../relations.tsv").lines().count());
    let catalog = Catalog::default();
    let scan = Scan { catalog: &catalog, view: None, view_columns: &ViewColumns::new(), time_zone: "UTC" };
    for relation in system_relations() {
        let rows = relation.rows(&scan).unwrap();
        assert_eq!(rows.num_columns(), relation.columns.len(), "{}", relation.name);
    }
}

#[test]
fn oids_do_not_meet() {
    let mut oids: Vec<i64> = system_relations().iter().map(|relation| relation.oid).collect();
    oids.sort_unstable();
    let count = oids.len();
    oids.dedup();
    assert_eq!(oids.len(), count);
    assert!(oids.iter().all(|oid| *oid < 16_384));
    assert_eq!(index_oid(IndexId::new(16_384)), 1_073_758_208);
    assert_eq!(constraint_oid(IndexId::new(16_384)), 1_342_193_664);
    assert_eq!(default_oid(TableId::new(16_384), ColumnId::new(0)), 1_644_167_169);
}

#[tokio::test]
async fn all_system_relations_can_be_selected() {
    let mut session = session().await;
    for relation in system_relations() {
        let sql = format!("SELECT * FROM {}.{}", relation.schema_name, relation.name);
        let result = run(&mut session, &sql).await;
        assert!(result.is_ok(), "{sql}: {result:?}");
    }
}
