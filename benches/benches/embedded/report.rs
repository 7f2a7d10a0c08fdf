//! The figures side by side.

use std::time::Duration;

use crate::Arguments;
use crate::engines::Kind;
use crate::measure::Figures;
use crate::work::{Result, median};

/// Prints Markdown tables: rates with their ratio to Strata's, latencies, other numbers.
pub fn print(arguments: &Arguments, kinds: &[Kind], probe: Duration, results: &[Result]) {
    println!(
        "{} rows, {} MiB of cache each, medians of {} turns of {} s. A sync of 4 KiB takes {:.0} µs.",
        arguments.rows,
        arguments.memory,
        arguments.repeats,
        arguments.seconds,
        probe.as_secs_f64() * 1e6
    );
    let Some(first) = results.first() else { return };
    let names: Vec<&str> = first.figures.iter().map(|(name, _)| name.as_str()).collect();

    println!("\nOperations a second; in brackets how many times as many Strata does.\n");
    heading("work", kinds);
    for name in &names {
        let strata = rate(results, Kind::Strata, name);
        let cells = kinds.iter().map(|kind| {
            let rate = rate(results, *kind, name);
            if *kind == Kind::Strata || strata.is_nan() {
                format!("{rate:.0}")
            } else {
                format!("{rate:.0} ({:.2})", strata / rate)
            }
        });
        line(name, cells);
    }

    println!("\nLatencies in microseconds: p50 / p99 / p99.9.\n");
    heading("work", kinds);
    for name in &names {
        if figure(results, kinds[0], name, |figures| figures.p50).is_nan() {
            continue;
        }
        let cells = kinds.iter().map(|kind| {
            let at = |of: fn(&Figures) -> f64| figure(results, *kind, name, of);
            format!("{:.1} / {:.1} / {:.1}", at(|f| f.p50), at(|f| f.p99), at(|f| f.p999))
        });
        line(name, cells);
    }

    println!("\nOther numbers.\n");
    heading("what", kinds);
    let mut known: Vec<&str> = Vec::new();
    for (name, _) in results.iter().flat_map(|result| &result.numbers) {
        if !known.contains(&name.as_str()) {
            known.push(name);
        }
    }
    for name in known {
        let cells = kinds.iter().map(|kind| {
            let of_kind = results.iter().filter(|result| result.kind == *kind);
            let values: Vec<f64> = of_kind
                .flat_map(|result| &result.numbers)
                .filter(|known| known.0 == name)
                .map(|known| known.1)
                .collect();
            if values.is_empty() { "".to_owned() } else { format!("{:.3}", median(values)) }
        });
        line(name, cells);
    }
}

fn figure(results: &[Result], kind: Kind, name: &str, of: fn(&Figures) -> f64) -> f64 {
    let of_kind = results.iter().filter(|result| result.kind == kind);
    median(
        of_kind
            .flat_map(|result| &result.figures)
            .filter(|known| known.0 == name)
            .map(|known| of(&known.1))
            .collect(),
    )
}

fn rate(results: &[Result], kind: Kind, name: &str) -> f64 {
    figure(results, kind, name, |figures| figures.rate)
}

fn heading(first: &str, kinds: &[Kind]) {
    line(first, kinds.iter().map(|kind| kind.name().to_owned()));
    line("---", kinds.iter().map(|_| "---".to_owned()));
}

fn line(first: &str, cells: impl Iterator<Item = String>) {
    println!("| {first} | {} |", cells.collect::<Vec<_>>().join(" | "));
}
