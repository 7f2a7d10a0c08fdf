//! One client: a transaction, what the model knows of it, and what it does.
//!
//! An action takes the [`Session`] and gives it back, so that it can stay pending at any lock or commit while other clients
//! go on. Each checks what it meets against the model at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use strata_core::table::{Isolation, ReadView};
use strata_core::txn::CommitTicket;
use strata_core::vfs::{FaultVfs, Vfs};
use strata_core::{Database, Error};

use super::action::Action;
use super::filter::Condition;
use super::model::{Model, State, Write};
use super::open::Open;
use super::reads::Part;
use super::statement::{change, get, insert, lock_row, pick_of, range};
use super::stop::{Stop, wrong};
use super::tally::{Did, SharedTally};
use super::{catalog, refusal, verify};
use crate::random::Random;

/// What all clients of a run share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) model: Rc<RefCell<Model>>,
    pub(super) tags: Rc<RefCell<i64>>,
    pub(super) disk: Disk,
    pub(super) tally: SharedTally,
    /// How many different keys there are.
    pub(super) keys: u64,
    /// The level of transactions that begin without being told to.
    pub(super) usual_level: Isolation,
    /// Rows from which a load is one.
    pub(super) bulk_rows: u64,
}

/// Whether the disk has failed since the database was opened.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) faults: FaultVfs,
    pub(super) failed_before: u64,
}

impl Disk {
    pub(super) fn over(files: Arc<dyn Vfs>) -> Self {
        Self { faults: FaultVfs::new(files), failed_before: 0 }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.faults.fired() > self.failed_before
    }
}

/// A client between two actions.
#[derive(Default)]
pub(super) struct Session {
    pub(super) open: Option<Open>,
    held: Vec<Held>,
}

/// A view that is kept, and what it should show.
struct Held {
    view: ReadView,
    expected: State,
    /// Whether its transaction had written before: what it shows of that is not said once the transaction has ended.
    shows_writes: bool,
    /// Whether the transaction goes on, and reads what is read through the view.
    is_open: bool,
}

/// The end of an action: what it did in words, or why it stopped.
pub(super) type Outcome = Result<String, Stop>;

impl Shared {
    pub(super) fn begin(&self, isolation: Isolation) -> Result<Open, Stop> {
        Ok(Open::new(self.database.begin(isolation)?))
    }

    /// What a snapshot shows that is taken now, and its timestamp.
    pub(super) fn see_published(&self) -> Result<(u64, State), Stop> {
        let timestamp = self.database.view().snapshot().timestamp().get();
        Ok((timestamp, self.model.borrow_mut().see(timestamp).map_err(Stop::Wrong)?))
    }

    pub(super) fn new_tag(&self) -> i64 {
        let mut tags = self.tags.borrow_mut();
        *tags += 1;
        *tags
    }
}

pub(super) const GONE: &str = "its table is gone or another, rolled back";

impl Session {
    /// Does one action. The session that comes back has no transaction where the action ended it.
    pub(super) async fn act(mut self, shared: Shared, action: Action) -> (Self, Outcome) {
        let outcome = self.dispatch(&shared, action).await;
        if matches!(&outcome, Err(Stop::Engine(_) | Stop::Ended(_))) {
            self.open = None;
            self.let_go_of_own();
        }
        (self, outcome)
    }

    async fn dispatch(&mut self, shared: &Shared, action: Action) -> Outcome {
        match action {
            Action::Commit => return self.commit(shared).await,
            Action::RollBack => {
                self.let_go_of_own();
                let had = self.open.take().is_some();
                return Ok(if had { "rolled back" } else { "nothing to roll back" }.into());
            }
            Action::ReadHeld { keep } => return self.read_held(shared, keep),
            _ => {}
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => shared.begin(match action {
                Action::Begin { level } => level,
                _ => shared.usual_level,
            })?,
        };
        let outcome = self.with_open(shared, action, &mut open).await;
        if !matches!(&outcome, Ok(said) if said == GONE) {
            self.open = Some(open);
        } else {
            self.let_go_of_own();
        }
        outcome
    }

