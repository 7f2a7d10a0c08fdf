//! Writers of the same few rows and keys, under READ COMMITTED.
//!
//! | what they do | what must hold |
//! |---|---|
//! | add to a hot row: by key, by a scan, by a join, by a subquery over the row itself, by a prepared statement | the row holds one for each acknowledged add, of whichever kind; each changes one row |
//! | move an amount between two rows in one statement | at every instant the sum is zero |
//! | take and give back a lease: `… SET owner = me WHERE id = n AND owner = 0` | no two hold it: the condition holds of the newest version |
//! | delete a key and insert it again, in one transaction | at every instant each key is there once, and the delete and the insert agree |
//! | move unique values between rows | no value is there twice, at any instant; index and scan agree |
//!
//! A fifth of the transactions are rolled back. A deadlock is an answer; a serialization failure is none.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio_postgres::{Client, Config, Statement};

use super::{Checked, ConcurrencyOptions, ask, close, connect, failed, finish, maintain, numbers, run_sql};
use crate::process::ServerProcess;
use crate::random::Random;

const HOT: usize = 2;
const LEASES: usize = 3;
const SLOTS: u64 = 6;

const TABLES: [&str; 9] = [
    "CREATE TABLE hot (id int PRIMARY KEY, v bigint NOT NULL, note text)",
    "INSERT INTO hot VALUES (1, 0, 'a'), (2, 0, 'b')",
    "CREATE TABLE deltas (id int, delta bigint)",
    "INSERT INTO deltas VALUES (1, 1), (2, 1)",
    "CREATE TABLE sums (id int PRIMARY KEY, v bigint NOT NULL)",
    "INSERT INTO sums VALUES (1, 0), (2, 0)",
    "CREATE TABLE leases (id int PRIMARY KEY, owner int NOT NULL, times bigint NOT NULL)",
    "INSERT INTO leases VALUES (0, 0, 0), (1, 0, 0), (2, 0, 0)",
    "CREATE TABLE slots (id int PRIMARY KEY, k int NOT NULL UNIQUE, v bigint NOT NULL)",
];

