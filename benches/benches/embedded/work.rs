//! What each engine is made to do, in order.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Zipf};

use crate::Arguments;
use crate::disk::{self, Traffic};
use crate::engines::{Client, Engine, Kind, Outcome};
use crate::measure::{Figures, Operation, measure};
use crate::row::Row;

/// Rows of one transaction where many are written.
const BATCH: usize = 100;
/// Rows of one transaction of the first fill.
const FILL: usize = 1_000;
/// The skew of Zipfian keys, as YCSB has it.
const SKEW: f64 = 0.99;

/// One engine's figures, in the order they were made.
pub struct Result {
    pub kind: Kind,
    /// What timed work must be named like.
    only: String,
    /// Seconds of each.
    seconds: f64,
    /// Operations a second and latencies, by what was done.
    pub figures: Vec<(String, Figures)>,
    /// Other numbers: bytes, ratios, times.
    pub numbers: Vec<(String, f64)>,
}

impl Result {
    fn rate(&mut self, name: &str, rows: i64, seconds: f64) {
        let rate = rows as f64 / seconds;
        self.figures.push((name.to_owned(), Figures { rate, p50: f64::NAN, p99: f64::NAN, p999: f64::NAN }));
    }

    /// Times an operation, if that is wanted.
    fn measure(
        &mut self,
        name: &str,
        engine: &dyn Engine,
        threads: u64,
        operation: Operation<'_>,
    ) -> Outcome<()> {
        if name.contains(&self.only) {
            let figures = measure(name, engine, threads, self.seconds, operation)?;
            self.figures.push((name.to_owned(), figures));
        }
        Ok(())
    }

    fn number(&mut self, name: &str, value: f64) {
        self.numbers.push((name.to_owned(), value));
    }
}

/// Keys 0 to `rows`, each as likely as the others, or few of them much likelier. The likely ones lie anywhere.
#[derive(Clone, Copy)]
pub struct Keys {
    rows: i64,
    zipf: Option<Zipf<f64>>,
}

impl Keys {
    /// All alike.
    pub fn uniform(rows: i64) -> Self {
        Self { rows, zipf: None }
    }

    /// By Zipf's law.
    pub fn zipfian(rows: i64) -> Outcome<Self> {
        Ok(Self { rows, zipf: Some(Zipf::new(rows as f64, SKEW)?) })
    }

    /// One of them.
    pub fn pick(&self, random: &mut StdRng) -> i64 {
        match &self.zipf {
            None => random.random_range(0..self.rows),
            // Fibonacci hashing spreads neighbours in rank over the keys.
            Some(zipf) => {
                let rank = zipf.sample(random) as u64;
                (rank.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.rows as u64) as i64
            }
        }
    }
}

/// Reads a row and checks that it is one of that key.
pub fn get(client: &mut dyn Client, id: i64) -> Outcome<Row> {
    let row = client.get(id)?.ok_or_else(|| format!("row {id} is not there"))?;
    if row.id != id || row.note.len() != 36 {
        return Err(format!("row {id} reads as {row:?}").into());
    }
    Ok(row)
}

