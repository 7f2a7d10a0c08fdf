//! Parquet out and back in.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use super::connection::{connect, execute, first_row};
use super::tables::LINEITEM_COLUMNS;
use super::{Failure, say, thousands};

/// Writes lineitem to a Parquet file, loads that into a second table and compares the two.
pub async fn run(address: SocketAddr, folder: &Path) -> Result<(), Failure> {
    let client = connect(address).await?;
    let file = folder.join("lineitem.parquet");
    let quoted = file.display().to_string().replace('\'', "''");
    let began = Instant::now();
    execute(&client, &format!("COPY lineitem TO '{quoted}'")).await?;
    let written = began.elapsed();
    execute(&client, &format!("CREATE TABLE lineitem_again ({LINEITEM_COLUMNS})")).await?;
    let began = Instant::now();
    execute(&client, &format!("COPY lineitem_again FROM '{quoted}'")).await?;
    let read = began.elapsed();
    let original = summary(&client, "lineitem").await?;
    let again = summary(&client, "lineitem_again").await?;
    if original != again {
        return Err(format!("lineitem holds {original:?}, read back from Parquet {again:?}").into());
    }
    execute(&client, "DROP TABLE lineitem_again").await?;
    let rows: u64 = original.first().map_or(Ok(0), |rows| rows.parse())?;
    say(&format!(
        "parquet    {} rows to lineitem.parquet ({:.1} MB) in {:.1} s, read back in {:.1} s: counts and sums are equal",
        thousands(rows),
        std::fs::metadata(&file)?.len() as f64 / 1e6,
        written.as_secs_f64(),
        read.as_secs_f64(),
    ))
}

/// What two copies of lineitem must agree on: the count of rows first.
async fn summary(client: &tokio_postgres::Client, table: &str) -> Result<Vec<String>, Failure> {
    let sql = format!(
        "SELECT count(*), sum(l_orderkey), sum(l_quantity), sum(l_extendedprice), sum(l_discount), sum(l_tax), \
         min(l_shipdate), max(l_receiptdate), min(l_comment), max(l_comment), count(DISTINCT l_shipmode) FROM {table}"
    );
    first_row(client, &sql).await
}
