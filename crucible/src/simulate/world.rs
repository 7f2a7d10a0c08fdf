//! The database on its disk, the clients at it, and what befalls them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use strata_core::vfs::{Fault, FaultEffect, MemVfs, SeededRandom, Vfs};
use strata_core::{Database, Error};

use super::action::{Action, Effect, Step};
use super::client::{Disk, Outcome, Session, Shared};
use super::model::{Model, Progress, State};
use super::plan::Config;
use super::stop::{Stop, needs_fault};
use super::verify;

pub(super) const DIR: &str = "/db";

type Doing = Pin<Box<dyn Future<Output = (Session, Outcome)>>>;

/// A client: between two actions, or in one.
enum Client {
    Free(Box<Session>),
    Busy { doing: Doing, woken: Arc<Woken> },
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
    maintenance: BTreeMap<String, u64>,
    moves: u64,
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
            maintenance: BTreeMap::new(),
            moves: 0,
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

    /// Steps of maintenance so far, by kind.
    pub(super) fn maintenance(&self) -> &BTreeMap<String, u64> {
        &self.maintenance
    }

    /// Commits so far that moved rows out of nearly empty segments.
    pub(super) fn moves(&self) -> u64 {
        self.moves
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
        match step {
            Step::Client { client, action } => self.client(client % self.config.clients, *action),
            Step::Sync => {
                let synced = self.database().sync();
                self.excuse(synced.map(|()| "synced".into()))
            }
            Step::Maintain => {
                let done = self.maintain(Database::maintain);
                if let Ok(step) = &done {
                    *self.maintenance.entry(format!("{step:?}")).or_default() += 1;
                }
                self.excuse(done.map(|step| format!("maintenance: {step:?}")))
            }
            Step::Vacuum => {
                let done = self.maintain(Database::vacuum);
                self.excuse(done.map(|()| "vacuumed".into()))
            }
            Step::Checkpoint => {
                let done = self.database().checkpoint();
                *self.maintenance.entry("Checkpoint".into()).or_default() += u64::from(done.is_ok());
                self.excuse(done.map(|()| "checkpointed".into()))
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
            Step::Check => self.check().map(|()| "checked".into()),
        }
    }

    /// Does maintenance. The model has each of its commits, which change nothing.
    fn maintain<T>(&mut self, maintain: impl FnOnce(&Database) -> T) -> T {
        let before = self.database().stats().moves;
        let done = maintain(self.database());
        let moves = self.database().stats().moves - before;
        for _ in 0..moves {
            self.model.borrow_mut().commit(&[]).expect("a state may follow itself");
        }
        self.moves += moves;
        done
    }

    /// An error is right only where the disk has failed since the database was opened; or where memory is short.
    fn excuse(&self, done: Result<String, Error>) -> Result<String, String> {
        match done {
            Ok(said) => Ok(said),
            Err(error) if needs_fault(&error) && !self.disk.has_failed() => {
                Err(format!("the disk works, and it said: {error}"))
            }
            Err(error) => Ok(format!("failed: {error}")),
        }
    }

    /// The first client from this one on that does not wait; this one where all do.
    fn ready(&self, client: usize) -> usize {
        let from_here = (0..self.config.clients).map(|place| (client + place) % self.config.clients);
        let can_go_on = |client: &usize| match &self.clients[*client] {
            Client::Free(_) => true,
            Client::Busy { woken, .. } => woken.0.load(Ordering::SeqCst),
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
            keys: self.config.keys,
            bulk_rows: self.config.options.sizes.bulk_rows as u64,
        };
        let before = std::mem::replace(&mut self.clients[client], Client::Free(Box::default()));
        let (doing, woken) = match before {
            Client::Free(session) => {
                let doing: Doing = Box::pin(session.act(shared, action));
                (doing, Arc::new(Woken(AtomicBool::new(true))))
            }
            Client::Busy { doing, woken } => (doing, woken),
        };
        self.poll(client, doing, woken)
    }

    /// Lets a client go on until it waits, if it has been woken.
    fn poll(&mut self, client: usize, mut doing: Doing, woken: Arc<Woken>) -> Result<String, String> {
        if !woken.0.swap(false, Ordering::SeqCst) {
            self.clients[client] = Client::Busy { doing, woken };
            return Ok("waits".into());
        }
        let waker = Waker::from(woken.clone());
        match doing.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                self.clients[client] = Client::Busy { doing, woken };
                Ok("has to wait".into())
            }
            Poll::Ready((session, outcome)) => {
                self.clients[client] = Client::Free(Box::new(session));
                match outcome {
                    Ok(said) => Ok(said),
                    Err(Stop::Engine(error)) => self.excuse(Err(error)),
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
            if self.open().is_err() && !self.disk.has_failed() {
                return Err("opening failed, and the disk had not".into());
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
        match verify::all(&view, &expected) {
            Ok(()) => {}
            Err(Stop::Wrong(what)) => return Err(format!("{how}, at commit {last}: {what}")),
            Err(Stop::Engine(error)) => return Err(format!("{how}, at commit {last}: {error}")),
        }
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
                    Client::Busy { doing, woken } => {
                        self.poll(client, doing, woken)?;
                    }
                }
                if writable {
                    self.database().sync().map_err(|error| format!("the last sync: {error}"))?;
                }
            }
        }
        let stuck = self.clients.iter().position(|client| matches!(client, Client::Busy { .. }));
        if let Some(client) = stuck.filter(|_| writable) {
            return Err(format!("client {client} waits for ever"));
        }
        self.reopen()
    }
}
