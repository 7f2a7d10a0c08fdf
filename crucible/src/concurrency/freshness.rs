//! Transfers in the shape of TPC-B, and analytics over the same tables.
//!
//! **What must hold** of every statement that reads: the balances of accounts, tellers and branches sum up to the history's steps,
//! in total and account by account; each client's steps are there without a gap; and at least those that were acknowledged to
//! clients before the statement was sent, at most those begun when its answer was there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio_postgres::{Client, Config};

use super::{Checked, ConcurrencyOptions, ask, close, connect, failed, finish, maintain, numbers, run_sql};
use crate::process::ServerProcess;
use crate::random::Random;

/// More than a segment holds, so that accounts are in column blocks and in row pages.
const ACCOUNTS: u64 = 70_000;
const TELLERS: u64 = 20;
const BRANCHES: u64 = 2;

const TABLES: [&str; 7] = [
    "CREATE TABLE branches (bid int PRIMARY KEY, bbalance bigint NOT NULL)",
    "CREATE TABLE tellers (tid int PRIMARY KEY, bid int NOT NULL, tbalance bigint NOT NULL)",
    "CREATE TABLE accounts (aid int PRIMARY KEY, bid int NOT NULL, abalance bigint NOT NULL)",
    "CREATE TABLE history (client int, step bigint, tid int, bid int, aid int, delta bigint, PRIMARY KEY (client, step))",
    "INSERT INTO branches SELECT n, 0 FROM generate_series(1, 2) AS g(n)",
    "INSERT INTO tellers SELECT n, n % 2 + 1, 0 FROM generate_series(1, 20) AS g(n)",
    "INSERT INTO accounts SELECT n, n % 2 + 1, 0 FROM generate_series(1, 70000) AS g(n)",
];

const TOTALS: &str = "SELECT (SELECT sum(abalance)::bigint FROM accounts), (SELECT sum(tbalance)::bigint FROM tellers), \
    (SELECT sum(bbalance)::bigint FROM branches), (SELECT coalesce(sum(delta), 0)::bigint FROM history), \
    (SELECT count(*) FROM history)";
const BY_ACCOUNT: &str = "SELECT count(*), coalesce(sum(h.steps), 0)::bigint FROM accounts a JOIN \
    (SELECT aid, sum(delta) AS total, count(*) AS steps FROM history GROUP BY aid) h ON a.aid = h.aid \
    WHERE a.abalance <> h.total";
const BY_CLIENT: &str = "SELECT client::bigint, count(*), max(step) FROM history GROUP BY client";

/// What clients have begun, and what was acknowledged to them.
#[derive(Debug, Default)]
struct Progress {
    begun: AtomicI64,
    acknowledged: AtomicI64,
}

type AllProgress = Arc<Vec<Progress>>;

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct FreshnessReport {
    /// Acknowledged transfers.
    pub transfers: i64,
    /// Statements that were held against them.
    pub questions: u64,
}

/// Runs transfers and analytics on an empty folder.
///
/// # Errors
/// Where an answer is not as it must be, or the server fails a statement.
pub async fn run(folder: &Path, options: &ConcurrencyOptions) -> Checked<FreshnessReport> {
    let server = ServerProcess::start(&options.server, folder).map_err(|error| error.to_string())?;
    let config = server.config();
    let setup = connect(&config).await?;
    for sql in TABLES {
        run_sql(&setup, sql).await?;
    }
    let progress: AllProgress = Arc::new((0..options.clients).map(|_| Progress::default()).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let mut random = Random::new(options.seed);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..progress.len() {
        let (config, progress, stop) = (config.clone(), Arc::clone(&progress), Arc::clone(&stop));
        let random = random.fork();
        tasks.spawn(async move { transfer(config, number, random, &progress, &stop).await.map(|()| 0) });
    }
    for _ in 0..2 {
        let (config, progress, stop) = (config.clone(), Arc::clone(&progress), Arc::clone(&stop));
        tasks.spawn(async move { observe(config, &progress, &stop).await });
    }
    let (sweeper, stopping) = (config.clone(), Arc::clone(&stop));
    tasks.spawn(async move { maintain(sweeper, &stopping).await.map(|()| 0) });
    let mut report = FreshnessReport {
        questions: finish(tasks, options.time, &stop).await?,
        ..FreshnessReport::default()
    };
    report.transfers = progress.iter().map(|one| one.acknowledged.load(Ordering::SeqCst)).sum();
    // Once more, when all is quiet: begun and acknowledged are the same now.
    look(&setup, &progress).await?;
    drop(setup);
    close(server, folder)?;
    Ok(report)
}

/// One client's transfers. Even clients use the extended protocol, as drivers do, odd ones the simple one.
async fn transfer(
    config: Config,
    number: usize,
    mut random: Random,
    progress: &[Progress],
    stop: &AtomicBool,
) -> Checked<()> {
    let client = connect(&config).await?;
    let own = progress.get(number).ok_or("no such client")?;
    for step in 1.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        // A few accounts are hot.
        let aid = if random.chance(1, 4) { random.within(1..5) } else { random.within(1..ACCOUNTS + 1) };
        let (tid, bid) = (random.within(1..TELLERS + 1), random.within(1..BRANCHES + 1));
        // Never zero: a step that is missing shows in the sums.
        let delta = i64::try_from(random.within(1..1000)).unwrap_or(1);
        own.begun.store(step, Ordering::SeqCst);
        let statements = [
            format!("UPDATE accounts SET abalance = abalance + {delta} WHERE aid = {aid}"),
            format!("UPDATE tellers SET tbalance = tbalance + {delta} WHERE tid = {tid}"),
            format!("UPDATE branches SET bbalance = bbalance + {delta} WHERE bid = {bid}"),
            format!("INSERT INTO history VALUES ({number}, {step}, {tid}, {bid}, {aid}, {delta})"),
        ];
        run_sql(&client, "BEGIN").await?;
        for sql in &statements {
            let changed = if number.is_multiple_of(2) {
                client.execute(sql, &[]).await.map_err(|error| failed(sql, &error))?
            } else {
                changed_simply(&client, sql).await?
            };
            if changed != 1 {
                return Err(format!("{sql}: changed {changed} rows"));
            }
        }
        run_sql(&client, "COMMIT").await?;
        own.acknowledged.store(step, Ordering::SeqCst);
    }
    Ok(())
}

