//! `simulate`: runs seeds of the simulation.

use std::panic;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use crucible::random::Random;
use crucible::simulate::{self, Tally};

/// Runs the engine in a world that a seed determines, seed after seed.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed, the others follow it; chosen and printed if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Ends after so many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// Steps of each run.
    #[arg(long, default_value_t = simulate::STEPS)]
    steps: usize,
    /// Instead of seeds: a crash at every point of a fixed workload.
    #[arg(long)]
    crash_points: bool,
    /// Crashes at every so many calls only. An even number is made odd, for calls are told of before and after, by turns.
    #[arg(long, default_value_t = 1)]
    stride: u64,
    /// The first of these calls; chosen and printed if it is not given.
    #[arg(long)]
    start: Option<u64>,
    /// Shows a failing run whole, rather than what is left of it.
    #[arg(long)]
    whole: bool,
    /// Prints each step as it comes.
    #[arg(long)]
    trace: bool,
}

/// The seed that runs, for panics that end the process.
static SEED: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.crash_points {
        return crash_points(arguments.stride | 1, arguments.start);
    }
    let first = arguments.seed.unwrap_or_else(|| Random::any_seed() >> 20);
    println!("seeds from {first}, {} steps each", arguments.steps);
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        eprintln!("in seed {}:", SEED.load(Ordering::Relaxed));
        usual(info);
    }));
    let begun = Instant::now();
    let mut told = begun;
    let mut tally = Tally::default();
    for done in 0..arguments.seeds {
        if arguments.minutes.is_some_and(|minutes| begun.elapsed().as_secs_f64() > minutes * 60.0) {
            println!("{done} seeds in {:.0?}, {tally}: nothing found", begun.elapsed());
            return ExitCode::SUCCESS;
        }
        let seed = first + done;
        SEED.store(seed, Ordering::Relaxed);
        let tell = |line: &str| {
            if arguments.trace {
                println!("{line}");
            }
        };
        match simulate::run_seed(seed, arguments.steps, tell) {
            Ok(run) => tally.add_all(&run.tally),
            Err(failure) => {
                println!("seed {seed} failed: {}", failure.what);
                let shown = match arguments.whole {
                    true => failure,
                    false => {
                        simulate::shrink_seed(seed, arguments.steps, failure, |line| eprintln!("{line}"))
                    }
                };
                println!("{shown}\nagain: simulate --seed {seed} --seeds 1 --steps {}", arguments.steps);
                return ExitCode::FAILURE;
            }
        }
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            println!("{} seeds in {:.0?}", done + 1, begun.elapsed());
        }
    }
    println!("{} seeds in {:.0?}, {tally}: nothing found", arguments.seeds, begun.elapsed());
    ExitCode::SUCCESS
}

fn crash_points(stride: u64, start: Option<u64>) -> ExitCode {
    let begun = Instant::now();
    let start = start.unwrap_or_else(Random::any_seed) % stride;
    println!("crashes at every {stride}. call from {start} on");
    match simulate::sweep(stride, start) {
        Ok(swept) => println!("{swept}; {:.0?}: nothing found", begun.elapsed()),
        Err(what) => {
            println!("{what}\nagain: simulate --crash-points --stride {stride} --start {start}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
