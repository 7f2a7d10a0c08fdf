//! Runs of clients on the engine, round by round, each round's history checked as soon as it has ended.
//!
//! A round: clients in threads of their own, each a transaction after the other, while maintenance runs with small thresholds
//! and now and then all of it (VACUUM); then one transaction that reads every key of the round.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions};
use strata_core::table::Isolation;
use strata_core::{Database, Error, ErrorKind, Options, Result, Sizes};

use super::anomaly::Level;
use super::checker::{Findings, check};
use super::client::Session;
use super::faults::{Fault, FaultKind};
use super::graph::TimeOrder;
use super::history::{Group, History, Key, Operation, Outcome, State, Statement, Transaction};
use super::report::Report;
use super::request::{LOADED_ROWS, Request, Route};
use super::tables::Tables;
use super::workload::{HotKeys, Program};
use crate::random::Random;

/// What is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the engine is asked for.
    pub level: Level,
    /// What the histories are held to: the same, unless a test of the checker asks for more.
    pub expected: Level,
    /// How many clients there are.
    pub threads: usize,
    /// How many transactions a round has.
    pub transactions: u64,
    /// The database's folder; in memory without.
    pub folder: Option<PathBuf>,
    /// What the clients do is this seed's; how they meet is not.
    pub seed: u64,
    /// What is wrong with the clients.
    pub fault: Option<FaultKind>,
}

/// Clients, their database, and what they have in common.
pub struct Runner {
    settings: Settings,
    database: Database,
    tables: Tables,
    hot: HotKeys,
    clock: AtomicU64,
    random: Random,
    report: Report,
}

impl Runner {
    /// Opens the database and makes the tables.
    pub fn new(settings: Settings) -> Result<Self> {
        let thresholds = MaintenanceOptions {
            memtable_bytes: 64 << 10,
            journal_bytes: 1 << 20,
            freeze_idle_segments: true,
            tail_slots: 64,
            move_share: 3,
        };
        let sizes = Sizes {
            segment_bytes: 8 << 10,
            bulk_rows: LOADED_ROWS,
            journal_file_bytes: 256 << 10,
            ..Sizes::default()
        };
        let options = Options {
            memory_bytes: 256 << 20,
            maintenance: MaintenanceMode::Background,
            thresholds: Some(thresholds),
            sync_thread: true,
            sizes,
        };
        let database = match &settings.folder {
            Some(folder) => Database::open(folder, options)?,
            None => Database::in_memory(options)?,
        };
        let tables = Tables::create(&database)?;
        let random = Random::new(settings.seed);
        let report = Report::default();
        let (hot, clock) = (HotKeys::new(), AtomicU64::new(1));
        Ok(Self { settings, database, tables, hot, clock, random, report })
    }

