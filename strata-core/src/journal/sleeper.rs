//! A thread that sleeps until there is work, and is woken at the cost of one load where it is awake.

use crate::sync::thread::{self, Thread};
use crate::sync::{AtomicBool, OnceLock, Ordering};

/// A thread that parks when it has nothing to do, and the flag that tells whether to wake it.
pub(super) struct Sleeper {
    thread: OnceLock<Thread>,
    /// Written by swaps alone, whose order loom knows; where a store has to be seen by all, it is one anyhow.
    sleeping: AtomicBool,
}

impl Sleeper {
    /// Of no thread yet.
    pub fn new() -> Self {
        Self { thread: OnceLock::new(), sleeping: AtomicBool::new(false) }
    }

    /// Names the thread, unless it has named itself.
    pub fn start(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    pub fn is_started(&self) -> bool {
        self.thread.get().is_some()
    }

    /// Wakes the thread if it sleeps. Costs one load if it does not.
    pub fn wake(&self) {
        if self.sleeping.load(Ordering::SeqCst)
            && self.sleeping.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Parks the calling thread until `wake`, unless `has_work` says otherwise. What makes `has_work` true must be
    /// stored (SeqCst) before `wake` is called: then either this sees it or `wake` sees the flag.
    pub fn sleep(&self, has_work: impl Fn() -> bool) {
        // Who sees it asleep must know whom to wake, even if `start` has not come so far.
        self.thread.get_or_init(thread::current);
        self.sleeping.swap(true, Ordering::SeqCst);
        while !has_work() && self.sleeping.load(Ordering::SeqCst) {
            thread::park();
        }
        self.sleeping.swap(false, Ordering::SeqCst);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, fence};

    /// What there is to do. Loom takes SeqCst accesses for weaker ones; the fences make them what they are.
    struct Work(AtomicUsize);

    impl Work {
        fn add(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }

        fn is_there(&self) -> bool {
            fence(Ordering::SeqCst);
            self.0.load(Ordering::SeqCst) > 0
        }

        fn take(&self) -> usize {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    /// Every order is too many: those with at most three preemptions are run.
    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    /// A sleeper that ends once it has done `count` pieces of work: if it sleeps for ever, loom finds a deadlock.
    fn worker(sleeper: &Arc<Sleeper>, work: &Arc<Work>, count: usize) -> thread::JoinHandle<()> {
        let (sleeper, work) = (Arc::clone(sleeper), Arc::clone(work));
        thread::spawn(move || {
            let mut done = 0;
            while done < count {
                sleeper.sleep(|| work.is_there());
                done += work.take();
            }
        })
    }

    fn add(sleeper: &Arc<Sleeper>, work: &Arc<Work>) -> thread::JoinHandle<()> {
        let (sleeper, work) = (Arc::clone(sleeper), Arc::clone(work));
        thread::spawn(move || {
            work.add();
            sleeper.wake();
        })
    }

    #[test]
    fn who_sleeps_is_woken_for_work_of_each_thread() {
        check(|| {
            let (sleeper, work) = (Arc::new(Sleeper::new()), Arc::new(Work(AtomicUsize::new(0))));
            let worker = worker(&sleeper, &work, 2);
            sleeper.start(worker.thread().clone());
            let adder = add(&sleeper, &work);
            work.add();
            sleeper.wake();
            [worker, adder].into_iter().for_each(|thread| thread.join().expect("no panics"));
        });
    }

    #[test]
    fn work_that_comes_before_the_thread_is_named_is_done() {
        check(|| {
            let (sleeper, work) = (Arc::new(Sleeper::new()), Arc::new(Work(AtomicUsize::new(0))));
            let worker = worker(&sleeper, &work, 1);
            let adder = add(&sleeper, &work);
            sleeper.start(worker.thread().clone());
            sleeper.wake();
            [worker, adder].into_iter().for_each(|thread| thread.join().expect("no panics"));
        });
    }
}
