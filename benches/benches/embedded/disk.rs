//! What the disk was asked to do.

use std::fs::{File, read_dir, read_to_string};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::engines::Outcome;

/// The median time of a sync of 4 KiB appended to a file: no durable commit of one thread can take less.
pub fn sync_time(dir: &Path) -> Outcome<Duration> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("probe");
    let mut file = File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    std::fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Bytes that the files of a folder occupy.
pub fn used_bytes(dir: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { used_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

/// Bytes that this process has had read from disks, and has given to the system to write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    pub read: u64,
    pub written: u64,
}

impl Traffic {
    /// So far.
    pub fn now() -> Outcome<Self> {
        let text = read_to_string("/proc/self/io")?;
        let field = |name: &str| -> Outcome<u64> {
            let line =
                text.lines().find_map(|line| line.strip_prefix(name)).ok_or("/proc/self/io lacks a field")?;
            Ok(line.trim().parse()?)
        };
        // Not `write_bytes`: where the page cache has large folios, a write of a few KiB counts as one of 2 MiB.
        Ok(Self { read: field("read_bytes:")?, written: field("wchar:")? })
    }

    /// Since `before`.
    pub fn since(self, before: Self) -> Self {
        Self { read: self.read - before.read, written: self.written - before.written }
    }
}

/// Takes a folder's files out of the system's page cache, so that reads go to the disk.
pub fn forget(dir: &Path) -> Outcome<()> {
    for entry in read_dir(dir)? {
        let entry = entry?;
        if entry.metadata()?.is_dir() {
            forget(&entry.path())?;
        } else {
            let file = File::open(entry.path())?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}
