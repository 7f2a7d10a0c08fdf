//! The statements that clients run.

use super::history::{Group, Key};

/// Rows of a bulk load.
pub const LOADED_ROWS: usize = 12;

/// How a predicate read finds its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// By the index, each group by itself.
    Lookup,
    /// By one range of the index.
    Range,
    /// By a scan of the heap, declared as the part of the index that it stands for.
    Heap,
    /// By a scan of the heap, declared as a filter.
    Filter,
}

/// A statement to be run.
#[derive(Clone, Debug)]
pub enum Request {
    /// Reads of all kinds, at one instant. Groups are of `rows` and of `children`.
    Read { lists: Vec<Key>, registers: Vec<Key>, classes: Vec<Group>, children: Vec<Group>, route: Route },
    /// A cursor for such a read: it shows this instant whenever it is read.
    Open(Box<Request>),
    /// Reads the cursor, if one is open.
    Fetch,
    /// Appends to a list that is a row; the first append inserts it.
    Append(Key),
    /// Inserts a list, there or not.
    Create(Key),
    /// Appends to a list of children.
    AppendChild(Group),
    /// Inserts a row.
    Insert(Group),
    /// Loads rows in bulk. It must be the transaction's last: its own statements would not find the rows by an index.
    Load(Group),
    /// UPDATE of a row by its id; it moves to a group if one is given.
    Update(Key, Option<Group>),
    /// DELETE of a row by its id.
    Delete(Key),
    /// UPDATE of all rows of a group.
    UpdateGroup(Group),
    /// SAVEPOINT.
    Savepoint(u32),
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo(u32),
}
