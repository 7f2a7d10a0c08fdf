//! Uniqueness of an index that is made over rows in several places.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::duplicate;
use crate::cache::PageCache;
use crate::catalog::{IndexDef, TableDef};
use crate::error::Result;
use crate::lsm::TableMerge;
use crate::manifest::SsTableMeta;
use crate::table::keys::key_has_null;

/// Keys of one place, ascending.
enum Keys {
    Sorted(TableMerge),
    InMemory(std::vec::IntoIter<Arc<[u8]>>),
}

impl Keys {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Sorted(merge) => Ok(merge.next()?.map(|(key, _)| key.to_vec())),
            Self::InMemory(keys) => Ok(keys.next().map(|key| key.to_vec())),
        }
    }
}

/// No key stands twice, in files or in memory. The files of different places are read side by side, not merged: entries that agree in the
/// ordinal, too, would be one.
///
/// # Errors
/// `DuplicateKey`; those of the block store.
pub(in crate::table) fn check_apart(
    cache: &Arc<PageCache>,
    table: &TableDef,
    index: &IndexDef,
    sorted: Vec<Vec<SsTableMeta>>,
    in_memory: Vec<Arc<[u8]>>,
) -> Result<()> {
    let sorted: Vec<_> = sorted.into_iter().filter(|files| !files.is_empty()).collect();
    if sorted.len() <= 1 && in_memory.is_empty() {
        return Ok(());
    }
    let mut places = vec![Keys::InMemory(in_memory.into_iter())];
    for files in sorted {
        places.push(Keys::Sorted(TableMerge::open(cache, &[files])?));
    }
    let mut heads = BinaryHeap::new();
    for (place, keys) in places.iter_mut().enumerate() {
        heads.extend(keys.next()?.map(|key| Reverse((key, place))));
    }
    let mut last: Option<Vec<u8>> = None;
    while let Some(Reverse((key, place))) = heads.pop() {
        if last.as_ref() == Some(&key) && !key_has_null(table, index, &key)? {
            return Err(duplicate(table, index.id, &key));
        }
        heads.extend(places[place].next()?.map(|key| Reverse((key, place))));
        last = Some(key);
    }
    Ok(())
}