/// What clients were told, to be held against the tables.
#[derive(Debug, Default)]
struct Told {
    adds: [AtomicI64; HOT],
    leases: [AtomicI64; LEASES],
    held: [AtomicBool; LEASES],
    commits: AtomicU64,
    deadlocks: AtomicU64,
    conflicts: AtomicU64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContentionReport {
    /// Acknowledged transactions.
    pub commits: u64,
    /// Those that were rolled back by a deadlock.
    pub deadlocks: u64,
    /// Statements that were refused because a key was there.
    pub conflicts: u64,
    /// Statements that looked at every instant's rules.
    pub questions: u64,
}

/// Runs the writers on an empty folder.
///
/// # Errors
/// Where a rule is broken, or the server fails a statement as it must not.
pub async fn run(folder: &Path, options: &ConcurrencyOptions) -> Checked<ContentionReport> {
    let server = ServerProcess::start(&options.server, folder).map_err(|error| error.to_string())?;
    let config = server.config();
    let setup = connect(&config).await?;
    for sql in TABLES {
        run_sql(&setup, sql).await?;
    }
    for slot in 1..=SLOTS {
        run_sql(&setup, &format!("INSERT INTO slots VALUES ({slot}, {slot}, 0)")).await?;
    }
    let told = Arc::new(Told::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut random = Random::new(options.seed);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=options.clients {
        let (config, told, stop, random) =
            (config.clone(), Arc::clone(&told), Arc::clone(&stop), random.fork());
        tasks.spawn(async move { Writer::run(&config, number, random, &told, &stop).await.map(|()| 0) });
    }
    let (asking, stopping) = (config.clone(), Arc::clone(&stop));
    tasks.spawn(async move { observe(&asking, &stopping).await });
    let (sweeper, stopping) = (config.clone(), Arc::clone(&stop));
    tasks.spawn(async move { maintain(sweeper, &stopping).await.map(|()| 0) });
    let mut report = ContentionReport {
        questions: finish(tasks, options.time, &stop).await?,
        ..ContentionReport::default()
    };
    settle(&setup, &told).await?;
    report.commits = told.commits.load(Ordering::SeqCst);
    report.deadlocks = told.deadlocks.load(Ordering::SeqCst);
    report.conflicts = told.conflicts.load(Ordering::SeqCst);
    drop(setup);
    close(server, folder)?;
    Ok(report)
}

/// When all is quiet, the tables are what clients were told.
async fn settle(client: &Client, told: &Told) -> Checked<()> {
    look(client).await?;
    for (place, adds) in told.adds.iter().enumerate() {
        let wanted = adds.load(Ordering::SeqCst);
        for sql in [
            format!("SELECT v FROM hot WHERE id = {}", place + 1),
            format!("SELECT sum(v)::bigint FROM hot WHERE id + 0 = {}", place + 1),
        ] {
            let found = numbers(client, &sql).await?;
            if found != [wanted] {
                return Err(format!("{sql}: {found:?} after {wanted} adds"));
            }
        }
    }
    for (place, times) in told.leases.iter().enumerate() {
        let sql = format!("SELECT owner::bigint, times FROM leases WHERE id = {place}");
        let (found, wanted) = (numbers(client, &sql).await?, times.load(Ordering::SeqCst));
        if found != [0, wanted] {
            return Err(format!("{sql}: {found:?} after {wanted} leases were given back"));
        }
    }
    for row in ask(client, "SELECT id, k FROM slots").await? {
        let (id, k): (i32, i32) = (row.get(0), row.get(1));
        let by_key = ask(client, &format!("SELECT id FROM slots WHERE k = {k}")).await?;
        let found: Vec<i32> = by_key.iter().map(|row| row.get(0)).collect();
        if found != [id] {
            return Err(format!("slot {id} holds {k}, but by {k} are found {found:?}"));
        }
    }
    Ok(())
}

async fn observe(config: &Config, stop: &AtomicBool) -> Checked<u64> {
    let client = connect(config).await?;
    let mut questions = 0;
    let mut last = 0;
    while !stop.load(Ordering::SeqCst) {
        look(&client).await?;
        let sql = "SELECT sum(v)::bigint FROM hot";
        let now = numbers(&client, sql).await?.first().copied().unwrap_or_default();
        if now < last {
            return Err(format!("{sql}: {last}, then {now}"));
        }
        last = now;
        questions += 3;
    }
    Ok(questions)
}

/// What holds at every instant.
async fn look(client: &Client) -> Checked<()> {
    let sql = "SELECT sum(v)::bigint FROM sums";
    let found = numbers(client, sql).await?;
    if found != [0] {
        return Err(format!("{sql}: {found:?}, not 0"));
    }
    let sql = "SELECT count(*), count(DISTINCT id), count(DISTINCT k) FROM slots";
    let found = numbers(client, sql).await?;
    let wanted = i64::try_from(SLOTS).unwrap_or_default();
    if found != [wanted; 3] {
        return Err(format!("{sql}: {found:?}, not {wanted} of each"));
    }
    Ok(())
}

struct Writer<'a> {
    client: Client,
    number: u64,
    random: Random,
    told: &'a Told,
    prepared: Statement,
}

/// How a statement ended.
enum Ended {
    Changed(u64),
    /// A key was there.
    Conflict,
    Deadlock,
}

impl Writer<'_> {
    async fn run(
        config: &Config,
        number: u64,
        random: Random,
        told: &Told,
        stop: &AtomicBool,
    ) -> Checked<()> {
        let client = connect(config).await?;
        let sql = "UPDATE hot SET v = v + $2 WHERE id = $1";
        let prepared = client.prepare(sql).await.map_err(|error| failed(sql, &error))?;
        let mut writer = Writer { client, number, random, told, prepared };
        while !stop.load(Ordering::SeqCst) {
            match writer.random.within(0..10) {
                0..4 => writer.add().await?,
                4 => writer.shift().await?,
                5 | 6 => writer.lease().await?,
                7 | 8 => writer.reinsert().await?,
                _ => writer.move_key().await?,
            }
        }
        Ok(())
    }

    async fn execute(&self, sql: &str) -> Checked<Ended> {
        self.ended(sql, self.client.execute(sql, &[]).await)
    }

