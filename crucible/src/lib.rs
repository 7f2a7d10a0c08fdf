//! crucible
