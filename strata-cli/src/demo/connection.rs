//! Connections of the demo, and their errors in words.

use std::net::SocketAddr;

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::Failure;

/// Connects to the demo's server.
pub async fn connect(address: SocketAddr) -> Result<Client, Failure> {
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("strata").dbname("strata");
    config.application_name("strata demo");
    let (client, connection) = config.connect(NoTls).await.map_err(in_words)?;
    // Its end is seen by the client's next call.
    tokio::spawn(async move { connection.await.is_ok() });
    Ok(client)
}

/// Runs statements whose rows do not matter.
pub async fn execute(client: &Client, sql: &str) -> Result<(), Failure> {
    client.batch_execute(sql).await.map_err(in_words)
}

/// The first row of a query, in text; NULL is empty.
pub async fn first_row(client: &Client, sql: &str) -> Result<Vec<String>, Failure> {
    let messages = client.simple_query(sql).await.map_err(in_words)?;
    let row = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let value = |index| row.try_get(index).ok().flatten().unwrap_or_default().to_owned();
            Some((0..row.len()).map(value).collect())
        }
        _ => None,
    });
    row.ok_or_else(|| "a query brought no row".into())
}

/// The error with what the server said about it.
pub fn in_words(error: tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(database) => format!("{} ({})", database.message(), database.code().code()).into(),
        None => error.into(),
    }
}
