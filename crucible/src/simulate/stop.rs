//! Why an action of a client ended early.

use strata_core::Error;

/// Why an action ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The engine said no, which the world must [excuse](super::excuse). The transaction is over.
    Engine(Error),
    /// The engine refused a statement, as it should. The transaction goes on.
    Refused(Error),
    /// The engine refused the transaction, as it should.
    Ended(Error),
    /// The engine did what it must not: the simulation has failed.
    Wrong(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl Stop {
    /// In words.
    pub(super) fn into_words(self) -> String {
        match self {
            Self::Engine(error) | Self::Refused(error) | Self::Ended(error) => error.to_string(),
            Self::Wrong(what) => what,
        }
    }
}

/// The engine did what it must not.
pub(super) fn wrong(what: impl Into<String>) -> Stop {
    Stop::Wrong(what.into())
}
