//! A count that many threads add to.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A count that threads add to without waiting for each other's lines of memory (a striped counter, as `LongAdder`).
#[derive(Debug, Default)]
pub(super) struct StripedCount([Stripe; STRIPES]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

const STRIPES: usize = 16;

static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: usize = NEXT_STRIPE.fetch_add(1, Ordering::Relaxed) % STRIPES;
}

impl StripedCount {
    /// One more.
    pub fn add(&self) {
        // A thread that is ending counts with the first.
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or(0);
        self.0[stripe].0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count, where nobody adds to it.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}
