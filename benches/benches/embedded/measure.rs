//! Timed work: operations a second and their latencies.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::engines::{Client, Engine, Outcome};

/// How one piece of work went.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Operations a second, all threads together.
    pub rate: f64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

/// An operation of one thread; the number is that of the operation in the thread.
pub type Operation<'a> = &'a (dyn Fn(&mut dyn Client, &mut StdRng, u64) -> Outcome<()> + Sync);

/// Runs an operation again and again on some threads. What is random in it differs by `name`, so that one piece of work does
/// not ask for the very keys that another has just asked for.
pub fn measure(
    name: &str,
    engine: &dyn Engine,
    threads: u64,
    seconds: f64,
    operation: Operation<'_>,
) -> Outcome<Figures> {
    let seed = |thread: u64| {
        let mut hasher = DefaultHasher::new();
        (name, thread).hash(&mut hasher);
        hasher.finish()
    };
    let barrier = Barrier::new(threads as usize);
    let length = Duration::from_secs_f64(seconds);
    let runs = thread::scope(|scope| {
        let run = |thread: u64| -> Outcome<(Histogram<u64>, Duration)> {
            let client = engine.client();
            let mut random = StdRng::seed_from_u64(seed(thread));
            let mut times = Histogram::new(3)?;
            barrier.wait();
            let mut client = client?;
            let start = Instant::now();
            let mut now = start;
            let mut count = 0;
            while now - start < length {
                operation(client.as_mut(), &mut random, count)?;
                count += 1;
                let end = Instant::now();
                times.record((end - now).as_nanos() as u64)?;
                now = end;
            }
            Ok((times, now - start))
        };
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Outcome<Vec<_>>>()
    })?;
    let mut all = Histogram::<u64>::new(3)?;
    let mut rate = 0.0;
    for (times, elapsed) in &runs {
        all.add(times)?;
        rate += times.len() as f64 / elapsed.as_secs_f64();
    }
    let at = |quantile| all.value_at_quantile(quantile) as f64 / 1_000.0;
    Ok(Figures { rate, p50: at(0.5), p99: at(0.99), p999: at(0.999) })
}
