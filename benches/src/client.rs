//! A connection to Strata or PostgreSQL, and answers in text.

use std::path::Path;

use bytes::Bytes;
use futures::SinkExt;
use tokio::io::AsyncReadExt;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::Failure;

/// Rows of cells; `None` is NULL.
pub type Answer = Vec<Vec<Option<String>>>;

/// Connects, and lets the connection run until the client is dropped.
pub async fn connect(config: &Config) -> Result<Client, Failure> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // What goes wrong here shows at the client's next statement.
        let _ = connection.await;
    });
    Ok(client)
}

/// An error of a statement, with what the server said.
pub fn explain(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(answer) => format!("{} {}", answer.code().code(), answer.message()),
        None => error.to_string(),
    }
}

/// Runs a query, and gives its rows.
pub async fn query(client: &Client, sql: &str) -> Result<Answer, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

/// Runs a query of one row and column.
pub async fn value(client: &Client, sql: &str) -> Result<Option<String>, Failure> {
    let answer = query(client, sql).await.map_err(|error| format!("{sql}: {}", explain(&error)))?;
    Ok(answer.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
}

/// Loads a CSV file with a header through COPY. Gives the number of rows.
pub async fn copy_csv(client: &Client, table: &str, file: &Path) -> Result<u64, Failure> {
    const CHUNK_BYTES: usize = 1 << 18;
    let sql = format!("COPY {table} FROM STDIN (FORMAT csv, HEADER)");
    let sink = client.copy_in(&sql).await.map_err(|error| format!("{sql}: {}", explain(&error)))?;
    let mut sink = std::pin::pin!(sink);
    let mut input = tokio::fs::File::open(file).await?;
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = input.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        chunk.truncate(read);
        sink.send(Bytes::from(chunk)).await.map_err(|error| format!("{sql}: {}", explain(&error)))?;
    }
    Ok(sink.as_mut().finish().await.map_err(|error| format!("{sql}: {}", explain(&error)))?)
}
