//! A run that hangs says nothing: somebody has to tell which it was, and where.

use std::io::{self, Write};
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A run takes a second or so.
const PATIENCE: Duration = Duration::from_secs(300);

/// Ends the process, with words, if it is not dropped in time. The run itself knows nothing of time, nor of this thread.
pub(super) struct Watchdog {
    step: Arc<Mutex<String>>,
    _run: Sender<()>,
}

impl Watchdog {
    /// Watches over a run of this name.
    pub(super) fn over(run: String) -> Self {
        Self::with_patience(PATIENCE, run, |what| {
            // The handle rather than the macro: a test that is to hang is not to keep this to itself.
            let _ = writeln!(io::stderr(), "{what}");
            process::abort();
        })
    }

    fn with_patience(patience: Duration, run: String, bark: impl FnOnce(String) + Send + 'static) -> Self {
        let step = Arc::new(Mutex::new(String::from("nothing")));
        let (running, ended) = mpsc::channel();
        let last = Arc::clone(&step);
        thread::spawn(move || {
            if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                let last = last.lock().map_or_else(|_| "a panic".into(), |step| step.clone());
                bark(format!("{run} has not ended in {patience:?}; it is at {last}"));
            }
        });
        Self { step, _run: running }
    }

    /// The run comes to this step.
    pub(super) fn comes_to(&self, step: &str) {
        if let Ok(mut last) = self.step.lock() {
            step.clone_into(&mut last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_hangs_is_named_with_its_step() {
        let (bark, heard) = mpsc::channel();
        let tell = move |what| bark.send(what).expect("somebody listens");
        let watchdog = Watchdog::with_patience(Duration::from_millis(50), "seed 7".into(), tell.clone());
        watchdog.comes_to("3 Sync");
        let what = heard.recv().expect("it barks");
        assert!(what.contains("seed 7") && what.ends_with("3 Sync"), "{what}");
        drop(watchdog);
        drop(Watchdog::with_patience(Duration::from_secs(60), "seed 8".into(), tell));
        assert!(heard.recv().is_err(), "one that ended is not told of");
    }
}
