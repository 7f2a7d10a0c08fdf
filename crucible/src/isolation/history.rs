//! What clients asked and were told: the input of the checker.
//!
//! A history is a list of transactions; a transaction is a list of statements; a statement is what it read at one instant and
//! what it then wrote. Moments are numbers of one counter, so that "ended before the other began" is known for any two.
//!
//! | operation | what it is |
//! |---|---|
//! | [`Write`](Operation::Write) | a key got a new version: an append to a list, a register's new value, a row inserted, moved or deleted |
//! | [`ReadList`](Operation::ReadList) | all values appended to a list, in order |
//! | [`Read`](Operation::Read) | the value of a register |
//! | [`Scan`](Operation::Scan) | a predicate read: all keys of a group with their values |
//! | [`Savepoint`](Operation::Savepoint), [`RollbackTo`](Operation::RollbackTo) | as in SQL |
//!
//! Each value is written once in a history, so that it names its writer, as Kingsbury and Alvaro have it ("Elle: Inferring
//! Isolation Anomalies from Experimental Observations", VLDB 2020).

use std::fmt;

/// What has versions: a list, a register, a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// A version of a key. Unique in a history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u64);

/// What a predicate read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub u64);

impl Value {
    /// The version before the first: there is no such row, or the list is empty.
    pub const NONE: Value = Value(0);
}

/// What a key is after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A list or register that no predicate asks for.
    There,
    /// A row that a scan of this group finds.
    In(Group),
    /// A deleted row.
    Gone,
}

/// A step of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new version of a key.
    Write {
        /// The key.
        key: Key,
        /// The version, or the value appended.
        value: Value,
        /// The version that it replaced, as the writer saw it while it held the row; `None` where it did not look.
        base: Option<Value>,
        /// What the key is from then on.
        state: State,
    },
    /// All values of a list, the oldest first.
    ReadList {
        /// The list.
        key: Key,
        /// What was found.
        values: Vec<Value>,
    },
    /// A register's value; [`Value::NONE`] where there is no row.
    Read {
        /// The register.
        key: Key,
        /// What was found.
        value: Value,
    },
    /// A predicate read.
    Scan {
        /// What it asked for.
        group: Group,
        /// The rows found, in any order.
        found: Vec<(Key, Value)>,
    },
    /// A savepoint. A later one of the same name hides it.
    Savepoint(u32),
    /// All writes since the savepoint are undone; it stays.
    RollbackTo(u32),
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The commit was acknowledged.
    Committed,
    /// It was rolled back, by the client or by an error before the commit.
    Aborted,
    /// The commit failed in a way that may have taken effect.
    Unknown,
}

/// What happened at one instant, or should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// When it was sent.
    pub invoked: u64,
    /// When its answer was there.
    pub returned: u64,
    /// What it did, in order: reads of its snapshot before the writes that follow from them.
    pub operations: Vec<Operation>,
}

/// One transaction of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The client. Its transactions do not overlap.
    pub process: usize,
    /// When it began.
    pub invoked: u64,
    /// When its outcome was known.
    pub returned: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// What it did.
    pub statements: Vec<Statement>,
}

impl Transaction {
    /// All operations, in order.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.statements.iter().flat_map(|statement| &statement.operations)
    }
}

/// Transactions in any order; a transaction is named by its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The transactions.
    pub transactions: Vec<Transaction>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}", self.0)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("none"),
            Self(value) => write!(f, "{value}"),
        }
    }
}

/// As displayed: lists of values are part of what is reported.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { key, value, base, state } => {
                write!(f, "write {key} := {value}")?;
                match state {
                    State::There => {}
                    State::In(group) => write!(f, " in group {}", group.0)?,
                    State::Gone => f.write_str(" (deleted)")?,
                }
                base.map_or(Ok(()), |base| write!(f, " over {base}"))
            }
            Self::ReadList { key, values } => {
                write!(f, "read {key} = [")?;
                for (place, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if place == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Self::Read { key, value } => write!(f, "read {key} = {value}"),
            Self::Scan { group, found } => {
                write!(f, "scan group {} = {{", group.0)?;
                for (place, (key, value)) in found.iter().enumerate() {
                    write!(f, "{}{key}:{value}", if place == 0 { "" } else { " " })?;
                }
                f.write_str("}")
            }
            Self::Savepoint(name) => write!(f, "savepoint s{name}"),
            Self::RollbackTo(name) => write!(f, "rollback to s{name}"),
        }
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, invoked, returned, outcome, .. } = self;
        write!(f, "process {process}, {invoked} to {returned}, {outcome:?}")?;
        for statement in &self.statements {
            write!(f, "\n      {:>8} ", statement.invoked)?;
            for (place, operation) in statement.operations.iter().enumerate() {
                write!(f, "{}{operation}", if place == 0 { "" } else { "; " })?;
            }
        }
        Ok(())
    }
}
