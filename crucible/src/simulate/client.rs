//! One client: a transaction, what the model knows of it, and what it does.
//!
//! An action takes the [`Session`] and gives it back, so that it can stay pending at any lock or commit while other clients
//! go on. Each checks what it meets against the model at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use strata_core::catalog::TableDef;
use strata_core::ids::TableId;
use strata_core::row::Datum;
use strata_core::table::{Isolation, ReadView, Savepoint, Transaction};
use strata_core::txn::{CommitTicket, TableLockMode};
use strata_core::vfs::{FaultVfs, Vfs};
use strata_core::{Database, Error};

use super::action::Action;
use super::filter::Condition;
use super::model::{Model, OWN, State, Write};
use super::reads::{Part, Read};
use super::statement::{change, get, insert, lock_row, pick_of, range};
use super::stop::{Stop, wrong};
use super::tally::{Did, SharedTally};
use super::{refusal, verify};
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

/// A transaction and what it wrote.
pub(super) struct Open {
    pub(super) txn: Transaction,
    pub(super) writes: Vec<Write>,
    /// The state at the snapshot of the transaction, once taken, where it has one.
    base: Option<State>,
    /// What it has read, where it is SERIALIZABLE.
    reads: Vec<Read>,
    /// Of these, what insertions that it has not undone have told of the keys that they found free; as its snapshot has them.
    claims: Vec<Read>,
    /// What insertions told that were refused or undone: all that is left of them is a read. As its snapshot has it.
    told: Vec<Read>,
    saves: Vec<Save>,
    /// Rows that cannot be changed before the commit.
    pub(super) loaded: BTreeSet<(TableId, i64)>,
    pub(super) has_ddl: bool,
}

/// A savepoint and what the model knew there.
struct Save {
    place: Savepoint,
    writes: usize,
    claims: usize,
    loaded: BTreeSet<(TableId, i64)>,
    has_ddl: bool,
}

/// The end of an action: what it did in words, or why it stopped.
pub(super) type Outcome = Result<String, Stop>;

