//! The interleavings that broke earlier drafts of the engine, each as a test named after it. `crucible/mutants/run` takes the rules
//! out, one at a time, and sees the tests fail.
//!
//! | trap | what prevents it | test |
//! |---|---|---|
//! | Two logs | rule 6: an edit waits for the journal | [`crash::two_logs`]; a journal too short is refused: `journal/tests/damage.rs` |
//! | Torn or damaged | batches are chained, epochs name their cut | [`crash::torn_or_damaged`]; `journal/tests/torn.rs` |
//! | Extents: evicted pages | rule 4: until replay has ended extents come from past the end | [`crash::extents_evicted_pages_spare_bulk_blocks`] |
//! | Extents: foreign bytes | replay asks the manifest which loads and heaps it has | [`crash::extents_replay_adopts_no_foreign_bytes`], and `…_of_merged_files` |
//! | Replay into a changed form | rule 5: rows of a frozen segment are counted and skipped | [`crash::replay_into_a_changed_form`]; `heap/tests/traps.rs` |
//! | First hit wins | rule 3: adoption seals the memtable | [`index::first_hit_wins`]; `lsm/tests.rs` |
//! | First hit wins: backfill | rule 3: a backfill enters below the newer tail | [`index::first_hit_wins_backfill`]; `lsm/tests.rs` |
//! | Bulk against a quiet writer | each looks again at its commit (`table/unique`) | `bulk_against_a_quiet_writer` and others in `loads/` |
//! | The lost successor | marks name the successor, locks move to it | [`waiting::the_lost_successor_without_a_key`] and three more there; `transactions.rs` |
//! | Resurrection by rewrite | marks belong to the segment, not to its image | [`reclaim::resurrection_by_rewrite`]; `heap/tests/traps.rs` |
//! | DDL against DML | an index build's lock on its table; NOT NULL looks at the rows there are | [`waiting::ddl_against_dml`]; `transactions.rs`; in SQL `crucible/spec/transactions/ddl.slt` and `sql/lock/tests.rs` |
//! | Registering a snapshot | rule 1: one step with loading `published` | [`reclaim::registering_a_snapshot`] |
//! | Journaled, then refused | prepare comes before append | [`commit::journaled_then_refused`] and two more there |
//! | Both doctors off call | reads are looked at again at the commit | `serializable.rs` |
//! | Runtime deadlock | waits are futures | [`waiting::runtime_deadlock`] |
//! | The queue | cursors leap over what was found to be garbage | [`reclaim::the_queue`] |
//! | The counter | a crowded key's garbage leaves the memtable | [`reclaim::the_counter`] |
//! | One long reader | garbage is what no live snapshot sees between birth and end | [`reclaim::one_long_reader`]; `heap/tests/traps.rs` |
//! | The queue and the counter: survivors | their last rows are moved together | `moves.rs` |

mod commit;
mod crash;
mod index;
mod reclaim;
mod waiting;

use std::sync::Arc;

use crate::common;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use strata_core::ids::TableId;
use strata_core::maintenance::{MaintenanceOptions, Step};
use strata_core::table::Isolation;
use strata_core::txn::block_on;
use strata_core::vfs::{MemVfs, SeededRandom};
use strata_core::{Database, Options, Result};

/// Maintenance by hand, and nothing due that is not asked for: no checkpoint, no flush.
fn lazy() -> Options {
    let thresholds = MaintenanceOptions {
        memtable_bytes: 1 << 30,
        journal_bytes: 1 << 40,
        ..MaintenanceOptions::for_memory(256 << 20)
    };
    Options { thresholds: Some(thresholds), ..common::manual() }
}

/// What a power cut leaves at this moment, the choices being the seed's.
fn crash(vfs: &MemVfs, seed: u64) -> Arc<MemVfs> {
    Arc::new(vfs.crash_clone(&SeededRandom::new(seed)))
}

/// Does all maintenance that is due.
fn settle(db: &Database) {
    while db.maintain().expect("a step") != Step::Idle {}
}

/// Loads accounts in bulk, each with the balance `id + 1`.
fn load(db: &Database, table: TableId, ids: std::ops::Range<i64>) -> Result<u64> {
    load_ids(db, table, ids)
}

fn load_ids(db: &Database, table: TableId, ids: impl Iterator<Item = i64> + Clone) -> Result<u64> {
    let notes: StringViewArray = ids.clone().map(|id| Some(format!("loaded {id}"))).collect();
    let balances: Int64Array = ids.clone().map(|id| id + 1).collect();
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids.collect::<Int64Array>()) as ArrayRef, true),
        ("balance", Arc::new(balances) as ArrayRef, true),
        ("note", Arc::new(notes) as ArrayRef, true),
    ]);
    let txn = db.begin(Isolation::ReadCommitted)?;
    let rows = block_on(async {
        let mut load = txn.bulk_load(table).await?;
        load.append(&batch.expect("columns fit"))?;
        load.finish().await
    })?;
    txn.commit()?.wait()?;
    Ok(rows)
}

/// What [`load`] leaves.
fn loaded(ids: std::ops::Range<i64>) -> Vec<(i64, i64)> {
    ids.map(|id| (id, id + 1)).collect()
}
