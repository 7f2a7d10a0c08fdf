//! Folders that a power cut does not take away.

use std::io;
use std::path::Path;

use super::Vfs;
use crate::error::{Error, Result};

/// Makes a folder and those above it that are missing. All of them are durable when this returns, and so is one that was
/// there, but that whoever made it may not have lived to sync.
///
/// # Errors
/// `Io`, `DiskFull`.
pub fn make_dir(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| Error::io(operation, &path, source)
    };
    let mut made = Vec::new();
    for ancestor in dir.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
        if vfs.exists(ancestor).map_err(failed("look for folder", ancestor))? {
            break;
        }
        made.push(ancestor);
    }
    vfs.create_dir_all(dir).map_err(failed("create folder", dir))?;
    let was_there = made.is_empty().then_some(dir);
    for path in made.iter().copied().chain(was_there) {
        let Some(parent) = path.parent() else { continue };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match vfs.sync_dir(parent) {
            // Somebody else made the folder, in a place that is not ours to open.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && was_there.is_some() => {}
            synced => synced.map_err(failed("sync folder", parent))?,
        }
    }
    Ok(())
}
