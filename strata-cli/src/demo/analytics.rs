//! Analytics while transfers run: how fast, how fresh, and whether any answer was wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::connection::{connect, first_row};
use super::transfers::{ACCOUNTS, Progress, TOTAL, milliseconds};
use super::{Failure, say, thousands};

/// All balances, and every transfer by who paid.
const BALANCES: &str = "SELECT count(*), sum(a.balance), coalesce(sum(h.transfers), 0) FROM accounts a \
     LEFT JOIN (SELECT payer, count(*) AS transfers FROM history GROUP BY payer) h ON h.payer = a.id";

/// TPC-H's queries 1 and 6, on the largest table.
const REPORTS: [(&str, &str); 2] = [
    (
        "Q1",
        "SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice), \
         sum(l_extendedprice * (1 - l_discount)), sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)), \
         avg(l_quantity), avg(l_extendedprice), avg(l_discount), count(*) FROM lineitem \
         WHERE l_shipdate <= date '1998-09-02' GROUP BY l_returnflag, l_linestatus ORDER BY 1, 2",
    ),
    (
        "Q6",
        "SELECT sum(l_extendedprice * l_discount) FROM lineitem WHERE l_shipdate >= date '1994-01-01' \
         AND l_shipdate < date '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    ),
];

/// What the answers about balances were like.
pub struct Watched {
    latency_us: Histogram<u64>,
    /// The most commits that an answer lacked though they were acknowledged before it was asked for.
    behind_max: u64,
}

/// Asks for all balances again and again. Each answer is checked: it must hold every commit acknowledged before the question, and
/// the total must be what it always is.
pub async fn watch_balances(address: SocketAddr, progress: Arc<Progress>) -> Result<Watched, Failure> {
    let client = connect(address).await?;
    let mut watched = Watched { latency_us: Histogram::new(3)?, behind_max: 0 };
    // At least one answer, however short the run.
    while !progress.ended.load(Ordering::SeqCst) || watched.latency_us.is_empty() {
        let acknowledged = progress.acknowledged.load(Ordering::SeqCst);
        let began = Instant::now();
        let row = first_row(&client, BALANCES).await?;
        watched.latency_us.record(u64::try_from(began.elapsed().as_micros())?)?;
        let [accounts, total, transfers] = row.as_slice() else {
            return Err("the balances have not three columns".into());
        };
        if *accounts != ACCOUNTS.to_string() || *total != TOTAL.to_string() {
            return Err(format!("{accounts} accounts hold {total}, not {ACCOUNTS} and {TOTAL}").into());
        }
        watched.behind_max = watched.behind_max.max(acknowledged.saturating_sub(transfers.parse()?));
    }
    Ok(watched)
}

impl Watched {
    /// Prints it.
    ///
    /// # Errors
    /// If an answer was stale.
    pub fn tell(&self) -> Result<(), Failure> {
        say(&format!(
            "analytics  {} answers from those tables meanwhile, balances joined with history: p50 {}, p99 {}",
            thousands(self.latency_us.len()),
            milliseconds(&self.latency_us, 0.5),
            milliseconds(&self.latency_us, 0.99),
        ))?;
        say(&format!(
            "freshness  {} commits behind at worst; the total of {} balances never wavered from {}",
            self.behind_max,
            thousands(ACCOUNTS.unsigned_abs()),
            thousands(TOTAL.unsigned_abs()),
        ))?;
        if self.behind_max > 0 {
            return Err("an answer lacked commits that were acknowledged before it was asked for".into());
        }
        Ok(())
    }
}

/// How long the reports took.
pub struct Reported {
    latency_us: Vec<(&'static str, Histogram<u64>)>,
}

/// Runs the reports in turn. Nobody changes what they read: each must say the same every time.
pub async fn run_reports(address: SocketAddr, progress: Arc<Progress>) -> Result<Reported, Failure> {
    let client = connect(address).await?;
    let mut reports = Vec::new();
    for (name, sql) in REPORTS {
        reports.push((name, sql, None, Histogram::new(3)?));
    }
    let mut rounds = 0;
    while !progress.ended.load(Ordering::SeqCst) || rounds == 0 {
        for (name, sql, earlier, latency_us) in &mut reports {
            let began = Instant::now();
            let row = first_row(&client, sql).await?;
            latency_us.record(u64::try_from(began.elapsed().as_micros())?)?;
            if earlier.get_or_insert_with(|| row.clone()) != &row {
                return Err(format!("TPC-H {name} said {row:?} and before that {earlier:?}").into());
            }
        }
        rounds += 1;
    }
    let latency_us = reports.into_iter().map(|(name, _, _, latency_us)| (name, latency_us)).collect();
    Ok(Reported { latency_us })
}

impl Reported {
    /// Prints it.
    pub fn tell(&self) -> Result<(), Failure> {
        let times: Vec<String> = self
            .latency_us
            .iter()
            .map(|(name, times)| {
                format!("{name} {} times, p50 {}", thousands(times.len()), milliseconds(times, 0.5))
            })
            .collect();
        say(&format!("reports    TPC-H {}, the same answer every time", times.join("; ")))
    }
}