/// Does all the work with one engine.
pub fn run(kind: Kind, dir: &Path, arguments: &Arguments) -> Outcome<Result> {
    let (only, seconds) = (arguments.only.clone(), arguments.seconds);
    let mut result = Result { kind, only, seconds, figures: Vec::new(), numbers: Vec::new() };
    let (rows, memory) = (arguments.rows, arguments.memory << 20);
    let user_bytes = (0..1_000).map(|id| 8 + Row::new(id, 0).encode().len() as u64).sum::<u64>() as f64 / 1e3;
    let expected = sums((0..rows).map(|id| Row::new(id, 0)));
    result.number("bytes a row", user_bytes);

    // The bulk load, into a table of its own.
    let loaded = dir.join("load");
    let engine = kind.open(&loaded, memory)?;
    // Making the rows is not the engine's work: it is timed apart and taken off.
    let making = time(|| Ok((0..rows).map(|id| Row::new(id, 0).note.len()).sum::<usize>()))?;
    let loading = time(|| engine.load(&mut (0..rows).map(|id| Row::new(id, 0))))?;
    result.rate("bulk load, rows", rows, (loading - making).max(1e-9));
    check(engine.as_ref(), expected)?;
    drop(engine);
    std::fs::remove_dir_all(&loaded)?;

    // Transactions of a thousand rows, and reads of what they left.
    let table = dir.join("table");
    let engine = kind.open(&table, memory)?;
    let before = Traffic::now()?;
    let filling = time(|| fill(engine.as_ref(), rows))?;
    result.rate("insert by 1,000, rows", rows, (filling - making).max(1e-9));
    check(engine.as_ref(), expected)?;
    reads(engine.as_ref(), "hot", rows, &mut result)?;
    engine.settle()?;
    let written = Traffic::now()?.since(before).written;
    result.number("write amplification of the fill", written as f64 / (rows as f64 * user_bytes));
    result.number("space amplification", disk::used_bytes(&table)? as f64 / (rows as f64 * user_bytes));
    warm_up(engine.as_ref(), rows, result.seconds)?;
    let hits = engine.cache();
    reads(engine.as_ref(), "settled", rows, &mut result)?;
    if let (Some((hits, misses)), Some((hits_now, misses_now))) = (hits, engine.cache()) {
        let (hits, misses) = ((hits_now - hits) as f64, (misses_now - misses) as f64);
        result.number("cache hit rate, settled reads", hits / (hits + misses));
    }
    let scans: Vec<f64> =
        (0..5).map(|_| time(|| check(engine.as_ref(), expected))).collect::<Outcome<_>>()?;
    result.rate("scan of 2 of 10 columns, rows", rows, median(scans));

    writes(engine.as_ref(), &table, rows, user_bytes, &mut result)?;
    engine.settle()?;
    drop(engine);

    // Nothing in any cache.
    disk::forget(&table)?;
    let start = Instant::now();
    let engine = kind.open(&table, memory)?;
    get(engine.client()?.as_mut(), rows / 2)?;
    result.number("open and first read, ms", start.elapsed().as_secs_f64() * 1e3);
    let before = Traffic::now()?;
    let keys = Keys::uniform(rows);
    let reads = AtomicU64::new(0);
    result.measure("get uniform, cold", engine.as_ref(), 1, &|client, random, _| {
        reads.fetch_add(1, Ordering::Relaxed);
        get(client, keys.pick(random)).map(drop)
    })?;
    let read = Traffic::now()?.since(before).read as f64;
    result.number("bytes read a cold get", read / reads.load(Ordering::Relaxed) as f64);
    Ok(result)
}

fn reads(engine: &dyn Engine, state: &str, rows: i64, result: &mut Result) -> Outcome<()> {
    for (name, keys) in [("uniform", Keys::uniform(rows)), ("zipfian", Keys::zipfian(rows)?)] {
        result.measure(&format!("get {name}, {state}"), engine, 1, &|client, random, _| {
            get(client, keys.pick(random)).map(drop)
        })?;
    }
    let keys = Keys::uniform(rows - 100);
    result.measure(&format!("range of 100, {state}"), engine, 1, &|client, random, _| {
        range(client, keys.pick(random), 100)
    })
}

/// Gets that nobody times, for caches to settle too.
fn warm_up(engine: &dyn Engine, rows: i64, seconds: f64) -> Outcome<()> {
    for (name, keys) in [("uniform", Keys::uniform(rows)), ("zipfian", Keys::zipfian(rows)?)] {
        let name = format!("warm up {name}");
        measure(&name, engine, 1, seconds, &|client, random, _| get(client, keys.pick(random)).map(drop))?;
    }
    Ok(())
}

fn range(client: &mut dyn Client, from: i64, count: usize) -> Outcome<()> {
    let (_, found) = client.range(from, count)?;
    if found == count { Ok(()) } else { Err(format!("{found} rows from {from} on").into()) }
}

