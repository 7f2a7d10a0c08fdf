//! A transaction, and what the model knows of it.
//!
//! **Catalog.** A transaction reads by the catalog of its snapshot until it changes the catalog itself. From then on it reads by the
//! newest one, with its own changes: DDL takes turns, so that stays the newest until its commit. Above READ COMMITTED the rows are
//! the snapshot's all the same. So it meets definitions that are newer than the rows, and heaps that are: those have no rows for it.
//! What checks a constraint, or builds an index, looks at the newest rows, whatever the snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use strata_core::Error;
use strata_core::catalog::TableDef;
use strata_core::ids::TableId;
use strata_core::row::Datum;
use strata_core::table::{Isolation, ReadView, Savepoint, Transaction};
use strata_core::txn::TableLockMode;

use super::catalog;
use super::client::Shared;
use super::model::{OWN, Row, State, Write};
use super::reads::{Part, Read};
use super::stop::{Stop, wrong};
use super::tally::Did;

/// A transaction and what it wrote.
pub(super) struct Open {
    pub(super) txn: Transaction,
    pub(super) writes: Vec<Write>,
    /// The state at the snapshot of the transaction, once taken, where it has one.
    base: Option<State>,
    /// The newest state when the transaction changed the catalog first: its catalog is what it has read by since.
    defined_over: Option<State>,
    pub(super) reads: SerialReads,
    saves: Vec<Save>,
    /// Rows that cannot be changed before the commit.
    pub(super) loaded: BTreeSet<(TableId, i64)>,
}

/// What a SERIALIZABLE transaction has read, and been told.
#[derive(Default)]
pub(super) struct SerialReads {
    /// What must be as it was when the transaction commits.
    pub(super) due: Vec<Read>,
    /// Of these, what insertions that it has not undone have told of the keys that they found free; as its snapshot has them.
    claims: Vec<Read>,
    /// Tables that it has loaded rows into and not undone that; as its snapshot has them.
    loads: Vec<Read>,
    /// What insertions told that were refused or undone: all that is left of them is a read. As its snapshot has it.
    pub(super) told: Vec<Read>,
    /// What the engine may have taken for read as well: it is coarser where own changes of the catalog are undone.
    pub(super) perhaps: Vec<Read>,
    /// The tables that it has brought rows to, undone or not.
    claimed: BTreeSet<TableId>,
}

/// A savepoint and what the model knew there.
struct Save {
    place: Savepoint,
    writes: usize,
    claims: usize,
    loads: usize,
    loaded: BTreeSet<(TableId, i64)>,
    defined_over: Option<State>,
}

impl Open {
    pub(super) fn new(txn: Transaction) -> Self {
        Self {
            txn,
            writes: Vec::new(),
            base: None,
            defined_over: None,
            reads: SerialReads::default(),
            saves: Vec::new(),
            loaded: BTreeSet::new(),
        }
    }

    /// Whether it has changed the catalog.
    pub(super) fn has_ddl(&self) -> bool {
        self.defined_over.is_some()
    }

    /// Whether its own changes of the catalog are over one that is newer than its snapshot.
    fn reads_by_newer_catalog(&self) -> bool {
        let (Some(base), Some(newer)) = (&self.base, &self.defined_over) else { return false };
        !catalog::is_same(base, newer)
    }

    /// The transaction changes the catalog, which the newest state has as it was before.
    pub(super) fn define(&mut self, shared: &Shared, write: Write) {
        self.defined_over.get_or_insert_with(|| shared.model.borrow().latest().clone());
        self.writes.push(write);
    }

    /// What a statement that begins now reads, and what it should show.
    pub(super) fn view(&mut self, shared: &Shared) -> Result<(ReadView, State), Stop> {
        let view = self.txn.view();
        let timestamp = view.snapshot().timestamp().get();
        if self.txn.isolation() == Isolation::ReadCommitted {
            let seen = shared.model.borrow_mut().see(timestamp).map_err(Stop::Wrong)?;
            return self.checked(shared, view, seen);
        }
        if self.base.is_none() {
            self.base = Some(shared.model.borrow_mut().see(timestamp).map_err(Stop::Wrong)?);
        }
        let seen = self.snapshot().expect("just put there");
        shared.tally.add(Did::NewerCatalog, u64::from(self.reads_by_newer_catalog()));
        self.checked(shared, view, seen)
    }

