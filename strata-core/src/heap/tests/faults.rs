//! Fails the i-th call to the block store during maintenance and eviction, for every i: nothing is lost, and no block stays
//! behind once a later attempt succeeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::rig::Rig;
use crate::block::{BlockInfo, BlockKind, BlockStore, MemBlockStore};
use crate::error::{Error, Result};
use crate::ids::{BlockId, RowId};
use crate::memory::Reclaimer;

/// A store that fails one call, once.
#[derive(Debug)]
struct FaultStore {
    inner: MemBlockStore,
    /// Calls until the failure; negative when it is past, or not armed.
    left: AtomicI64,
}

impl FaultStore {
    fn call(&self) -> Result<()> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(Error::DiskFull { what: "a test" }),
            _ => Ok(()),
        }
    }
}

impl BlockStore for FaultStore {
    fn write(&self, kind: BlockKind, format: u16, payload: &[u8]) -> Result<BlockId> {
        self.call()?;
        self.inner.write(kind, format, payload)
    }

    fn info(&self, id: BlockId, expected: BlockKind) -> Result<BlockInfo> {
        self.call()?;
        self.inner.info(id, expected)
    }

    fn read(&self, id: BlockId, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.call()?;
        self.inner.read(id, offset, buffer)
    }

    fn read_all(&self, id: BlockId, expected: BlockKind) -> Result<(BlockInfo, Vec<u8>)> {
        self.call()?;
        self.inner.read_all(id, expected)
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn adopt(&self, id: BlockId) -> Result<()> {
        self.inner.adopt(id)
    }

    fn finish_recovery(&self) -> Result<()> {
        self.inner.finish_recovery()
    }

    fn free(&self, id: BlockId) {
        self.inner.free(id);
    }

    fn keep_freed(&self) {
        self.inner.keep_freed();
    }

    fn used_bytes(&self) -> u64 {
        self.inner.used_bytes()
    }

    fn total_bytes(&self) -> u64 {
        self.inner.total_bytes()
    }
}

/// Maintenance of all kinds; false where some of it failed.
fn maintain(rig: &mut Rig) -> bool {
    let mut done = true;
    match rig.heap.checkpoint() {
        Ok(checkpoint) => {
            rig.edit(&checkpoint.edits);
            rig.start = rig.journal.len();
            checkpoint.install.run();
        }
        Err(_) => done = false,
    }
    let horizon = rig.horizon(&[]);
    for segment in 0..4 {
        let segment = crate::ids::SegmentId::new(segment);
        for change in
            [rig.heap.freeze(segment, &rig.schema, &horizon), rig.heap.drop_garbage(segment, &horizon)]
        {
            match change {
                Ok(change) => drop(rig.install(change.map(|change| (change.edits, change.install)))),
                Err(_) => done = false,
            }
        }
    }
    rig.cache.reclaim(1 << 20);
    done && rig.cache.stats().write_back_failures == 0
}

#[test]
fn whatever_fails_nothing_is_lost() {
    for fail_at in 0.. {
        let store = Arc::new(FaultStore { inner: MemBlockStore::new(), left: AtomicI64::new(-1) });
        let mut rig = Rig::on(store.clone(), 20_000, 16 << 20);
        let fill = |rig: &mut Rig, ids: std::ops::Range<i64>| {
            let rows = ids.map(|id| rig.encode(id, 120)).collect();
            rig.commit(rows, &[])
        };
        let rows = fill(&mut rig, 0..250);
        rig.checkpoint();
        fill(&mut rig, 250..600);
        let first: Vec<RowId> = rows.iter().copied().filter(|row| row.segment().get() == 0).collect();
        let marks: Vec<_> = first.iter().chain(&rows[220..230]).map(|row| (*row, None)).collect();
        rig.commit(Vec::new(), &marks);
        let expected = rig.ids(rig.last());
        assert_eq!(expected.len(), 600 - marks.len());

        store.left.store(fail_at, Ordering::SeqCst);
        let failed = !maintain(&mut rig);
        let reached = store.left.swap(-1, Ordering::SeqCst) < 0;
        assert_eq!(failed, reached, "call {fail_at}");
        assert_eq!(rig.ids(rig.last()), expected, "call {fail_at}");
        fill(&mut rig, 600..610);
        let expected: Vec<i64> = expected.into_iter().chain(600..610).collect();
        assert!(maintain(&mut rig));
        rig.checkpoint();
        assert_eq!(rig.ids(rig.last()), expected, "call {fail_at}, tried again");
        rig.heap.prune(&[], rig.last());
        assert_eq!(rig.store.used_bytes(), rig.named_bytes(), "call {fail_at}: blocks are left over");
        rig.reopen();
        assert_eq!(rig.ids(rig.last()), expected, "call {fail_at}, opened again");
        assert_eq!(rig.heap.live_rows(rig.last()), expected.len() as u64);
        if !failed {
            assert!(fail_at > 8, "there was something to fail");
            return;
        }
    }
}
