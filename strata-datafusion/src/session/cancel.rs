//! Cancelling the running statement of a session from another thread.
//!
//! A request reaches the command that runs when it comes: its parsing, its planning, its rows. One that comes while the
//! session is idle is void, as in Postgres: who drives the session says when a command begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::error::{SqlError, SqlResult};

/// Cancels the running statement of the session it came from.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    wake: Notify,
}

impl CancelHandle {
    /// Asks the running statement to stop.
    pub fn cancel(&self) {
        self.shared.requested.store(true, Ordering::SeqCst);
        self.shared.wake.notify_waiters();
    }

    /// Whether the running statement was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.shared.requested.load(Ordering::SeqCst)
    }

    /// An error once cancelled.
    pub fn check(&self) -> SqlResult<()> {
        if self.is_cancelled() { Err(Self::error()) } else { Ok(()) }
    }

    /// Returns when the running statement is cancelled.
    pub async fn cancelled(&self) {
        let mut notified = std::pin::pin!(self.shared.wake.notified());
        // Registered before the flag is read, so that no request falls between.
        notified.as_mut().enable();
        if !self.is_cancelled() {
            notified.await;
        }
    }

    /// A new command begins: older requests are void.
    pub fn reset(&self) {
        self.shared.requested.store(false, Ordering::SeqCst);
    }

    /// What the cancelled statement fails with.
    pub fn error() -> SqlError {
        SqlError::new("57014", "canceling statement due to user request")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_wakes_the_waiter_and_is_forgotten_by_the_next_statement() {
        let handle = CancelHandle::default();
        let other = handle.clone();
        let waiter = tokio::spawn(async move { other.cancelled().await });
        tokio::task::yield_now().await;
        handle.cancel();
        waiter.await.unwrap();
        assert_eq!(handle.check().unwrap_err().sqlstate, "57014");
        handle.reset();
        assert!(handle.check().is_ok());
    }
}
