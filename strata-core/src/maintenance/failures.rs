//! What failed on the way, while other work goes on.

use super::Maintainer;
use crate::error::{Error, Result};

/// The first failure of several pieces of work.
#[derive(Debug, Default)]
pub(super) struct Failures {
    first: Option<Error>,
    has_full_disk: bool,
}

impl Failures {
    /// What the work gave, or `None` where it failed and other work may go on.
    ///
    /// # Errors
    /// The work's own, where the database does not go on after it.
    pub(super) fn note<T>(&mut self, maintainer: &Maintainer, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(done) => Ok(Some(done)),
            Err(error) if maintainer.shared.store.check_writable().is_err() => Err(error),
            Err(error) => {
                self.has_full_disk |= matches!(error, Error::DiskFull { .. });
                match &self.first {
                    None => self.first = Some(error),
                    Some(_) => tracing::warn!(%error, "maintenance failed again"),
                }
                Ok(None)
            }
        }
    }

    /// Whether some of it had no room on the disk.
    pub(super) fn has_full_disk(&self) -> bool {
        self.has_full_disk
    }

    /// The first failure, if there was one.
    pub(super) fn outcome(self) -> Result<()> {
        self.first.map_or(Ok(()), Err)
    }
}
