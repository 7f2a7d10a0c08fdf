//! The database on its disk, the clients at it, and what befalls them.

use std::cell::RefCell;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use strata_core::maintenance::Step as Maintained;
use strata_core::vfs::{Fault, FaultEffect, MemVfs, SeededRandom, Vfs};
use strata_core::{Database, Error};

use super::action::{Action, Effect, Step};
use super::client::{Disk, Outcome, Session, Shared};
use super::excuse::{Circumstances, excuse};
use super::forms::Forms;
use super::model::{Model, Progress, State};
use super::plan::Config;
use super::stop::Stop;
use super::tally::{Did, SharedTally, Tally};
use super::{probe, verify};

pub(super) const DIR: &str = "/db";

type Doing = Pin<Box<dyn Future<Output = (Session, Outcome)>>>;

/// A client: between two actions, or in one.
enum Client {
    Free(Box<Session>),
    Busy(Pending),
}

/// An action that has to wait.
struct Pending {
    doing: Doing,
    woken: Arc<Woken>,
    /// How many calls the disk had failed when it began.
    failed_before: u64,
    /// Whether another client has had to wait meanwhile.
    others_waited: bool,
}

/// Whether what a client waits for has come.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The world of one run.
pub(super) struct World {
    config: Config,
    files: MemVfs,
    disk: Disk,
    model: Rc<RefCell<Model>>,
    tags: Rc<RefCell<i64>>,
    clients: Vec<Client>,
    database: Option<Database>,
    tally: SharedTally,
}

