//! A place in a lock's queue: awaited, or blocked on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::LockManager;
use crate::error::{Error, Result};
use crate::ids::{RowId, TxnId};

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Granted,
    Refused(Error),
}

/// What the queue and the ticket share.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) txn: TxnId,
    /// The savepoint after which it asks; 0 for none.
    pub(super) savepoint: u64,
    state: Mutex<State>,
    moved_to: Mutex<Option<RowId>>,
}

impl Waiter {
    pub(super) fn new(txn: TxnId, savepoint: u64) -> Arc<Self> {
        let state = Mutex::new(State::Waiting(None));
        Arc::new(Self { txn, savepoint, state, moved_to: Mutex::default() })
    }

    fn settle(&self, state: State) {
        let before = std::mem::replace(&mut *self.state.lock(), state);
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }

    /// It waits for this row from now on, the successor of the one it asked for.
    pub(super) fn move_to(&self, row: RowId) {
        *self.moved_to.lock() = Some(row);
    }

    pub(super) fn grant(&self) {
        self.settle(State::Granted);
    }

    pub(super) fn refuse(&self, error: Error) {
        self.settle(State::Refused(error));
    }
}

/// The answer to a lock request: at once, or when its turn comes. Dropping it while it waits gives the place up.
#[derive(Debug)]
#[must_use = "the lock is not held before the ticket is awaited"]
pub struct LockTicket {
    waiter: Option<(Arc<LockManager>, Arc<Waiter>)>,
}

impl LockTicket {
    pub(super) fn granted() -> Self {
        Self { waiter: None }
    }

    pub(super) fn waiting(manager: Arc<LockManager>, waiter: Arc<Waiter>) -> Self {
        Self { waiter: Some((manager, waiter)) }
    }

    /// Whether the lock was granted without a wait.
    pub fn is_granted(&self) -> bool {
        self.waiter.is_none()
    }
}

impl Future for LockTicket {
    /// The row whose lock is held instead, where the one asked for was replaced during the wait.
    type Output = Result<Option<RowId>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((_, waiter)) = &self.waiter else { return Poll::Ready(Ok(None)) };
        let outcome = match &mut *waiter.state.lock() {
            State::Waiting(waker) => {
                *waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            State::Granted => Ok(*waiter.moved_to.lock()),
            State::Refused(error) => Err(error.clone()),
        };
        self.waiter = None;
        Poll::Ready(outcome)
    }
}

impl Drop for LockTicket {
    fn drop(&mut self) {
        if let Some((manager, waiter)) = self.waiter.take() {
            manager.give_up(&waiter);
        }
    }
}