    async fn with_open(&mut self, shared: &Shared, action: Action, open: &mut Open) -> Outcome {
        match action {
            Action::Insert { table, seed } => insert(shared, open, table, seed).await,
            Action::Update { table, pick, new_key, seed } => {
                change(shared, open, table, pick, Some((new_key, seed))).await
            }
            Action::Delete { table, pick } => change(shared, open, table, pick, None).await,
            Action::Lock { table, pick, mode } => lock_row(shared, open, table, pick, mode).await,
            Action::Get { table, pick, seed } => get(shared, open, table, pick, seed),
            Action::Range { table, pick, seed, reverse } => range(shared, open, table, pick, seed, reverse),
            Action::Filter { table, seed } => {
                let (view, expected) = open.view(shared)?;
                let Some(table) = pick_of(&expected, table) else { return Ok("no table".into()) };
                let Some(condition) = Condition::of_table(table, &mut Random::new(seed)) else {
                    return Ok("nothing to compare with".into());
                };
                open.note(table.def.id, Part::Filter(condition.clone()));
                let found = condition.scan(view.table(table.def.id)?, table)?;
                shared.tally.add(Did::Filter, 1);
                Ok(format!("found {found} rows of {}", table.def.name))
            }
            Action::Scan { table } => {
                let (view, expected) = open.view(shared)?;
                let Some(def) = pick_of(&expected, table) else { return Ok("no table".into()) };
                open.note(def.def.id, Part::Whole);
                let view = view.table(def.def.id)?;
                verify::scan(&view, def)?;
                if !view.has_own_loads() {
                    verify::statistics(&view)?;
                }
                Ok(format!("read {} rows of {}", def.rows.len(), def.def.name))
            }
            Action::ReadAll => {
                let (view, expected) = open.view(shared)?;
                expected.tables.keys().for_each(|table| open.note(*table, Part::Whole));
                verify::all(&view, &expected)?;
                Ok(format!("read all {} tables", expected.tables.len()))
            }
            Action::Hold => {
                if open.has_ddl() {
                    return Ok("holds nothing".into());
                }
                let (view, expected) = open.view(shared)?;
                let shows_writes = open.txn.position() > 0 || !open.writes.is_empty();
                self.held.push(Held { view, expected, shows_writes, is_open: true });
                Ok(format!("holds {} views", self.held.len()))
            }
            Action::Save => Ok(open.save()),
            Action::RollBackTo { pick } => open.roll_back_to(shared, pick),
            Action::Load { table, rows, seed } => super::load::load(shared, open, table, rows, seed).await,
            Action::Define { table, change, seed } => {
                // As in SQL: what an open cursor reads is not dropped under it.
                self.held.retain(|held| !held.is_open);
                super::define::define(shared, open, table, change, seed).await
            }
            Action::Begin { .. } | Action::Commit | Action::RollBack | Action::ReadHeld { .. } => {
                Ok("in a transaction".into())
            }
        }
    }

    /// The transaction ends. A snapshot outlives it, own writes do not.
    fn let_go_of_own(&mut self) {
        self.held.retain(|held| !held.shows_writes);
        self.held.iter_mut().for_each(|held| held.is_open = false);
    }

    fn read_held(&mut self, shared: &Shared, keep: bool) -> Outcome {
        let count = self.held.len();
        for Held { view, expected, is_open, .. } in &self.held {
            catalog::holds(view.catalog(), expected)?;
            let is_older = !catalog::is_same(expected, shared.model.borrow().latest());
            shared.tally.add(Did::OlderCatalog, u64::from(is_older));
            for (id, table) in &expected.tables {
                if let Some(open) = self.open.as_mut().filter(|_| *is_open) {
                    open.note_held(*id);
                }
                verify::scan(&view.table(*id)?, table)?;
            }
        }
        if !keep {
            self.held.clear();
        }
        Ok(format!("read {count} held views"))
    }

