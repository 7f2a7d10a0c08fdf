//! Transactions: private writes under locks, committed whole or not at all.
//!
//! | level | reads | writes |
//! |---|---|---|
//! | READ COMMITTED | a new snapshot for each [`view`](Transaction::view) | waits for a row's lock, then goes on with its newest version |
//! | REPEATABLE READ | one snapshot, taken at the first view | `SerializationFailure` when the row was changed after the snapshot, rather than moved, or its table |
//! | SERIALIZABLE | one snapshot | as above; at commit `ReadConflict` when a row that a read depends on came or ended since |
//!
//! Methods that may have to wait for another transaction are `async`, without a runtime: await them on any
//! executor, or use [`block_on`](crate::txn::block_on). Dropping a transaction rolls it back.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::keys::{encode_index_key, index_keys, row_has_key};
use super::read_set::{ReadCheck, ReadPredicate, ReadSet};
use super::row::TableRow;
use super::savepoint::Timeline;
use super::shared::Shared;
use super::unique::commit::{Claims, UniqueCheck};
use super::unique::duplicate;
use super::view::{OwnWrites, ReadView, TableView};
use crate::catalog::system::SystemTable;
use crate::catalog::{Catalog, CatalogRows, IndexDef, TableDef, read_system_table};
use crate::error::{Error, Result};
use crate::heap::{Heap, Mark};
use crate::ids::{HeapId, RowId, TableId, TxnId};
use crate::lsm::find_in_tables;
use crate::row::{Datum, encode_row};
use crate::txn::{
    BulkPart, CommitTicket, LockMode, LockTicket, OnApply, Precondition, Resource, RowKey, RowLockMode,
    Snapshot, TableLockMode, WriteSet,
};

/// What is set aside for a row before it is encoded.
const ROW_BYTES: usize = 256;

/// How transactions see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    #[default]
    ReadCommitted,
    /// All statements see what was committed before the first.
    RepeatableRead,
    /// As REPEATABLE READ, and the outcome is that of running the transactions one after another.
    Serializable,
}

/// What became of a row that was to be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// It is locked as it is.
    Current,
    /// It had been replaced; this newest version is locked instead. Conditions must be evaluated anew.
    Moved(RowId),
    /// It had been deleted.
    Gone,
}

/// A transaction. See the module.
pub struct Transaction {
    shared: Arc<Shared>,
    id: TxnId,
    isolation: Isolation,
    snapshot: RwLock<Option<Snapshot>>,
    pub(super) writes: Arc<RwLock<WriteSet>>,
    /// Rows that are locked in another place than the one that the snapshot shows.
    moved: Mutex<BTreeMap<(HeapId, RowId), RowId>>,
    /// What was read, where the level is SERIALIZABLE.
    reads: Option<Arc<ReadSet>>,
    pub(super) ddl: Option<PrivateCatalog>,
    pub(super) timeline: Timeline,
    claims: Claims,
    finished: bool,
}

/// The catalog that DDL began from, and what it has made of it.
#[derive(Clone, Debug)]
pub(super) struct PrivateCatalog {
    base: Arc<Catalog>,
    changed: Arc<Catalog>,
}

impl Transaction {
    pub(crate) fn begin(shared: Arc<Shared>, isolation: Isolation) -> Result<Self> {
        let writes = Arc::new(RwLock::new(WriteSet::new(&shared.store.pool)?));
        let id = shared.next_txn();
        let reads = (isolation == Isolation::Serializable).then(Arc::default);
        let (snapshot, timeline) = (RwLock::new(None), Timeline::default());
        let (moved, claims) = (Mutex::default(), Claims::default());
        Ok(Self {
            shared,
            id,
            isolation,
            snapshot,
            writes,
            moved,
            reads,
            ddl: None,
            timeline,
            claims,
            finished: false,
        })
    }

    /// Its number in this process.
    pub fn id(&self) -> TxnId {
        self.id
    }

    /// Its isolation level.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// What a statement that begins now reads: all own writes so far, and the snapshot of its level.
    pub fn view(&self) -> ReadView {
        self.view_at(self.statement_snapshot(), self.reads.clone(), self.own_catalog())
    }

