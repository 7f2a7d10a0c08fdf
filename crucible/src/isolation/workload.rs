//! What clients ask: random transactions over few keys, each used for a while and then left for a new one.
//!
//! Few keys at a time make clients meet; many over a run keep the lists short and the checker fast.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::history::{Group, Key};
use super::request::{Request, Route};
use crate::random::Random;

/// Lists, classes of rows, and lists of children in use at a time.
const HOT: usize = 5;
/// Rows that may be asked for by their id at a time.
const HOT_ROWS: usize = 16;
/// How many uses a key has, about.
const USES: u64 = 40;

/// The keys in use.
#[derive(Debug)]
pub struct HotKeys {
    /// What comes next, of keys and of values; unique in a database.
    pub values: AtomicU64,
    /// Classes are even, lists of children odd.
    groups: AtomicU64,
    lists: Mutex<Vec<Key>>,
    classes: Mutex<Vec<Group>>,
    children: Mutex<Vec<Group>>,
    rows: Mutex<Vec<Key>>,
}

impl HotKeys {
    /// Keys from the first on.
    pub fn new() -> Self {
        Self {
            values: AtomicU64::new(1),
            groups: AtomicU64::new(1),
            lists: Mutex::default(),
            classes: Mutex::default(),
            children: Mutex::default(),
            rows: Mutex::default(),
        }
    }

    /// Leaves all keys.
    pub fn renew(&self) {
        self.lists.lock().clear();
        self.classes.lock().clear();
        self.children.lock().clear();
        self.rows.lock().clear();
    }

    /// Makes rows known that a transaction has inserted; whether it commits, others will find out.
    pub fn add_row(&self, key: Key, random: &mut Random) {
        let mut rows = self.rows.lock();
        if rows.len() < HOT_ROWS {
            rows.push(key);
        } else {
            let place = below(random, HOT_ROWS);
            rows[place] = key;
        }
    }

    fn list(&self, random: &mut Random) -> Key {
        let fresh = || Key(self.values.fetch_add(1, Ordering::Relaxed));
        choose(&self.lists, random, fresh)
    }

    fn class(&self, random: &mut Random) -> Group {
        choose(&self.classes, random, || Group(self.groups.fetch_add(1, Ordering::Relaxed) * 2))
    }

    fn children(&self, random: &mut Random) -> Group {
        choose(&self.children, random, || Group(self.groups.fetch_add(1, Ordering::Relaxed) * 2 + 1))
    }

    fn row(&self, random: &mut Random) -> Option<Key> {
        let rows = self.rows.lock();
        (!rows.is_empty()).then(|| rows[below(random, rows.len())])
    }
}

impl Default for HotKeys {
    fn default() -> Self {
        Self::new()
    }
}

/// One of the hot ones; now and then a new one takes the place of an old one first.
fn choose<T: Copy>(hot: &Mutex<Vec<T>>, random: &mut Random, fresh: impl Fn() -> T) -> T {
    let mut hot = hot.lock();
    while hot.len() < HOT {
        hot.push(fresh());
    }
    let place = below(random, HOT);
    if random.chance(1, USES) {
        hot[place] = fresh();
    }
    hot[place]
}

fn below(random: &mut Random, bound: usize) -> usize {
    random.within(0..bound as u64) as usize
}

/// What a transaction will ask, and whether it commits.
#[derive(Debug)]
pub struct Program {
    /// Its statements.
    pub requests: Vec<Request>,
    /// Whether it ends with COMMIT.
    pub commits: bool,
}

impl Program {
    /// A random transaction.
    pub fn random(hot: &HotKeys, random: &mut Random) -> Self {
        let mut requests = Vec::new();
        let length = 1 + random.within(0..5);
        let read_only = random.chance(1, 5);
        let mut savepoints = 0;
        while (requests.len() as u64) < length {
            if read_only {
                requests.push(read(hot, random));
            } else if random.chance(1, 8) && savepoints == 0 {
                savepoints += 1;
                partial(hot, random, savepoints, &mut requests);
            } else {
                requests.push(statement(hot, random));
            }
        }
        if requests.iter().any(|request| matches!(request, Request::Open(_))) {
            requests.push(Request::Fetch);
        }
        if random.chance(1, 60) {
            requests.push(Request::Load(hot.class(random)));
        }
        Self { requests, commits: !random.chance(1, 12) }
    }
}

/// Writes that are undone, a savepoint in a savepoint now and then.
fn partial(hot: &HotKeys, random: &mut Random, name: u32, requests: &mut Vec<Request>) {
    requests.push(Request::Savepoint(name));
    for _ in 0..1 + random.within(0..3) {
        requests.push(statement(hot, random));
    }
    if name < 3 && random.chance(1, 4) {
        partial(hot, random, name + 1, requests);
    }
    if random.chance(3, 4) {
        requests.push(Request::RollbackTo(name));
        requests.push(statement(hot, random));
    }
    // The same savepoint serves twice.
    if random.chance(1, 6) {
        requests.push(Request::RollbackTo(name));
    }
}

fn statement(hot: &HotKeys, random: &mut Random) -> Request {
    let known = hot.row(random);
    match (random.within(0..24), known) {
        (0..=6, _) => read(hot, random),
        (20, _) => Request::Open(Box::new(read(hot, random))),
        (21, _) => Request::Fetch,
        (22, _) if random.chance(1, 2) => Request::Create(hot.list(random)),
        (22, _) => Request::Append(hot.list(random)),
        (7..=10, _) => Request::Append(hot.list(random)),
        (11..=12, _) => Request::AppendChild(hot.children(random)),
        (13..=14, _) | (_, None) => Request::Insert(hot.class(random)),
        (15..=16, Some(key)) => Request::Update(key, None),
        (17, Some(key)) => Request::Update(key, Some(hot.class(random))),
        (18, Some(key)) => Request::Delete(key),
        _ => Request::UpdateGroup(hot.class(random)),
    }
}

fn read(hot: &HotKeys, random: &mut Random) -> Request {
    let route = match random.within(0..40) {
        0 => Route::Heap,
        1 => Route::Filter,
        2..=14 => Route::Range,
        _ => Route::Lookup,
    };
    let some = |random: &mut Random, most: u64| random.within(0..most + 1);
    let mut lists: Vec<Key> = (0..some(random, 3)).map(|_| hot.list(random)).collect();
    let mut registers: Vec<Key> = (0..some(random, 3)).filter_map(|_| hot.row(random)).collect();
    let mut classes: Vec<Group> = (0..some(random, 2)).map(|_| hot.class(random)).collect();
    let mut children: Vec<Group> = (0..some(random, 2)).map(|_| hot.children(random)).collect();
    lists.dedup();
    registers.dedup();
    classes.dedup();
    children.dedup();
    Request::Read { lists, registers, classes, children, route }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_transactions_and_all_kinds_come() {
        let programs = |seed| {
            let (hot, mut random) = (HotKeys::new(), Random::new(seed));
            hot.add_row(Key(1), &mut random);
            let texts = (0..300).map(|_| format!("{:?}", Program::random(&hot, &mut random)));
            texts.collect::<Vec<String>>()
        };
        assert_eq!(programs(7), programs(7));
        let text = programs(7).join("\n");
        for kind in [
            "Read",
            "Append(",
            "AppendChild",
            "Load",
            "Create",
            "Insert",
            "Some(Group",
            "Delete",
            "UpdateGroup",
            "RollbackTo(1)",
            "Savepoint(2)",
            "Heap",
            "Filter",
            "Open(Read",
            "Fetch",
            "commits: false",
        ] {
            assert!(text.contains(kind), "no {kind}");
        }
    }
}
