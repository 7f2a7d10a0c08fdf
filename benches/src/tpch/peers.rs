//! The same queries elsewhere: DataFusion on Parquet in this process, DuckDB through a script, PostgreSQL over the wire.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use serde_json::Value;

use super::data::{TABLES, csv, parquet};
use super::queries::{Query, schema};
use crate::Failure;
use crate::client::{self, Answer};

/// DataFusion as it comes, over the Parquet files.
pub struct DataFusion {
    context: SessionContext,
}

impl DataFusion {
    pub async fn open(data: &Path, partitions: usize) -> Result<Self, Failure> {
        super::data::write_parquet(data).await?;
        let config = SessionConfig::new().with_target_partitions(partitions);
        let context = SessionContext::new_with_config(config);
        for table in TABLES {
            let file = parquet(data, table);
            let file = file.to_str().ok_or("the folder's name is not UTF-8")?;
            context.register_parquet(table, file, ParquetReadOptions::default()).await?;
        }
        Ok(Self { context })
    }

    /// Plans, runs and collects.
    pub async fn time_ms(&self, sql: &str) -> Result<f64, Failure> {
        let begin = Instant::now();
        self.context.sql(sql).await?.collect().await?;
        Ok(begin.elapsed().as_secs_f64() * 1000.0)
    }
}

/// A query as DuckDB ran it.
pub struct DuckDbRun {
    pub query: String,
    pub times_ms: Vec<f64>,
    pub answer: Answer,
}

/// Runs the 22 queries in DuckDB, on tables loaded into its memory.
pub async fn duckdb(data: &Path, threads: usize, runs: usize) -> Result<Vec<DuckDbRun>, Failure> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let output = std::process::Command::new("python3")
        .arg(here.join("peers/duckdb_tpch.py"))
        .arg("--data")
        .arg(data)
        .arg("--queries")
        .arg(here.join("queries"))
        .args(["--threads", &threads.to_string(), "--runs", &runs.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("python3: {error}"))?;
    if !output.status.success() {
        return Err("DuckDB's script failed (pip install duckdb, or --without-duckdb)".into());
    }
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(parse_run).collect()
}

fn parse_run(line: &str) -> Result<DuckDbRun, Failure> {
    let value: Value = serde_json::from_str(line)?;
    let query = value["query"].as_str().ok_or("no query")?.to_owned();
    let times = value["times_ms"].as_array().ok_or("no times")?;
    let rows = value["rows"].as_array().ok_or("no rows")?;
    let cells = |row: &Value| -> Vec<Option<String>> {
        row.as_array().into_iter().flatten().map(|cell| cell.as_str().map(str::to_owned)).collect()
    };
    Ok(DuckDbRun {
        query,
        times_ms: times.iter().filter_map(Value::as_f64).collect(),
        answer: rows.iter().map(cells).collect(),
    })
}

/// Loads the files into a schema of a PostgreSQL server, asks the 22 queries, and drops the schema.
pub async fn postgres(data: &Path, url: &str) -> Result<HashMap<String, Answer>, Failure> {
    let client = client::connect(&url.parse()?).await?;
    let run = async |sql: &str| {
        client.batch_execute(sql).await.map_err(|error| format!("{sql}: {}", client::explain(&error)))
    };
    run("DROP SCHEMA IF EXISTS tpch CASCADE").await?;
    run("CREATE SCHEMA tpch").await?;
    run("SET search_path TO tpch").await?;
    for statement in schema() {
        run(statement).await?;
    }
    for table in TABLES {
        client::copy_csv(&client, table, &csv(data, table)).await?;
    }
    // Without it the subqueries of q17 and q20 read lineitem once for each of their rows: hours.
    run("CREATE INDEX ON lineitem (l_partkey, l_suppkey)").await?;
    run("ANALYZE").await?;
    let mut answers = HashMap::new();
    for query in Query::all() {
        let answer = client::query(&client, query.text).await;
        let answer =
            answer.map_err(|error| format!("PostgreSQL, {}: {}", query.name, client::explain(&error)))?;
        answers.insert(query.name.to_owned(), answer);
    }
    run("DROP SCHEMA tpch CASCADE").await?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_script_is_read() {
        let run =
            parse_run(r#"{"query":"q01","times_ms":[1.5,2],"rows":[["a",null],["b","2"]]}"#).expect("read");
        assert_eq!(run.query, "q01");
        assert_eq!(run.times_ms, [1.5, 2.0]);
        assert_eq!(run.answer[0], [Some("a".to_owned()), None]);
        assert!(parse_run("{}").is_err());
    }
}
