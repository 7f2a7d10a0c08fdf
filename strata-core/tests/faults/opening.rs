//! Opening and closing.

use std::sync::Arc;

use strata_core::vfs::{Fault, FaultEffect, FaultVfs, MemVfs, SeededRandom};

use crate::calls::{Calls, EFFECTS, chosen};
use crate::image::{Files, image, system_of};
use crate::judge::assert_reopens;
use crate::rig::{Contents, contents, open};

/// Fails each call of opening; what is there afterwards opens, at once and after a crash.
fn sweep_open(name: &str, files: &Files) {
    let wanted = contents(&open(system_of(files)).expect("opens")).expect("reads");
    for (effect, for_ever) in EFFECTS {
        for at in chosen(name, Calls::default(), effect, for_ever) {
            let memory = system_of(files);
            let faults = FaultVfs::new(memory.clone());
            let fault = Fault::nth(at, effect);
            faults.arm(if for_ever { fault.for_ever() } else { fault });
            let opened = open(Arc::new(faults.clone()));
            faults.disarm();
            let failed = faults.failed_calls();
            let Some(first) = failed.first() else {
                opened.expect("nothing failed");
                break;
            };
            let said = opened.as_ref().err().map(ToString::to_string);
            let what = format!("{name}: call {at}, {effect:?}, {first:?}, which gave {said:?}");
            assert!(effect != FaultEffect::ShortRead || opened.is_ok(), "{what}: the rest must be asked for");
            if let Ok(db) = &opened {
                assert_eq!(contents(db).expect("reads"), wanted, "{what}");
            }
            let crashed = memory.crash_clone(&SeededRandom::new(at));
            assert_reopens(Arc::new(crashed), &[&wanted], &format!("{what}; after a crash"));
            drop(opened);
            assert_reopens(memory, &[&wanted], &what);
        }
    }
}

#[test]
fn a_folder_that_is_not_there() {
    sweep_open("a fresh folder", &Files::new());
}

#[test]
fn a_journal_to_replay() {
    sweep_open("replay", image());
}

/// Closing fails at nothing: what it could not do, the next opening does.
#[test]
fn close() {
    let wanted: Contents = contents(&open(system_of(image())).expect("opens")).expect("reads");
    for (effect, for_ever) in EFFECTS {
        for at in chosen("close", Calls::default(), effect, for_ever) {
            let memory: Arc<MemVfs> = system_of(image());
            let faults = FaultVfs::new(memory.clone());
            let db = open(Arc::new(faults.clone())).expect("opens");
            let fault = Fault::nth(at, effect);
            faults.arm(if for_ever { fault.for_ever() } else { fault });
            drop(db);
            faults.disarm();
            let failed = faults.failed_calls();
            let Some(first) = failed.first() else { break };
            let what = format!("close: call {at}, {effect:?}, {first:?}");
            let crashed = memory.crash_clone(&SeededRandom::new(at));
            assert_reopens(Arc::new(crashed), &[&wanted], &format!("{what}; after a crash"));
            assert_reopens(memory, &[&wanted], &what);
        }
    }
}
