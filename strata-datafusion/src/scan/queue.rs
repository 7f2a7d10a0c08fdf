//! The work of a scan, cut into morsels.
//!
//! A morsel is a segment, or a quarter of one where there are too few segments to keep all partitions busy to the end.
//! Shared, morsels go to whichever partition asks next; otherwise each partition has its own range of them. The fetch is
//! counted over all partitions of a shared queue, and by each one of the others.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use strata_core::ids::{RowId, SLOTS_PER_SEGMENT};

use super::source::{CHUNK_ROWS, ScanSource};

/// Slots of a morsel in a small table.
pub(crate) const SMALL_MORSEL_SLOTS: u32 = SLOTS_PER_SEGMENT / 4;
/// With fewer segments than this for each partition, morsels are small.
const SEGMENTS_PER_PARTITION: usize = 8;

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Morsel {
    /// The slots of a segment, given by its place in the source.
    Slots(usize, Range<u32>),
    /// Some rows of a segment, ascending.
    Rows(usize, Vec<u32>),
    /// The transaction's own rows, by their places.
    Own(Vec<u32>),
}

/// The whole table.
pub(crate) fn whole_table(source: &ScanSource, partitions: usize) -> Vec<Morsel> {
    let slots: Vec<u32> = source.segments.iter().map(|segment| segment.slots()).collect();
    let mut morsels = cut_segments(&slots, partitions);
    let own = u32::try_from(source.own_rows().len()).unwrap_or(u32::MAX);
    morsels.extend(cut(own, SMALL_MORSEL_SLOTS).map(|range| Morsel::Own(range.collect())));
    morsels
}

fn cut_segments(slots: &[u32], partitions: usize) -> Vec<Morsel> {
    let is_large = slots.len() >= partitions * SEGMENTS_PER_PARTITION;
    let size = if is_large || partitions < 2 { SLOTS_PER_SEGMENT } else { SMALL_MORSEL_SLOTS };
    let segments = slots.iter().enumerate();
    segments
        .flat_map(|(place, slots)| cut(*slots, size).map(move |range| Morsel::Slots(place, range)))
        .collect()
}

fn cut(end: u32, size: u32) -> impl Iterator<Item = Range<u32>> {
    (0..end.div_ceil(size)).map(move |part| part * size..end.min((part + 1) * size))
}

/// These rows, ascending; in morsels of a chunk at most.
pub(crate) fn rows_of(source: &ScanSource, rows: &[RowId]) -> Vec<Morsel> {
    let mut morsels: Vec<Morsel> = Vec::new();
    let own_rows = source.own_rows();
    let mut segment = 0;
    for row in rows {
        while source.segments.get(segment).is_some_and(|view| view.segment() < row.segment()) {
            segment += 1;
        }
        let is_here = source.segments.get(segment).is_some_and(|view| view.segment() == row.segment());
        if is_here {
            push(&mut morsels, Morsel::Rows(segment, vec![u32::from(row.slot())]));
        } else if let Ok(place) = own_rows.binary_search_by_key(row, |(own, _)| *own) {
            push(&mut morsels, Morsel::Own(vec![u32::try_from(place).unwrap_or(u32::MAX)]));
        }
    }
    morsels
}

/// Appends a morsel of one row, to the last one where that fits.
fn push(morsels: &mut Vec<Morsel>, morsel: Morsel) {
    match (morsels.last_mut(), &morsel) {
        (Some(Morsel::Rows(last, slots)), Morsel::Rows(segment, slot))
            if last == segment && slots.len() < CHUNK_ROWS as usize =>
        {
            slots.extend(slot);
        }
        (Some(Morsel::Own(places)), Morsel::Own(place)) if places.len() < CHUNK_ROWS as usize => {
            places.extend(place)
        }
        _ => morsels.push(morsel),
    }
}

/// The morsels of one run.
#[derive(Debug)]
pub(crate) struct Queue {
    morsels: Vec<Morsel>,
    next: AtomicUsize,
    /// Rows that may still be given out.
    left: AtomicUsize,
}

impl Queue {
    pub(crate) fn new(morsels: Vec<Morsel>, fetch: Option<usize>) -> Self {
        Self { morsels, next: AtomicUsize::new(0), left: AtomicUsize::new(fetch.unwrap_or(usize::MAX)) }
    }
}

