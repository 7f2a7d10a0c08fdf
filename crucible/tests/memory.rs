//! Data larger than memory, in small; alone in its process, whose resident memory is measured. Not smaller than this: the code of a
//! program without optimisation, 15 MiB of it, is resident too.

use crucible::limits::memory::Memory;

#[test]
fn with_data_larger_than_memory_the_process_takes_no_more_than_half_as_much_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = Memory { cap_bytes: 128 << 20, factor: 2, width: 8_000, points: 4_000 };
    run.run(folder.path(), &mut |line| println!("{line}")).expect("holds");
}
