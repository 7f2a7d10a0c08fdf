//! The sweep: one operation again and again, its first call failed, its second, and so on, until there is no such call.
//!
//! | after the operation | must hold |
//! |---|---|
//! | it succeeded | its effect is published, and survives a crash |
//! | it was refused | nothing of it is there, nor after a crash |
//! | its commit's ticket says in doubt | nothing of it is published; after a crash it is there whole, or not at all |
//! | a sync of blocks, of the manifest or of a batch failed | every later write is refused with `Poisoned` |
//! | otherwise | a second try succeeds |
//!
//! And always: what was published before can be read; no snapshot is left; `check` is clean after opening again, the
//! blocks in use are those that the manifest names, and no file is there that an undisturbed run would not have.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_core::maintenance::Step;
use strata_core::manifest::Manifest;
use strata_core::memory::{MemoryPool, Reservation};
use strata_core::txn::TableLockMode;
use strata_core::vfs::{FailedCall, Fault, FaultEffect, FaultVfs, IoKind, MemVfs, SeededRandom};
use strata_core::{Database, Error};

use crate::image::{Files, image, system_of};
use crate::rig::{Contents, DIR, Outcome, Stopped, begin, commit, contents, insert, now, open, row, writer};

/// One operation of a database.
pub struct Operation {
    pub name: &'static str,
    /// Done before, undisturbed.
    pub prepare: fn(&Database),
    pub run: fn(&Database) -> Outcome,
    /// Whether it can be tried again after a success, changing nothing.
    pub repeats: bool,
    /// Whether it leaves the files alone.
    pub reads: bool,
}

impl Operation {
    /// One that changes what the database holds.
    pub fn change(name: &'static str, run: fn(&Database) -> Outcome) -> Self {
        Self { name, prepare: |_| (), run, repeats: false, reads: false }
    }

    /// One that reads, or is given up before it has changed anything.
    pub fn read(name: &'static str, prepare: fn(&Database), run: fn(&Database) -> Outcome) -> Self {
        Self { name, prepare, run, repeats: true, reads: true }
    }

    /// One that changes how the database holds what it holds.
    pub fn maintenance(name: &'static str, prepare: fn(&Database), run: fn(&Database) -> Outcome) -> Self {
        Self { name, prepare, run, repeats: true, reads: false }
    }
}

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

fn is_long() -> bool {
    std::env::var("STRATA_FAULTS").is_ok_and(|text| text == "all")
}

/// What an undisturbed run leaves.
struct Undisturbed {
    before: Contents,
    after: Contents,
    rest: Rest,
}

/// A database after all maintenance, with empty caches.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    memory_bytes: usize,
    blocks_bytes: u64,
}

/// An open database on a file system that can fail.
struct Rig {
    memory: Arc<MemVfs>,
    faults: FaultVfs,
    db: Database,
}

fn start(files: &Files, operation: &Operation) -> Rig {
    let memory = system_of(files);
    let faults = FaultVfs::new(memory.clone());
    let db = open(Arc::new(faults.clone())).expect("opens");
    (operation.prepare)(&db);
    Rig { memory, faults, db }
}

pub fn sweep(operation: &Operation) {
    let name = operation.name;
    let rig = start(image(), operation);
    let before = contents(&rig.db).expect("reads");
    (operation.run)(&rig.db).unwrap_or_else(|error| panic!("{name}, undisturbed: {error:?}"));
    let after = contents(&rig.db).expect("reads");
    let wanted = Undisturbed { before, after, rest: rest(&rig, name) };
    for (effect, for_ever) in EFFECTS {
        for at in (0..).step_by(stride(effect, for_ever)) {
            let rig = start(image(), operation);
            let fault = Fault::nth(at, effect);
            rig.faults.arm(if for_ever { fault.for_ever() } else { fault });
            let outcome = (operation.run)(&rig.db);
            rig.faults.disarm();
            let failed = rig.faults.failed_calls();
            let first = failed.first().map(|call| format!("{:?} of {}", call.kind, call.path.display()));
            let Some(first) = first else {
                assert!(outcome.is_ok(), "{name}: {outcome:?} with nothing failed");
                break;
            };
            let ever = if for_ever { " for ever" } else { "" };
            let what = format!("{name}: call {at}, {effect:?}{ever}, {first}, which gave {outcome:?}");
            if effect == FaultEffect::ShortRead {
                assert!(outcome.is_ok(), "{what}: the rest must be asked for");
            }
            judge(operation, rig, &wanted, &outcome, &failed, (effect, at), &what);
        }
    }
}