    /// What a statement that begins now would read if the transaction had changed the catalog: the same rows, by the newest catalog.
    /// Of use before a constraint is added to a table that is locked against all others: these rows must meet it too, which the
    /// transaction goes on reading by the new definition. Its snapshot may know another one, or no such table.
    pub fn view_to_define(&self) -> ReadView {
        self.view_at(self.statement_snapshot(), self.reads.clone(), Some(self.newest_catalog()))
    }

    fn statement_snapshot(&self) -> Snapshot {
        match self.isolation {
            Isolation::ReadCommitted => self.shared.store.snapshots.take(),
            Isolation::RepeatableRead | Isolation::Serializable => {
                let mut held = self.snapshot.write();
                held.get_or_insert_with(|| self.shared.store.snapshots.take()).clone()
            }
        }
    }

    /// A view of the table that notes what is read, where the level is SERIALIZABLE.
    pub(super) fn tracked_view(&self, table: TableId) -> Result<Option<TableView>> {
        self.reads.as_ref().map(|_| self.view().into_table(table)).transpose()
    }

    /// A view of all that is published now and of all own writes, whatever the level. What it reads is not noted: of use
    /// where a lock keeps the table as it is, and the rows are no statement's answer.
    pub fn latest_view(&self) -> ReadView {
        self.view_at(self.shared.store.snapshots.take(), None, self.own_catalog())
    }

    fn view_at(
        &self,
        snapshot: Snapshot,
        reads: Option<Arc<ReadSet>>,
        catalog: Option<Arc<Catalog>>,
    ) -> ReadView {
        let writes = self.writes.read();
        let own = (!writes.is_empty()).then(|| OwnWrites {
            writes: self.writes.clone(),
            position: writes.position(),
            _token: self.timeline.view(),
        });
        drop(writes);
        ReadView::new(self.shared.clone(), snapshot, own, reads, catalog)
    }

    /// How many writes there were: where a savepoint or a statement begins.
    pub fn position(&self) -> u64 {
        self.writes.read().position()
    }

    /// Whether a commit would change nothing.
    pub fn is_read_only(&self) -> bool {
        self.writes.read().is_empty() && self.ddl.is_none()
    }

    /// Whether the transaction changed the catalog.
    pub fn has_ddl(&self) -> bool {
        self.ddl.is_some()
    }

    /// The newest catalog there is, own DDL included. What it says of a table holds while the table is locked.
    pub fn newest_catalog(&self) -> Arc<Catalog> {
        self.own_catalog().unwrap_or_else(|| self.shared.catalog.latest())
    }

    /// What its own DDL has made of the catalog, if there was any.
    fn own_catalog(&self) -> Option<Arc<Catalog>> {
        self.ddl.as_ref().map(|ddl| ddl.changed.clone())
    }

    /// A table as the newest catalog has it, which it stays while it is locked.
    ///
    /// # Errors
    /// `NotFound`; `Poisoned`: after a failure the newest catalog may be that of a commit whose fate is unknown, and its locks are free.
    pub fn newest_table(&self, table: TableId) -> Result<Arc<TableDef>> {
        self.shared.store.check_writable()?;
        self.newest_catalog().table(table).cloned()
    }

    /// Locks a table until the transaction ends.
    pub fn lock_table(&self, table: TableId, mode: TableLockMode) -> LockTicket {
        self.shared.store.locks.acquire(self.id, Resource::Table(table), LockMode::Table(mode))
    }

    /// Inserts a row: a value for each column of the newest schema, dropped ones too, in the order of their ids.
    /// The table must be locked with `RowExclusive`.
    ///
    /// # Errors
    /// `NotNull`, `DuplicateKey`, `TooLarge`, `OutOfMemory`, `Deadlock`; `SerializationFailure` where DDL has changed the table's columns,
    /// indexes or heap since this was its definition.
    pub async fn insert(&self, table: &TableDef, values: &[Datum]) -> Result<RowId> {
        self.check_newest(table)?;
        let (bytes, keys) = self.encode(table, values)?;
        for index in table.indexes.iter().filter(|index| index.unique) {
            self.claim_key(table, index, values, &keys).await?;
        }
        let mut writes = self.writes.write();
        self.spill_if_due(table, &mut writes)?;
        writes.insert(table.heap, bytes, keys)
    }

