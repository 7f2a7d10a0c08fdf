//! A file system whose journal cannot be synced while a gate is shut: commits are applied, and not published.

use std::path::Path;
use std::sync::{Condvar, Mutex};

use crate::intercepted::{Access, Intercept, InterceptedVfs};

/// Holds whoever comes while it is shut.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_shut: bool,
    waiting: u32,
}

impl Gate {
    pub fn shut(&self) {
        self.state.lock().expect("no panic").is_shut = true;
    }

    pub fn open(&self) {
        self.state.lock().expect("no panic").is_shut = false;
        self.changed.notify_all();
    }

    /// Waits until somebody stands before it.
    pub fn wait_for_one(&self) {
        let state = self.state.lock().expect("no panic");
        drop(self.changed.wait_while(state, |state| state.waiting == 0).expect("no panic"));
    }

    fn pass(&self) {
        let mut state = self.state.lock().expect("no panic");
        state.waiting += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.is_shut).expect("no panic");
        state.waiting -= 1;
    }
}

impl Intercept for Gate {
    fn is_for(&self, path: &Path) -> bool {
        path.components().any(|part| part.as_os_str() == "journal")
    }

    fn before(&self, access: Access) {
        if access == Access::Sync {
            self.pass();
        }
    }
}

/// See the module.
pub type GatedVfs = InterceptedVfs<Gate>;
