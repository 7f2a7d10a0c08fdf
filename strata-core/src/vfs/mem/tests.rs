use super::*;
use crate::vfs::{SeededRandom, make_dir};

const SEEDS: u64 = 400;

fn vfs_with_folder() -> MemVfs {
    let vfs = MemVfs::new();
    make_dir(&vfs, Path::new("/db")).expect("folder");
    vfs
}

fn read_whole(vfs: &MemVfs, path: &str) -> Option<Vec<u8>> {
    let file = vfs.open(Path::new(path), OpenMode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().expect("len")).expect("small")];
    file.read_exact_at(0, &mut bytes).expect("read");
    Some(bytes)
}

#[test]
fn bytes_lengths_and_holes_behave_as_in_a_file() {
    let vfs = vfs_with_folder();
    let path = Path::new("/db/a");
    assert_eq!(vfs.open(path, OpenMode::ReadWrite).expect_err("absent").kind(), io::ErrorKind::NotFound);
    let file = vfs.open(path, OpenMode::CreateNew).expect("create");
    assert_eq!(vfs.open(path, OpenMode::CreateNew).expect_err("there").kind(), io::ErrorKind::AlreadyExists);
    file.write_at(5_000, &[9; 8_000]).expect("write");
    let mut expected = vec![0; 13_000];
    expected[5_000..].fill(9);
    assert_eq!(read_whole(&vfs, "/db/a").expect("there"), expected);
    file.punch_hole(6_000, 100_000).expect("punch");
    expected[6_000..].fill(0);
    assert_eq!(read_whole(&vfs, "/db/a").expect("there"), expected);
    file.set_len(5_500).expect("cut");
    file.set_len(9_000).expect("grow");
    expected.truncate(9_000);
    expected[5_500..].fill(0);
    assert_eq!(read_whole(&vfs, "/db/a").expect("there"), expected);
    let reader = vfs.open(path, OpenMode::Read).expect("open");
    assert_eq!(reader.write_at(0, b"x").expect_err("read only").kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(file.write_at(u64::MAX, b"x").expect_err("too far").kind(), io::ErrorKind::FileTooLarge);
}

#[test]
fn names_behave_as_in_a_directory() {
    let vfs = vfs_with_folder();
    vfs.create_dir_all(Path::new("/db/sub")).expect("folder");
    let file = vfs.open(Path::new("/db/a"), OpenMode::CreateOrOpen).expect("create");
    file.write_at(0, b"one").expect("write");
    vfs.open(Path::new("/db/b"), OpenMode::CreateOrOpen).expect("create");
    vfs.rename(Path::new("/db/a"), Path::new("/db/b")).expect("rename");
    assert_eq!(read_whole(&vfs, "/db/b").as_deref(), Some(b"one".as_slice()));
    let mut names = vfs.read_dir(Path::new("/db")).expect("list");
    names.sort();
    assert_eq!(names, [PathBuf::from("b"), PathBuf::from("sub")]);
    assert!(vfs.open(Path::new("/none/a"), OpenMode::CreateNew).is_err());
    vfs.remove(Path::new("/db/b")).expect("remove");
    assert!(vfs.remove(Path::new("/db/b")).is_err());
    file.write_at(0, b"two").expect("an open file outlives its name");
}

#[test]
fn a_lock_is_exclusive_until_dropped_and_a_crash_frees_it() {
    let vfs = vfs_with_folder();
    let path = Path::new("/db/LOCK");
    let held = vfs.try_lock(path).expect("lock").expect("free");
    assert!(vfs.try_lock(path).expect("lock").is_none());
    let clone = vfs.crash_clone(&SeededRandom::new(1));
    assert!(clone.try_lock(path).expect("lock").is_some());
    drop(held);
    assert!(vfs.try_lock(path).expect("lock").is_some());
}

#[test]
fn what_was_synced_survives_every_crash() {
    let vfs = vfs_with_folder();
    let file = vfs.open(Path::new("/db/a"), OpenMode::CreateNew).expect("create");
    file.write_at(0, &[1; 10_000]).expect("write");
    file.sync().expect("sync");
    vfs.sync_dir(Path::new("/db")).expect("sync the folder");
    file.write_at(2_000, &[2; 10]).expect("write");
    file.write_at(20_000, &[3; 10]).expect("write");
    for seed in 0..SEEDS {
        let bytes = read_whole(&vfs.crash_clone(&SeededRandom::new(seed)), "/db/a").expect("named");
        assert!(bytes.len() == 10_000 || bytes.len() == 20_010, "seed {seed}");
        assert_eq!(bytes[..2_000], [1; 2_000], "seed {seed}");
        assert_eq!(bytes[2_010..10_000], [1; 7_990], "seed {seed}");
    }
    let mut here = [0; 10];
    file.read_exact_at(2_000, &mut here).expect("the original goes on");
    assert_eq!(here, [2; 10]);
}

#[test]
fn unsynced_writes_are_lost_kept_and_torn_at_sectors() {
    let vfs = vfs_with_folder();
    let file = vfs.open(Path::new("/db/a"), OpenMode::CreateNew).expect("create");
    vfs.sync_dir(Path::new("/db")).expect("sync the folder");
    file.set_len(4_096).expect("grow");
    file.sync().expect("sync");
    file.write_at(256, &[1; 1_536]).expect("write");
    file.write_at(2_048, &[2; 512]).expect("write");
    let (mut none, mut all, mut torn, mut later_only) = (false, false, false, false);
    for seed in 0..SEEDS {
        let bytes = read_whole(&vfs.crash_clone(&SeededRandom::new(seed)), "/db/a").expect("named");
        let parts = [&bytes[256..512], &bytes[512..1_024], &bytes[1_024..1_536], &bytes[1_536..1_792]];
        for part in parts {
            assert!(part.iter().all(|byte| *byte == part[0]), "a sector is whole or absent; seed {seed}");
        }
        let first = parts.iter().filter(|part| part[0] == 1).count();
        let second = bytes[2_048] == 2;
        none |= first == 0 && !second;
        all |= first == 4 && second;
        torn |= first > 0 && first < 4;
        later_only |= first == 0 && second;
    }
    assert!(none && all && torn && later_only);
}

#[test]
fn an_unsynced_cut_may_come_back_and_a_punched_hole_too() {
    let vfs = vfs_with_folder();
    let file = vfs.open(Path::new("/db/a"), OpenMode::CreateNew).expect("create");
    vfs.sync_dir(Path::new("/db")).expect("sync the folder");
    file.write_at(0, &[5; 9_000]).expect("write");
    file.sync().expect("sync");
    file.punch_hole(0, 4_096).expect("punch");
    file.set_len(5_000).expect("cut");
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let bytes = read_whole(&vfs.crash_clone(&SeededRandom::new(seed)), "/db/a").expect("named");
        assert!(bytes[4_096..].iter().all(|byte| *byte == 5), "seed {seed}");
        seen.insert((bytes.len(), bytes[0]));
    }
    assert_eq!(seen, BTreeSet::from([(9_000, 5), (9_000, 0), (5_000, 5), (5_000, 0)]));
}

