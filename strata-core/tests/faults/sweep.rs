//! The sweep: one operation again and again, its first call failed, its second, and so on, until there is no such call.
//!
//! | after the operation | must hold |
//! |---|---|
//! | it succeeded | its effect is published, and survives a crash |
//! | it was refused | nothing of it is there, nor after a crash |
//! | its commit's ticket says in doubt | nothing of it is published; after a crash it is there whole, or not at all |
//! | a sync of blocks, of the manifest or of a batch failed | whatever writes is refused with `Poisoned` |
//! | otherwise | a second try succeeds |
//!
//! And always: what was published before can be read; no snapshot, no lock and no memory is left; `check` is clean after
//! opening again, the blocks in use are those that the manifest names, and no file is there that an undisturbed run would
//! not have.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use strata_core::vfs::{FailedCall, Fault, FaultEffect, FaultVfs, MemVfs};
use strata_core::{Database, Options};

use crate::calls::{Calls, EFFECTS, chosen, is_first_way};
use crate::image::{Files, files_of, image, system_of};
use crate::judge::judge;
use crate::rest::{Rest, rest, rest_of_reading};
use crate::rig::{Contents, Outcome, contents, open_with, options};

/// One operation of a database.
pub struct Operation {
    pub name: &'static str,
    pub image: fn() -> &'static Files,
    pub options: fn() -> Options,
    /// Done before, undisturbed.
    pub prepare: fn(&Database),
    pub run: fn(&Database) -> Outcome,
    /// Whether it can be tried again after a success, changing nothing.
    pub repeats: bool,
    /// Whether it leaves the files alone.
    pub reads: bool,
    /// What a run that failed may have left undone or done, beside its effect: no second try takes it back.
    pub beside: fn(&Database),
    /// It makes so many calls at least: else the sweep tests less than it was made for.
    pub calls: u64,
}

impl Operation {
    /// One that changes what the database holds.
    pub fn change(name: &'static str, run: fn(&Database) -> Outcome) -> Self {
        let nothing: fn(&Database) = |_| ();
        Self {
            name,
            image,
            options,
            prepare: nothing,
            run,
            repeats: false,
            reads: false,
            beside: nothing,
            calls: 1,
        }
    }

    /// One that reads, or is given up before it has changed anything.
    pub fn read(name: &'static str, prepare: fn(&Database), run: fn(&Database) -> Outcome) -> Self {
        Self { prepare, repeats: true, reads: true, ..Self::change(name, run) }
    }

    /// One that changes how the database holds what it holds.
    pub fn maintenance(name: &'static str, prepare: fn(&Database), run: fn(&Database) -> Outcome) -> Self {
        Self { prepare, repeats: true, ..Self::change(name, run) }
    }

    pub fn at_least(self, calls: u64) -> Self {
        Self { calls, ..self }
    }
}

/// What an undisturbed run leaves.
pub struct Undisturbed {
    pub calls: Calls,
    pub before: Contents,
    pub after: Contents,
    /// Without and with what may stand [beside](Operation::beside) the effect.
    pub rests: [Rest; 2],
}

/// An open database on a file system that can fail.
pub struct Rig {
    pub memory: Arc<MemVfs>,
    pub faults: FaultVfs,
    pub db: Database,
}

/// What came of a run in which calls failed.
pub struct Case<'a> {
    pub operation: &'a Operation,
    pub effect: FaultEffect,
    /// Each call is failed so.
    pub is_first_way: bool,
    pub at: u64,
    /// The files that were there before.
    pub files: BTreeSet<PathBuf>,
    pub failed: Vec<FailedCall>,
    pub outcome: Outcome,
    /// All this in words.
    pub what: String,
}

pub fn start(operation: &Operation) -> Rig {
    let memory = system_of((operation.image)());
    let faults = FaultVfs::new(memory.clone());
    let db = open_with(Arc::new(faults.clone()), (operation.options)()).expect("opens");
    (operation.prepare)(&db);
    Rig { memory, faults, db }
}

pub fn sweep(operation: &Operation) {
    let wanted = undisturbed(operation);
    for (effect, for_ever) in EFFECTS {
        for at in chosen(operation.name, wanted.calls, effect, for_ever) {
            let rig = start(operation);
            let Some(case) = disturbed(operation, &rig, (effect, for_ever), at) else { break };
            judge(&case, rig, &wanted);
        }
    }
}

fn undisturbed(operation: &Operation) -> Undisturbed {
    let name = operation.name;
    let before = contents(&start(operation).db).expect("reads");
    let rig = start(operation);
    let calls = run_undisturbed(operation, &rig);
    assert!(calls.all >= operation.calls, "{name} makes {} calls, and not {}", calls.all, operation.calls);
    let after = contents(&rig.db).expect("reads");
    let alone = rest_of(operation, &rig, name);
    let rig = start(operation);
    (operation.beside)(&rig.db);
    run_undisturbed(operation, &rig);
    // So that all marks are in memory.
    assert_eq!(contents(&rig.db).expect("reads"), after);
    Undisturbed { calls, before, after, rests: [alone, rest_of(operation, &rig, name)] }
}

/// Returns how many calls it has made. Reads are tried again after every fault, so here too.
fn run_undisturbed(operation: &Operation, rig: &Rig) -> Calls {
    let name = operation.name;
    let run = || (operation.run)(&rig.db).unwrap_or_else(|error| panic!("{name}, undisturbed: {error:?}"));
    let before = Calls::of(&rig.faults);
    run();
    let calls = Calls::of(&rig.faults).since(before);
    if operation.reads {
        run();
    }
    calls
}

/// What is left when nobody uses the database any more.
pub fn rest_of(operation: &Operation, rig: &Rig, what: &str) -> Rest {
    if operation.reads { rest_of_reading(rig) } else { rest(rig, what) }
}

/// Runs with a call failed; `None` where there is no such call.
fn disturbed<'a>(
    operation: &'a Operation,
    rig: &Rig,
    (effect, for_ever): (FaultEffect, bool),
    at: u64,
) -> Option<Case<'a>> {
    let name = operation.name;
    let files = files_of(&rig.memory).into_keys().collect();
    let fault = Fault::nth(at, effect);
    rig.faults.arm(if for_ever { fault.for_ever() } else { fault });
    let outcome = (operation.run)(&rig.db);
    rig.faults.disarm();
    let failed = rig.faults.failed_calls();
    let Some(first) = failed.first() else {
        assert!(outcome.is_ok(), "{name}: {outcome:?} with nothing failed");
        return None;
    };
    let ever = if for_ever { " for ever" } else { "" };
    let first = format!("{:?} of {}", first.kind, first.path.display());
    let what = format!("{name}: call {at}, {effect:?}{ever}, {first}, which gave {outcome:?}");
    let is_first_way = is_first_way(effect, for_ever);
    Some(Case { operation, effect, is_first_way, at, files, failed, outcome, what })
}
