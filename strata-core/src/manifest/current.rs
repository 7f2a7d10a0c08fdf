//! `CURRENT`: one line that names the manifest file in use, and the CRC-32 of that name in hexadecimal.

use std::path::Path;

use crate::error::{Error, Result};
use crate::vfs::{OpenMode, Vfs};

/// The file that names the manifest.
const CURRENT: &str = "CURRENT";
/// What becomes `CURRENT` by a rename.
const TEMPORARY: &str = "CURRENT.tmp";
const PREFIX: &str = "MANIFEST-";
/// Longer than any line that is written.
const MOST_BYTES: usize = 64;

/// The name of a manifest file.
pub(super) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:06}")
}

/// The number of a manifest file.
pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

fn line(number: u64) -> String {
    let name = file_name(number);
    format!("{name} {:08x}\n", crc32fast::hash(name.as_bytes()))
}

/// The number that `CURRENT` names; `None` where there is none.
pub(super) fn read(vfs: &dyn Vfs, dir: &Path) -> Result<Option<u64>> {
    let path = dir.join(CURRENT);
    if !vfs.exists(&path).map_err(|source| Error::io("look for", &path, source))? {
        return Ok(None);
    }
    let failed = |source| Error::io("read", &path, source);
    let file = vfs.open(&path, OpenMode::Read).map_err(failed)?;
    let len = usize::try_from(file.len().map_err(failed)?).unwrap_or(MOST_BYTES);
    let mut bytes = vec![0; len.min(MOST_BYTES)];
    file.read_exact_at(0, &mut bytes).map_err(failed)?;
    let named = std::str::from_utf8(&bytes).ok().and_then(|text| text.split(' ').next());
    let number = named.and_then(parse_file_name).filter(|number| line(*number).as_bytes() == bytes);
    number.map(Some).ok_or_else(|| Error::Corrupt {
        file: path.display().to_string(),
        offset: 0,
        detail: "it does not name a manifest".into(),
    })
}

/// How far a replacement of `CURRENT` came.
pub(super) enum ReplaceError {
    /// `CURRENT` is as it was.
    Before(Error),
    /// It may name either file.
    Unknown(Error),
}

/// Makes `CURRENT` name `number`; durable when this returns.
pub(super) fn replace(vfs: &dyn Vfs, dir: &Path, number: u64) -> std::result::Result<(), ReplaceError> {
    let temporary = dir.join(TEMPORARY);
    write_temporary(vfs, &temporary, number).map_err(ReplaceError::Before)?;
    let path = dir.join(CURRENT);
    vfs.rename(&temporary, &path)
        .and_then(|()| vfs.sync_dir(dir))
        .map_err(|source| ReplaceError::Unknown(Error::io("replace", &path, source)))
}

fn write_temporary(vfs: &dyn Vfs, path: &Path, number: u64) -> Result<()> {
    let failed = |source| Error::io("write", path, source);
    let file = vfs.open(path, OpenMode::CreateOrOpen).map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    file.write_at(0, line(number).as_bytes()).map_err(failed)?;
    file.sync().map_err(failed)
}

/// Removes what an interrupted replacement left.
pub(super) fn remove_leftover(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    let path = dir.join(TEMPORARY);
    let failed = |source| Error::io("remove", &path, source);
    if vfs.exists(&path).map_err(failed)? {
        vfs.remove(&path).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_line() {
        assert_eq!(line(1), "MANIFEST-000001 5a055f23\n");
        assert_eq!(parse_file_name("MANIFEST-000001"), Some(1));
        assert_eq!(parse_file_name("MANIFEST-1234567"), Some(1_234_567));
        for other in ["MANIFEST-1", "MANIFEST-0000001", "MANIFEST-", "CURRENT", "MANIFEST-00000x"] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }
}