    fn ended(&self, sql: &str, result: Result<u64, tokio_postgres::Error>) -> Checked<Ended> {
        let error = match result {
            Ok(count) => return Ok(Ended::Changed(count)),
            Err(error) => error,
        };
        match error.code().map(|code| code.code()) {
            Some("40P01") => {
                self.told.deadlocks.fetch_add(1, Ordering::SeqCst);
                Ok(Ended::Deadlock)
            }
            Some("23505") => {
                self.told.conflicts.fetch_add(1, Ordering::SeqCst);
                Ok(Ended::Conflict)
            }
            _ => Err(failed(sql, &error)),
        }
    }

    /// Ends a transaction, with COMMIT four times of five; tells whether it was that.
    async fn end(&mut self) -> Checked<bool> {
        let commit = !self.random.chance(1, 5);
        run_sql(&self.client, if commit { "COMMIT" } else { "ROLLBACK" }).await?;
        if commit {
            self.told.commits.fetch_add(1, Ordering::SeqCst);
        }
        Ok(commit)
    }

    /// One more in a hot row, in one of many ways, alone or in a transaction.
    async fn add(&mut self) -> Checked<()> {
        let place = usize::try_from(self.random.within(0..HOT as u64)).unwrap_or(0);
        let id = place + 1;
        let sql = match self.random.within(0..7) {
            0 => format!("UPDATE hot SET v = v + 1 WHERE id = {id}"),
            1 => format!("UPDATE hot SET v = v + 1 WHERE id + 0 = {id}"),
            2 => {
                format!("UPDATE hot SET v = v + delta FROM deltas WHERE deltas.id = hot.id AND hot.id = {id}")
            }
            3 => format!("UPDATE hot SET v = (SELECT h.v FROM hot h WHERE h.id = {id}) + 1 WHERE id = {id}"),
            4 => {
                format!("UPDATE hot SET v = v + 1, note = note WHERE id = {id} AND v >= 0 AND note <> 'none'")
            }
            5 => format!("UPDATE hot SET v = v + 1 WHERE id IN (SELECT id FROM deltas WHERE id = {id})"),
            _ => String::new(),
        };
        let block = self.random.chance(1, 2);
        if block {
            run_sql(&self.client, "BEGIN").await?;
        }
        let ended = if sql.is_empty() {
            let id = i32::try_from(id).unwrap_or(1);
            let result = self.client.execute(&self.prepared, &[&id, &1_i64]).await;
            self.ended("the prepared update", result)?
        } else {
            self.execute(&sql).await?
        };
        if !matches!(ended, Ended::Changed(1)) {
            let told = match ended {
                Ended::Changed(count) => format!("changed {count} rows"),
                Ended::Conflict => "a key was there".to_owned(),
                Ended::Deadlock => "deadlock, with one row".to_owned(),
            };
            return Err(format!("{sql}: {told}"));
        }
        if !block {
            self.told.commits.fetch_add(1, Ordering::SeqCst);
        }
        if !block || self.end().await? {
            self.told.adds[place].fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// An amount from one row to another, in one statement or in two.
    async fn shift(&mut self) -> Checked<()> {
        let amount = self.random.within(1..100);
        let whole =
            format!("UPDATE sums SET v = v + CASE id WHEN 1 THEN {amount} ELSE -{amount} END WHERE id < 3");
        let halves = [
            format!("UPDATE sums SET v = v + {amount} WHERE id = 2"),
            format!("UPDATE sums SET v = v - {amount} WHERE id = 1"),
        ];
        let (statements, rows) = if self.random.chance(1, 2) { (&[whole][..], 2) } else { (&halves[..], 1) };
        run_sql(&self.client, "BEGIN").await?;
        for sql in statements {
            match self.execute(sql).await? {
                Ended::Changed(count) if count == rows => {}
                Ended::Deadlock => return run_sql(&self.client, "ROLLBACK").await,
                Ended::Changed(count) => return Err(format!("{sql}: changed {count} rows, not {rows}")),
                Ended::Conflict => return Err(format!("{sql}: no key changes")),
            }
        }
        self.end().await.map(|_| ())
    }

    async fn lease(&mut self) -> Checked<()> {
        let place = usize::try_from(self.random.within(0..LEASES as u64)).unwrap_or(0);
        let owner = self.number;
        let take = match self.random.within(0..3) {
            0 => format!("UPDATE leases SET owner = {owner} WHERE id = {place} AND owner = 0"),
            1 => format!("UPDATE leases SET owner = {owner} WHERE id + 0 = {place} AND owner = 0"),
            _ => format!(
                "UPDATE leases l SET owner = {owner} FROM deltas d WHERE d.id = 1 AND l.id = {place} AND l.owner = 0"
            ),
        };
        match self.execute(&take).await? {
            Ended::Changed(0) => return Ok(()),
            Ended::Changed(1) => {}
            _ => return Err(format!("{take}: did not change one row or none")),
        }
        if self.told.held[place].swap(true, Ordering::SeqCst) {
            return Err(format!("{take}: took what another has"));
        }
        let mine = format!("SELECT owner::bigint FROM leases WHERE id = {place}");
        let found = numbers(&self.client, &mine).await?;
        if found != [i64::try_from(owner).unwrap_or_default()] {
            return Err(format!("{mine}: {found:?} while {owner} holds it"));
        }
        self.told.held[place].store(false, Ordering::SeqCst);
        let give =
            format!("UPDATE leases SET owner = 0, times = times + 1 WHERE id = {place} AND owner = {owner}");
        match self.execute(&give).await? {
            Ended::Changed(1) => {}
            _ => return Err(format!("{give}: did not change one row")),
        }
        self.told.leases[place].fetch_add(1, Ordering::SeqCst);
        self.told.commits.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// A row of slots out and in again, with the same keys.
    async fn reinsert(&mut self) -> Checked<()> {
        let id = self.random.within(1..SLOTS + 1);
        run_sql(&self.client, "BEGIN").await?;
        // Holds the row, so that its k is the newest.
        let lock = format!("UPDATE slots SET v = v + 1 WHERE id = {id}");
        let locked = match self.execute(&lock).await? {
            Ended::Changed(count) => count,
            Ended::Deadlock => return run_sql(&self.client, "ROLLBACK").await,
            Ended::Conflict => return Err(format!("{lock}: no key changes")),
        };
        // Where another put the row there anew, this statement's snapshot knew another one.
        let k = ask(&self.client, &format!("SELECT k FROM slots WHERE id = {id}")).await?;
        let [k] = k.as_slice() else { return Err(format!("slot {id} is there {} times", k.len())) };
        let k: i32 = k.get(0);
        let delete = format!("DELETE FROM slots WHERE id = {id}");
        let deleted = match self.execute(&delete).await? {
            Ended::Changed(count) => count,
            _ => return run_sql(&self.client, "ROLLBACK").await,
        };
        if locked == 1 && deleted != 1 {
            return Err(format!("{delete}: {deleted} rows, though its row was updated before"));
        }
        let insert = format!("INSERT INTO slots VALUES ({id}, {k}, 0)");
        match self.execute(&insert).await? {
            Ended::Changed(1) if deleted == 1 => {}
            Ended::Changed(count) => return Err(format!("{insert}: {count} rows after {deleted} deleted")),
            Ended::Conflict if locked == 0 => return run_sql(&self.client, "ROLLBACK").await,
            Ended::Conflict => return Err(format!("{insert}: a key is there that was deleted")),
            Ended::Deadlock => return run_sql(&self.client, "ROLLBACK").await,
        }
        self.end().await.map(|_| ())
    }

    /// Another unique value for a slot; mostly one that is another's.
    async fn move_key(&mut self) -> Checked<()> {
        let (id, k) = (self.random.within(1..SLOTS + 1), self.random.within(1..SLOTS + 4));
        let sql = match self.random.within(0..3) {
            0 => format!("UPDATE slots SET k = {k} WHERE id = {id}"),
            1 => format!("UPDATE slots SET k = {k} WHERE id + 0 = {id}"),
            _ => format!("UPDATE slots SET k = {k} WHERE k = {}", self.random.within(1..SLOTS + 4)),
        };
        match self.execute(&sql).await? {
            Ended::Changed(0 | 1) => self.told.commits.fetch_add(1, Ordering::SeqCst),
            Ended::Changed(count) => return Err(format!("{sql}: changed {count} rows")),
            Ended::Conflict | Ended::Deadlock => 0,
        };
        Ok(())
    }
}
