//! Readers, a committer and maintenance at the same time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::super::column::Selection;
use super::super::marks::set_slots;
use super::super::{Heap, Horizon};
use super::rig::{ID, Record, Rig, apply, ts};
use crate::ids::{RowId, SegmentId, Timestamp};
use crate::row::Schema;

const ACCOUNTS: i64 = 40;

/// The ids that a snapshot sees, sorted.
fn scan(heap: &Heap, schema: &Schema, snapshot: Timestamp) -> Vec<i64> {
    let mut ids = Vec::new();
    for view in heap.segments(snapshot) {
        let words = view.visible(0..view.slots()).expect("memory");
        let slots = set_slots(&words).map(u32::from).collect();
        let arrays = view.read(schema, &[ID], &Selection::Slots(slots)).expect("memory");
        ids.extend_from_slice(arrays[0].as_primitive::<Int64Type>().values());
    }
    ids.sort_unstable();
    ids
}

/// Each commit replaces two accounts by new versions: every snapshot sees each account once.
#[test]
fn every_snapshot_sees_each_account_once() {
    let commits: u64 = 3_000;
    let mut rig = Rig::new(6_000, 64 << 20);
    let rows = (0..ACCOUNTS).map(|id| rig.encode(id, 60)).collect();
    let mut current = rig.commit(rows, &[]);
    let (heap, schema) = (rig.heap.clone(), rig.schema.clone());
    let row: Vec<Vec<u8>> = (0..ACCOUNTS).map(|id| rig.encode(id, 60)).collect();
    let published = AtomicU64::new(1);
    let live = Mutex::new(Vec::<Timestamp>::new());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let expected: Vec<i64> = (0..ACCOUNTS).collect();
                while !done.load(Ordering::Acquire) {
                    let snapshot = {
                        let mut live = live.lock().expect("no panics");
                        let snapshot = ts(published.load(Ordering::Acquire));
                        live.push(snapshot);
                        snapshot
                    };
                    for _ in 0..2 {
                        assert_eq!(scan(&heap, &schema, snapshot), expected, "at {snapshot}");
                        assert_eq!(heap.live_rows(snapshot), ACCOUNTS as u64);
                    }
                    let mut live = live.lock().expect("no panics");
                    let index = live.iter().position(|other| *other == snapshot).expect("registered");
                    live.remove(index);
                }
            });
        }
        scope.spawn(|| {
            for at in 2..commits {
                let pair =
                    [(at * 7 % ACCOUNTS as u64) as usize, (at * 11 % ACCOUNTS as u64 + 1) as usize % 40];
                let accounts: Vec<usize> = if pair[0] == pair[1] { vec![pair[0]] } else { pair.to_vec() };
                let rows: Vec<Vec<u8>> = accounts.iter().map(|account| row[*account].clone()).collect();
                let runs = heap.place(&rows.iter().map(|row| row.len() as u32).collect::<Vec<_>>());
                let new: Vec<RowId> =
                    runs.iter().flat_map(|run| (0..run.rows).map(|n| run.first.offset(n.into()))).collect();
                let marks =
                    accounts.iter().zip(&new).map(|(account, new)| (current[*account], Some((*new).into())));
                let record = Record { ts: ts(at), runs, rows, marks: marks.collect() };
                apply(&heap, &record, false);
                published.store(at, Ordering::Release);
                accounts.iter().zip(new).for_each(|(account, new)| current[*account] = new);
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            let mut frozen = 0;
            while !done.load(Ordering::Acquire) {
                let horizon = {
                    let registered = live.lock().expect("no panics");
                    let mut live = registered.clone();
                    live.sort_unstable();
                    Horizon { published: ts(published.load(Ordering::Acquire)), live }
                };
                heap.prune(&horizon.live, horizon.published);
                heap.checkpoint().expect("memory").install.run();
                for status in heap.segment_statuses(&horizon).into_iter().filter(|status| status.sealed) {
                    let segment = SegmentId::new(status.segment.get());
                    let change = if status.garbage == status.rows {
                        heap.drop_garbage(segment, &horizon)
                    } else {
                        heap.freeze(segment, &schema, &horizon)
                    };
                    if let Some(change) = change.expect("memory") {
                        change.install.run();
                        frozen += 1;
                    }
                }
            }
            assert!(frozen > 0);
        });
    });
    assert_eq!(scan(&heap, &schema, ts(commits - 1)).len(), ACCOUNTS as usize);
}
