//! Why an action of a client ended early.

use strata_core::{Error, ErrorKind};

/// Why an action ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The engine said no.
    Engine(Error),
    /// The engine did what it must not: the simulation has failed.
    Wrong(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

/// The engine did what it must not.
pub(super) fn wrong(what: impl Into<String>) -> Stop {
    Stop::Wrong(what.into())
}

/// Whether an error is one that only a failing disk excuses.
pub(super) fn needs_fault(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Fatal | ErrorKind::Corrupt => true,
        ErrorKind::Resource => matches!(error, Error::DiskFull { .. }),
        ErrorKind::Invalid | ErrorKind::Retry | ErrorKind::Cancelled => false,
    }
}
