//! Which calls are failed, and how.

use strata_core::vfs::FaultEffect;

/// How a call fails, and whether all that come after it do.
pub const EFFECTS: [(FaultEffect, bool); 6] = [
    (FaultEffect::InputOutput, false),
    (FaultEffect::InputOutput, true),
    (FaultEffect::DiskFull, false),
    (FaultEffect::DiskFull, true),
    (FaultEffect::ShortRead, false),
    (FaultEffect::ShortWrite, false),
];

/// Of the calls, one in how many is failed. A short run fails each of them in one way, and some in the others;
/// `STRATA_FAULTS=all` fails each in every way.
pub fn stride(effect: FaultEffect, for_ever: bool) -> usize {
    if is_long() || (effect, for_ever) == (FaultEffect::InputOutput, false) { 1 } else { 7 }
}

/// Whether all is to be done that there is to do.
pub fn is_long() -> bool {
    std::env::var("STRATA_FAULTS").is_ok_and(|text| text == "all")
}
