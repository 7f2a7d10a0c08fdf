//! Transfers between accounts in several connections, while analytics run on the same tables.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use super::connection::{connect, execute, first_row, in_words};
use super::{Failure, analytics, per_second, say, thousands};

/// How many accounts there are.
pub const ACCOUNTS: i64 = 1000;
/// What each begins with.
const BALANCE: i64 = 10_000;
/// What all of them hold, always.
pub const TOTAL: i64 = ACCOUNTS * BALANCE;

/// What writers and readers share.
pub struct Progress {
    /// Transfers whose commit the server has acknowledged.
    pub acknowledged: AtomicU64,
    /// Whether it is time to end.
    pub ended: AtomicBool,
}

/// What a writer did.
struct Written {
    latency_us: Histogram<u64>,
    retries: u64,
}

/// Runs writers and readers for this long, and tells what they saw.
pub async fn run(address: SocketAddr, writers: u32, span: Duration) -> Result<(), Failure> {
    let client = connect(address).await?;
    create(&client).await?;
    let progress = Arc::new(Progress { acknowledged: AtomicU64::new(0), ended: AtomicBool::new(false) });
    let began = Instant::now();
    let timer = async {
        tokio::time::sleep(span).await;
        progress.ended.store(true, Ordering::SeqCst);
        Ok(())
    };
    let writing = try_join_all((0..writers).map(|writer| write(address, writer, Arc::clone(&progress))));
    let watching = analytics::watch_balances(address, Arc::clone(&progress));
    let reporting = analytics::run_reports(address, Arc::clone(&progress));
    let (written, watched, reported, ()) = tokio::try_join!(writing, watching, reporting, timer)?;
    let took = began.elapsed();

    let commits = progress.acknowledged.load(Ordering::SeqCst);
    let mut latency_us = Histogram::new(3)?;
    let mut retries = 0;
    for written in &written {
        latency_us.add(&written.latency_us)?;
        retries += written.retries;
    }
    let retried = if retries > 0 { format!(", {} retried", thousands(retries)) } else { String::new() };
    say(&format!(
        "transfers  {}/s in {writers} connections, each a durable commit: p50 {}, p99 {} ({} commits{retried})",
        thousands(per_second(commits, took)),
        milliseconds(&latency_us, 0.5),
        milliseconds(&latency_us, 0.99),
        thousands(commits),
    ))?;
    watched.tell()?;
    reported.tell()?;
    confirm(&client, commits).await
}

/// `1.2 ms`
pub fn milliseconds(latency_us: &Histogram<u64>, quantile: f64) -> String {
    format!("{:.1} ms", latency_us.value_at_quantile(quantile) as f64 / 1e3)
}

async fn create(client: &Client) -> Result<(), Failure> {
    let accounts: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    execute(
        client,
        "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
         CREATE TABLE history (writer integer, number bigint, payer bigint NOT NULL, payee bigint NOT NULL,
             amount bigint NOT NULL, PRIMARY KEY (writer, number))",
    )
    .await?;
    execute(client, &format!("INSERT INTO accounts VALUES {}", accounts.join(", "))).await
}

/// One connection's transfers.
async fn write(address: SocketAddr, writer: u32, progress: Arc<Progress>) -> Result<Written, Failure> {
    let mut client = connect(address).await?;
    let change =
        client.prepare("UPDATE accounts SET balance = balance + $1 WHERE id = $2").await.map_err(in_words)?;
    let note = client.prepare("INSERT INTO history VALUES ($1, $2, $3, $4, $5)").await.map_err(in_words)?;
    let mut written = Written { latency_us: Histogram::new(3)?, retries: 0 };
    let writer = i32::try_from(writer)?;
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15 ^ u64::from(writer.unsigned_abs() + 1));
    let mut number = 0i64;
    while !progress.ended.load(Ordering::SeqCst) {
        let payer = numbers.below(ACCOUNTS) + 1;
        let payee = (payer + numbers.below(ACCOUNTS - 1)) % ACCOUNTS + 1;
        let amount = numbers.below(100) + 1;
        let began = Instant::now();
        let transfer = Transfer { writer, number, payer, payee, amount };
        match transfer.run(&mut client, &change, &note).await {
            Ok(()) => {
                progress.acknowledged.fetch_add(1, Ordering::SeqCst);
                written.latency_us.record(u64::try_from(began.elapsed().as_micros())?)?;
                number += 1;
            }
            Err(error) if is_retryable(&error) => written.retries += 1,
            Err(error) => return Err(in_words(error)),
        }
    }
    Ok(written)
}

fn is_retryable(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED))
}

struct Transfer {
    writer: i32,
    number: i64,
    payer: i64,
    payee: i64,
    amount: i64,
}

impl Transfer {
    async fn run(
        &self,
        client: &mut Client,
        change: &Statement,
        note: &Statement,
    ) -> Result<(), tokio_postgres::Error> {
        let transaction = client.transaction().await?;
        let (mut first, mut second) = ((-self.amount, self.payer), (self.amount, self.payee));
        // Always in the order of ids: two transfers then wait for each other, but never both.
        if first.1 > second.1 {
            std::mem::swap(&mut first, &mut second);
        }
        transaction.execute(change, &[&first.0, &first.1]).await?;
        transaction.execute(change, &[&second.0, &second.1]).await?;
        transaction
            .execute(note, &[&self.writer, &self.number, &self.payer, &self.payee, &self.amount])
            .await?;
        transaction.commit().await
    }
}

/// After the last transfer: exactly the acknowledged ones are there, and the balances agree with the history.
async fn confirm(client: &Client, commits: u64) -> Result<(), Failure> {
    let row = first_row(client, "SELECT (SELECT count(*) FROM history), (SELECT sum(balance) FROM accounts)")
        .await?;
    let expected = [commits.to_string(), TOTAL.to_string()];
    if row != expected {
        return Err(format!("history count and total are {row:?} in the end, not {expected:?}").into());
    }
    Ok(())
}

/// xorshift64: which accounts are drawn matters to nobody, only that it is the same in every run.
struct Numbers(u64);

impl Numbers {
    /// A number from 0 to `limit` - 1.
    fn below(&mut self, limit: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = limit.unsigned_abs().max(1);
        i64::try_from(self.0 % limit).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_never_to_the_payer() {
        let mut numbers = Numbers(7);
        for _ in 0..10_000 {
            let payer = numbers.below(ACCOUNTS) + 1;
            let payee = (payer + numbers.below(ACCOUNTS - 1)) % ACCOUNTS + 1;
            assert_ne!(payer, payee);
            assert!((1..=ACCOUNTS).contains(&payer) && (1..=ACCOUNTS).contains(&payee));
        }
    }
}
