//! The simulation for a moment: a few seeds, those that failed once, and whether a seed says all.

use crucible::simulate::{self, Run};

const STEPS: usize = 250;

fn run(seed: u64) -> Run {
    simulate::run_seed(seed, STEPS, |_| {}).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"))
}

#[test]
fn a_few_seeds_find_nothing() {
    for seed in 1_000..1_008 {
        run(seed);
    }
}

#[test]
fn some_seed_moves_rows_out_of_nearly_empty_segments() {
    assert!((1_100..1_200).any(|seed| run(seed).moves > 0));
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
    let swept = simulate::sweep(37).unwrap_or_else(|what| panic!("{what}"));
    assert!(swept.clones > 50, "{swept}");
    let [none, _, all] = swept.in_doubt;
    assert!(none > 0 && all > 0, "{swept}");
    for kind in ["Flush", "Compaction", "Checkpoint", "Move", "Reclaim"] {
        assert!(swept.maintenance.contains_key(kind), "{swept}");
    }
}
