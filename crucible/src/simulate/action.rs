//! What clients do, as plain data: a list of steps is a run.
//!
//! A step says nothing that only holds in the run it was made for: tables, rows and indexes are picked by numbers that are
//! taken modulo what is there. So any part of a list is a run too, and a failing one can be shrunk by leaving steps out.

use strata_core::table::Isolation;

/// What a client does next, if it is not waiting. Those that need a transaction begin one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// Begin.
    Begin { level: Isolation },
    /// Insert a row.
    Insert { table: u64, seed: u64 },
    /// Replace a row by another, by its key or by a scan.
    Update { table: u64, pick: u64, new_key: bool, seed: u64 },
    /// Delete a row.
    Delete { table: u64, pick: u64 },
    /// Lock a row as SELECT … FOR does, in one of the four strengths.
    Lock { table: u64, pick: u64, mode: u64 },
    /// Find one row by a unique key.
    Get { table: u64, pick: u64, seed: u64 },
    /// Read a part of an index.
    Range { table: u64, pick: u64, seed: u64, reverse: bool },
    /// Read the rows of a table that meet a condition.
    Filter { table: u64, seed: u64 },
    /// Read a table, and its statistics.
    Scan { table: u64 },
    /// Read everything.
    ReadAll,
    /// Keep the view of this instant.
    Hold,
    /// Read what the views kept show, and let go of some.
    ReadHeld { keep: bool },
    /// Remember where the transaction is.
    Save,
    /// Go back to where it was.
    RollBackTo { pick: u64 },
    /// Load rows in bulk.
    Load { table: u64, rows: u64, seed: u64 },
    /// Change the catalog.
    Define { table: u64, change: Change, seed: u64 },
    /// Commit.
    Commit,
    /// Roll back.
    RollBack,
}

/// Changes of the catalog.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    CreateTable,
    DropTable,
    Truncate,
    CreateIndex,
    DropIndex,
    AddColumn,
    DropColumn,
    RenameColumn,
    RenameTable,
    CreateIndexOfAdded,
    AddColumnNotNull,
    SetDefault,
    DropDefault,
    SetNotNull,
    DropNotNull,
    CreateTableInSchema,
    CreateView,
    ReplaceView,
    RenameView,
    DropView,
    CreateSchema,
    DropSchema,
}

/// What the disk does to the next call that matches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    InputOutput,
    DiskFull,
    ShortRead,
    ShortWrite,
}

/// One step of a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A client goes on, or does something new.
    Client { client: usize, action: Action },
    /// The journal is synced, and what is durable published.
    Sync,
    /// One step of maintenance that is due.
    Maintain,
    /// All maintenance there is.
    Vacuum,
    /// A checkpoint.
    Checkpoint,
    /// The disk will fail the `at`-th call from now on, once or from then on.
    Fault { at: u64, effect: Effect, for_ever: bool },
    /// The disk works again.
    Heal,
    /// All clients go, the database is closed and opened again.
    Reopen,
    /// The power fails; the database is opened from what is left. `open_fault`: an I/O of opening fails, and the power
    /// fails again.
    Crash { seed: u64, open_fault: Option<u64> },
    /// A client gives up what it waits for, and its transaction; of a commit, only being told.
    GiveUp { client: usize },
    /// `check`, while clients are where they are.
    Check,
}
