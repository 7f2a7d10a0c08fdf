//! The catalogs that snapshots see, newest last.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::Catalog;
use super::system::{RowName, SystemTable, catalog_from, rows_of};
use crate::error::{Error, Result};
use crate::heap::{Heap, Horizon};
use crate::ids::{RowId, Timestamp};
use crate::row::Datum;

/// The rows in which two catalogs differ, by system table.
#[derive(Debug, Default)]
pub struct CatalogRows {
    /// Rows of the newer that the older lacks.
    pub added: Vec<(SystemTable, Vec<Datum>)>,
    /// Names of the rows of the older that the newer lacks or has otherwise.
    pub removed: Vec<RowName>,
}

/// The catalogs by commit timestamp. Its lock is a leaf.
#[derive(Debug)]
pub struct CatalogStore {
    versions: RwLock<Vec<(Timestamp, Arc<Catalog>)>>,
}

impl CatalogStore {
    /// A store whose only catalog is seen by all snapshots.
    pub fn new(catalog: Catalog) -> Self {
        Self { versions: RwLock::new(vec![(Timestamp::new(0), Arc::new(catalog))]) }
    }

    /// The catalog that a snapshot sees.
    pub fn at(&self, snapshot: Timestamp) -> Arc<Catalog> {
        let versions = self.versions.read();
        let place = versions.partition_point(|(timestamp, _)| *timestamp <= snapshot);
        versions[place.max(1) - 1].1.clone()
    }

    /// The catalog of the last applied commit that changed it, whether published or not.
    pub fn latest(&self) -> Arc<Catalog> {
        self.versions.read().last().expect("there is always one catalog").1.clone()
    }

    /// All that a snapshot of `horizon` sees, or one that is taken later, ascending; the last is [`latest`](Self::latest).
    /// Each commit after the horizon counts: what was not published then may have been, and read, and replaced since.
    pub fn in_use(&self, horizon: &Horizon) -> Vec<Arc<Catalog>> {
        let versions = self.versions.read();
        let place = |snapshot| versions.partition_point(|(timestamp, _)| *timestamp <= snapshot).max(1) - 1;
        let mut places: Vec<usize> = horizon.live.iter().map(|snapshot| place(*snapshot)).collect();
        places.extend(place(horizon.published)..versions.len());
        places.dedup();
        places.into_iter().map(|place| versions[place].1.clone()).collect()
    }

    /// Makes `catalog` what snapshots from `timestamp` on see. Called in the commit section.
    pub fn install(&self, timestamp: Timestamp, catalog: Arc<Catalog>) {
        self.versions.write().push((timestamp, catalog));
    }

    /// Forgets the catalogs that no snapshot from `oldest` on can see.
    pub fn prune(&self, oldest: Timestamp) {
        let mut versions = self.versions.write();
        let keep_from = versions.partition_point(|(timestamp, _)| *timestamp <= oldest).max(1) - 1;
        versions.drain(..keep_from);
    }
}

impl CatalogRows {
    /// All rows of a catalog.
    pub fn whole(catalog: &Catalog) -> Result<Self> {
        let added = rows_of(catalog)?.into_iter().map(|(name, row)| (name.0, row)).collect();
        Ok(Self { added, removed: Vec::new() })
    }

    /// What must be written to turn `before` into `after`.
    pub fn between(before: &Catalog, after: &Catalog) -> Result<Self> {
        let (before, after) = (rows_of(before)?, rows_of(after)?);
        let added = after
            .iter()
            .filter(|(name, row)| before.get(*name) != Some(*row))
            .map(|(name, row)| (name.0, row.clone()));
        let removed =
            before.iter().filter(|(name, row)| after.get(*name) != Some(*row)).map(|(name, _)| *name);
        Ok(Self { added: added.collect(), removed: removed.collect() })
    }
}

/// The live rows of a system table's heap at a snapshot.
pub fn read_system_table(
    table: SystemTable,
    heap: &Heap,
    snapshot: Timestamp,
) -> Result<BTreeMap<RowName, (RowId, Vec<Datum>)>> {
    let mut rows = BTreeMap::new();
    for row in live_rows(heap, snapshot)? {
        let datums = heap.row(row)?.to_datums(table.schema())?;
        let name = table.row_name(&datums).ok_or_else(|| Error::Corrupt {
            file: format!("system table {}", table.name()),
            offset: row.get(),
            detail: "a row without a name".into(),
        })?;
        if rows.insert(name, (row, datums)).is_some() {
            return Err(Error::Corrupt {
                file: format!("system table {}", table.name()),
                offset: row.get(),
                detail: format!("two live rows for {name:?}"),
            });
        }
    }
    Ok(rows)
}

fn live_rows(heap: &Heap, snapshot: Timestamp) -> Result<Vec<RowId>> {
    let mut rows = Vec::new();
    for segment in heap.segments(snapshot) {
        for (place, word) in segment.visible(0..segment.slots())?.into_iter().enumerate() {
            let slots = (0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| place as u64 * 64 + bit);
            rows.extend(slots.map(|slot| segment.segment().first_row().offset(slot)));
        }
    }
    Ok(rows)
}

/// Reads the catalog from its heaps.
pub fn read_catalog<'a>(
    heaps: impl Iterator<Item = (SystemTable, &'a Heap)>,
    snapshot: Timestamp,
) -> Result<Catalog> {
    let mut rows = BTreeMap::new();
    for (table, heap) in heaps {
        let read = read_system_table(table, heap, snapshot)?;
        rows.extend(read.into_iter().map(|(name, (_, datums))| (name, datums)));
    }
    if rows.is_empty() { Ok(Catalog::default()) } else { catalog_from(&rows) }
}
