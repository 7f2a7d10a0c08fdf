//! A short soak: a few threads, so many transactions each.

use crucible::random::Random;
use crucible::soak::{Length, SoakOptions, run};

#[test]
fn invariants_hold_under_constant_maintenance() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let seed = Random::any_seed();
    println!("seed {seed}");
    let options = SoakOptions { threads: 6, length: Length::Transactions(60), seed, memory_bytes: 24 << 20 };
    let report = run(folder.path(), &options).expect("opens and closes");
    assert!(report.committed > 100, "{report:?}");
    assert!(report.verified > 0, "{report:?}");
}
