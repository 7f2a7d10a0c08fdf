//! Something that is run once before an access to the blocks, in the middle of what the engine does.

use std::path::Path;
use std::sync::{Arc, Mutex};

use strata_core::vfs::MemVfs;

use crate::intercepted::{Access, Intercept, InterceptedVfs};

/// What is run, and after how many more accesses.
type Hook = (Access, u64, Box<dyn FnOnce() + Send>);

/// What is to be run next.
#[derive(Clone, Default)]
pub struct Hooked(Arc<Mutex<Option<Hook>>>);

impl Hooked {
    /// Runs `action` before the access that comes after `skipped` of its kind.
    pub fn set(&self, on: Access, skipped: u64, action: impl FnOnce() + Send + 'static) {
        *self.0.lock().expect("not poisoned") = Some((on, skipped, Box::new(action)));
    }

    /// Whether it has not been run yet.
    pub fn is_set(&self) -> bool {
        self.0.lock().expect("not poisoned").is_some()
    }

    /// Runs nothing.
    pub fn clear(&self) {
        *self.0.lock().expect("not poisoned") = None;
    }

    fn reach(&self, on: Access) {
        let mut hook = self.0.lock().expect("not poisoned");
        match &mut *hook {
            Some((kind, skipped, _)) if *kind == on && *skipped > 0 => *skipped -= 1,
            Some((kind, ..)) if *kind == on => {
                let due = hook.take();
                // What runs reads and writes blocks, too.
                drop(hook);
                if let Some((_, _, action)) = due {
                    action();
                }
            }
            _ => {}
        }
    }
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

impl Intercept for Hooked {
    fn is_for(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("blocks"))
    }

    fn before(&self, access: Access) {
        self.reach(access);
    }
}

/// See the module.
pub type HookedVfs = InterceptedVfs<Hooked>;

/// These files, with a hook.
pub fn hooked(files: &MemVfs, hook: &Hooked) -> Arc<HookedVfs> {
    Arc::new(HookedVfs { inner: Arc::new(files.clone()), with: Arc::new(hook.clone()) })
}
