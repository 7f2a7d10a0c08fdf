//! A short soak: a few threads, so many transactions each.

use crucible::random::Random;
use crucible::soak::{Length, SoakOptions, run};

#[test]
fn invariants_hold_under_constant_maintenance() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let seed = Random::any_seed();
    println!("seed {seed}");
    let options = SoakOptions { threads: 6, length: Length::Transactions(100), seed, memory_bytes: 24 << 20 };
    let report = run(folder.path(), &options).expect("opens and closes");
    assert!(report.committed > 200, "{report:?}");
    // What has not happened has proved nothing.
    for (what, count, least) in [
        ("readers", report.verified, 10),
        ("loads", report.loads, 1),
        ("changes of the catalog", report.changes, 5),
        ("transactions at SERIALIZABLE", report.serializable, 20),
        ("reads that did not hold any more", report.read_conflicts, 1),
        ("transactions that were tried again", report.retried, 1),
        ("parts that were undone", report.undone, 20),
        ("transactions that wrote rows out", report.spilled, 1),
        ("indexes", report.indexes, 1),
        ("indexes that waited for writers", report.awaited_writers, 1),
    ] {
        assert!(count >= least, "{what}: {count} and not {least}: {report:?}");
    }
}
