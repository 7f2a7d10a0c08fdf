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

/// An operation of more calls is long.
const FEW: u64 = 40;
/// Of a long operation, one call in so many is failed in the ways that are not the first.
const STRIDE: u64 = 7;

/// The calls to be failed of an operation that makes so many. Each is failed in one way; in the other ways each of a short
/// operation, and of a long one some: which ones depends on the operation and on the way, so that all of them together
/// meet calls of every kind. `STRATA_FAULTS=all` fails each in every way.
pub fn chosen(name: &str, calls: u64, effect: FaultEffect, for_ever: bool) -> impl Iterator<Item = u64> {
    let stride = if is_first_way(effect, for_ever) || calls <= FEW || is_long() { 1 } else { STRIDE };
    let way = EFFECTS.iter().position(|way| *way == (effect, for_ever)).unwrap_or(0) as u64;
    let turn = name.bytes().map(u64::from).sum::<u64>() + 3 * way;
    (turn % stride..).step_by(stride as usize)
}

/// Whether this is the way in which each call is failed.
pub fn is_first_way(effect: FaultEffect, for_ever: bool) -> bool {
    (effect, for_ever) == EFFECTS[0]
}

/// Whether all is to be done that there is to do.
pub fn is_long() -> bool {
    std::env::var("STRATA_FAULTS").is_ok_and(|text| text == "all")
}
