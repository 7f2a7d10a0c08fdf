//! DataFusion's operators draw on the database's memory pool.
//!
//! Its streaming batches and hash-join concatenation go uncounted, so it may reserve half of the cap; the page cache gives
//! way to it. What it cannot have makes the operator spill, or the query fail alone with 53200.

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool as DataFusionPool, MemoryReservation};
use parking_lot::Mutex;
use strata_core::memory::{MemoryPool, Reservation};

/// DataFusion's view of the database's pool.
pub(crate) struct EnginePool {
    pool: MemoryPool,
    limit: usize,
    held: Mutex<Held>,
}

struct Held {
    reservation: Reservation,
    /// Bytes that operators took without asking, beyond what the pool had.
    overdrawn: usize,
}

impl EnginePool {
    /// A share of `pool`: at most half of its cap.
    pub(crate) fn new(pool: MemoryPool) -> Self {
        let held = Held { reservation: pool.empty("queries"), overdrawn: 0 };
        Self { limit: pool.cap() / 2, pool, held: Mutex::new(held) }
    }
}

impl std::fmt::Debug for EnginePool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnginePool").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl std::fmt::Display for EnginePool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "strata({} bytes at most)", self.limit)
    }
}

impl DataFusionPool for EnginePool {
    fn name(&self) -> &str {
        "strata"
    }

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        let mut held = self.held.lock();
        if !held.reservation.try_grow(additional) {
            held.overdrawn += additional;
        }
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        let mut held = self.held.lock();
        let overdrawn = shrink.min(held.overdrawn);
        held.overdrawn -= overdrawn;
        let rest = (shrink - overdrawn).min(held.reservation.bytes());
        held.reservation.shrink(rest);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut held = self.held.lock();
        let used = held.reservation.bytes() + held.overdrawn;
        if used + additional > self.limit || held.reservation.grow(additional).is_err() {
            let name = reservation.consumer().name();
            return Err(DataFusionError::ResourcesExhausted(format!(
                "out of memory: {name} asked for {additional} bytes, queries hold {used} of {} at most, {} bytes of the pool are free",
                self.limit,
                self.pool.available()
            )));
        }
        Ok(())
    }

    fn reserved(&self) -> usize {
        let held = self.held.lock();
        held.reservation.bytes() + held.overdrawn
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::execution::memory_pool::MemoryConsumer;

    use super::*;

    #[test]
    fn queries_take_half_and_give_it_back() {
        let pool = MemoryPool::new(1_000);
        let queries: Arc<dyn DataFusionPool> = Arc::new(EnginePool::new(pool.clone()));
        let reservation = MemoryConsumer::new("sort").register(&queries);
        reservation.try_grow(400).unwrap();
        assert_eq!(pool.used(), 400);
        assert!(reservation.try_grow(200).is_err(), "more than half");
        reservation.grow(100);
        assert_eq!((queries.reserved(), pool.used()), (500, 500));
        drop(reservation);
        assert_eq!((queries.reserved(), pool.used()), (0, 0));
    }
}
