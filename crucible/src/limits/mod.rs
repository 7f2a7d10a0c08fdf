//! What the engine does at its limits: data larger than memory, a reader and a writer that never end, a full disk.
//!
//! Each is a function of its sizes: `tests/limits.rs` and `tests/memory.rs` run small ones, the binary `limits` larger ones.
//! All are deterministic: maintenance is stepped by hand, and contents follow from key and version, so that every row that is
//! read is checked whole.

pub mod full_disk;
pub mod memory;
pub mod reader;
mod table;
pub mod writer;

/// What a run found to be wrong, in words.
pub type Outcome = Result<(), String>;

/// Fails with these words unless the condition holds.
pub(crate) fn ensure(condition: bool, words: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(words()) }
}

pub(crate) fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Bytes for people.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
