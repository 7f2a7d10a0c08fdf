//! What the lock-free parts are made of: with `cfg(loom)` stand-ins that loom's models run in every order, else the
//! real ones. `RUSTFLAGS="--cfg loom" cargo test -p strata-core --lib models` runs the models, and nothing else.

#[cfg(not(loom))]
pub(crate) use std::sync::OnceLock;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
#[cfg(not(loom))]
pub(crate) use std::thread;

#[cfg(not(loom))]
pub(crate) use arc_swap::ArcSwapOption;
#[cfg(not(loom))]
pub(crate) use parking_lot::Mutex;

#[cfg(loom)]
pub(crate) use self::modelled::{ArcSwapOption, Mutex, OnceLock};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::thread;

/// Words of zeros, which take memory as they are filled; `None` where there is not so much.
#[cfg(not(loom))]
pub(crate) fn zeroed_words(count: usize) -> Option<Box<[AtomicU64]>> {
    bytemuck::try_zeroed_slice_box(count).ok()
}

#[cfg(loom)]
pub(crate) fn zeroed_words(count: usize) -> Option<Box<[AtomicU64]>> {
    Some((0..count).map(|_| AtomicU64::new(0)).collect())
}

#[cfg(loom)]
mod modelled {
    use std::sync::Arc;

    use loom::sync::MutexGuard;
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// A lock without poisoning, as parking_lot's.
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a model ends with its first panic")
        }

        pub fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().expect("a model ends with its first panic")
        }
    }

    /// A pointer that is swapped. Who loads it may find an older one, unless something tells them of the newer; what was written
    /// before it was stored, they see. All that it ever held is kept until it goes.
    pub struct ArcSwapOption<T> {
        held: std::sync::Mutex<Vec<Option<Arc<T>>>>,
        current: AtomicUsize,
    }

    impl<T> ArcSwapOption<T> {
        pub fn empty() -> Self {
            Self { held: std::sync::Mutex::new(vec![None]), current: AtomicUsize::new(0) }
        }

        pub fn load_full(&self) -> Option<Arc<T>> {
            self.at(self.current.load(Ordering::Acquire))
        }

        pub fn load(&self) -> Option<Arc<T>> {
            self.load_full()
        }

        pub fn store(&self, value: Option<Arc<T>>) {
            self.current.swap(self.add(value), Ordering::AcqRel);
        }

        pub fn compare_and_swap(&self, current: &Arc<T>, new: Option<Arc<T>>) {
            let new = self.add(new);
            let mut known = self.current.load(Ordering::Acquire);
            while self.at(known).is_some_and(|held| Arc::ptr_eq(&held, current)) {
                match self.current.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return,
                    Err(other) => known = other,
                }
            }
        }

        fn at(&self, index: usize) -> Option<Arc<T>> {
            self.held.lock().expect("a model ends with its first panic")[index].clone()
        }

        fn add(&self, value: Option<Arc<T>>) -> usize {
            let mut held = self.held.lock().expect("a model ends with its first panic");
            held.push(value);
            held.len() - 1
        }
    }

    /// A value that one thread sets: whoever sees it set sees what was written before.
    pub struct OnceLock<T> {
        is_set: AtomicBool,
        value: std::sync::OnceLock<T>,
    }

    impl<T> OnceLock<T> {
        pub fn new() -> Self {
            Self { is_set: AtomicBool::new(false), value: std::sync::OnceLock::new() }
        }

        pub fn get(&self) -> Option<&T> {
            if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
        }

        pub fn set(&self, value: T) -> Result<(), T> {
            let set = self.value.set(value);
            // Who comes second waits for the first.
            self.is_set.store(true, Ordering::Release);
            set
        }

        pub fn get_or_init(&self, value: impl FnOnce() -> T) -> &T {
            if self.get().is_none() {
                let _ = self.set(value());
            }
            self.value.get().expect("just set")
        }
    }
}
