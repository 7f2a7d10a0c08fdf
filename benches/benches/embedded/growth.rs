//! What operations cost as the table grows.

use std::path::Path;
use std::time::Instant;

use crate::Arguments;
use crate::disk;
use crate::engines::{Kind, Outcome};
use crate::measure::measure;
use crate::memory::{held_bytes, touch_time};
use crate::row::Row;
use crate::work::{Keys, get};

/// Prints a table: a line for each engine and number of rows.
pub fn run(arguments: &Arguments, dir: &Path) -> Outcome<()> {
    println!(
        "| engine | rows | get, µs p50 | p99 | memory, MiB | touch, ns | touches a get | update, µs p50 | p99 | open, ms | MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let kinds = if arguments.engines.is_empty() { &[Kind::Strata] } else { arguments.engines.as_slice() };
    for (kind, rows) in kinds.iter().flat_map(|kind| arguments.grow.iter().map(move |rows| (*kind, *rows))) {
        let folder = dir.join(format!("grow-{}-{rows}", kind.name()));
        let engine = kind.open(&folder, arguments.memory << 20)?;
        engine.load(&mut (0..rows).map(|id| Row::new(id, 0)))?;
        engine.settle()?;
        drop(engine);
        let start = Instant::now();
        let engine = kind.open(&folder, arguments.memory << 20)?;
        let opening = start.elapsed();
        let keys = Keys::uniform(rows);
        let read = |name, seconds| {
            measure(name, engine.as_ref(), 1, seconds, &|client, random, _| {
                get(client, keys.pick(random)).map(drop)
            })
        };
        read("warm up", arguments.warm)?;
        let gets = read("get", arguments.seconds)?;
        let held = held_bytes()?;
        let updates = measure("update", engine.as_ref(), 1, arguments.seconds, &|client, random, count| {
            client.update(&[Row::new(keys.pick(random), count + 1)])
        })?;
        let used = disk::used_bytes(&folder)?;
        drop(engine);
        let touch = touch_time(held);
        println!(
            "| {} | {rows} | {:.2} | {:.1} | {} | {touch:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} |",
            kind.name(),
            gets.p50,
            gets.p99,
            held >> 20,
            gets.p50 * 1e3 / touch,
            updates.p50,
            updates.p99,
            opening.as_secs_f64() * 1e3,
            used as f64 / f64::from(1 << 20)
        );
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}
