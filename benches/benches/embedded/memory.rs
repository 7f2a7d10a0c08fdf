//! What the machine's memory gives: the measure by which lookups grow that do the same work in more of it.

use std::fs::read_to_string;
use std::hint::black_box;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::engines::Outcome;

/// Bytes of memory that the process itself holds, without files that are mapped.
pub fn held_bytes() -> Outcome<u64> {
    let text = read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("there is no RssAnon")?;
    let kib = line.trim().strip_suffix("kB").ok_or("RssAnon is not in kB")?;
    Ok(kib.trim().parse::<u64>()? * 1_024)
}

/// Nanoseconds that a processor waits for a word anywhere in so many bytes, none of them asked for before the last one has
/// come: the time that each step of a lookup takes at least.
pub fn touch_time(bytes: u64) -> f64 {
    const WORDS_A_LINE: usize = 8;
    const TOUCHES: u32 = 4_000_000;
    let lines = (bytes as usize / 64).max(1);
    // Not zeros, whose pages the system would not give before they are written.
    let memory = vec![1_u64; lines * WORDS_A_LINE];
    let mut random = StdRng::seed_from_u64(1);
    let places: Vec<u32> = (0..1 << 16).map(|_| random.random()).collect();
    let mut last = 0;
    let mut touch = |touches: u32| {
        for touch in 0..touches {
            let place =
                u64::from(places[touch as usize % places.len()] ^ touch.wrapping_mul(0x9E37_79B9)) + last;
            last = memory[(place as usize % lines) * WORDS_A_LINE];
        }
    };
    touch(TOUCHES / 4);
    let start = Instant::now();
    touch(TOUCHES);
    let elapsed = start.elapsed();
    black_box(last);
    elapsed.as_secs_f64() * 1e9 / f64::from(TOUCHES)
}
