//! Tests of the heap as a whole: against a model, against readers, and the interleavings that broke drafts.

mod changes;
mod concurrent;
mod faults;
mod kept_rows;
mod model;
mod opening;
mod rig;
mod traps;
