//! What a process and a folder take.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The most memory that a process had resident so far, in bytes.
///
/// # Errors
/// Where it is gone, or this is not Linux.
pub fn peak_resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes * 1024).ok_or_else(|| io::Error::other("no VmHWM"))
}

/// What the files under a path occupy, holes not counted, in bytes.
///
/// # Errors
/// Where a folder cannot be read.
pub fn disk_bytes(path: &Path) -> io::Result<u64> {
    let metadata = path.metadata()?;
    if metadata.is_file() {
        return Ok(metadata.blocks() * 512);
    }
    let mut total = 0;
    for entry in std::fs::read_dir(path)? {
        total += disk_bytes(&entry?.path())?;
    }
    Ok(total)
}

/// Bytes as people read them.
pub fn mebibytes(bytes: u64) -> String {
    // Exact to far more digits than are printed.
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        let peak = peak_resident_bytes(std::process::id()).expect("on Linux");
        assert!(peak > 100_000, "{peak}");
    }

    #[test]
    fn holes_are_not_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = std::fs::File::create(folder.path().join("sparse")).expect("a file");
        file.set_len(1 << 30).expect("grows");
        assert!(disk_bytes(folder.path()).expect("read") < 1 << 20);
    }
}