    /// Replaces a row, which must be locked (see [`lock_row`](Self::lock_row)), by new values.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub async fn update(&self, view: &TableView, row: RowId, values: &[Datum]) -> Result<RowId> {
        let table = view.def();
        self.check_newest(table)?;
        self.check_own(view, row)?;
        let (bytes, keys) = self.encode(table, values)?;
        let old = view.row(row)?;
        for index in table.indexes.iter().filter(|index| index.unique) {
            if !keeps_key(table, index, &old, &keys)? {
                self.claim_key(table, index, values, &keys).await?;
            }
        }
        let target = self.place_of(table.heap, row);
        let mut writes = self.writes.write();
        self.spill_if_due(table, &mut writes)?;
        let before = writes.position();
        let successor = writes.insert(table.heap, bytes, keys)?;
        // A new version without the mark of the old one would be a second row.
        let marked = end_row(&mut writes, table.heap, (row, target), Some(successor))
            .inspect_err(|_| writes.rollback_to(before));
        marked.map(|()| successor)
    }

    /// Deletes a row, which must be locked.
    ///
    /// # Errors
    /// `OutOfMemory`; `SerializationFailure` where the table has another heap by now.
    pub fn delete(&self, view: &TableView, row: RowId) -> Result<()> {
        self.check_newest_of(view.def(), |newest| newest.heap == view.def().heap)?;
        self.check_own(view, row)?;
        let target = self.place_of(view.def().heap, row);
        end_row(&mut self.writes.write(), view.def().heap, (row, target), None)
    }

    /// A row is written by the definition that its table has now: an older one lacks indexes that must find the row, or columns, or names
    /// a heap that nobody reads any more. Above READ COMMITTED a snapshot may be older than what DDL has committed before the table was
    /// locked; a transaction that begins anew knows it. So does a statement that begins anew, where the transaction itself has done
    /// the DDL since its view was taken.
    fn check_newest(&self, table: &TableDef) -> Result<()> {
        self.check_newest_of(table, |newest| {
            (newest.heap, &newest.schema, &newest.indexes) == (table.heap, &table.schema, &table.indexes)
        })
    }

    fn check_newest_of(&self, table: &TableDef, is_same: impl FnOnce(&TableDef) -> bool) -> Result<()> {
        let catalog = self.newest_catalog();
        let newest = catalog.table(table.id).ok().map(Arc::as_ref);
        if newest.is_some_and(|newest| std::ptr::eq(newest, table) || is_same(newest)) {
            return Ok(());
        }
        // After a failure the newest catalog may be that of a commit whose fate is unknown.
        self.shared.store.check_writable()?;
        Err(Error::SerializationFailure)
    }

    /// Where a row that the transaction has locked is, if maintenance has moved it.
    fn place_of(&self, heap: HeapId, row: RowId) -> RowId {
        self.moved.lock().get(&(heap, row)).copied().unwrap_or(row)
    }

    /// Ends a row, which must be locked and live, and writes it as it is to the end of the heap; returns its size in bytes.
    pub(super) fn move_row(&self, view: &TableView, row: RowId) -> Result<usize> {
        let table = view.def();
        let values = view.row(row)?.to_datums(&table.schema)?;
        let mut bytes = Vec::new();
        encode_row(&table.schema, &values, &mut bytes)?;
        let size_bytes = bytes.len();
        let mut writes = self.writes.write();
        let successor = writes.insert(table.heap, bytes.into(), index_keys(table, &values)?)?;
        writes.move_row(table.heap, row, successor)?;
        Ok(size_bytes)
    }

    /// A provisional RowId must be a row of the write set: those of an uncommitted bulk load are not.
    fn check_own(&self, view: &TableView, row: RowId) -> Result<()> {
        let writes = self.writes.read();
        if row.is_provisional() && !writes.heap(view.def().heap).is_some_and(|heap| heap.has_row(row)) {
            let message = "rows that this transaction loaded in bulk cannot be changed before it commits";
            return Err(Error::Unsupported(message.into()));
        }
        Ok(())
    }

    /// Locks a row that `view` shows, waiting for whoever holds it, and tells what it has become meanwhile. A row that
    /// maintenance has only moved is locked where it is now, and goes on being named as the view shows it. For an own version of a
    /// committed row that one is locked: an UPDATE that keeps the key does not hold it as a DELETE must.
    ///
    /// # Errors
    /// `SerializationFailure` where the level is above READ COMMITTED and the row was changed after the snapshot;
    /// `Deadlock`.
    pub async fn lock_row(&self, view: &TableView, row: RowId, mode: RowLockMode) -> Result<Locked> {
        self.lock_newest(view, row, |heap, row| self.acquire_row(heap, row, mode)).await
    }

    /// As [`lock_row`](Self::lock_row), but waits for nobody: `None` where another transaction has the row, or
    /// waits for it already, in a mode that conflicts.
    ///
    /// # Errors
    /// `SerializationFailure`, as there.
    pub async fn try_lock_row(
        &self,
        view: &TableView,
        row: RowId,
        mode: RowLockMode,
    ) -> Result<Option<Locked>> {
        let locks = &self.shared.store.locks;
        let acquire = |heap, row| locks.acquire_now(self.id, &Resource::Row(heap, row), LockMode::Row(mode));
        match self.lock_newest(view, row, acquire).await {
            Err(Error::LockTimeout) => Ok(None),
            locked => locked.map(Some),
        }
    }

    /// Locks a row where it is now, as `acquire` asks for it.
    async fn lock_newest(
        &self,
        view: &TableView,
        row: RowId,
        acquire: impl Fn(HeapId, RowId) -> LockTicket,
    ) -> Result<Locked> {
        if row.is_provisional() {
            return self.lock_original(view, row, acquire).await;
        }
        let (heap, mut current, mut changed) = (view.def().heap, row, false);
        loop {
            // Who waited for a row that was replaced meanwhile holds what replaced it.
            let locked = acquire(heap, current).await?.unwrap_or(current);
            while current != locked {
                let mark = view.heap().mark(current)?;
                let next = mark.and_then(|mark| mark.successor);
                changed |= next.is_none() || mark.is_some_and(|mark| !mark.moved);
                current = next.unwrap_or(locked);
            }
            // After a failure the locks of commits whose fate is unknown are free: what they left is not to be seen.
            self.shared.store.check_writable()?;
            let mark = view.heap().mark(current)?;
            changed |= mark.is_some_and(|mark| !mark.moved);
            if changed && self.isolation != Isolation::ReadCommitted {
                return Err(Error::SerializationFailure);
            }
            match mark {
                None if changed => return Ok(Locked::Moved(current)),
                None => {
                    if current != row {
                        self.moved.lock().insert((heap, row), current);
                    }
                    return Ok(Locked::Current);
                }
                Some(mark) => match mark.successor {
                    Some(successor) => current = successor,
                    None => return Ok(Locked::Gone),
                },
            }
        }
    }

    /// Locks the committed row that an own one has taken the place of: for others it is that row until the commit. The transaction has
    /// locked it to replace it, so nobody else can have ended it meanwhile, but perhaps more weakly than is asked for now.
    async fn lock_original(
        &self,
        view: &TableView,
        own: RowId,
        acquire: impl Fn(HeapId, RowId) -> LockTicket,
    ) -> Result<Locked> {
        let heap = view.def().heap;
        let original = self.writes.read().heap(heap).and_then(|writes| writes.original(own));
        if let Some(original) = original {
            acquire(heap, original).await?;
            self.shared.store.check_writable()?;
        }
        Ok(Locked::Current)
    }

    pub(super) fn acquire_row(&self, heap: HeapId, row: RowId, mode: RowLockMode) -> LockTicket {
        self.shared.store.locks.acquire(self.id, Resource::Row(heap, row), LockMode::Row(mode))
    }

    fn encode(&self, table: &TableDef, values: &[Datum]) -> Result<(Arc<[u8]>, Vec<RowKey>)> {
        table.schema.check_not_null(values)?;
        let mut bytes = Vec::with_capacity(ROW_BYTES);
        encode_row(&table.schema, values, &mut bytes)?;
        Ok((bytes.into(), index_keys(table, values)?))
    }

    /// Locks a unique key and makes sure that no live row has it. NULLs are neither locked nor checked.
    async fn claim_key(
        &self,
        table: &TableDef,
        index: &IndexDef,
        values: &[Datum],
        keys: &[RowKey],
    ) -> Result<()> {
        if index
            .columns
            .iter()
            .any(|column| values.get(column.column.get() as usize).is_none_or(|value| *value == Datum::Null))
        {
            return Ok(());
        }
        let Some((_, key)) = keys.iter().find(|(id, _)| *id == index.id) else { return Ok(()) };
        let resource = Resource::Key(index.id, key.as_ref().into());
        self.shared.store.locks.acquire(self.id, resource, LockMode::Exclusive).await?;
        self.shared.store.check_writable()?;
        self.note_claims(table);
        let store = &self.shared.store;
        let heap = store.heaps.get_or_create(table.heap);
        let mut newest = store.newest_version(&heap, index.id, key)?;
        while let Some(holder) = self.live_holder(table, index, key, newest)? {
            if holder.is_provisional() {
                return Err(duplicate(table, index.id, key));
            }
            // Whoever is deleting the row, or changing its key, holds it for update: wait, then look again.
            self.acquire_row(table.heap, holder, RowLockMode::KeyShare).await?;
            // A load locks no keys that would be waited for until its row is durable.
            if !store.is_published(&heap, holder) {
                store.when_published().await?;
            }
            newest = store.newest_version(&heap, index.id, key)?;
            if self.live_holder(table, index, key, newest)? == Some(holder) {
                let refusal = duplicate(table, index.id, key);
                if let Some(view) = self.tracked_view(table.id)? {
                    declare_refusal(&view, &refusal);
                }
                return Err(refusal);
            }
        }
        // The commit that freed the key may not be durable yet, and the next statement would see its row beside the new
        // one. Its locks go once it is published.
        if let Some((row, Some(mark))) = newest
            && mark.end_ts > store.snapshots.published()
        {
            self.acquire_row(table.heap, row, RowLockMode::KeyShare).await?;
            store.check_writable()?;
        }
        Ok(())
    }

    /// The row that has a unique key now: own, or committed and not ended by this transaction. `newest` is the newest that the
    /// index has.
    fn live_holder(
        &self,
        table: &TableDef,
        index: &IndexDef,
        key: &Arc<[u8]>,
        newest: Option<(RowId, Option<Mark>)>,
    ) -> Result<Option<RowId>> {
        let committed = newest.filter(|(_, mark)| mark.is_none()).map(|(row, _)| row);
        let writes = self.writes.read();
        let own = writes.heap(table.heap);
        if let Some(own) = own {
            let live = own.find_key(&(index.id, key.clone()), writes.position())?;
            if live.is_some() {
                return Ok(live);
            }
        }
        // What it has loaded in bulk, or made the index over, is in files that no tree has yet.
        for load in writes.loads().iter().filter(|load| load.heap == table.heap) {
            let found = find_in_tables(&self.shared.store.cache, &load.tables_of(index.id), index.id, key)?;
            let Some(row) = found else { continue };
            if !load.absolute {
                // Of this transaction's own, so it can be neither locked nor changed before the commit.
                return Ok(Some(RowId::MAX));
            }
            let ended = self.shared.store.heaps.get_or_create(table.heap).mark(row)?.is_some();
            if !ended && !own.is_some_and(|own| own.is_marked(row, writes.position())) {
                return Ok(Some(row));
            }
        }
        Ok(committed.filter(|row| !own.is_some_and(|own| own.is_marked(*row, writes.position()))))
    }

    /// Keys of the table are about to be looked for: what comes between then and the commit is to be looked at there.
    pub(super) fn note_claims(&self, table: &TableDef) {
        self.claims.note(table, &self.shared);
    }

    /// The tables whose keys it has looked for.
    pub(super) fn claimed_tables(&self) -> Vec<TableId> {
        self.claims.tables()
    }

    /// Adopts a bulk load's blocks and index files at commit.
    pub(super) fn add_load(&self, part: BulkPart) {
        let part = part.hold(&self.shared.store.cache);
        self.writes.write().add_load(part);
    }

    pub(crate) fn writes(&self) -> &Arc<RwLock<WriteSet>> {
        &self.writes
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Changes the catalog. DDL transactions take turns: this waits for another one to end. Relations that are new are
    /// locked with `AccessExclusive`: others find them in the newest catalog before any snapshot shows them.
    ///
    /// # Errors
    /// Those of `change`, which then has had no effect; `Deadlock`.
    pub async fn change_catalog<T>(&mut self, change: impl FnOnce(&mut Catalog) -> Result<T>) -> Result<T> {
        self.shared.store.locks.acquire(self.id, Resource::Catalog, LockMode::Exclusive).await?;
        // After a failure the newest catalog may be that of a commit whose fate is unknown.
        self.shared.store.check_writable()?;
        let base = match &self.ddl {
            Some(ddl) => ddl.base.clone(),
            None => self.shared.catalog.latest(),
        };
        let mut changed = self.ddl.as_ref().map_or_else(|| (*base).clone(), |ddl| (*ddl.changed).clone());
        let first_new = changed.counters().object;
        let result = change(&mut changed)?;
        for id in (first_new..changed.counters().object).map(TableId::new) {
            if changed.table(id).is_ok() {
                self.lock_table(id, TableLockMode::AccessExclusive).await?;
            }
        }
        self.ddl = Some(PrivateCatalog { base, changed: Arc::new(changed) });
        Ok(result)
    }

    /// Drops a table or view. It must be locked with `AccessExclusive`.
    pub async fn drop_relation(&mut self, id: TableId) -> Result<()> {
        let heap = self.newest_catalog().table(id).ok().map(|table| table.heap);
        self.change_catalog(|catalog| catalog.drop_relation(id)).await?;
        if let Some(heap) = heap {
            self.writes.write().give_up_heap(heap);
        }
        Ok(())
    }

    /// Gives a table an empty heap. The table must be locked with `AccessExclusive`.
    pub async fn truncate(&mut self, table: TableId) -> Result<()> {
        let heap = self.newest_catalog().table(table)?.heap;
        self.change_catalog(|catalog| catalog.truncate(table)).await?;
        self.writes.write().give_up_heap(heap);
        Ok(())
    }

    /// Commits. The outcome is known when the ticket is ready.
    ///
    /// # Errors
    /// `DiskFull`, `OutOfMemory`, `Poisoned`, `ReadConflict`: the transaction is rolled back. So it is where a bulk load has
    /// committed a key that this transaction wrote, or the other way round; then the ticket fails, with `DuplicateKey`.
    pub fn commit(mut self) -> Result<CommitTicket> {
        self.finish_spilled()?;
        let catalog = self.newest_catalog();
        let on_apply = self.write_catalog_rows()?;
        if self.writes.read().is_empty() {
            if self.reads.as_ref().is_some_and(|reads| reads.is_past_snapshot())
                && let Some(mut reads) = self.read_check()
            {
                self.shared.store.check_preconditions(&mut [&mut reads])?;
            }
            return Ok(CommitTicket::settled(Ok(self.shared.store.snapshots.published())));
        }
        let ticket = match self.commit_writes(&catalog, on_apply) {
            Err(refusal @ Error::DuplicateKey { .. }) => return Ok(self.shared.store.refuse(refusal)),
            outcome => outcome?,
        };
        // From here on the commit pipeline releases the locks.
        self.finished = true;
        self.writes.read().discard_given_up();
        Ok(ticket)
    }

    fn commit_writes(&self, catalog: &Catalog, on_apply: Option<OnApply>) -> Result<CommitTicket> {
        let writes = self.writes.read();
        let mut reads = self.read_check();
        let mut unique = UniqueCheck::new(&self.shared, &writes, &self.claims, catalog)?;
        let unique: &mut dyn Precondition = &mut unique;
        let store = &self.shared.store;
        match &mut reads {
            Some(reads) => store.commit(self.id, &writes, &mut [unique, reads], on_apply),
            None => store.commit(self.id, &writes, &mut [unique], on_apply),
        }
    }

    /// What must hold of the reads at commit.
    pub(super) fn read_check(&self) -> Option<ReadCheck<'_>> {
        let snapshot = self.snapshot.read().as_ref().map(Snapshot::timestamp)?;
        self.reads.as_ref().map(|reads| ReadCheck::new(&self.shared, reads, snapshot))
    }

    /// Gives everything up. The same as dropping it.
    pub fn rollback(self) {}

    fn write_catalog_rows(&mut self) -> Result<Option<OnApply>> {
        let Some(ddl) = self.ddl.take() else { return Ok(None) };
        let rows = CatalogRows::between(&ddl.base, &ddl.changed)?;
        let published = self.shared.store.snapshots.take();
        let mut writes = self.writes.write();
        for table in SystemTable::ALL {
            if !rows.removed.iter().any(|name| name.0 == table) {
                continue;
            }
            let heap: Arc<Heap> = self.shared.store.heaps.get_or_create(table.heap());
            let stored = read_system_table(table, &heap, published.timestamp())?;
            for name in rows.removed.iter().filter(|name| name.0 == table) {
                // A catalog that was never changed has no rows yet.
                if let Some((row, _)) = stored.get(name) {
                    writes.mark(table.heap(), *row, None)?;
                }
            }
        }
        let counters = self.shared.store.heaps.get_or_create(SystemTable::Counters.heap());
        let fresh = counters.next_row() == RowId::ZERO;
        let added = if fresh { CatalogRows::whole(&ddl.changed)?.added } else { rows.added };
        for (table, row) in added {
            let mut bytes = Vec::new();
            encode_row(table.schema(), &row, &mut bytes)?;
            writes.insert(table.heap(), bytes.into(), Vec::new())?;
        }
        drop(writes);
        let shared = self.shared.clone();
        Ok(Some(Box::new(move |timestamp| shared.catalog.install(timestamp, ddl.changed))))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.writes.read().discard_loads();
        self.shared.store.locks.release_all(self.id);
    }
}