async fn changed_simply(client: &Client, sql: &str) -> Checked<u64> {
    let messages = client.simple_query(sql).await.map_err(|error| failed(sql, &error))?;
    let count = |message: &tokio_postgres::SimpleQueryMessage| match message {
        tokio_postgres::SimpleQueryMessage::CommandComplete(count) => Some(*count),
        _ => None,
    };
    Ok(messages.iter().filter_map(count).sum())
}

/// Asks until told to stop; gives how often.
async fn observe(config: Config, progress: &[Progress], stop: &AtomicBool) -> Checked<u64> {
    let client = connect(&config).await?;
    let mut questions = 0;
    while !stop.load(Ordering::SeqCst) {
        questions += look(&client, progress).await?;
    }
    Ok(questions)
}

fn acknowledged(progress: &[Progress]) -> Vec<i64> {
    progress.iter().map(|one| one.acknowledged.load(Ordering::SeqCst)).collect()
}

fn begun(progress: &[Progress]) -> Vec<i64> {
    progress.iter().map(|one| one.begun.load(Ordering::SeqCst)).collect()
}

async fn look(client: &Client, progress: &[Progress]) -> Checked<u64> {
    totals(client, progress).await?;
    let wrong = numbers(client, BY_ACCOUNT).await?;
    if wrong != [0, 0] {
        return Err(format!(
            "{BY_ACCOUNT}: {wrong:?}: accounts that are not the sum of their steps, and these"
        ));
    }
    let before = acknowledged(progress);
    let rows = ask(client, BY_CLIENT).await?;
    let after = begun(progress);
    let mut seen = vec![0; progress.len()];
    for row in rows {
        let (number, count, last): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        if count != last {
            return Err(format!("{BY_CLIENT}: client {number} has {count} steps, the last numbered {last}"));
        }
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        *seen.get_mut(number).ok_or_else(|| format!("steps of client {number}, who does not exist"))? = count;
    }
    for (number, ((before, seen), after)) in before.iter().zip(&seen).zip(&after).enumerate() {
        if seen < before || seen > after {
            let told = format!("{before} were acknowledged before, {after} begun when it ended");
            return Err(format!("{BY_CLIENT}: {seen} steps of client {number}, but {told}"));
        }
    }
    // One snapshot stays one.
    run_sql(client, "BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let first = totals(client, progress).await?;
    let again = numbers(client, TOTALS).await?;
    run_sql(client, "COMMIT").await?;
    if first != again {
        return Err(format!("{TOTALS}: {first:?}, then {again:?} in one REPEATABLE READ transaction"));
    }
    Ok(5)
}

async fn totals(client: &Client, progress: &[Progress]) -> Checked<Vec<i64>> {
    let before: i64 = acknowledged(progress).iter().sum();
    let found = numbers(client, TOTALS).await?;
    let after: i64 = begun(progress).iter().sum();
    let &[accounts, tellers, branches, history, steps] = found.as_slice() else {
        return Err(format!("{TOTALS}: {found:?}"));
    };
    if (accounts, tellers, branches) != (history, history, history) {
        return Err(format!(
            "one statement saw accounts of {accounts}, tellers of {tellers}, branches of {branches}, a history of {history}"
        ));
    }
    if steps < before || steps > after {
        return Err(format!(
            "one statement saw {steps} steps: {before} were acknowledged before it began, {after} begun when it ended"
        ));
    }
    Ok(found)
}