    /// A view, and what it should show over this; fails where its catalog names something else.
    fn checked(&self, shared: &Shared, view: ReadView, seen: State) -> Result<(ReadView, State), Stop> {
        let is_older = !catalog::is_same(&seen, shared.model.borrow().latest());
        shared.tally.add(Did::OlderCatalog, u64::from(is_older));
        let due = self.over(seen)?;
        catalog::holds(view.catalog(), &due)?;
        Ok((view, due))
    }

    /// What the transaction would read if it had changed the catalog: all of a table is read, which is locked.
    pub(super) fn view_to_define(
        &mut self,
        shared: &Shared,
        table: TableId,
    ) -> Result<(ReadView, State), Stop> {
        self.view(shared)?;
        let seen = self.base.as_ref().ok_or_else(|| wrong("a view of no snapshot"))?;
        let seen = seen.by_catalog_of(shared.model.borrow().latest());
        if self.is_noted(table) {
            self.reads.due.push(Read::of(&seen, table, Part::Whole));
        }
        Ok((self.txn.view_to_define(), self.over(seen)?))
    }

    /// What the transaction's snapshot has, by the catalog that the transaction reads by; without own writes.
    fn snapshot(&self) -> Option<State> {
        let base = self.base.as_ref()?;
        Some(match &self.defined_over {
            Some(newer) => base.by_catalog_of(newer),
            None => base.clone(),
        })
    }

    /// Whether what is read in a table is noted: in a SERIALIZABLE transaction, unless the table has a heap that only the transaction
    /// knows.
    fn is_noted(&self, table: TableId) -> bool {
        let heap_of = |state: &State| state.tables.get(&table).map(|table| table.def.heap);
        let own = self.writes.iter().rev().find_map(|write| match write {
            Write::Define(def) | Write::Truncate(def) if def.id == table => Some(def.heap),
            _ => None,
        });
        let is_shared = own.is_none() || own == self.defined_over.as_ref().and_then(heap_of);
        is_shared && self.txn.isolation() == Isolation::Serializable
    }

    /// The snapshot, where what is read in a table is noted.
    fn noted_snapshot(&self, table: TableId) -> Option<State> {
        self.snapshot().filter(|_| self.is_noted(table))
    }

    /// Notes a read of the transaction's snapshot, which [`view`](Self::view) has taken.
    pub(super) fn note(&mut self, table: TableId, part: Part) {
        if let Some(seen) = self.noted_snapshot(table) {
            self.reads.due.push(Read::of(&seen, table, part));
        }
    }

    /// Notes a read of a whole table through a view that is older than what the transaction has changed in the catalog.
    pub(super) fn note_held(&mut self, table: TableId) {
        if let (Some(base), Isolation::Serializable) = (&self.base, self.txn.isolation()) {
            self.reads.due.push(Read::of(base, table, Part::Whole));
        }
    }

