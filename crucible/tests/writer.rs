//! A writer that never ends, in small; in a process of its own, since what it measures is the process.

use crucible::limits::writer::{End, Work, Writer};
use strata_core::table::Isolation;

#[test]
fn a_transaction_of_many_rows_keeps_within_the_cap() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = Writer {
        cap_bytes: 64 << 20,
        rows: 120_000,
        width: 20,
        work: Work::UpdateKey,
        end: End::Savepoint,
        isolation: Isolation::RepeatableRead,
    };
    run.run(folder.path(), &mut |line| println!("{line}")).expect("holds");
}
