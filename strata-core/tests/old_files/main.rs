//! Databases that older programs wrote, kept in `tests/fixtures`: they open, hold what they held, and go on; for ever.
//!
//! A fixture is written once, by the program beside its test (`v1`, `v2`, `v3`), as a kill left it: its journal has a tail to replay. It is never
//! written again once its version is released; a new version gets a fixture of its own.
//!
//! `STRATA_WRITE_FIXTURE=DIR cargo test -p strata-core --test old_files` writes what the program of today writes, for each version in a
//! folder of its own.

mod files;
mod v1;
mod v2;
mod v3;
mod versions;