/// Whether the row that is replaced has the key that the new one has in an index. Other values may be the same key, as 30 days and a
/// month are: the row itself would be in the way.
fn keeps_key(table: &TableDef, index: &IndexDef, old: &TableRow, keys: &[RowKey]) -> Result<bool> {
    let Some((_, key)) = keys.iter().find(|(id, _)| *id == index.id) else { return Ok(false) };
    row_has_key(table, index, key, |column| old.datum(&table.schema, column))
}

/// Ends a row that the snapshot shows in the first place and that is in the second.
fn end_row(
    writes: &mut WriteSet,
    heap: HeapId,
    (seen, row): (RowId, RowId),
    successor: Option<RowId>,
) -> Result<()> {
    if seen == row {
        writes.mark(heap, row, successor)
    } else {
        writes.mark_moved(heap, seen, row, successor)
    }
}

/// A refusal tells of the row that has the key: a transaction that goes on (savepoints) has read it.
pub(super) fn declare_refusal(view: &TableView, refusal: &Error) {
    if let Error::DuplicateKey { index, key, .. } = refusal {
        view.note_newest(|| ReadPredicate::key(*index, key));
    }
}

/// The key of one index for a row's values.
pub(crate) fn key_of(table: &TableDef, index: &IndexDef, values: &[Datum]) -> Result<Vec<u8>> {
    let mut key = Vec::new();
    encode_index_key(table, index, values, &mut key)?;
    Ok(key)
}