#[test]
fn names_not_synced_may_vanish_and_removed_ones_come_back() {
    let vfs = vfs_with_folder();
    let path = Path::new("/db/CURRENT");
    let old = vfs.open(path, OpenMode::CreateNew).expect("create");
    old.write_at(0, b"old").expect("write");
    old.sync().expect("sync");
    vfs.open(Path::new("/db/gone"), OpenMode::CreateNew).expect("create");
    vfs.sync_dir(Path::new("/db")).expect("sync the folder");
    let new = vfs.open(Path::new("/db/tmp"), OpenMode::CreateNew).expect("create");
    new.write_at(0, b"new").expect("write");
    new.sync().expect("sync");
    vfs.rename(Path::new("/db/tmp"), path).expect("rename");
    vfs.remove(Path::new("/db/gone")).expect("remove");
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let clone = vfs.crash_clone(&SeededRandom::new(seed));
        let current = read_whole(&clone, "/db/CURRENT").expect("the old or the new one");
        let temporary = clone.exists(Path::new("/db/tmp")).expect("exists");
        assert!(!(temporary && current == b"new"), "a rename is never torn; seed {seed}");
        seen.insert((current, temporary, clone.exists(Path::new("/db/gone")).expect("exists")));
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    vfs.sync_dir(Path::new("/db")).expect("sync the folder");
    for seed in 0..SEEDS {
        let clone = vfs.crash_clone(&SeededRandom::new(seed));
        assert_eq!(read_whole(&clone, "/db/CURRENT").as_deref(), Some(b"new".as_slice()));
        assert!(!clone.exists(Path::new("/db/gone")).expect("exists"));
    }
}

#[test]
fn a_seed_gives_the_same_crash_again() {
    let vfs = vfs_with_folder();
    let file = vfs.open(Path::new("/db/a"), OpenMode::CreateNew).expect("create");
    for write in 0..20u8 {
        file.write_at(u64::from(write) * 700, &[write; 1_500]).expect("write");
    }
    for seed in 0..SEEDS {
        let first = read_whole(&vfs.crash_clone(&SeededRandom::new(seed)), "/db/a");
        let second = read_whole(&vfs.crash_clone(&SeededRandom::new(seed)), "/db/a");
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn a_folder_may_be_gone_until_the_one_above_it_is_synced() {
    let vfs = MemVfs::new();
    vfs.create_dir_all(Path::new("/db")).expect("folder");
    let file = vfs.open(Path::new("/db/a"), OpenMode::CreateNew).expect("create");
    file.sync().expect("sync");
    vfs.sync_dir(Path::new("/db")).expect("sync");
    let survives = |vfs: &MemVfs| {
        (0..SEEDS)
            .filter(|seed| {
                vfs.crash_clone(&SeededRandom::new(*seed)).exists(Path::new("/db/a")).expect("looks")
            })
            .count() as u64
    };
    let kept = survives(&vfs);
    assert!(0 < kept && kept < SEEDS, "{kept}");
    vfs.sync_dir(Path::new("/")).expect("sync");
    assert_eq!(survives(&vfs), SEEDS);
    make_dir(&vfs, Path::new("/x/y/z")).expect("made");
    for seed in 0..SEEDS {
        assert!(
            vfs.crash_clone(&SeededRandom::new(seed)).exists(Path::new("/x/y/z")).expect("looks"),
            "{seed}"
        );
    }
}
