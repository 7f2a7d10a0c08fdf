//! TPC-H through COPY, table by table.

use std::net::SocketAddr;
use std::time::Instant;

use futures::SinkExt;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_postgres::Client;

use super::connection::{connect, execute, in_words};
use super::tables::{TABLES, Table};
use super::{Failure, per_second, say, thousands};

/// Creates, fills and keys the eight tables.
pub async fn run(address: SocketAddr, scale: f64) -> Result<(), Failure> {
    let client = connect(address).await?;
    let estimate: f64 = TABLES.iter().map(|table| table.rows(scale)).sum();
    let bar = ProgressBar::new(estimate as u64);
    let style = "  {msg:<10} [{bar:32}] {human_pos} of about {human_len} rows, {elapsed}";
    bar.set_style(ProgressStyle::with_template(style)?.progress_chars("=> "));
    let began = Instant::now();
    let (mut rows, mut size_bytes) = (0, 0);
    for table in &TABLES {
        bar.set_message(table.name);
        execute(&client, &format!("CREATE TABLE {} ({})", table.name, table.columns)).await?;
        let (table_rows, table_bytes) = copy(&client, table, scale, &bar).await?;
        rows += table_rows;
        size_bytes += table_bytes;
    }
    let copied = began.elapsed();
    let began = Instant::now();
    for table in &TABLES {
        bar.set_message(format!("{} key", table.name));
        execute(&client, &format!("ALTER TABLE {} ADD PRIMARY KEY ({})", table.name, table.key)).await?;
    }
    bar.finish_and_clear();
    say(&format!(
        "loaded     {} rows of TPC-H at scale {scale} ({:.1} MB) through COPY in {:.1} s, {} rows/s; 8 primary keys in {:.1} s",
        thousands(rows),
        size_bytes as f64 / 1e6,
        copied.as_secs_f64(),
        thousands(per_second(rows, copied)),
        began.elapsed().as_secs_f64(),
    ))
}

/// Gives how many rows were loaded, and from how many bytes of CSV.
async fn copy(
    client: &Client,
    table: &Table,
    scale: f64,
    bar: &ProgressBar,
) -> Result<(u64, usize), Failure> {
    let sql = format!("COPY {} FROM STDIN WITH (FORMAT csv)", table.name);
    let sink = client.copy_in(&sql).await.map_err(in_words)?;
    let mut sink = std::pin::pin!(sink);
    let (mut sent, mut size_bytes) = (0, 0);
    for (chunk, rows) in (table.chunks)(scale) {
        size_bytes += chunk.len();
        sink.send(chunk).await.map_err(in_words)?;
        sent += rows;
        bar.inc(rows);
    }
    let loaded = sink.finish().await.map_err(in_words)?;
    if loaded != sent {
        return Err(format!("{} rows were sent to {}, {loaded} arrived", sent, table.name).into());
    }
    Ok((loaded, size_bytes))
}
