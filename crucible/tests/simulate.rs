//! The simulation for a moment: a few seeds, those that failed once, and whether a seed says all.

use crucible::simulate::{self, Did, Run, Tally};

fn run(seed: u64) -> Run {
    simulate::run_seed(seed, simulate::STEPS, |_| {})
        .unwrap_or_else(|failure| panic!("seed {seed}: {failure}"))
}

#[test]
fn a_few_seeds_find_nothing_and_do_everything() {
    let mut tally = Tally::default();
    (1_000..1_040).for_each(|seed| tally.add_all(&run(seed).tally));
    for did in Did::ALL {
        // About half of what these seeds do. An engine that refuses everything does none of it.
        let least = match did {
            Did::Commit => 200,
            Did::SerializableCommit => 40,
            Did::Load => 20,
            Did::Definition => 90,
            Did::SnapshotDefinition => 35,
            Did::View => 10,
            Did::Schema => 8,
            Did::NotNull => 18,
            Did::NullMet => 5,
            Did::OlderCatalog => 140,
            Did::NewerCatalog => 20,
            Did::IndexBuild => 12,
            Did::Spill => 8,
            Did::Filter => 150,
            Did::GiveUp => 20,
            Did::Freeze => 80,
            Did::SparseRewrite => 40,
            Did::Move => 10,
            Did::Flush => 30,
            Did::Compaction => 15,
            Did::Checkpoint => 100,
            Did::Eviction => 500,
        };
        assert!(tally.of(did) >= least, "{did:?} less than {least} times: {tally}");
    }
}

#[test]
fn seeds_that_failed_once_find_nothing() {
    let seeds = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    for line in seeds {
        let seed = line.split_whitespace().next().expect("a line begins with a seed");
        run(seed.parse().expect("a number"));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 2_000..2_003 {
        let (first, second) = (run(seed).trace, run(seed).trace);
        let differs = first.iter().zip(&second).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len());
    }
}

#[test]
fn a_crash_at_some_points_loses_nothing_known() {
    let swept = simulate::sweep(61, 0).unwrap_or_else(|what| panic!("{what}"));
    assert!(swept.clones > 50, "{swept}");
    let [none, _, all] = swept.in_doubt;
    assert!(none > 0 && all > 0, "{swept}");
}
