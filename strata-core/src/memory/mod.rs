//! One cap on memory for the whole process.
//!
//! Whoever keeps bytes for longer than a call holds a [`Reservation`] for them. [`MemoryPool::reserve`] asks the
//! registered [`Reclaimer`]s (the page cache above all) to give bytes back before it refuses, so caches may fill
//! the pool and shrink when somebody else needs room.
//!
//! **Invariant.** `used` is the sum of all live reservations, and never above `cap`.
//!
//! **Concurrency.** The count is one atomic. No lock is held while a reclaimer runs. A reservation asked for from
//! within a reclaimer is granted only from what is free: reclaiming does not nest.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// Memory is to spare while this part of it is free.
const SPARE_PART: usize = 4;

/// Gives memory back when others need it.
pub trait Reclaimer: Send + Sync {
    /// Frees about `bytes` by dropping reservations, and returns how many bytes it freed; 0 ends the asking.
    fn reclaim(&self, bytes: usize) -> usize;
}

/// The process's memory. Clones share it.
#[derive(Clone)]
pub struct MemoryPool {
    shared: Arc<Shared>,
}

struct Shared {
    cap: usize,
    used: AtomicUsize,
    reclaimers: Mutex<Vec<Weak<dyn Reclaimer>>>,
}

thread_local! {
    static RECLAIMING: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as reclaiming, until dropped.
struct ReclaimGuard;

impl ReclaimGuard {
    fn enter() -> Option<Self> {
        // Lazily: a guard that is made and dropped at once would end the outer one's claim.
        (!RECLAIMING.replace(true)).then(|| Self)
    }
}

impl Drop for ReclaimGuard {
    fn drop(&mut self) {
        RECLAIMING.set(false);
    }
}

impl MemoryPool {
    /// A pool of `cap_bytes`.
    pub fn new(cap_bytes: usize) -> Self {
        let reclaimers = Mutex::new(Vec::new());
        Self { shared: Arc::new(Shared { cap: cap_bytes, used: AtomicUsize::new(0), reclaimers }) }
    }

    /// Reserves `bytes` for `consumer`, asking reclaimers if need be.
    ///
    /// # Errors
    /// `OutOfMemory` where they cannot free enough.
    pub fn reserve(&self, consumer: &'static str, bytes: usize) -> Result<Reservation> {
        let mut reservation = self.empty(consumer);
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Reserves `bytes` from what is free; asks nobody.
    pub fn try_reserve(&self, consumer: &'static str, bytes: usize) -> Option<Reservation> {
        let mut reservation = self.empty(consumer);
        reservation.try_grow(bytes).then_some(reservation)
    }

    /// A reservation of nothing, to grow later.
    pub fn empty(&self, consumer: &'static str) -> Reservation {
        Reservation { pool: self.clone(), consumer, bytes: 0 }
    }

    /// The cap in bytes.
    pub fn cap(&self) -> usize {
        self.shared.cap
    }

    /// Bytes reserved now.
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// Bytes free now. What a cache would give up counts as used.
    pub fn available(&self) -> usize {
        self.cap().saturating_sub(self.used())
    }

    /// Whether a quarter is free, so that it does no harm to keep what only saves time.
    pub fn is_to_spare(&self) -> bool {
        self.available() >= self.cap() / SPARE_PART
    }

    /// Adds a reclaimer. They are asked in the order of registration; dead ones drop out.
    pub fn register(&self, reclaimer: Weak<dyn Reclaimer>) {
        let mut reclaimers = self.shared.reclaimers.lock();
        reclaimers.retain(|known| known.strong_count() > 0);
        reclaimers.push(reclaimer);
    }

    fn try_take(&self, bytes: usize) -> bool {
        let taken = self.shared.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|total| *total <= self.shared.cap)
        });
        taken.is_ok()
    }

    fn take(&self, consumer: &'static str, bytes: usize) -> Result<()> {
        if self.try_take(bytes) {
            return Ok(());
        }
        if bytes <= self.cap()
            && let Some(_guard) = ReclaimGuard::enter()
        {
            let reclaimers: Vec<_> = self.shared.reclaimers.lock().iter().filter_map(Weak::upgrade).collect();
            for reclaimer in reclaimers {
                // Another thread may take what was freed for this one; as long as something is freed, ask again.
                loop {
                    let missing = bytes.saturating_sub(self.available()).max(1);
                    let freed = reclaimer.reclaim(missing);
                    if self.try_take(bytes) {
                        return Ok(());
                    }
                    if freed == 0 {
                        break;
                    }
                }
            }
        }
        Err(Error::OutOfMemory { consumer, requested: bytes, available: self.available(), cap: self.cap() })
    }

    fn give_back(&self, bytes: usize) {
        let before = self.shared.used.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(before >= bytes, "{bytes} bytes given back of {before}");
    }
}

impl fmt::Debug for MemoryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPool").field("cap", &self.cap()).field("used", &self.used()).finish()
    }
}

/// Bytes that the holder may use; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping a reservation gives its bytes back"]
pub struct Reservation {
    pool: MemoryPool,
    consumer: &'static str,
    bytes: usize,
}

impl Reservation {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds `bytes`, asking reclaimers if need be. On error the reservation stays as it was.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        self.pool.take(self.consumer, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Adds `bytes` if they are free; asks nobody.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let taken = self.pool.try_take(bytes);
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Gives `bytes` back, or all where fewer are held.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.pool.give_back(bytes);
    }

    /// Moves `bytes` (all, where fewer are held) into a reservation of their own.
    pub fn split(&mut self, bytes: usize) -> Reservation {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Reservation { pool: self.pool.clone(), consumer: self.consumer, bytes }
    }

    /// Takes over what `other` holds. Both must be of one pool.
    pub fn merge(&mut self, mut other: Reservation) {
        debug_assert!(Arc::ptr_eq(&self.pool.shared, &other.pool.shared), "reservations of two pools");
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pool.give_back(self.bytes);
    }
}
