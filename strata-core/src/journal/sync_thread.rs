//! The two threads of a journal: one that syncs, one that makes segments ready.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::ids::Lsn;
use crate::journal::shared::{Shared, SharedRef};
use crate::sync::thread::{self, JoinHandle};

/// What is called after each batch, with the durable position or what ended the journal.
pub(super) type OnDurable = Arc<dyn Fn(Result<Lsn>) + Send + Sync>;

/// How often the sync thread gives way before it parks: under load the next record is there by then, and a commit
/// need not pay for a wake-up inside the commit section.
const YIELDS: u32 = 16;
/// Who gives way to a thread that computes comes back after that one's time slice, milliseconds later, and commits wait. After a
/// yield that took so long, the sync thread parks at once so many times: who is woken need not wait for a slice.
const SLOW_YIELD: Duration = Duration::from_micros(200);
const PARKS_AFTER_SLOW_YIELD: u32 = 256;

/// The running threads; dropping this stops them, after a last flush.
pub(super) struct Threads {
    shared: SharedRef,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts both; `None` if they run already.
    ///
    /// # Panics
    /// If the system has no thread to give.
    pub fn start(shared: &SharedRef, on_durable: OnDurable) -> Option<Self> {
        if shared.sync_thread.is_started() {
            return None;
        }
        let for_sync = Arc::clone(shared);
        let sync = spawn("journal-sync", move || run_sync(&for_sync, &on_durable));
        shared.sync_thread.start(sync.thread().clone());
        let for_prepare = Arc::clone(shared);
        let prepare = spawn("journal-prepare", move || run_prepare(&for_prepare));
        shared.prepare_thread.start(prepare.thread().clone());
        shared.sync_thread.wake();
        shared.prepare_thread.wake();
        Some(Self { shared: Arc::clone(shared), handles: vec![sync, prepare] })
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let named = thread::Builder::new().name(name.to_owned());
    named.spawn(body).expect("the system gives a thread")
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let own = thread::current().id();
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            self.shared.sync_thread.wake();
            self.shared.prepare_thread.wake();
            // The callback may hold the last reference to the journal: then this is the sync thread itself.
            if handle.thread().id() != own && handle.join().is_err() {
                tracing::error!("a journal thread panicked");
            }
        }
    }
}

fn run_sync(shared: &Shared, on_durable: &OnDurable) {
    let mut reported = Lsn::new(0);
    let mut parks = 0_u32;
    loop {
        let stopping = shared.stopping.load(Ordering::SeqCst);
        match shared.flush() {
            Ok(durable) if durable > reported => {
                reported = durable;
                on_durable(Ok(durable));
            }
            Ok(_) => {}
            Err(error) => {
                on_durable(Err(error));
                return;
            }
        }
        // A flush by hand moves `durable` too, or latches: both are reported from here.
        let has_work = || {
            shared.in_flight() > 0
                || shared.durable() > reported
                || shared.latch.get().is_some()
                || shared.stopping.load(Ordering::SeqCst)
        };
        if stopping && shared.in_flight() == 0 {
            return;
        }
        let mut yields = if parks > 0 { YIELDS } else { 0 };
        while yields < YIELDS && !has_work() {
            let start = Instant::now();
            thread::yield_now();
            yields += 1;
            if start.elapsed() > SLOW_YIELD {
                (yields, parks) = (YIELDS, PARKS_AFTER_SLOW_YIELD);
            }
        }
        parks = parks.saturating_sub(1);
        if !has_work() {
            shared.sync_thread.sleep(has_work);
        }
    }
}

fn run_prepare(shared: &Shared) {
    while !shared.stopping.load(Ordering::SeqCst) {
        if shared.space.wants_spare()
            && let Err(error) = shared.space.prepare_spare()
        {
            // The same failure meets the reservation that needs the segment, and is reported there.
            tracing::warn!(%error, "could not prepare a journal segment");
            shared.prepare_thread.sleep(|| shared.stopping.load(Ordering::SeqCst));
            continue;
        }
        shared.prepare_thread.sleep(|| shared.stopping.load(Ordering::SeqCst) || shared.space.wants_spare());
    }
}
