//! Which calls are failed, and how.

use strata_core::vfs::{FaultEffect, FaultVfs, IoKind};

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
/// The calls that a full disk can fail.
const TAKING_SPACE: [IoKind; 6] =
    [IoKind::Open, IoKind::Write, IoKind::Sync, IoKind::SetLen, IoKind::CreateDir, IoKind::Rename];

/// How many calls there were; by default none, which is few.
#[derive(Clone, Copy, Default)]
pub struct Calls {
    pub all: u64,
    taking_space: u64,
}

impl Calls {
    /// Those so far.
    pub fn of(faults: &FaultVfs) -> Self {
        let taking_space = TAKING_SPACE.iter().map(|kind| faults.count(*kind)).sum();
        Self { all: faults.total(), taking_space }
    }

    pub fn since(self, before: Self) -> Self {
        Self { all: self.all - before.all, taking_space: self.taking_space - before.taking_space }
    }
}

/// The calls to be failed of an operation that makes so many. Each is failed in one way; in the other ways each of a short
/// operation, and of a long one some: which ones depends on the operation and on the way, so that all of them together
/// meet calls of every kind. A disk that is full once meets each call of an operation in which few take space, however long it is.
/// `STRATA_FAULTS=all` fails each in every way.
pub fn chosen(name: &str, calls: Calls, effect: FaultEffect, for_ever: bool) -> impl Iterator<Item = u64> {
    let is_full_once = matches!(effect, FaultEffect::DiskFull | FaultEffect::ShortWrite) && !for_ever;
    let is_short = if is_full_once { calls.taking_space <= FEW } else { calls.all <= FEW };
    let stride = if is_first_way(effect, for_ever) || is_short || is_long() { 1 } else { STRIDE };
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
