//! The phenomena by name, and which of them each level forbids.
//!
//! Names are Adya's ("Weak Consistency: A Generalized Theory and Optimistic Implementations for Distributed
//! Transactions", MIT 1999), with those that Elle adds. READ COMMITTED is his PL-2, made stronger: each of its statements reads
//! one snapshot. REPEATABLE READ is snapshot isolation: by Cerone and Gotsman ("Analysing Snapshot Isolation", PODC 2016)
//! every cycle has two anti-dependencies in a row. All levels are strict here: what was acknowledged before
//! a transaction (or, in READ COMMITTED, a statement) began, it sees.

use std::fmt;

/// How transactions are to see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A snapshot for each statement.
    ReadCommitted,
    /// A snapshot for each transaction.
    RepeatableRead,
    /// As if one ran after the other.
    Serializable,
}

impl Level {
    /// All of them.
    pub const ALL: [Level; 3] = [Self::ReadCommitted, Self::RepeatableRead, Self::Serializable];
}

/// A phenomenon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phenomenon {
    /// Dirty writes: a cycle of write dependencies.
    G0,
    /// A read of what was rolled back.
    G1a,
    /// A read of a version that its writer replaced itself.
    G1b,
    /// A cycle of write and read dependencies.
    G1c,
    /// A value that nobody wrote there.
    GarbageRead,
    /// A value twice in a list.
    DuplicateElement,
    /// A transaction that does not see its own writes, or sees those that it has undone.
    Internal,
    /// Two reads of one list, neither a prefix of the other; or a version on top of another than its writer saw.
    IncompatibleOrder,
    /// Two transactions that replaced the same version of a key, each holding the row: one write is lost.
    LostWrite,
    /// A statement of READ COMMITTED that does not read one snapshot, or an old one: a cycle through that statement
    /// alone with no two anti-dependencies in a row.
    SplitStatement,
    /// A transaction that read a version which another replaced, then wrote on top of that: P4.
    LostUpdate,
    /// Read skew: a cycle with one anti-dependency.
    GSingle,
    /// A cycle with several anti-dependencies, no two in a row.
    GNonadjacent,
    /// Write skew: a cycle with two or more anti-dependencies, all of single keys.
    G2Item,
    /// A cycle with two or more anti-dependencies, some of predicates: phantoms.
    G2,
}

impl Phenomenon {
    /// Whether the level promises that it does not happen.
    pub fn is_forbidden(self, level: Level) -> bool {
        let snapshot = [Self::LostUpdate, Self::GSingle, Self::GNonadjacent];
        match level {
            Level::ReadCommitted => !snapshot.contains(&self) && !matches!(self, Self::G2Item | Self::G2),
            Level::RepeatableRead => !matches!(self, Self::G2Item | Self::G2),
            Level::Serializable => true,
        }
    }
}

impl fmt::Display for Phenomenon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::G0 => "G0 (dirty write)",
            Self::G1a => "G1a (aborted read)",
            Self::G1b => "G1b (intermediate read)",
            Self::G1c => "G1c (circular information flow)",
            Self::GarbageRead => "garbage read",
            Self::DuplicateElement => "duplicate element",
            Self::Internal => "internal",
            Self::IncompatibleOrder => "incompatible order",
            Self::LostWrite => "lost write",
            Self::SplitStatement => "split statement",
            Self::LostUpdate => "lost update",
            Self::GSingle => "G-single (read skew)",
            Self::GNonadjacent => "G-nonadjacent",
            Self::G2Item => "G2-item (write skew)",
            Self::G2 => "G2 (phantom)",
        })
    }
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Anomaly {
    /// Its name.
    pub phenomenon: Phenomenon,
    /// Whether it takes the order of time between transactions to see it: the answers alone could be explained.
    pub by_time: bool,
    /// The transactions in it, by their places in the history.
    pub transactions: Vec<usize>,
    /// What is wrong, in words; a cycle has a line for each edge. Empty for cycles after the first of a name.
    pub description: String,
}

impl Anomaly {
    /// A finding that is no cycle.
    pub fn of_reads(phenomenon: Phenomenon, transactions: Vec<usize>, description: String) -> Self {
        Self { phenomenon, by_time: false, transactions, description }
    }
}