fn judge(
    operation: &Operation,
    rig: Rig,
    wanted: &Undisturbed,
    outcome: &Outcome,
    failed: &[FailedCall],
    (effect, at): (FaultEffect, u64),
    what: &str,
) {
    let published = if outcome.is_ok() { &wanted.after } else { &wanted.before };
    let found = contents(&rig.db).unwrap_or_else(|error| panic!("{what}: reading: {error}"));
    assert_same(&found, published, what);
    assert_eq!(rig.db.stats().snapshots, 0, "{what}: a snapshot is left");
    if operation.reads && at > 0 {
        (operation.run)(&rig.db).unwrap_or_else(|error| panic!("{what}: tried again: {error:?}"));
        assert_unlocked(&rig.db);
        return;
    }
    let crashed = Arc::new(rig.memory.crash_clone(&SeededRandom::new(at)));
    let possible: &[&Contents] = match outcome {
        Ok(()) => &[&wanted.after],
        Err(Stopped::Refused(_)) => &[&wanted.before],
        Err(Stopped::InDoubt(_)) => &[&wanted.before, &wanted.after],
    };
    assert_reopens(crashed, possible, &format!("{what}; after a crash"));

    let poisoned = is_poisoned(&rig.db, what);
    let must_be = matches!(outcome, Err(Stopped::InDoubt(_)))
        || outcome.is_err() && failed.iter().any(|call| ends_writing(&rig, call, effect));
    assert!(poisoned || !must_be, "{what}: goes on writing");
    if !poisoned {
        if outcome.is_err() || operation.repeats {
            (operation.run)(&rig.db).unwrap_or_else(|error| panic!("{what}: tried again: {error:?}"));
        }
        assert_same(&contents(&rig.db).expect("reads"), &wanted.after, what);
        assert_unlocked(&rig.db);
        assert_eq!(rest(&rig, what), wanted.rest, "{what}: something is left over");
    }
    let Rig { memory, db, .. } = rig;
    if poisoned {
        // Dirty pages that are evicted now must spare what an edit in doubt may name.
        squeeze(&db);
    }
    drop(db);
    if at % 3 != 0 && !is_long() {
        return;
    }
    let possible: &[&Contents] = if poisoned { possible } else { &[&wanted.after] };
    assert_reopens(memory, possible, &format!("{what}; closed"));
}

/// Whether this call was the sync of something that a commit, or an edit of the manifest, builds on. The sync of a file in
/// the making is none, nor does it fail the operation: the file goes, and nothing was in it. Nor is a full disk that shows while the manifest gets room.
fn ends_writing(rig: &Rig, call: &FailedCall, effect: FaultEffect) -> bool {
    let current = Path::new(DIR).join("manifest").join(manifest_in_use(&rig.memory));
    let in_manifest = call.path == current && effect == FaultEffect::InputOutput;
    call.kind == IoKind::Sync && (call.path.ends_with("blocks.strata") || in_manifest)
}

fn manifest_in_use(vfs: &MemVfs) -> PathBuf {
    let files = crate::image::files_of(vfs);
    let current = &files[&Path::new(DIR).join("manifest/CURRENT")];
    let name = current.split(|byte| *byte == b' ').next().expect("a name");
    PathBuf::from(String::from_utf8(name.to_vec()).expect("a name"))
}

fn assert_same(found: &Contents, wanted: &Contents, what: &str) {
    if found == wanted {
        return;
    }
    let names = found.keys().chain(wanted.keys());
    for name in names {
        let (Some(found), Some(wanted)) = (found.get(name), wanted.get(name)) else {
            panic!("{what}: relation {name} is there: {}", found.contains_key(name));
        };
        let lost: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).take(3).collect();
        let new: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).take(3).collect();
        assert!(found == wanted, "{what}: relation {name}: lost {lost:?}, new {new:?}");
    }
    unreachable!("{what}: the relations differ");
}