    async fn commit(&mut self, shared: &Shared) -> Outcome {
        let Some(open) = self.open.take() else { return Ok("nothing to commit".into()) };
        let has_spilled = open.has_spilled();
        let Open { txn, writes, reads, loaded, .. } = open;
        let is_row = |write: &Write| matches!(write, Write::Put { .. } | Write::Delete { .. });
        // A relation that has its old name again: nothing is written for that.
        let has_ddl = writes.iter().any(|write| !is_row(write));
        let has_come_back = has_ddl
            && !writes.iter().any(is_row)
            && txn.newest_catalog() == *shared.database.view().catalog();
        let (read_only, level) = (txn.is_read_only() || has_come_back, txn.isolation());
        self.let_go_of_own();
        let ticket = match txn.commit() {
            Ok(ticket) => ticket,
            Err(Error::ReadConflict) => {
                let (model, disk_failed) = (shared.model.borrow(), shared.disk.has_failed());
                let newest = model.latest();
                // A condition that cannot be asked of a row takes it for one of its own.
                if reads.due.iter().any(|read| read.was_blind(newest, disk_failed)) {
                    return Err(Stop::Ended(Error::ReadConflict));
                }
                return Err(refusal::of_reads(newest, &reads, &writes));
            }
            Err(error) => return Err(error.into()),
        };
        if ticket.is_refused() {
            return Err(refused(shared, ticket, &writes).await);
        }
        // A snapshot is a prefix of the history, whatever came since; but not where something newer has been told as well.
        let is_checked = !read_only || !reads.told.is_empty();
        for read in reads.due.iter().filter(|_| is_checked) {
            let holds = read.holds_in(shared.model.borrow().latest());
            holds.map_err(|what| wrong(format!("SERIALIZABLE commits, though {what}")))?;
        }
        if read_only {
            ticket.await?;
            return Ok("committed nothing".into());
        }
        let timestamp = shared.model.borrow_mut().commit(&writes).map_err(Stop::Wrong)?;
        let told = ticket.await?.get();
        if told != timestamp {
            return Err(wrong(format!("commit {timestamp} was told to be {told}")));
        }
        shared.model.borrow_mut().acknowledge(timestamp);
        let is_schema = |write: &Write| matches!(write, Write::Schema(..) | Write::DropSchema(_));
        let did = [
            (Did::Commit, true),
            (Did::SerializableCommit, level == Isolation::Serializable),
            (Did::Load, !loaded.is_empty()),
            (Did::Definition, has_ddl),
            (Did::SnapshotDefinition, has_ddl && level != Isolation::ReadCommitted),
            (Did::View, writes.iter().any(|write| matches!(write, Write::View(_)))),
            (Did::Schema, writes.iter().any(is_schema)),
            (Did::Spill, has_spilled),
        ];
        did.iter().for_each(|(did, done)| shared.tally.add(*did, u64::from(*done)));
        Ok(format!("committed {} writes as {timestamp}", writes.len()))
    }
}

/// The end of a commit that is refused, for a key that others have brought: they are to be durable before that is told.
async fn refused(shared: &Shared, ticket: CommitTicket, writes: &[Write]) -> Stop {
    let (newest, last) = {
        let model = shared.model.borrow();
        (model.latest().clone(), model.last())
    };
    match ticket.await {
        Ok(_) => wrong("a refused commit is told to be made"),
        Err(error @ Error::DuplicateKey { table, .. }) => match shared.see_published() {
            Ok((published, _)) if published < last => {
                wrong("a commit is refused for another that is not durable")
            }
            Ok(_) => refusal::of_late_key(error, newest, writes, table),
            Err(stop) => stop,
        },
        Err(error) => error.into(),
    }
}