    /// The engine may take a whole table for read.
    pub(super) fn note_perhaps(&mut self, table: TableId) {
        if let Some(seen) = self.noted_snapshot(table) {
            self.reads.perhaps.push(Read::of(&seen, table, Part::Whole));
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
        replaces: Option<&Row>,
        refusal: Option<&Error>,
    ) {
        self.reads.claimed.insert(table);
        if self.has_ddl() && refusal.is_some() {
            // It may be for a key of an index that the snapshot does not know.
            self.note_perhaps(table);
        }
        let Some(seen) = self.noted_snapshot(table) else { return };
        let model = shared.model.borrow();
        let newest = model.latest();
        if matches!(refusal, None | Some(Error::DuplicateKey { .. })) {
            // It may have found one key free before it was refused for another.
            self.reads.claims.extend(Read::of_free_keys(&seen, table, values, replaces));
        }
        match refusal {
            None => self.reads.due.extend(Read::of_free_keys(newest, table, values, replaces)),
            Some(Error::DuplicateKey { index, key, .. }) => {
                let Some(there) = newest.tables.get(&table).filter(|table| table.def.index(*index).is_some())
                else {
                    return;
                };
                let part = || Part::key(&there.def, *index, key.clone());
                self.reads.due.push(Read::of(newest, table, part()));
                self.reads.told.push(Read::of(&seen, table, part()));
            }
            Some(_) => {}
        }
    }

    /// Notes a load in blocks, which the engine takes for a read of the whole table where it is undone, whatever the keys.
    pub(super) fn claim_table(&mut self, table: TableId) {
        self.reads.claimed.insert(table);
        if let Some(seen) = self.noted_snapshot(table) {
            self.reads.claims.push(Read::of(&seen, table, Part::Whole));
        }
    }

    /// Notes a load of rows that may have been inserted one by one: what that has told is noted with each. The engine is coarser where
    /// they were many, and where they went into blocks.
    pub(super) fn note_load(&mut self, table: TableId) {
        if let Some(seen) = self.noted_snapshot(table) {
            self.reads.loads.push(Read::of(&seen, table, Part::Whole));
        }
    }

    /// Remembers where the transaction is.
    pub(super) fn save(&mut self) -> String {
        let (place, writes) = (self.txn.savepoint(), self.writes.len());
        let (claims, loads) = (self.reads.claims.len(), self.reads.loads.len());
        let (loaded, defined_over) = (self.loaded.clone(), self.defined_over.clone());
        self.saves.push(Save { place, writes, claims, loads, loaded, defined_over });
        format!("saved at {writes} writes")
    }

    /// Goes back to where it was. Views that were taken since go on showing what they showed.
    pub(super) fn roll_back_to(&mut self, shared: &Shared, pick: u64) -> Result<String, Stop> {
        let Some(place) = pick.checked_rem(self.saves.len() as u64) else {
            return Ok("nothing saved".into());
        };
        self.saves.truncate(place as usize + 1);
        let save = &self.saves[place as usize];
        self.txn.rollback_to(&save.place)?;
        self.writes.truncate(save.writes);
        self.reads.told.extend(self.reads.claims.drain(save.claims..));
        self.reads.perhaps.extend(self.reads.loads.drain(save.loads..));
        let had_ddl = self.defined_over.is_some();
        self.defined_over.clone_from(&save.defined_over);
        self.loaded.clone_from(&save.loaded);
        let said = format!("back to {} writes", save.writes);
        if had_ddl {
            // Keys of an index that is undone too count as the whole table, as do those of a heap that is.
            self.reads.claimed.clone().into_iter().for_each(|table| self.note_perhaps(table));
        }
        self.view(shared)?;
        Ok(said)
    }

    /// A state with the transaction's own writes.
    fn over(&self, mut state: State) -> Result<State, Stop> {
        for write in &self.writes {
            state.apply(write, OWN).map_err(|what| wrong(format!("a statement sees that {what}")))?;
        }
        Ok(state)
    }

    /// Whether rows that it inserted one by one have been written out.
    pub(super) fn has_spilled(&self) -> bool {
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

    /// Locks a table that the transaction is about to redefine, or another relation; the table's definition from then on. No snapshot
    /// has a say in that.
    pub(super) async fn lock_to_define(
        &mut self,
        shared: &Shared,
        table: TableId,
        mode: TableLockMode,
    ) -> Result<Option<Arc<TableDef>>, Stop> {
        if self.txn.isolation() == Isolation::ReadCommitted {
            return self.lock(shared, table, mode).await;
        }
        self.txn.lock_table(table, mode).await?;
        self.check_newest_catalog(shared)?;
        Ok(self.txn.newest_catalog().table(table).ok().cloned())
    }

    /// Fails where the newest catalog names something else than the last commit left, and the transaction itself. After a failure of
    /// the disk it may be one that is never published.
    pub(super) fn check_newest_catalog(&self, shared: &Shared) -> Result<(), Stop> {
        match shared.disk.has_failed() {
            true => Ok(()),
            false => catalog::holds(&self.txn.newest_catalog(), &self.newest(shared)?),
        }
    }
}