/// Whether writes are refused, and only so that it can be known.
fn is_poisoned(db: &Database, what: &str) -> bool {
    let work = || -> Outcome {
        let txn = writer(db, "hot")?;
        insert(db, &txn, "hot", -2..-1)?;
        let view = txn.view().table(crate::rig::def(db, "hot").id)?;
        let own = crate::rig::find(&view, -2)?.expect("was inserted");
        txn.delete(&view, own)?;
        commit(db, txn)
    };
    match work() {
        Ok(()) => false,
        Err(Stopped::Refused(Error::Poisoned { .. })) => true,
        Err(other) => panic!("{what}: a later write gives {other:?}"),
    }
}

fn assert_unlocked(db: &Database) {
    let mut txn = begin(db).expect("begins");
    let tables: Vec<_> = db.catalog().tables().map(|table| table.id).collect();
    for table in tables {
        now(txn.lock_table(table, TableLockMode::AccessExclusive)).expect("locks");
    }
    now(txn.change_catalog(|_| Ok(()))).expect("the catalog is nobody's");
}

fn rest(rig: &Rig, what: &str) -> Rest {
    rig.db.vacuum().unwrap_or_else(|error| panic!("{what}: vacuum: {error}"));
    while rig.db.maintain().expect("steps") != Step::Idle {}
    let named = named_bytes(&rig.memory);
    let blocks_bytes = rig.db.stats().blocks_used_bytes;
    assert_eq!(blocks_bytes, named, "{what}: blocks in use that the manifest does not name");
    Rest { memory_bytes: squeeze(&rig.db), blocks_bytes }
}

/// Makes caches give up what they have. Returns how much they and others keep.
pub fn squeeze(db: &Database) -> usize {
    let held: usize = take_all(db.pool()).iter().map(Reservation::bytes).sum();
    db.pool().cap() - held
}

/// All memory that there is to be had.
pub fn take_all(pool: &MemoryPool) -> Vec<Reservation> {
    let mut held = Vec::new();
    let mut step = pool.cap();
    while step > 0 {
        match pool.reserve("the test", step) {
            Ok(reservation) => held.push(reservation),
            Err(_) => step /= 2,
        }
    }
    held
}

fn named_bytes(vfs: &MemVfs) -> u64 {
    let state = Manifest::read(vfs, &Path::new(DIR).join("manifest")).expect("reads");
    state.blocks().map(|block| block.len_bytes()).sum()
}

/// Opens, compares, checks; then writes, closes, and looks at what files are left.
pub fn assert_reopens(vfs: Arc<MemVfs>, possible: &[&Contents], what: &str) {
    let db = open(vfs.clone()).unwrap_or_else(|error| panic!("{what}: opening: {error}"));
    let found = contents(&db).unwrap_or_else(|error| panic!("{what}: reading: {error}"));
    if !possible.iter().any(|possible| **possible == found) {
        assert_same(&found, possible[0], what);
    }
    let report = db.check();
    assert!(report.is_clean(), "{what}: {:?}", report.problems);
    if found.contains_key("hot") {
        let txn = writer(&db, "hot").expect("begins");
        let table = crate::rig::def(&db, "hot");
        let mut values = row(-1);
        values.resize(table.schema.columns.len(), strata_core::row::Datum::Null);
        now(txn.insert(&table, &values)).unwrap_or_else(|error| panic!("{what}: goes on: {error}"));
        commit(&db, txn).unwrap_or_else(|error| panic!("{what}: goes on: {error:?}"));
    }
    db.checkpoint().unwrap_or_else(|error| panic!("{what}: a checkpoint: {error}"));
    assert_eq!(db.stats().blocks_used_bytes, named_bytes(&vfs), "{what}: blocks that nothing names");
    drop(db);
    let files = crate::image::files_of(&vfs);
    let names: Vec<_> = files.keys().filter_map(|path| path.file_name()?.to_str()).collect();
    let count = |part: &str| names.iter().filter(|name| name.contains(part)).count();
    let counts = (count("MANIFEST-"), count("CURRENT"), count(".journal"), names.len());
    assert_eq!(counts, (1, 1, 1, 5), "{what}: files are left: {names:?}");
}
