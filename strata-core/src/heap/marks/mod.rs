//! The delete marks of a segment: which rows have ended, since which commit, and what replaced them.
//!
//! **Layout.** A bitmap of dead slots (8 KiB, made with the first mark), and a [chain](super::chain) of groups, newest
//! first: the commit and its `(slot, successor)` pairs, or a [bitmap](dense) where they are many. A mark is for ever: a bit, once set, is never cleared, and the
//! marks belong to the segment, not to an image of it, so they outlive every image that contains the row
//! (TRAPS "Resurrection by rewrite"). What goes in time is a group, once every snapshot sees its rows as ended: the bit
//! alone then says it.
//!
//! **Concurrency.** One writer (the commit section) pushes a group, then sets its bits with Release. A reader at
//! snapshot `s` loads the bits with Acquire, then takes back the slots of the groups later than `s`: it finds the
//! group of any bit it saw, unless the group was dropped, and then the commit is not later than `s`. Nobody waits.
//!
//! **Loading.** Opening reads none of this. [`Marks::load`] fetches the persisted set when it is first needed; from then on it
//! is resident, on the pool's account. The commit section finds it loaded by `Heap::prepare`.

pub mod codec;
mod dense;
mod group;
mod successor;

use std::sync::Arc;

use super::HeapEnv;
use super::chain::{Chain, Link, link_bytes};
use crate::block::BlockHandle;
use crate::block::BlockKind;
use crate::error::{Error, Result};
use crate::ids::{HeapId, RowId, SegmentId, Timestamp};
use crate::memory::Reservation;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, OnceLock, Ordering};

pub use codec::{MARKS_FORMAT, MarkGroup, MarksImage};
pub(super) use codec::{WORDS, set_slots};
pub use dense::{DENSE_MARKS, DenseMarks};
pub use successor::Successor;

use group::{Entry, Group};

/// The end of a row version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The commit that ended it. Where all snapshots have long seen it ended, a later commit that all see too, or 0 if
    /// its segment is gone.
    pub end_ts: Timestamp,
    /// The version that replaced it, if there is one and the mark is recent enough to matter to a snapshot.
    pub successor: Option<RowId>,
    /// Whether the row was moved: the successor is the same in another place. Else it was changed.
    pub moved: bool,
}

/// The marks of one segment.
pub struct Marks {
    heap: HeapId,
    segment: SegmentId,
    bits: OnceLock<Box<[AtomicU64; WORDS]>>,
    groups: Chain<Group>,
    /// The newest commit among the groups dropped.
    floor: AtomicU64,
    dead: AtomicU32,
    /// False while the persisted set has not been read.
    loaded: AtomicBool,
    /// Whether the heap's list of segments to prune has this one.
    pub(super) listed: AtomicBool,
    stored: Mutex<Stored>,
}

/// What the durable manifest names, and the account. Held over the read of the persisted set; the commit section
/// takes it for a moment and finds it free, since it comes after `prepare`.
struct Stored {
    block: Option<Arc<BlockHandle>>,
    dead: u32,
    account: Option<Reservation>,
}

/// Memory of the bitmap.
pub(super) const BITS_BYTES: usize = WORDS * 8;

/// Memory that a group of `count` marks takes at most.
pub(super) const fn group_bytes(count: usize) -> usize {
    link_bytes::<Group>() + group::list_bytes(count)
}

/// Memory that a group takes.
fn bytes_of(group: &Group) -> usize {
    link_bytes::<Group>() + group.size_bytes()
}

impl Marks {
    /// The marks of a segment that has none, or whose persisted ones are in `block`.
    pub(super) fn new(heap: HeapId, segment: SegmentId, block: Option<Arc<BlockHandle>>, dead: u32) -> Self {
        Self {
            heap,
            segment,
            bits: OnceLock::new(),
            groups: Chain::new(),
            floor: AtomicU64::new(0),
            dead: AtomicU32::new(dead),
            loaded: AtomicBool::new(block.is_none()),
            listed: AtomicBool::new(false),
            stored: Mutex::new(Stored { block, dead, account: None }),
        }
    }

    /// How many slots are dead, of all snapshots. Needs no loading.
    pub fn dead(&self) -> u32 {
        self.dead.load(Ordering::Acquire)
    }

