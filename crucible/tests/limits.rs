//! The engine at its limits, in small.

use crucible::limits::full_disk::FullDisk;
use crucible::limits::reader::Reader;

#[test]
fn a_reader_that_never_ends_pins_what_it_sees_and_no_more() {
    let run = Reader { rows: 2_000, width: 100, rounds: 12 };
    run.run(&mut |line| println!("{line}")).expect("holds");
}

#[test]
fn a_full_disk_stops_what_needs_room_and_nothing_else() {
    let run = FullDisk { rows: 120, width: 300, step_bytes: 150_001 };
    run.run(&mut |line| println!("{line}")).expect("holds");
}

#[test]
fn a_failed_sync_ends_writing_until_the_database_is_reopened() {
    FullDisk { rows: 100, width: 100, step_bytes: 1 }.failed_sync().expect("holds");
}
