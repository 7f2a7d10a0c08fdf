//! Files that are not there until they are complete.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{SqlError, SqlResult};

/// A file under a temporary name, which [`finish`](Self::finish) gives its own. Dropped before, it leaves nothing.
pub(crate) struct NewFile {
    file: File,
    path: PathBuf,
    temporary: Option<PathBuf>,
}

impl NewFile {
    /// Creates the temporary file beside where the file will be.
    pub(crate) fn create(path: &str) -> SqlResult<Self> {
        let target = PathBuf::from(path);
        let Some(name) = target.file_name() else {
            return Err(SqlError::new("42602", format!("\"{path}\" is not the name of a file")));
        };
        if target.is_dir() {
            return Err(SqlError::new("42809", format!("\"{path}\" is a directory")));
        }
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
        let temporary = target.with_file_name(temporary);
        let file = File::create_new(&temporary).map_err(|error| file_error("create", path, &error))?;
        Ok(Self { file, path: target, temporary: Some(temporary) })
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> SqlResult<()> {
        self.file.write_all(bytes).map_err(|error| self.error("write", &error))
    }

    /// Makes the file durable and puts it in its place.
    pub(crate) fn finish(mut self) -> SqlResult<()> {
        self.file.sync_all().map_err(|error| self.error("sync", &error))?;
        let Some(temporary) = &self.temporary else { return Ok(()) };
        std::fs::rename(temporary, &self.path).map_err(|error| self.error("rename", &error))?;
        self.temporary = None;
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| self.error("sync", &error))
    }

    fn error(&self, doing: &str, error: &std::io::Error) -> SqlError {
        file_error(doing, &self.path.display().to_string(), error)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // It is in nobody's way if this fails.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// What the operating system said of a file.
pub(crate) fn file_error(doing: &str, path: &str, error: &std::io::Error) -> SqlError {
    let sqlstate = match error.kind() {
        std::io::ErrorKind::NotFound => "58P01",
        std::io::ErrorKind::PermissionDenied => "42501",
        std::io::ErrorKind::StorageFull => "53100",
        _ => "58030",
    };
    SqlError::new(sqlstate, format!("could not {doing} file \"{path}\": {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let name = path.to_str().unwrap();
        std::fs::write(&path, "old").unwrap();
        let mut dropped = NewFile::create(name).unwrap();
        dropped.write(b"half").unwrap();
        drop(dropped);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let mut file = NewFile::create(name).unwrap();
        file.write(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_made_is_an_error() {
        assert_eq!(NewFile::create("/nowhere/at/all").err().unwrap().sqlstate, "58P01");
        assert_eq!(NewFile::create("/").err().unwrap().sqlstate, "42602");
    }
}
