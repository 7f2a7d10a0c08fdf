//! What a session remembers of statement texts, so that the simple protocol and unnamed statements find their plans.
//!
//! A text is compiled when it comes for the second time: most come once. Both maps are small and are cut by dropping
//! what was not used lately (a clock of two hands, old and young, in place of a list).

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use strata_core::catalog::Catalog;

use super::PointPlan;

/// Texts whose plans are kept, in each of two generations.
const KEPT_TEXTS: usize = 256;
/// Texts that are known to have come once.
const SEEN_TEXTS: usize = 4_096;

/// The zone and the search path that a plan was made with. Compared by address: a session keeps one while they hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlanContext {
    pub(crate) time_zone: Arc<str>,
    pub(crate) search_path: Arc<str>,
}

/// A place for a statement's point plan.
#[derive(Debug, Default)]
pub(crate) struct PlanSlot {
    inner: Mutex<Option<Compiled>>,
}

/// What compiling a statement came to, and what that holds for.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) context: Arc<PlanContext>,
    /// The plan with the types of its parameters; `None` where the statement is for the ordinary route.
    pub(crate) plan: Option<(Arc<PointPlan>, Arc<[u32]>)>,
}

impl PlanSlot {
    /// What is known, if it still holds.
    pub(crate) fn get(&self, catalog: &Arc<Catalog>, context: &Arc<PlanContext>) -> Option<Compiled> {
        let inner = self.inner.lock();
        let compiled = inner.as_ref()?;
        let holds = Arc::ptr_eq(&compiled.catalog, catalog) && Arc::ptr_eq(&compiled.context, context);
        holds.then(|| compiled.clone())
    }

    /// Remembers.
    pub(crate) fn set(&self, compiled: Compiled) {
        *self.inner.lock() = Some(compiled);
    }
}

/// Plans by lifted text.
#[derive(Debug, Default)]
pub(crate) struct TextCache {
    young: HashMap<Box<str>, Arc<PlanSlot>>,
    old: HashMap<Box<str>, Arc<PlanSlot>>,
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl TextCache {
    /// The place of a text's plan, unless the text comes for the first time.
    pub(crate) fn slot(&mut self, key: &str) -> Option<Arc<PlanSlot>> {
        if let Some(slot) = self.young.get(key) {
            return Some(Arc::clone(slot));
        }
        let slot = match self.old.remove(key) {
            Some(slot) => slot,
            None => {
                let hash = self.hasher.hash_one(key);
                if self.seen.insert(hash) {
                    if self.seen.len() > SEEN_TEXTS {
                        self.seen.clear();
                    }
                    return None;
                }
                Arc::new(PlanSlot::default())
            }
        };
        if self.young.len() >= KEPT_TEXTS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.into(), Arc::clone(&slot));
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_time_counts_and_what_is_used_stays() {
        let mut cache = TextCache::default();
        assert!(cache.slot("a").is_none());
        let slot = cache.slot("a").unwrap();
        for round in 0..KEPT_TEXTS * 3 {
            let other = round.to_string();
            assert!(cache.slot(&other).is_none());
            assert!(cache.slot(&other).is_some());
            assert!(Arc::ptr_eq(&slot, &cache.slot("a").unwrap()), "used all the time");
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * KEPT_TEXTS + 1);
        assert!(!cache.young.contains_key("0") && !cache.old.contains_key("0"), "not used for long");
    }
}
