//! Step 3 of a load, and a row writer's second look: see the [module above](super).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::duplicate;
use crate::catalog::{Catalog, TableDef};
use crate::error::Result;
use crate::heap::Heap;
use crate::ids::{HeapId, IndexId, RowId, TableId, Timestamp};
use crate::lsm::{RunMerge, TableProbe};
use crate::table::keys::key_has_null;
use crate::table::segment_keys::for_each_key;
use crate::table::shared::Shared;
use crate::txn::{BulkPart, HeapWrites, Precondition, WriteSet};

/// The tables in which a transaction has claimed keys or loaded rows, each with the heap that it had.
///
/// What was claimed in a heap of the transaction's own making stays here when it goes back, and the next DDL makes another table's
/// heap of the same id: neither of the two names a claim alone.
#[derive(Default)]
pub(in crate::table) struct Claims {
    tables: Mutex<BTreeMap<(HeapId, TableId), Claim>>,
}

struct Claim {
    heap: Arc<Heap>,
    /// [`Heap::adoptions`] before the first claim.
    adoptions: u64,
}

impl Claims {
    /// Notes that keys of the table are about to be looked for.
    pub fn note(&self, table: &TableDef, shared: &Shared) {
        self.tables.lock().entry((table.heap, table.id)).or_insert_with(|| {
            let heap = shared.store.heaps.get_or_create(table.heap);
            Claim { adoptions: heap.adoptions(), heap }
        });
    }

    /// The tables, each once for every heap that it had.
    pub fn tables(&self) -> Vec<TableId> {
        self.tables.lock().keys().map(|(_, table)| *table).collect()
    }
}

/// The check of a transaction's unique keys against what was committed since it looked for them.
pub(in crate::table) struct UniqueCheck<'a> {
    shared: &'a Shared,
    writes: &'a WriteSet,
    tables: Vec<CheckedTable<'a>>,
}

struct CheckedTable<'a> {
    def: Arc<TableDef>,
    heap: Arc<Heap>,
    own: Option<&'a HeapWrites>,
    adoptions: Progress<u64>,
    loads: Vec<CheckedLoad>,
}

struct CheckedLoad {
    files: Vec<(IndexId, TableProbe)>,
    end: Progress<RowId>,
}

/// How far a check has come, and how far the next one goes.
struct Progress<T> {
    checked: T,
    noted: T,
}

impl<T: Copy + PartialEq> Progress<T> {
    fn from(checked: T) -> Self {
        Self { checked, noted: checked }
    }

    fn is_due(&self) -> bool {
        self.checked != self.noted
    }

    fn done(&mut self) {
        self.checked = self.noted;
    }
}

impl<'a> UniqueCheck<'a> {
    /// A check of `writes`, which are complete; of a transaction whose newest catalog is this.
    ///
    /// # Errors
    /// `DuplicateKey` where own rows have keys of own loads; those of the block store.
    pub fn new(shared: &'a Shared, writes: &'a WriteSet, claims: &Claims, catalog: &Catalog) -> Result<Self> {
        let mut tables = Vec::new();
        for ((id, table), claim) in claims.tables.lock().iter() {
            // A table that no longer has the heap has no rows there to be committed.
            let Some(def) = catalog.table(*table).ok().filter(|def| def.heap == *id) else { continue };
            let own = writes.final_heaps().find(|(heap, _)| heap == id).map(|(_, own)| own);
            // The keys of own rows that were written out are claimed, like those of the others.
            let spilled = own.and_then(|own| own.spilled().part()).map(|part| part.load);
            let loads = writes.final_loads().filter(|load| load.heap == *id && !load.absolute);
            let loads = loads.filter(|load| Some(load.load) != spilled);
            let loads: Vec<_> =
                loads.map(|load| CheckedLoad::new(shared, def, load)).collect::<Result<_>>()?;
            if own.is_none() && loads.is_empty() {
                continue;
            }
            let (def, heap) = (Arc::clone(def), Arc::clone(&claim.heap));
            let table = CheckedTable { def, heap, own, adoptions: Progress::from(claim.adoptions), loads };
            table.check_own_rows_in_own_loads()?;
            tables.push(table);
        }
        Ok(Self { shared, writes, tables })
    }
}

impl CheckedLoad {
    fn new(shared: &Shared, def: &TableDef, load: &BulkPart) -> Result<Self> {
        let unique = def.indexes.iter().filter(|index| index.unique);
        let files = unique
            .map(|index| Ok((index.id, TableProbe::open(&shared.store.cache, &load.tables_of(index.id))?)));
        Ok(Self { files: files.collect::<Result<_>>()?, end: Progress::from(load.checked_end) })
    }
}