impl World {
    /// An empty database.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let files = MemVfs::new();
        Self::over(config, files.clone(), Arc::new(files), Model::new())
    }

    /// An empty database whose files somebody watches.
    pub(super) fn watched(
        config: &Config,
        files: MemVfs,
        vfs: Arc<dyn Vfs>,
        progress: Arc<Progress>,
    ) -> Result<Self, String> {
        Self::over(config, files, vfs, Model::watched(progress))
    }

    fn over(config: &Config, files: MemVfs, vfs: Arc<dyn Vfs>, model: Model) -> Result<Self, String> {
        let mut world = Self {
            config: config.clone(),
            disk: Disk::over(vfs),
            files,
            tally: SharedTally::default(),
            model: Rc::new(RefCell::new(model)),
            tags: Rc::default(),
            clients: Vec::new(),
            database: None,
        };
        world.open().map_err(|error| format!("an empty folder cannot be opened: {error}"))?;
        Ok(world)
    }

    fn open(&mut self) -> Result<(), Error> {
        let vfs = Arc::new(self.disk.faults.clone());
        let opened = Database::open_with_vfs(vfs, Path::new(DIR), self.config.options.clone())?;
        self.database = Some(opened);
        self.disk.failed_before = self.disk.faults.fired();
        self.clients = (0..self.config.clients).map(|_| Client::Free(Box::default())).collect();
        Ok(())
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("open between steps")
    }

    /// What was done so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.get()
    }

    /// What a commit left.
    pub(super) fn state(&self, timestamp: u64) -> Result<State, String> {
        let state = self.model.borrow().at(timestamp).cloned();
        state.ok_or_else(|| format!("there is no commit {timestamp}"))
    }

    /// How many calls the disk has seen: two runs that differ in anything differ in this.
    pub(super) fn calls(&self) -> u64 {
        self.disk.faults.total()
    }

    /// Does one step; what it did, in words.
    ///
    /// # Errors
    /// In words, what the database did that it must not.
    pub(super) fn step(&mut self, step: &Step) -> Result<String, String> {
        let failed = self.disk.faults.fired();
        match step {
            Step::Client { client, action } => self.client(client % self.config.clients, *action),
            Step::Sync => {
                let synced = self.database().sync();
                self.told(synced.map(|()| "synced".into()), failed)
            }
            Step::Maintain => {
                let done = self.maintain(Database::maintain);
                let did = match &done {
                    Ok(Maintained::Flush) => Some(Did::Flush),
                    Ok(Maintained::Compaction) => Some(Did::Compaction),
                    Ok(Maintained::Checkpoint) => Some(Did::Checkpoint),
                    _ => None,
                };
                did.iter().for_each(|did| self.tally.add(*did, 1));
                self.told(done.map(|step| format!("maintenance: {step:?}")), failed)
            }
            Step::Vacuum => {
                let done = self.maintain(Database::vacuum);
                self.told(done.map(|()| "vacuumed".into()), failed)
            }
            Step::Checkpoint => {
                let done = self.database().checkpoint();
                self.tally.add(Did::Checkpoint, u64::from(done.is_ok()));
                self.told(done.map(|()| "checkpointed".into()), failed)
            }
            Step::Fault { at, effect, for_ever } => {
                let effect = match effect {
                    Effect::InputOutput => FaultEffect::InputOutput,
                    Effect::DiskFull => FaultEffect::DiskFull,
                    Effect::ShortRead => FaultEffect::ShortRead,
                    Effect::ShortWrite => FaultEffect::ShortWrite,
                };
                let fault = Fault::nth(*at, effect);
                self.disk.faults.arm(if *for_ever { fault.for_ever() } else { fault });
                Ok(format!("call {at} from here will meet {effect:?}"))
            }
            Step::Heal => {
                self.disk.faults.disarm();
                Ok("the disk works".into())
            }
            Step::Reopen => self.reopen(),
            Step::Crash { seed, open_fault } => self.crash(*seed, *open_fault),
            Step::GiveUp { client } => Ok(self.give_up(client % self.config.clients)),
            Step::Check => self.check().map(|()| "checked".into()),
        }
    }

    /// Does maintenance. The model has each of its commits, which change nothing.
    fn maintain<T>(&mut self, maintain: impl FnOnce(&Database) -> T) -> T {
        let before = self.database().stats().moves;
        let forms = Forms::of(self.database());
        let done = maintain(self.database());
        if let (Ok(before), Ok(after)) = (forms, Forms::of(self.database())) {
            before.count_changes(&after, &self.tally);
        }
        let moves = self.database().stats().moves - before;
        for _ in 0..moves {
            self.model.borrow_mut().commit(&[]).expect("a state may follow itself");
        }
        self.tally.add(Did::Move, moves);
        done
    }

    /// What came of a call of the world's own, which waits for nobody.
    fn told(&self, done: Result<String, Error>, failed_before: u64) -> Result<String, String> {
        done.or_else(|error| self.excuse(error, failed_before, false))
    }

    /// Fails where nothing excuses an error. `failed_before`: how many calls the disk had failed before the one that met it.
    fn excuse(&self, error: Error, failed_before: u64, others_waited: bool) -> Result<String, String> {
        let circumstances = Circumstances {
            disk_failed: self.disk.has_failed(),
            disk_failed_meanwhile: self.disk.faults.fired() > failed_before,
            others_waited,
            little_memory: self.config.has_little_memory(),
        };
        excuse(&error, circumstances)?;
        Ok(format!("failed: {error}"))
    }

    /// The first client from this one on that does not wait; this one where all do.
    fn ready(&self, client: usize) -> usize {
        let from_here = (0..self.config.clients).map(|place| (client + place) % self.config.clients);
        let can_go_on = |client: &usize| match &self.clients[*client] {
            Client::Free(_) => true,
            Client::Busy(pending) => pending.woken.0.load(Ordering::SeqCst),
        };
        from_here.clone().find(can_go_on).unwrap_or(client)
    }

    fn client(&mut self, client: usize, action: Action) -> Result<String, String> {
        let client = self.ready(client);
        let said = self.client_goes_on(client, action);
        said.map(|said| format!("{client} {said}"))
    }

    fn client_goes_on(&mut self, client: usize, action: Action) -> Result<String, String> {
        let shared = Shared {
            database: self.database().clone(),
            model: self.model.clone(),
            tags: self.tags.clone(),
            disk: self.disk.clone(),
            tally: self.tally.clone(),
            keys: self.config.keys,
            usual_level: self.config.usual_level,
            bulk_rows: self.config.options.sizes.bulk_rows as u64,
        };
        let before = std::mem::replace(&mut self.clients[client], Client::Free(Box::default()));
        let pending = match before {
            Client::Free(session) => Pending {
                doing: Box::pin(session.act(shared, action)),
                woken: Arc::new(Woken(AtomicBool::new(true))),
                failed_before: self.disk.faults.fired(),
                others_waited: false,
            },
            Client::Busy(pending) => pending,
        };
        self.poll(client, pending)
    }

    fn give_up(&mut self, client: usize) -> String {
        match std::mem::replace(&mut self.clients[client], Client::Free(Box::default())) {
            Client::Busy(_) => {
                self.tally.add(Did::GiveUp, 1);
                format!("{client} gave up")
            }
            free @ Client::Free(_) => {
                self.clients[client] = free;
                format!("{client} does not wait")
            }
        }
    }

    /// Lets a client go on until it waits, if it has been woken.
    fn poll(&mut self, client: usize, mut pending: Pending) -> Result<String, String> {
        if !pending.woken.0.swap(false, Ordering::SeqCst) {
            self.clients[client] = Client::Busy(pending);
            return Ok("waits".into());
        }
        for other in &mut self.clients {
            if let Client::Busy(other) = other {
                (pending.others_waited, other.others_waited) = (true, true);
            }
        }
        let waker = Waker::from(pending.woken.clone());
        match pending.doing.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                self.clients[client] = Client::Busy(pending);
                Ok("has to wait".into())
            }
            Poll::Ready((session, outcome)) => {
                self.clients[client] = Client::Free(Box::new(session));
                match outcome {
                    Ok(said) => Ok(said),
                    Err(Stop::Engine(error)) => {
                        self.excuse(error, pending.failed_before, pending.others_waited)
                    }
                    Err(Stop::Refused(error) | Stop::Ended(error)) => Ok(format!("failed: {error}")),
                    Err(Stop::Wrong(what)) => Err(what),
                }
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        let failed = self.disk.faults.fired();
        let report = self.database().check();
        if report.is_clean() || self.disk.faults.fired() > failed {
            return Ok(());
        }
        Err(format!("check found: {}", report.problems.join("; ")))
    }

    /// All go; what was under way is given up.
    fn leave(&mut self) {
        self.clients.clear();
        if let Some(database) = &self.database {
            let cache = database.stats().cache;
            self.tally.add(Did::Eviction, cache.evictions + cache.write_backs);
        }
        self.database = None;
    }

    fn reopen(&mut self) -> Result<String, String> {
        self.leave();
        self.disk.faults.disarm();
        self.open().map_err(|error| format!("reopening: {error}"))?;
        self.verify("reopened")
    }

    fn crash(&mut self, seed: u64, open_fault: Option<u64>) -> Result<String, String> {
        let random = SeededRandom::new(seed);
        let left = self.files.crash_clone(&random);
        self.leave();
        self.on(left);
        if let Some(at) = open_fault {
            self.disk.faults.arm(Fault::nth(at, FaultEffect::InputOutput));
            if let Err(error) = self.open() {
                self.excuse(error, 0, false).map_err(|what| format!("opening: {what}"))?;
            }
            let left = self.files.crash_clone(&random);
            self.leave();
            self.on(left);
        }
        self.open().map_err(|error| format!("opening after a crash: {error}"))?;
        self.verify("crashed")
    }

    fn on(&mut self, files: MemVfs) {
        self.disk = Disk::over(Arc::new(files.clone()));
        self.files = files;
    }

    /// What a database that was just opened holds: some prefix of the commits that has all that were known.
    fn verify(&mut self, how: &str) -> Result<String, String> {
        let view = self.database().view();
        let last = view.snapshot().timestamp().get();
        let expected = {
            let mut model = self.model.borrow_mut();
            model.reopen(last).map_err(|what| format!("{how}: {what}"))?;
            model.see(last)?
        };
        verify::all(&view, &expected)
            .map_err(|stop| format!("{how}, at commit {last}: {}", stop.into_words()))?;
        self.check().map_err(|what| format!("{how}, at commit {last}: {what}"))?;
        Ok(format!("{how}, at commit {last}"))
    }

    /// The end of a run: whoever waits must be able to go on once the others have gone; then all is there, also after
    /// closing.
    pub(super) fn end(&mut self) -> Result<String, String> {
        self.disk.faults.disarm();
        let writable = self.database().sync().is_ok();
        for _ in 0..2 * self.config.clients {
            for client in 0..self.config.clients {
                let free = Client::Free(Box::default());
                match std::mem::replace(&mut self.clients[client], free) {
                    Client::Free(_) => {}
                    Client::Busy(pending) => {
                        self.poll(client, pending)?;
                    }
                }
                if writable {
                    self.database().sync().map_err(|error| format!("the last sync: {error}"))?;
                }
            }
        }
        let stuck = self.clients.iter().position(|client| matches!(client, Client::Busy(_)));
        if let Some(client) = stuck.filter(|_| writable) {
            return Err(format!("client {client} waits for ever"));
        }
        self.clients.clear();
        if writable {
            self.one_more_commit()?;
        }
        self.reopen()
    }

    /// Whoever is alone can commit, once maintenance has given back what it can.
    fn one_more_commit(&mut self) -> Result<(), String> {
        match self.maintain(Database::vacuum) {
            Err(Error::Poisoned { .. }) if self.disk.has_failed() => return Ok(()),
            done => done.map_err(|error| format!("nobody is there, and vacuum says: {error}"))?,
        }
        let tag = {
            let mut tags = self.tags.borrow_mut();
            *tags += 1;
            *tags
        };
        if let Some(write) = probe::one_more_row(self.database(), tag)? {
            let mut model = self.model.borrow_mut();
            let timestamp = model.commit(&[write])?;
            model.acknowledge(timestamp);
        }
        Ok(())
    }
}
