//! A failing run made short: steps are left out as long as it fails.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002) by halves: chunks of
//! the list are left out, large ones first, until no single step can go. A run fails in the same way if the same kind of
//! thing is wrong: the numbers in the message may differ.

use super::plan::Plan;
use super::run::{Failure, run};

/// The shortest run found that fails like this one, and its failure. `tell` hears of progress.
pub(super) fn shrink(plan: &Plan, failure: Box<Failure>, tell: &mut dyn FnMut(&str)) -> (Plan, Box<Failure>) {
    let (mut shortest, mut found) = (plan.clone(), failure);
    // What comes after the failure has no part in it.
    shortest.steps.truncate(found.trace.len().saturating_sub(1));
    let mut chunk = shortest.steps.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        let mut shrunk = false;
        while at < shortest.steps.len() {
            let mut shorter = shortest.clone();
            shorter.steps.drain(at..(at + chunk).min(shortest.steps.len()));
            match run(&shorter, |_| {}) {
                Err(other) if kind(&other.what) == kind(&found.what) => {
                    (shortest, found, shrunk) = (shorter, other, true);
                    tell(&format!("{} steps fail", shortest.steps.len()));
                }
                _ => at += chunk,
            }
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        } else if !shrunk {
            break;
        }
    }
    (shortest, found)
}

/// A message without its numbers.
fn kind(what: &str) -> String {
    what.chars().filter(|letter| !letter.is_ascii_digit()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_kind_differ_in_numbers_only() {
        assert_eq!(
            kind("t1 lacks row 7, which commit 12 left"),
            kind("t2 lacks row 26, which commit 4 left")
        );
        assert_ne!(kind("t1 lacks row 7"), kind("t1 shows row 7 twice"));
    }
}
