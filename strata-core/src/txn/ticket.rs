//! Waiting without a thread: the ticket of a commit, and a way to block on any future.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use parking_lot::Mutex;

use crate::error::Result;
use crate::ids::Timestamp;

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Settled(Result<Timestamp>),
}

/// The commit's side of a ticket.
#[derive(Clone, Debug)]
pub(crate) struct CommitOutcome {
    state: Arc<Mutex<State>>,
}

impl CommitOutcome {
    pub(crate) fn new() -> (Self, CommitTicket) {
        let state = Arc::new(Mutex::new(State::Waiting(None)));
        (Self { state: state.clone() }, CommitTicket { state, is_refused: false })
    }

    pub(crate) fn settle(&self, outcome: Result<Timestamp>) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Settled(outcome));
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

/// A commit on its way to the disk: ready when it is durable and visible, or when its fate is unknown
/// ([`Error::Poisoned`](crate::Error::Poisoned)). Dropping the ticket does not undo the commit.
#[derive(Debug)]
#[must_use = "a commit is acknowledged only when its ticket is ready"]
pub struct CommitTicket {
    state: Arc<Mutex<State>>,
    is_refused: bool,
}

impl CommitTicket {
    /// A ticket that waits for nothing.
    pub(crate) fn settled(outcome: Result<Timestamp>) -> Self {
        Self { state: Arc::new(Mutex::new(State::Settled(outcome))), is_refused: false }
    }

    /// The same, of a commit that was not made.
    pub(crate) fn refused(self) -> Self {
        Self { is_refused: true, ..self }
    }

    /// Whether the commit was not made, for what others have committed: that is told once theirs is durable.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Blocks this thread until the commit is durable.
    pub fn wait(self) -> Result<Timestamp> {
        block_on(self)
    }
}

impl Future for CommitTicket {
    type Output = Result<Timestamp>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self.state.lock() {
            State::Waiting(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            State::Settled(outcome) => Poll::Ready(outcome.clone()),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks this thread on a future of the engine, for users without an async runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
