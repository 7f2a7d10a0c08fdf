//! What must hold after an operation of which calls have failed. See `sweep`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_core::vfs::{FailedCall, FaultEffect, IoKind, MemVfs, SeededRandom};

use crate::calls::is_long;
use crate::refusal::{assert_refuses, is_poisoned};
use crate::rest::{assert_all_unlocked, assert_unlocked, close, named_bytes, squeeze};
use crate::rig::{Contents, DIR, Stopped, commit, contents, now, open, row, writer};
use crate::sweep::{Case, Rig, Undisturbed, rest_of};

pub fn judge(case: &Case<'_>, rig: Rig, wanted: &Undisturbed) {
    let Case { effect, outcome, what, .. } = case;
    let published = if outcome.is_ok() { &wanted.after } else { &wanted.before };
    let found = contents(&rig.db).unwrap_or_else(|error| panic!("{what}: reading: {error}"));
    assert_same(&found, published, what);
    assert_eq!(rig.db.stats().snapshots, 0, "{what}: a snapshot is left");
    if *effect == FaultEffect::ShortRead {
        assert!(outcome.is_ok(), "{what}: the rest must be asked for");
        assert_goes_on(case, &rig, wanted);
    } else if case.operation.reads && case.at > 0 {
        assert_goes_on(case, &rig, wanted);
    } else {
        judge_with_reopening(case, rig, wanted);
        return;
    }
    close(rig.db, what);
}

fn judge_with_reopening(case: &Case<'_>, rig: Rig, wanted: &Undisturbed) {
    let Case { at, outcome, what, .. } = case;
    let possible: &[&Contents] = match outcome {
        Ok(()) => &[&wanted.after],
        Err(Stopped::Refused(_)) => &[&wanted.before],
        Err(Stopped::InDoubt(_)) => &[&wanted.before, &wanted.after],
    };
    if case.is_first_way || at % 3 == 1 || is_long() {
        let crashed = Arc::new(rig.memory.crash_clone(&SeededRandom::new(*at)));
        assert_reopens(crashed, possible, &format!("{what}; after a crash"));
    }

    let poisoned = is_poisoned(&rig.db, what);
    let must_be = matches!(outcome, Err(Stopped::InDoubt(_)))
        || case.failed.iter().any(|call| ends_writing(case, &rig, call));
    assert!(poisoned || !must_be, "{what}: goes on writing");
    match poisoned {
        true => assert_stopped(case, &rig, wanted),
        false => assert_goes_on(case, &rig, wanted),
    }
    let Rig { memory, db, .. } = rig;
    close(db, what);
    if at % 3 != 0 && !is_long() {
        return;
    }
    let possible: &[&Contents] = if poisoned { possible } else { &[&wanted.after] };
    assert_reopens(memory, possible, &format!("{what}; closed"));
}

/// What was not done can be done now, and nothing is in the way or left over.
fn assert_goes_on(case: &Case<'_>, rig: &Rig, wanted: &Undisturbed) {
    let Case { operation, outcome, what, .. } = case;
    if outcome.is_err() || operation.repeats {
        (operation.run)(&rig.db).unwrap_or_else(|error| panic!("{what}: tried again: {error:?}"));
    }
    assert_same(&contents(&rig.db).expect("reads"), &wanted.after, what);
    assert_all_unlocked(&rig.db, what);
    let (rest, wanted) = (rest_of(operation, rig, what), &wanted.rests);
    assert!(wanted.contains(&rest), "{what}: something is left over: {rest:?} instead of {wanted:?}");
}

/// Nothing is written any more, nothing is kept for it, and what was published is there.
fn assert_stopped(case: &Case<'_>, rig: &Rig, wanted: &Undisturbed) {
    let Case { outcome, what, .. } = case;
    assert_refuses(&rig.db, what);
    // Dirty pages that are evicted now must spare what an edit in doubt may name.
    let kept = squeeze(&rig.db);
    assert_refuses(&rig.db, what);
    assert_eq!(squeeze(&rig.db), kept, "{what}: what is refused leaves something");
    assert_unlocked(&rig.db, what);
    assert_eq!(rig.db.stats().snapshots, 0, "{what}: a snapshot is left");
    let published = if outcome.is_ok() { &wanted.after } else { &wanted.before };
    assert_same(&contents(&rig.db).expect("reads"), published, what);
}

/// Whether this call was the sync of something that a commit, or an edit of the manifest, builds on. The sync of a file in
/// the making is none, nor does it fail the operation: the file goes, and nothing was in it. Nor is a full disk that shows
/// while the manifest gets room.
fn ends_writing(case: &Case<'_>, rig: &Rig, call: &FailedCall) -> bool {
    let dir = Path::new(DIR);
    let was_there = case.files.contains(&call.path);
    let in_manifest = call.path == dir.join("manifest").join(manifest_in_use(&rig.memory));
    // One that was made in the operation may have failed, have gone, and have been made again.
    let of_manifest = in_manifest && (was_there || case.outcome.is_err());
    let of_journal = was_there && call.path.starts_with(dir.join("journal"));
    call.kind == IoKind::Sync
        && (call.path.ends_with("blocks.strata")
            || of_journal
            || of_manifest && case.effect == FaultEffect::InputOutput)
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
