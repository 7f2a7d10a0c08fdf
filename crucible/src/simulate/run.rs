//! Runs, their traces, and what is left of one that fails.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::plan::Plan;
use super::shrink::shrink;
use super::tally::Tally;
use super::watchdog::Watchdog;
use super::world::World;

/// Steps of a run, where nobody says. What is kept in `seeds.txt` is replayed with as many as it failed with.
pub const STEPS: usize = 400;

/// A run that found nothing.
#[derive(Clone, Debug)]
pub struct Run {
    /// One line for each step.
    pub trace: Vec<String>,
    /// What was done.
    pub tally: Tally,
}

/// A run that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the database did that it must not.
    pub what: String,
    /// One line for each step.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        write!(f, "{}", self.what)
    }
}

/// Runs a seed for so many steps. `tell` gets the lines of the trace as they come.
///
/// # Errors
/// The failure.
pub fn run_seed(seed: u64, steps: usize, mut tell: impl FnMut(&str)) -> Result<Run, Box<Failure>> {
    let watchdog = Watchdog::over(format!("seed {seed} of {steps} steps"));
    run(&Plan::of_seed(seed, steps), |line| {
        watchdog.comes_to(line);
        tell(line);
    })
}

/// Leaves out steps of a seed's run, which has failed, as long as it fails in the same way.
pub fn shrink_seed(
    seed: u64,
    steps: usize,
    failure: Box<Failure>,
    mut tell: impl FnMut(&str),
) -> Box<Failure> {
    shrink(&Plan::of_seed(seed, steps), failure, &mut tell).1
}

/// Runs a plan.
pub(super) fn run(plan: &Plan, mut tell: impl FnMut(&str)) -> Result<Run, Box<Failure>> {
    let mut trace = vec![format!("{:?}", plan.config)];
    let ended = catch_unwind(AssertUnwindSafe(|| run_traced(plan, &mut trace, &mut tell)));
    match ended.unwrap_or_else(|panic| Err(format!("panic: {}", words(panic.as_ref())))) {
        Ok(tally) => Ok(Run { trace, tally }),
        Err(what) => Err(Box::new(Failure { what, trace })),
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

fn run_traced(plan: &Plan, trace: &mut Vec<String>, tell: &mut impl FnMut(&str)) -> Result<Tally, String> {
    let mut world = World::new(&plan.config)?;
    for (number, step) in plan.steps.iter().enumerate() {
        trace.push(format!("{number} {step:?}"));
        tell(trace.last().expect("just put there"));
        let done = world.step(step);
        let said = done.as_ref().unwrap_or_else(|what| what);
        trace.last_mut().expect("just put there").push_str(&format!(": {said} [{}]", world.calls()));
        tell(said);
        if let Err(what) = done {
            // What a failed run leaves behind is not to be closed in order.
            std::mem::forget(world);
            return Err(what);
        }
    }
    let said = world.end()?;
    trace.push(format!("end: {said} [{}]", world.calls()));
    Ok(world.tally())
}