impl CheckedTable<'_> {
    fn check_own_rows_in_own_loads(&self) -> Result<()> {
        let Some(own) = self.own.filter(|_| !self.loads.is_empty()) else { return Ok(()) };
        for_each_own_key(own, |index, key| {
            for (_, probe) in self.loads.iter().flat_map(|load| &load.files).filter(|(id, _)| *id == index) {
                if probe.find(index, key)?.is_some() && !self.has_null(index, key)? {
                    return Err(duplicate(&self.def, index, key));
                }
            }
            Ok(())
        })
    }

    /// A row writer's second look.
    fn check_claims(&self, shared: &Shared, position: u64) -> Result<()> {
        let Some(own) = self.own else { return Ok(()) };
        let unique = |id: IndexId| self.def.index(id).is_some_and(|index| index.unique);
        for (_, row) in own.final_rows() {
            for key in row.keys.iter().filter(|(index, _)| unique(*index)) {
                let live = |row: &RowId| own.sees(*row, position);
                let twice = own.rows_of_key(key).filter(live).nth(1).is_some();
                self.check_claim(shared, own, position, (key.0, &key.1), twice)?;
            }
        }
        // The last rows are written out with the others, so that these are all, and those of one key stand side by side.
        let mut last: Option<(IndexId, Vec<u8>)> = None;
        for_each_spilled(own, |index, key| {
            if !unique(index) {
                return Ok(());
            }
            let twice = last.as_ref().is_some_and(|(last, known)| (*last, &known[..]) == (index, key));
            self.check_claim(shared, own, position, (index, key), twice)?;
            last = Some((index, key.to_vec()));
            Ok(())
        })
    }

    /// The key of an own row, which others must not have, nor another own one.
    fn check_claim(
        &self,
        shared: &Shared,
        own: &HeapWrites,
        position: u64,
        (index, key): (IndexId, &[u8]),
        twice: bool,
    ) -> Result<()> {
        let committed = shared.store.newest_row(&self.heap, index, key)?;
        let taken = committed.is_some_and(|row| !own.is_marked(row, position));
        if (twice || taken) && !self.has_null(index, key)? {
            return Err(duplicate(&self.def, index, key));
        }
        Ok(())
    }

    /// Step 3.
    fn check_load(&self, load: &CheckedLoad, position: u64) -> Result<()> {
        for changed in self.heap.rows_from(load.end.checked) {
            let changed = changed?;
            for (index, files) in &load.files {
                let Some(index) = self.def.index(*index) else { continue };
                for_each_key(&self.def, index, &changed.segment, &changed.slots, |_, key, row| {
                    let clashes = files.find(index.id, key)?.is_some()
                        && !key_has_null(&self.def, index, key)?
                        && !self.own.is_some_and(|own| own.is_marked(row, position));
                    // It may have ended since it was read.
                    if clashes && self.heap.mark(row)?.is_none() {
                        return Err(duplicate(&self.def, index.id, key));
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn has_null(&self, index: IndexId, key: &[u8]) -> Result<bool> {
        self.def.index(index).map_or(Ok(false), |index| key_has_null(&self.def, index, key))
    }
}

/// Calls `visit` with the keys of all own rows that reach the heap.
fn for_each_own_key(own: &HeapWrites, mut visit: impl FnMut(IndexId, &[u8]) -> Result<()>) -> Result<()> {
    for (index, key) in own.final_rows().flat_map(|(_, row)| &row.keys) {
        visit(*index, key)?;
    }
    for_each_spilled(own, visit)
}

/// Calls `visit` with the keys of the own rows that were written out and reach the heap.
fn for_each_spilled(own: &HeapWrites, mut visit: impl FnMut(IndexId, &[u8]) -> Result<()>) -> Result<()> {
    let Some(keys) = own.spilled().part_keys() else { return Ok(()) };
    let mut merge = RunMerge::whole(std::slice::from_ref(keys));
    while let Some((index, key, _)) = merge.next()? {
        visit(index, key)?;
    }
    Ok(())
}

impl Precondition for UniqueCheck<'_> {
    fn note(&mut self, _last: Timestamp) {
        for table in &mut self.tables {
            table.adoptions.noted = table.heap.adoptions();
            for load in &mut table.loads {
                load.end.noted = table.heap.next_row();
            }
        }
    }

    fn check(&mut self) -> Result<()> {
        let position = self.writes.position();
        for table in &mut self.tables {
            if table.adoptions.is_due() {
                table.check_claims(self.shared, position)?;
                table.adoptions.done();
            }
            let mut loads = std::mem::take(&mut table.loads);
            for load in loads.iter_mut().filter(|load| load.end.is_due()) {
                table.check_load(load, position)?;
                load.end.done();
            }
            table.loads = loads;
        }
        Ok(())
    }

    fn still_holds(&self) -> bool {
        self.tables.iter().all(|table| {
            let adoptions = table.own.is_none() || table.heap.adoptions() == table.adoptions.checked;
            adoptions && table.loads.iter().all(|load| load.end.checked == table.heap.next_row())
        })
    }
}
