//! Time: the wall clock for timestamps that users see, and a monotonic one for timeouts and intervals.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
pub trait Clock: Send + Sync + Debug {
    /// Microseconds since 1970-01-01 00:00 UTC. May jump, also backwards.
    fn now_us(&self) -> u64;
    /// Microseconds since some moment of this process; never falls.
    fn monotonic_us(&self) -> u64;
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// The system's clocks; the monotonic one starts at zero.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is told otherwise: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    now_us: AtomicU64,
    monotonic_us: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now_us`; its monotonic side shows zero.
    pub fn new(now_us: u64) -> Self {
        Self { now_us: AtomicU64::new(now_us), monotonic_us: AtomicU64::new(0) }
    }

    /// Moves both sides on.
    pub fn advance_us(&self, by_us: u64) {
        self.now_us.fetch_add(by_us, Ordering::SeqCst);
        self.monotonic_us.fetch_add(by_us, Ordering::SeqCst);
    }

    /// Sets the wall clock, backwards too; the monotonic side stays.
    pub fn set_now_us(&self, now_us: u64) {
        self.now_us.store(now_us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> u64 {
        self.now_us.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_set_back_leaves_the_monotonic_side_alone() {
        let clock = ManualClock::new(1_000);
        clock.advance_us(10);
        clock.set_now_us(5);
        assert_eq!((clock.now_us(), clock.monotonic_us()), (5, 10));
    }

    #[test]
    fn the_system_clock_is_past_2020_and_does_not_run_backwards() {
        let clock = SystemClock::new();
        assert!(clock.now_us() > 1_577_836_800_000_000);
        let before = clock.monotonic_us();
        assert!(clock.monotonic_us() >= before);
    }
}