impl Shared {
    pub(super) fn begin(&self, isolation: Isolation) -> Result<Open, Stop> {
        let txn = self.database.begin(isolation)?;
        Ok(Open {
            txn,
            writes: Vec::new(),
            base: None,
            reads: Vec::new(),
            claims: Vec::new(),
            told: Vec::new(),
            saves: Vec::new(),
            loaded: BTreeSet::new(),
            has_ddl: false,
        })
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

impl Open {
    /// What a statement that begins now reads, and what it should show.
    pub(super) fn view(&mut self, shared: &Shared) -> Result<(ReadView, State), Stop> {
        let view = self.txn.view();
        let timestamp = view.snapshot().timestamp().get();
        let base = match &self.base {
            Some(base) => base.clone(),
            None => shared.model.borrow_mut().see(timestamp).map_err(Stop::Wrong)?,
        };
        if self.txn.isolation() != Isolation::ReadCommitted {
            self.base = Some(base.clone());
        }
        Ok((view, self.over(base)?))
    }

    /// Notes a read of the transaction's snapshot, which [`view`](Self::view) has taken.
    pub(super) fn note(&mut self, table: TableId, part: Part) {
        if self.txn.isolation() == Isolation::Serializable
            && let Some(base) = &self.base
        {
            self.reads.push(Read::of(base, table, part));
        }
    }

    /// Notes what an insertion has told of the keys that are taken: of all of the row's, or of the one that it was refused for.
    ///
    /// The engine takes what is undone for a read of the snapshot, and may refuse for what has changed between that and the insertion.
    pub(super) fn note_keys(
        &mut self,
        shared: &Shared,
        table: TableId,
        values: &[Datum],
        refusal: Option<&Error>,
    ) {
        let Some(base) = self.base.as_ref().filter(|_| self.txn.isolation() == Isolation::Serializable)
        else {
            return;
        };
        let model = shared.model.borrow();
        let newest = model.latest();
        if matches!(refusal, None | Some(Error::DuplicateKey { .. })) {
            // It may have found one key free before it was refused for another.
            self.claims.extend(Read::of_free_keys(base, table, values));
        }
        match refusal {
            None => self.reads.extend(Read::of_free_keys(newest, table, values)),
            Some(Error::DuplicateKey { index, key, .. }) => {
                let Some(def) = newest.tables.get(&table).and_then(|table| table.def.index(*index)) else {
                    return;
                };
                let part = || Part::key(def, key.clone());
                self.reads.push(Read::of(newest, table, part()));
                self.told.push(Read::of(base, table, part()));
            }
            Some(_) => {}
        }
    }

    /// Notes a load, which has told of more keys than the engine goes into: where it is undone, it has read the table.
    pub(super) fn claim_table(&mut self, table: TableId) {
        if let Some(base) = self.base.as_ref().filter(|_| self.txn.isolation() == Isolation::Serializable) {
            self.claims.push(Read::of(base, table, Part::Whole));
        }
    }

    /// A state with the transaction's own writes.
    fn over(&self, mut state: State) -> Result<State, Stop> {
        for write in &self.writes {
            state.apply(write, OWN).map_err(|what| wrong(format!("a statement sees that {what}")))?;
        }
        Ok(state)
    }

    /// Whether rows that it inserted one by one have been written out.
    fn has_spilled(&self) -> bool {
        let view = self.txn.view();
        let written = self.writes.iter().filter_map(|write| match write {
            Write::Put { table, .. } if self.loaded.is_empty() => Some(*table),
            _ => None,
        });
        let segments =
            written.filter_map(|table| view.clone().into_table(table).ok()?.untracked().segments().ok());
        segments.flatten().any(|segment| segment.segment().first_row().is_provisional())
    }

    /// What is published, with the transaction's own writes: what it may be told of constraints.
    pub(super) fn published(&self, shared: &Shared) -> Result<State, Stop> {
        self.over(shared.see_published()?.1)
    }

    /// The newest state with the transaction's own writes.
    pub(super) fn newest(&self, shared: &Shared) -> Result<State, Stop> {
        self.over(shared.model.borrow().latest().clone())
    }

    /// A table out of those there are.
    pub(super) fn pick(&self, table: u64) -> Option<Arc<TableDef>> {
        let catalog = self.txn.newest_catalog();
        let tables: Vec<_> = catalog.tables().collect();
        let place = table.checked_rem(tables.len() as u64)?;
        Some(tables[place as usize].clone())
    }

    /// Locks a table; its definition from then on, and `None` where it has gone, or where the transaction's snapshot
    /// knows another.
    pub(super) async fn lock(
        &mut self,
        shared: &Shared,
        table: TableId,
        mode: TableLockMode,
    ) -> Result<Option<Arc<TableDef>>, Stop> {
        self.txn.lock_table(table, mode).await?;
        let catalog = self.txn.newest_catalog();
        let Ok(def) = catalog.table(table) else { return Ok(None) };
        let (view, _) = self.view(shared)?;
        let same = view.catalog().table(table).is_ok_and(|seen| **seen == **def);
        // ROW SHARE and SHARE let CREATE INDEX by, which may be on its way to the disk. After a failed sync the newest
        // catalog may be one that is never published; such a database takes no writes.
        let lets_indexes_by = matches!(mode, TableLockMode::RowShare | TableLockMode::Share);
        let may_differ = lets_indexes_by || shared.disk.has_failed();
        if !same && self.txn.isolation() == Isolation::ReadCommitted && !may_differ {
            return Err(wrong(format!("{} is locked, and a new snapshot has another definition", def.name)));
        }
        Ok(same.then(|| def.clone()))
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
            Action::ReadHeld { keep } => return self.read_held(keep),
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
                if open.has_ddl {
                    return Ok("holds nothing".into());
                }
                let (view, expected) = open.view(shared)?;
                let shows_writes = open.txn.position() > 0 || !open.writes.is_empty();
                self.held.push(Held { view, expected, shows_writes, is_open: true });
                Ok(format!("holds {} views", self.held.len()))
            }
            Action::Save => {
                let (place, writes, claims) = (open.txn.savepoint(), open.writes.len(), open.claims.len());
                let (loaded, has_ddl) = (open.loaded.clone(), open.has_ddl);
                open.saves.push(Save { place, writes, claims, loaded, has_ddl });
                Ok(format!("saved at {writes} writes"))
            }
            Action::RollBackTo { pick } => Self::roll_back_to(open, pick),
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

    /// Views that were taken since go on showing what they showed.
    fn roll_back_to(open: &mut Open, pick: u64) -> Outcome {
        let Some(place) = pick.checked_rem(open.saves.len() as u64) else {
            return Ok("nothing saved".into());
        };
        open.saves.truncate(place as usize + 1);
        let save = &open.saves[place as usize];
        open.txn.rollback_to(&save.place)?;
        open.writes.truncate(save.writes);
        open.told.extend(open.claims.drain(save.claims..));
        open.has_ddl = save.has_ddl;
        open.loaded.clone_from(&save.loaded);
        Ok(format!("back to {} writes", save.writes))
    }

    /// The transaction ends. A snapshot outlives it, own writes do not.
    fn let_go_of_own(&mut self) {
        self.held.retain(|held| !held.shows_writes);
        self.held.iter_mut().for_each(|held| held.is_open = false);
    }

    fn read_held(&mut self, keep: bool) -> Outcome {
        let count = self.held.len();
        for Held { view, expected, is_open, .. } in &self.held {
            for (id, table) in &expected.tables {
                if let Some(open) = self.open.as_mut().filter(|_| *is_open) {
                    open.note(*id, Part::Whole);
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
        let Open { txn, writes, reads, told, loaded, .. } = open;
        let (read_only, level) = (txn.is_read_only(), txn.isolation());
        self.let_go_of_own();
        let ticket = match txn.commit() {
            Ok(ticket) => ticket,
            Err(Error::ReadConflict) => {
                // A filter that cannot read a row takes it for one of its own.
                let is_coarse = shared.disk.has_failed() && reads.iter().any(Read::is_filtered);
                if is_coarse {
                    return Err(Stop::Ended(Error::ReadConflict));
                }
                return Err(refusal::of_reads(shared.model.borrow().latest(), &reads, &told, &writes));
            }
            Err(error) => return Err(error.into()),
        };
        if ticket.is_refused() {
            return Err(refused(shared, ticket, &writes).await);
        }
        // A snapshot is a prefix of the history, whatever came since; but not where something newer has been told as well.
        let is_checked = !read_only || !told.is_empty();
        for read in reads.iter().filter(|_| is_checked) {
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
        let is_ddl = |write: &Write| !matches!(write, Write::Put { .. } | Write::Delete { .. });
        let did = [
            (Did::Commit, true),
            (Did::SerializableCommit, level == Isolation::Serializable),
            (Did::Load, !loaded.is_empty()),
            (Did::Definition, writes.iter().any(is_ddl)),
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
