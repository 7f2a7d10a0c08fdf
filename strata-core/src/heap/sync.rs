//! What the lock-free lists and pages are made of: with `cfg(loom)` stand-ins that loom's models run in every order, else the
//! real ones. `RUSTFLAGS="--cfg loom" cargo test -p strata-core --lib models` runs the models, and nothing else.

#[cfg(not(loom))]
pub(super) use std::sync::OnceLock;
#[cfg(not(loom))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

#[cfg(not(loom))]
pub(super) use arc_swap::ArcSwapOption;
#[cfg(not(loom))]
pub(super) use parking_lot::Mutex;

#[cfg(loom)]
pub(super) use self::modelled::{ArcSwapOption, Mutex, OnceLock};
#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

#[cfg(loom)]
mod modelled {
    use std::sync::Arc;

    use loom::sync::MutexGuard;
    use loom::sync::atomic::{AtomicBool, Ordering};

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

    /// A pointer that is swapped: each operation one step, ordered after those before it on the same pointer.
    pub struct ArcSwapOption<T>(Mutex<Option<Arc<T>>>);

    impl<T> ArcSwapOption<T> {
        pub fn empty() -> Self {
            Self(Mutex::new(None))
        }

        pub fn load_full(&self) -> Option<Arc<T>> {
            self.0.lock().clone()
        }

        pub fn load(&self) -> Option<Arc<T>> {
            self.load_full()
        }

        pub fn store(&self, value: Option<Arc<T>>) {
            let before = std::mem::replace(&mut *self.0.lock(), value);
            drop(before);
        }

        pub fn compare_and_swap(&self, current: &Arc<T>, new: Option<Arc<T>>) {
            let mut held = self.0.lock();
            if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, current)) {
                let before = std::mem::replace(&mut *held, new);
                drop(held);
                drop(before);
            }
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
            self.value.set(value)?;
            self.is_set.store(true, Ordering::Release);
            Ok(())
        }

        pub fn get_or_init(&self, value: impl FnOnce() -> T) -> &T {
            if self.get().is_none() {
                let _ = self.set(value());
            }
            self.value.get().expect("just set")
        }
    }
}