fn writes(engine: &dyn Engine, table: &Path, rows: i64, user_bytes: f64, result: &mut Result) -> Outcome<()> {
    let keys = Keys::uniform(rows);
    let version = AtomicU64::new(1);
    let next = || version.fetch_add(1, Ordering::Relaxed);
    for threads in [1, 8, 32] {
        let name = format!("durable update, {threads} threads");
        result.measure(&name, engine, threads, &|client, random, _| {
            client.update(&[Row::new(keys.pick(random), next())])
        })?;
    }
    let updated = AtomicU64::new(0);
    let before = Traffic::now()?;
    result.measure(&format!("update by {BATCH}, transactions"), engine, 1, &|client, random, _| {
        let mut ids: Vec<i64> = (0..BATCH).map(|_| keys.pick(random)).collect();
        ids.sort_unstable();
        ids.dedup();
        updated.fetch_add(ids.len() as u64, Ordering::Relaxed);
        let version = next();
        client.update(&ids.into_iter().map(|id| Row::new(id, version)).collect::<Vec<_>>())
    })?;
    let written = Traffic::now()?.since(before).written as f64;
    let updated = updated.into_inner() as f64 * user_bytes;
    result.number("write amplification of updates", written / updated);
    ycsb(engine, rows, &next, result)?;
    result.number("disk after all writes, MiB", disk::used_bytes(table)? as f64 / f64::from(1 << 20));
    Ok(())
}

/// YCSB's six mixes (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", 2010) with 8 threads.
fn ycsb(engine: &dyn Engine, rows: i64, next: &(dyn Fn() -> u64 + Sync), result: &mut Result) -> Outcome<()> {
    let keys = Keys::zipfian(rows)?;
    let end = AtomicI64::new(rows);
    // A key is given out before its row is there, so that reads of the latest may miss it.
    let insert = |client: &mut dyn Client| client.insert(&[Row::new(end.fetch_add(1, Ordering::Relaxed), 0)]);
    let latest = |random: &mut StdRng| {
        let rank = random.random_range(0.0..1.0_f64).powi(8) * rows as f64;
        (end.load(Ordering::Relaxed) - 1 - rank as i64).max(0)
    };
    let mixes: [(&str, Operation<'_>); 6] = [
        ("A: 50 read, 50 update", &|client, random, _| match random.random_bool(0.5) {
            true => get(client, keys.pick(random)).map(drop),
            false => client.update(&[Row::new(keys.pick(random), next())]),
        }),
        ("B: 95 read, 5 update", &|client, random, _| match random.random_bool(0.95) {
            true => get(client, keys.pick(random)).map(drop),
            false => client.update(&[Row::new(keys.pick(random), next())]),
        }),
        ("C: read", &|client, random, _| get(client, keys.pick(random)).map(drop)),
        ("D: 95 read latest, 5 insert", &|client, random, _| match random.random_bool(0.95) {
            true => client.get(latest(random)).map(drop),
            false => insert(client),
        }),
        ("E: 95 range, 5 insert", &|client, random, _| match random.random_bool(0.95) {
            true => range(client, keys.pick(random).min(rows - 100), random.random_range(1..=100)),
            false => insert(client),
        }),
        ("F: 50 read, 50 read and update", &|client, random, _| {
            let row = get(client, keys.pick(random))?;
            match random.random_bool(0.5) {
                true => Ok(()),
                false => client.update(&[Row { price: row.price + 1, ..row }]),
            }
        }),
    ];
    for (name, operation) in mixes {
        result.measure(&format!("YCSB {name}"), engine, 8, operation)?;
    }
    Ok(())
}

/// Inserts the rows in transactions of [`FILL`].
pub fn fill(engine: &dyn Engine, rows: i64) -> Outcome<()> {
    let mut client = engine.client()?;
    let mut next = 0;
    while next < rows {
        let end = rows.min(next + FILL as i64);
        client.insert(&(next..end).map(|id| Row::new(id, 0)).collect::<Vec<_>>())?;
        next = end;
    }
    Ok(())
}

fn sums(rows: impl Iterator<Item = Row>) -> (i64, i64) {
    rows.fold((0, 0), |sums, row| (sums.0 + row.price, sums.1 + i64::from(row.quantity)))
}

fn check(engine: &dyn Engine, expected: (i64, i64)) -> Outcome<()> {
    let found = engine.sums()?;
    if found == expected { Ok(()) } else { Err(format!("the sums are {found:?}, not {expected:?}").into()) }
}

fn time<T>(action: impl FnOnce() -> Outcome<T>) -> Outcome<f64> {
    let start = Instant::now();
    std::hint::black_box(action()?);
    Ok(start.elapsed().as_secs_f64())
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