    /// Whether the marks can be asked without I/O.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Whether groups are there that [`prune`](Self::prune) may collapse.
    pub(super) fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Reads the persisted marks if that has not been done.
    ///
    /// # Errors
    /// Those of the block store; `OutOfMemory`.
    pub(super) fn load(&self, env: &HeapEnv) -> Result<()> {
        if self.is_loaded() {
            return Ok(());
        }
        let mut stored = self.stored.lock();
        let Some(block) = stored.block.as_ref().filter(|_| !self.is_loaded()) else {
            return Ok(());
        };
        let id = block.id();
        let (info, payload) = env.cache.store().read_all(id, BlockKind::Marks)?;
        if !(1..=MARKS_FORMAT).contains(&info.format) {
            let what = "a marks block".to_owned();
            return Err(Error::UnsupportedFormat {
                what,
                found: info.format.into(),
                supported: MARKS_FORMAT.into(),
            });
        }
        let image = MarksImage::decode(id, info.format, &payload)?;
        if (image.heap, image.segment) != (self.heap, self.segment) || image.dead_count() != stored.dead {
            let found = format!("heap {} segment {} dead {}", image.heap, image.segment, image.dead_count());
            let detail = format!(
                "expected heap {} segment {} dead {}, got {found}",
                self.heap, self.segment, stored.dead
            );
            return Err(Error::CorruptBlock { block: id, offset: 0, detail });
        }
        let groups = image.groups.iter().map(|group| {
            let entries = group.marks.iter().map(|(slot, successor)| Entry::new(*slot, *successor));
            (group.end_ts, Group::new(entries.collect()))
        });
        let groups: Vec<(Timestamp, Group)> = groups.collect();
        self.allocate(env, &mut stored, groups.iter().map(|(_, group)| bytes_of(group)).sum())?;
        let bits = self.bits.get().expect("just allocated");
        for (end_ts, group) in groups {
            self.groups.push(end_ts, group);
        }
        self.floor.store(image.floor.get(), Ordering::Release);
        for (word, value) in bits.iter().zip(&image.dead) {
            word.store(*value, Ordering::Release);
        }
        self.loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Makes room for the first mark, so that the commit section need not.
    pub(super) fn make_ready(&self, env: &HeapEnv) -> Result<()> {
        self.load(env)?;
        if self.bits.get().is_none() {
            self.allocate(env, &mut self.stored.lock(), 0)?;
        }
        Ok(())
    }

    fn allocate(&self, env: &HeapEnv, stored: &mut Stored, more: usize) -> Result<()> {
        if self.bits.get().is_none() {
            let reservation = env.pool.reserve("delete marks", BITS_BYTES + more)?;
            merge(&mut stored.account, reservation);
            self.bits.get_or_init(no_bits);
        }
        Ok(())
    }

    /// Marks slots as ended by commit `end_ts` (the commit section, or replay); returns how many were not before. `memory`
    /// gives what the group needs.
    pub(super) fn apply(
        &self,
        end_ts: Timestamp,
        marks: &[(RowId, Option<Successor>)],
        memory: impl FnOnce(usize) -> Option<Reservation>,
    ) -> u32 {
        debug_assert!(self.is_loaded(), "rule 5: marks are loaded before they are applied");
        let entries: Vec<Entry> = marks
            .iter()
            .filter(|(row, _)| !self.is_dead(row.slot()))
            .map(|(row, successor)| Entry::new(row.slot(), *successor))
            .collect();
        debug_assert!(
            entries.is_sorted_by(|left, right| left.slot < right.slot),
            "each slot once, ascending"
        );
        self.push(end_ts, Group::new(entries), memory)
    }

    /// As [`apply`](Self::apply), for many marks.
    pub(super) fn apply_dense(
        &self,
        end_ts: Timestamp,
        marks: DenseMarks,
        memory: impl FnOnce(usize) -> Option<Reservation>,
    ) -> u32 {
        debug_assert!(self.is_loaded(), "rule 5: marks are loaded before they are applied");
        let repeated = self.bits.get().is_some_and(|bits| {
            bits.iter().zip(marks.words()).any(|(word, more)| word.load(Ordering::Relaxed) & more != 0)
        });
        let group = if repeated {
            let fresh = marks.iter().filter(|(slot, _)| !self.is_dead(*slot));
            Group::new(fresh.map(|(slot, raw)| Entry::new(slot, Successor::from_raw(raw))).collect())
        } else {
            Group::Dense(marks)
        };
        self.push(end_ts, group, memory)
    }

    /// Adds a group whose slots are all live.
    fn push(
        &self,
        end_ts: Timestamp,
        group: Group,
        memory: impl FnOnce(usize) -> Option<Reservation>,
    ) -> u32 {
        let count = u32::try_from(group.len()).expect("a segment has 65,536 slots");
        if count == 0 {
            return 0;
        }
        // A segment that the same commit adopts has none yet.
        let more = if self.bits.get().is_none() { BITS_BYTES } else { 0 };
        let bits = self.bits.get_or_init(no_bits);
        if let Some(reservation) = memory(more + bytes_of(&group)) {
            merge(&mut self.stored.lock().account, reservation);
        }
        let group = self.groups.push(end_ts, group);
        group.value.for_each_word(|place, word| {
            bits[place].fetch_or(word, Ordering::Release);
        });
        self.dead.fetch_add(count, Ordering::AcqRel);
        count
    }

    /// Clears in `words` (whose bit 0 is `first_slot`, a multiple of 64) the slots that have ended at `snapshot`.
    pub(super) fn clear_ended(&self, first_slot: u32, words: &mut [u64], snapshot: Timestamp) {
        debug_assert!(first_slot.is_multiple_of(64) && self.is_loaded());
        let Some(bits) = self.bits.get() else { return };
        let first_word = first_slot as usize / 64;
        let bits = &bits[first_word..first_word + words.len()];
        let mut dead: Vec<u64> = bits.iter().map(|word| word.load(Ordering::Acquire)).collect();
        for group in self.groups.iter().take_while(|group| group.at > snapshot) {
            group.value.for_each_word(|place, slots| {
                if let Some(word) = place.checked_sub(first_word).and_then(|index| dead.get_mut(index)) {
                    *word &= !slots;
                }
            });
        }
        for (word, dead) in words.iter_mut().zip(dead) {
            *word &= !dead;
        }
    }

    /// Whether the slot's bit is set: the row has ended for those who come.
    pub(super) fn is_dead(&self, slot: u16) -> bool {
        let bits = self.bits.get();
        bits.is_some_and(|bits| bits[usize::from(slot) / 64].load(Ordering::Acquire) & bit(slot) != 0)
    }

    /// Whether the row has ended at `snapshot`.
    pub(super) fn is_ended(&self, slot: u16, snapshot: Timestamp) -> bool {
        self.is_dead(slot) && self.end_after(slot, snapshot).is_none()
    }

    /// The row's end, if that is later than `after`.
    pub(super) fn end_after(&self, slot: u16, after: Timestamp) -> Option<Timestamp> {
        let mut later = self.groups.iter().take_while(|group| group.at > after);
        later.find(|group| group.value.find(slot).is_some()).map(|group| group.at)
    }

    /// The row's mark, as it stands now.
    pub(super) fn mark(&self, slot: u16) -> Option<Mark> {
        if !self.is_dead(slot) {
            return None;
        }
        for group in self.groups.iter() {
            if let Some(entry) = group.value.find(slot) {
                let successor = entry.successor();
                return Some(Mark {
                    end_ts: group.at,
                    successor: successor.map(|successor| successor.row),
                    moved: successor.is_some_and(|successor| successor.moved),
                });
            }
        }
        Some(Mark { end_ts: self.floor(), successor: None, moved: false })
    }

    fn floor(&self) -> Timestamp {
        Timestamp::new(self.floor.load(Ordering::Acquire))
    }

    /// The bits as they stand now.
    pub(super) fn dead_words(&self) -> Vec<u64> {
        match self.bits.get() {
            Some(bits) => bits.iter().map(|word| word.load(Ordering::Acquire)).collect(),
            None => vec![0; WORDS],
        }
    }

    /// Each mark later than `after` that still has its group.
    pub(super) fn later_than(
        &self,
        after: Timestamp,
        mut visit: impl FnMut(u16, Timestamp, Option<Successor>),
    ) {
        for group in self.groups.iter().take_while(|group| group.at > after) {
            for entry in group.value.iter() {
                visit(entry.slot, group.at, entry.successor());
            }
        }
    }

    /// Drops the groups that every snapshot sees as ended, and unites those that no live snapshot separates (the
    /// pruner). `live` ascends. A new snapshot is at `published` or later.
    pub(super) fn prune(&self, live: &[Timestamp], published: Timestamp) {
        let oldest = live.first().map_or(published, |first| published.min(*first));
        let class = |at: Timestamp| live.partition_point(|snapshot| *snapshot < at);
        let Some(mut anchor) = self.groups.newest() else { return };
        let mut freed = 0;
        if anchor.at <= oldest {
            freed += self.retire(Some(Arc::clone(&anchor)));
            self.groups.clear_if(&anchor);
            return self.give_back(freed);
        }
        while let Some(first) = anchor.previous() {
            if first.at <= oldest {
                freed += self.retire(Some(first));
                self.groups.cut_after(&anchor);
                break;
            }
            let mut count = first.value.len();
            let mut run = vec![first];
            // A group much larger than what would join it stays as it is, so that uniting costs little in all.
            while let Some(next) = run.last().and_then(|link| link.previous()).filter(|next| {
                next.at > oldest
                    && run[0].at <= published
                    && class(next.at) == class(run[0].at)
                    && next.value.len() <= 4 * count + 64
            }) {
                count += next.value.len();
                run.push(next);
            }
            anchor = if run.len() == 1 {
                run.remove(0)
            } else {
                let mut entries: Vec<Entry> = run.iter().flat_map(|link| link.value.iter()).collect();
                entries.sort_unstable_by_key(|entry| entry.slot);
                let group = Group::new(entries);
                let before: usize = run.iter().map(|link| bytes_of(&link.value)).sum();
                freed += before.saturating_sub(bytes_of(&group));
                let older = run.last().and_then(|link| link.previous());
                self.groups.splice(&anchor, Some((run[0].at, group)), older);
                anchor.previous().expect("just put there")
            };
        }
        self.give_back(freed);
    }

    /// Notes that a group and those before it go; returns their bytes.
    fn retire(&self, newest: Option<Arc<Link<Group>>>) -> usize {
        let (mut bytes, mut next) = (0, newest);
        while let Some(link) = next {
            self.floor.fetch_max(link.at.get(), Ordering::AcqRel);
            bytes += bytes_of(&link.value);
            next = link.previous();
        }
        bytes
    }

    fn give_back(&self, bytes: usize) {
        if let Some(account) = &mut self.stored.lock().account {
            account.shrink(bytes.min(account.bytes().saturating_sub(BITS_BYTES)));
        }
    }

    /// The marks as a block holds them, of the slots below `slots`; `None` where the manifest has as many already
    /// (marks only grow, so then it has the same).
    pub(super) fn capture(&self, slots: u32) -> Option<MarksImage> {
        if !self.is_loaded() || self.dead() == self.stored.lock().dead {
            return None;
        }
        let mut dead = self.dead_words();
        for (index, word) in dead.iter_mut().enumerate() {
            let below = slots.saturating_sub(index as u32 * 64);
            *word &= if below >= 64 { u64::MAX } else { (1 << below) - 1 };
        }
        let is_dead = |slot: u16| dead[usize::from(slot) / 64] & bit(slot) != 0;
        let mut groups = Vec::new();
        for group in self.groups.iter() {
            let kept = group.value.iter().filter(|entry| is_dead(entry.slot));
            let marks: Vec<_> = kept.map(|entry| (entry.slot, entry.successor())).collect();
            if !marks.is_empty() {
                groups.push(MarkGroup { end_ts: group.at, marks });
            }
        }
        groups.reverse();
        Some(MarksImage { heap: self.heap, segment: self.segment, dead, floor: self.floor(), groups })
    }

    /// What the durable manifest has: the block and how many are dead in it.
    pub(super) fn stored(&self) -> (Option<Arc<BlockHandle>>, u32) {
        let stored = self.stored.lock();
        (stored.block.clone(), stored.dead)
    }

    /// Notes what a manifest edit that is durable now names; returns what it no longer does.
    pub(super) fn set_stored(&self, block: Option<Arc<BlockHandle>>, dead: u32) -> Option<Arc<BlockHandle>> {
        let mut stored = self.stored.lock();
        stored.dead = dead;
        std::mem::replace(&mut stored.block, block)
    }
}

fn no_bits() -> Box<[AtomicU64; WORDS]> {
    let words: Box<[AtomicU64]> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
    words.try_into().expect("as many were made")
}

fn bit(slot: u16) -> u64 {
    1 << (slot % 64)
}

fn merge(account: &mut Option<Reservation>, more: Reservation) {
    match account {
        Some(account) => account.merge(more),
        None => *account = Some(more),
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod models;
