//! Batches of rows that go in one by one, and let others have a turn in between.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use strata_core::table::Transaction;
use strata_core::{Database, Options, Result, Sizes};

use crate::rest::squeeze;
use crate::rig::{Outcome, batch, change, def, options, write};
use crate::sweep::{Operation, sweep};

/// More than go in between two turns of others, and so many that a file of the journal does not hold them.
const ROWS: std::ops::Range<i64> = 1_000..1_280;

/// Whether a future has asked to be polled again.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The value of a future that waits for nobody but lets others have a turn, and how often it did.
fn in_turns<F: Future>(future: F) -> (F::Output, usize) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut future = pin!(future);
    for turns in 0.. {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return (value, turns),
            Poll::Pending => assert!(woken.0.swap(false, Ordering::Relaxed), "waits for somebody"),
        }
    }
    unreachable!("the loop has no end")
}

fn insert_all(db: &Database, txn: &Transaction, name: &str) -> Result<()> {
    let rows = batch(ROWS);
    let (inserted, turns) = in_turns(txn.insert_batch(&def(db, name), &rows));
    assert_eq!(inserted?, rows.num_rows() as u64);
    assert!(turns > 0, "nobody had a turn");
    Ok(())
}

fn run(db: &Database) -> Outcome {
    write(db, "cold", |txn| {
        change(db, txn, "cold", 290..300, true)?;
        squeeze(db);
        insert_all(db, txn, "cold")
    })
}

#[test]
fn many_rows() {
    sweep(&Operation::change("a batch", run).at_least(10));
}

/// Own rows are written out within the batch, before and after others had their turn.
#[test]
fn rows_that_are_written_out() {
    let in_blocks = || {
        let sizes = Sizes { own_rows: 70, ..options().sizes };
        Options { sizes, ..options() }
    };
    sweep(&Operation { options: in_blocks, ..Operation::change("a batch in blocks", run).at_least(25) });
}
