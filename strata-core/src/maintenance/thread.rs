//! The thread that does maintenance while the database is open.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Maintainer, Step};
use crate::error::Error;

/// How long the thread sleeps when nothing is due.
const IDLE: Duration = Duration::from_millis(20);
/// How long it waits after a step that failed, for the disk or the pool to have room again.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Control {
    stop: Mutex<bool>,
    changed: Condvar,
}

/// A running maintenance thread; dropping it stops it after the step in hand.
#[derive(Debug)]
pub struct MaintenanceThread {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

impl MaintenanceThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(maintainer: Arc<Maintainer>) -> std::io::Result<Self> {
        let control = Arc::new(Control::default());
        let shared = control.clone();
        let thread = std::thread::Builder::new()
            .name("strata-maintenance".into())
            .spawn(move || run(&maintainer, &shared))?;
        Ok(Self { control, thread: Some(thread) })
    }
}

fn run(maintainer: &Maintainer, control: &Control) {
    loop {
        let pause = match maintainer.step() {
            Ok(Step::Idle) => IDLE,
            Ok(_) => Duration::ZERO,
            Err(error @ Error::Poisoned { .. }) => {
                tracing::warn!(%error, "maintenance has ended");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "a maintenance step failed");
                AFTER_FAILURE
            }
        };
        let mut stop = control.stop.lock();
        if !*stop && !pause.is_zero() {
            control.changed.wait_for(&mut stop, pause);
        }
        if *stop {
            return;
        }
    }
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        *self.control.stop.lock() = true;
        self.control.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            drop(thread.join());
        }
    }
}