    /// Runs rounds until the time is over or something forbidden is found; one at least.
    ///
    /// # Errors
    /// Whatever error of the engine no client should meet.
    pub fn run_for(&mut self, time: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            self.round()?;
            if self.report.forbidden.is_some() || start.elapsed() >= time {
                return Ok(());
            }
        }
    }

    /// Runs a round and checks it.
    ///
    /// # Errors
    /// As [`run_for`](Self::run_for).
    pub fn round(&mut self) -> Result<Findings> {
        self.hot.renew();
        let mut history = self.record()?;
        let last = self.read_all(&history)?;
        history.transactions.push(last);
        let findings = check(&history, self.settings.expected, TimeOrder::RealTime);
        self.report.rounds += 1;
        for (name, count) in findings.counts() {
            *self.report.anomalies.entry(name).or_insert(0) += count;
        }
        if self.report.forbidden.is_none() {
            self.report.forbidden = findings.first_forbidden(self.settings.expected).cloned();
        }
        Ok(findings)
    }

    /// What came of the rounds so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The database, for its own check.
    pub fn database(&self) -> &Database {
        &self.database
    }

    fn record(&mut self) -> Result<History> {
        let fault =
            self.settings.fault.map(|kind| Fault::new(kind, &self.database, isolation(self.settings.level)));
        let left = AtomicU64::new(self.settings.transactions);
        let ended = AtomicBool::new(false);
        let randoms: Vec<Random> = (0..self.settings.threads).map(|_| self.random.fork()).collect();
        let this = &*self;
        let clients = thread::scope(|scope| {
            let (left, ended, fault) = (&left, &ended, fault.as_ref());
            let vacuum = scope.spawn(move || this.vacuum_until(ended));
            let clients: Vec<_> = randoms
                .into_iter()
                .enumerate()
                .map(|(process, random)| {
                    scope.spawn(move || Client::new(this, process, random, fault).run(left))
                })
                .collect();
            let clients: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
            ended.store(true, Ordering::Relaxed);
            vacuum.join().expect("VACUUM panicked")?;
            let clients = clients.into_iter().map(|client| client.expect("a client panicked"));
            clients.collect::<Result<Vec<_>>>()
        })?;
        let mut history = History::default();
        let (mut rolled_back, mut retries) = (0, Vec::new());
        for client in clients {
            history.transactions.extend(client.transactions);
            rolled_back += client.rolled_back;
            retries.extend(client.retries);
        }
        let report = &mut self.report;
        let count = |outcome| history.transactions.iter().filter(|txn| txn.outcome == outcome).count() as u64;
        report.committed += count(Outcome::Committed);
        report.rolled_back += rolled_back;
        report.operations +=
            history.transactions.iter().map(|txn| txn.operations().count() as u64).sum::<u64>();
        for (name, count) in retries {
            *report.retries.entry(name).or_insert(0) += count;
        }
        Ok(history)
    }

    fn vacuum_until(&self, ended: &AtomicBool) -> Result<()> {
        while !ended.load(Ordering::Relaxed) {
            self.database.vacuum()?;
            for _ in 0..10 {
                if !ended.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
        Ok(())
    }

    /// A transaction after all others, which reads every key that they wrote.
    fn read_all(&self, history: &History) -> Result<Transaction> {
        let (mut lists, mut registers, mut groups) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for operation in history.transactions.iter().flat_map(Transaction::operations) {
            match operation {
                Operation::Write { key, state: State::There, .. } => drop(lists.insert(*key)),
                Operation::Write { key, state: State::In(group), .. } => {
                    groups.insert(*group);
                    if group.0.is_multiple_of(2) {
                        registers.insert(*key);
                    }
                }
                _ => {}
            }
        }
        let (classes, children) = groups.into_iter().partition(|group: &Group| group.0.is_multiple_of(2));
        let request = Request::Read {
            lists: lists.into_iter().collect::<Vec<Key>>(),
            registers: registers.into_iter().collect(),
            classes,
            children,
            route: Route::Heap,
        };
        let mut client = Client::new(self, self.settings.threads, Random::new(0), None);
        client.transact(&Program { requests: vec![request], commits: true })?;
        client.transactions.pop().ok_or_else(|| Error::Invalid("the last read left no trace".into()))
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

fn isolation(level: Level) -> Isolation {
    match level {
        Level::ReadCommitted => Isolation::ReadCommitted,
        Level::RepeatableRead => Isolation::RepeatableRead,
        Level::Serializable => Isolation::Serializable,
    }
}

/// One thread of a round.
struct Client<'a> {
    runner: &'a Runner,
    process: usize,
    random: Random,
    fault: Option<&'a Fault>,
    transactions: Vec<Transaction>,
    rolled_back: u64,
    retries: BTreeMap<&'static str, u64>,
}

impl<'a> Client<'a> {
    fn new(runner: &'a Runner, process: usize, random: Random, fault: Option<&'a Fault>) -> Self {
        let (transactions, retries) = (Vec::new(), BTreeMap::new());
        Self { runner, process, random, fault, transactions, rolled_back: 0, retries }
    }

    fn run(mut self, left: &AtomicU64) -> Result<Self> {
        let take = |left: u64| left.checked_sub(1);
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            let program = Program::random(&self.runner.hot, &mut self.random);
            self.transact(&program)?;
        }
        Ok(self)
    }

    fn transact(&mut self, program: &Program) -> Result<()> {
        let runner = self.runner;
        let invoked = runner.now();
        let begun = runner.database.begin(isolation(runner.settings.level))?;
        let mut session = Session::new(&runner.tables, &runner.hot.values, begun, self.fault);
        if self.random.chance(1, 40) {
            session.linger(Duration::from_millis(self.random.within(1..40)));
        }
        let mut statements = Vec::with_capacity(program.requests.len());
        let (mut failed, mut cursor) = (None, None);
        for request in &program.requests {
            self.pause();
            let invoked = runner.now();
            let ran = session.run(request);
            let operations = std::mem::take(&mut session.operations);
            for operation in &operations {
                if let (Request::Insert(_) | Request::Load(_), Operation::Write { key, .. }) =
                    (request, operation)
                {
                    runner.hot.add_row(*key, &mut self.random);
                }
            }
            let statement = Statement { invoked, returned: runner.now(), operations };
            // What a cursor shows was to be seen when it was opened.
            if let Some(place) = cursor.take_if(|_| matches!(request, Request::Fetch)) {
                let opened: &mut Statement = &mut statements[place];
                (opened.operations, opened.returned) = (statement.operations, statement.returned);
            } else {
                if matches!(request, Request::Open(_)) {
                    cursor = Some(statements.len());
                }
                statements.push(statement);
            }
            if let Err(error) = ran {
                failed = Some(error);
                break;
            }
        }
        self.pause();
        let outcome = match failed {
            Some(error) => {
                drop(session);
                self.note(error)?;
                Outcome::Aborted
            }
            None if !program.commits => {
                session.roll_back()?;
                self.rolled_back += 1;
                Outcome::Aborted
            }
            None => match session.commit() {
                Ok(()) => Outcome::Committed,
                Err((error, false)) => {
                    self.note(error)?;
                    Outcome::Aborted
                }
                Err((_, true)) => Outcome::Unknown,
            },
        };
        let returned = runner.now();
        self.transactions.push(Transaction { process: self.process, invoked, returned, outcome, statements });
        Ok(())
    }

    /// Counts an error that clients must expect.
    fn note(&mut self, error: Error) -> Result<()> {
        let name = match &error {
            Error::SerializationFailure => "serialization failures",
            Error::ReadConflict => "read conflicts",
            Error::Deadlock => "deadlocks",
            // Of lists.
            Error::DuplicateKey { .. } => "duplicate keys",
            error if error.kind() == ErrorKind::Retry => "others",
            _ => return Err(error),
        };
        *self.retries.entry(name).or_insert(0) += 1;
        Ok(())
    }

    /// Lets others in between statements, now and then.
    fn pause(&mut self) {
        match self.random.within(0..12) {
            0 => thread::sleep(Duration::from_micros(200)),
            1..=3 => thread::yield_now(),
            _ => {}
        }
    }
}