/// One partition's share of a queue.
#[derive(Debug)]
pub(crate) enum Feed {
    /// Whatever comes next.
    Shared(Arc<Queue>),
    /// A range of the morsels, and a fetch of its own.
    Static { queue: Arc<Queue>, range: Range<usize>, left: usize },
}

impl Feed {
    /// The share of one of so many partitions that do not know of each other.
    pub(crate) fn of_partition(
        queue: Arc<Queue>,
        partition: usize,
        partitions: usize,
        fetch: Option<usize>,
    ) -> Self {
        let count = queue.morsels.len();
        let range = count * partition / partitions..count * (partition + 1) / partitions;
        Self::Static { queue, range, left: fetch.unwrap_or(usize::MAX) }
    }

    /// The next morsel; `None` when all is done or the fetch is filled.
    pub(crate) fn next(&mut self) -> Option<Morsel> {
        match self {
            Self::Shared(queue) => {
                if queue.left.load(Ordering::Relaxed) == 0 {
                    return None;
                }
                queue.morsels.get(queue.next.fetch_add(1, Ordering::Relaxed)).cloned()
            }
            Self::Static { queue, range, left } => {
                if *left == 0 {
                    None
                } else {
                    range.next().and_then(|place| queue.morsels.get(place).cloned())
                }
            }
        }
    }

    /// How many of `rows` rows may be given out.
    pub(crate) fn claim(&mut self, rows: usize) -> usize {
        match self {
            Self::Shared(queue) => {
                let take = |left: usize| (left != usize::MAX).then(|| left.saturating_sub(rows));
                match queue.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
                    Ok(before) => before.min(rows),
                    Err(_) => rows,
                }
            }
            Self::Static { left, .. } => {
                let taken = rows.min(*left);
                if *left != usize::MAX {
                    *left -= taken;
                }
                taken
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(feed: &mut Feed) -> Vec<Morsel> {
        std::iter::from_fn(|| feed.next()).collect()
    }

    #[test]
    fn few_segments_are_cut_into_quarters_and_many_are_not() {
        assert_eq!(cut_segments(&[SLOTS_PER_SEGMENT], 2).len(), 4);
        assert_eq!(cut_segments(&[SLOTS_PER_SEGMENT; 16], 2).len(), 16);
        assert_eq!(
            cut_segments(&[20_000, 0, 5], 2),
            [Morsel::Slots(0, 0..16_384), Morsel::Slots(0, 16_384..20_000), Morsel::Slots(2, 0..5),]
        );
    }

    #[test]
    fn every_morsel_is_done_once_whether_shared_or_not() {
        let morsels = cut_segments(&[SLOTS_PER_SEGMENT; 3], 2);
        let queue = Arc::new(Queue::new(morsels.clone(), None));
        let (mut one, mut two) = (Feed::Shared(queue.clone()), Feed::Shared(queue));
        let first = one.next();
        let mut done = drain(&mut two);
        done.extend(first);
        done.sort_by_key(|morsel| morsels.iter().position(|other| other == morsel));
        assert_eq!(done, morsels);
        assert_eq!(one.next(), None);

        let queue = Arc::new(Queue::new(morsels.clone(), None));
        let parts = (0..5).flat_map(|part| drain(&mut Feed::of_partition(queue.clone(), part, 5, None)));
        assert_eq!(parts.collect::<Vec<_>>(), morsels);
    }

    #[test]
    fn a_fetch_is_shared_or_each_partition_has_its_own() {
        let queue = Arc::new(Queue::new(cut_segments(&[100, 100], 1), Some(10)));
        let (mut one, mut two) = (Feed::Shared(queue.clone()), Feed::Shared(queue.clone()));
        assert_eq!((one.claim(7), two.claim(7)), (7, 3));
        assert_eq!((one.claim(1), two.next()), (0, None));
        let mut own = Feed::of_partition(queue, 0, 2, Some(10));
        assert_eq!((own.claim(7), own.claim(7), own.claim(7)), (7, 3, 0));
        let mut endless = Feed::Shared(Arc::new(Queue::new(Vec::new(), None)));
        assert_eq!((endless.claim(5), endless.claim(5)), (5, 5));
    }
}
