//! Doctors on call: what only SERIALIZABLE keeps.
//!
//! Of each ward somebody is on call at every instant. Who takes one off has seen that there is another; two who see each other's
//! doctor, and take off one each, would leave nobody. All writers of this table are SERIALIZABLE, and their reads leave predicates
//! of each kind but the whole table's.

use std::sync::Arc;

use strata_core::catalog::{IndexDef, TableDef};
use strata_core::heap::SegmentView;
use strata_core::heap::column::Selection;
use strata_core::ids::{ColumnId, RowId, TableId};
use strata_core::row::{ColumnReader, ColumnType, Datum};
use strata_core::table::{Isolation, ReadPredicate, RowFilter, TableView, Transaction};
use strata_core::txn::{RowLockMode, block_on};
use strata_core::{Error, ErrorKind, Result};

use super::Counters;
use super::client::{World, end};
use super::tables::{fill, find, int, key_in, lock, lock_row, note};
use super::undo;
use super::verify::rows_in;
use crate::random::Random;

/// So few that several clients are at one of them most of the time.
pub const WARDS: i64 = 4;
const DOCTORS_PER_WARD: i64 = 4;
const WARD: ColumnId = ColumnId::new(1);
const ON_CALL: ColumnId = ColumnId::new(2);
/// How often a client tries before it gives way.
const TRIES: u64 = 30;

/// Puts all of them on call.
pub fn create(txn: &Transaction, table: TableId) -> Result<()> {
    let def = lock(txn, table)?;
    for id in 0..WARDS * DOCTORS_PER_WARD {
        block_on(txn.insert(&def, &doctor(&def, id, Datum::Text(String::new()))))?;
    }
    Ok(())
}

/// The row of one who is on call.
fn doctor(def: &TableDef, id: i64, note: Datum) -> Vec<Datum> {
    fill(def, &[Datum::Int64(id), Datum::Int64(id / DOCTORS_PER_WARD), Datum::Int64(1), note])
}

/// What is to be done in a ward.
#[derive(Clone, Copy)]
struct Shift {
    ward: i64,
    /// Takes one off, or puts one on.
    is_off: bool,
    /// Which one.
    choice: u64,
    route: Route,
    /// Whether a part of it is undone.
    undoes: bool,
    /// Whether another one of the ward comes between what it reads and what it writes.
    is_disturbed: bool,
}

/// How those on call are found.
#[derive(Clone, Copy)]
enum Route {
    /// By the index of those on call.
    Index,
    /// By reading the table, with the condition declared.
    Filter,
    /// One after another, by id: there or not.
    Points,
}

/// Takes a doctor off call, or puts one on, and tries again where another was in the way. True if it was committed.
pub fn shift(world: &World<'_>, random: &mut Random) -> Result<bool> {
    let mut shift = Shift::any(random.within(0..WARDS as u64) as i64, random);
    for tried in 0.. {
        match shift.attempt(world, random) {
            Err(refused) if refused.kind() == ErrorKind::Retry && tried + 1 < TRIES => {
                if matches!(refused, Error::ReadConflict) {
                    Counters::add(&world.counters.read_conflicts);
                }
                shift.is_disturbed = false;
                std::thread::yield_now();
            }
            outcome => {
                if tried > 0 && matches!(outcome, Ok(true)) {
                    Counters::add(&world.counters.retried);
                }
                return outcome;
            }
        }
    }
    unreachable!("the last try's outcome is returned")
}

impl Shift {
    fn any(ward: i64, random: &mut Random) -> Self {
        let route = match random.within(0..3) {
            0 => Route::Index,
            1 => Route::Filter,
            _ => Route::Points,
        };
        let (is_off, choice) = (random.chance(3, 5), random.next());
        Self { ward, is_off, choice, route, undoes: random.chance(1, 4), is_disturbed: random.chance(1, 2) }
    }

    fn attempt(&self, world: &World<'_>, random: &mut Random) -> Result<bool> {
        let mut txn = world.db.begin(Isolation::Serializable)?;
        let on_call = self.read(txn.view().table(world.tables.doctors)?)?;
        assert!(!on_call.is_empty(), "nobody of ward {} is on call", self.ward);
        if self.is_disturbed {
            let other = Self { is_disturbed: false, ..Self::any(self.ward, random) };
            world.counters.outcome(other.attempt(world, random));
        }
        let def = lock(&txn, world.tables.doctors)?;
        if self.undoes {
            undo::in_part(world, &mut txn, |txn| {
                let view = txn.view().table(world.tables.doctors)?;
                on_call.iter().try_for_each(|row| take_off(txn, &view, *row, random.chance(1, 2)))
            })?;
        }
        let view = txn.view().table(world.tables.doctors)?;
        if self.is_off {
            if on_call.len() < 2 {
                return Ok(false);
            }
            let row = on_call[(self.choice % on_call.len() as u64) as usize];
            take_off(&txn, &view, row, random.chance(1, 2))?;
        } else {
            let id = self.ward * DOCTORS_PER_WARD + (self.choice % DOCTORS_PER_WARD as u64) as i64;
            put_on(&txn, &def, &view, id, random)?;
        }
        let committed = end(txn, random)?;
        if committed {
            Counters::add(&world.counters.serializable);
        }
        Ok(committed)
    }

    /// Those on call.
    fn read(&self, view: TableView) -> Result<Vec<RowId>> {
        let def = Arc::clone(view.def());
        let is_on_call = |values: &[Datum]| int(values, 1) == self.ward && int(values, 2) == 1;
        match self.route {
            Route::Index => {
                let index = on_call_index(&def);
                let key = key_in(&def, index, &[Datum::Null, Datum::Int64(self.ward), Datum::Int64(1)]);
                view.rows_of_key(index.id, &key)?.collect()
            }
            Route::Filter => {
                let filter = OnCall { def, ward: self.ward };
                let rows = rows_in(&view.declare(ReadPredicate::Filter(Arc::new(filter))))?;
                Ok(rows.into_iter().filter(|(_, values)| is_on_call(values)).map(|(row, _)| row).collect())
            }
            Route::Points => {
                let first = self.ward * DOCTORS_PER_WARD;
                let mut found = Vec::new();
                for id in first..first + DOCTORS_PER_WARD {
                    let Some(row) = find(&view, id)? else { continue };
                    if is_on_call(&view.row(row)?.to_datums(&def.schema)?) {
                        found.push(row);
                    }
                }
                Ok(found)
            }
        }
    }
}

fn on_call_index(def: &TableDef) -> &IndexDef {
    def.indexes.iter().find(|index| !index.unique).expect("made with the table")
}

/// Off call is who is not there, or there and off.
fn take_off(txn: &Transaction, view: &TableView, row: RowId, delete: bool) -> Result<()> {
    block_on(txn.lock_row(view, row, RowLockMode::Update))?;
    if delete {
        return txn.delete(view, row);
    }
    let mut values = view.row(row)?.to_datums(&view.def().schema)?;
    values[2] = Datum::Int64(0);
    block_on(txn.update(view, row, &values)).map(drop)
}

fn put_on(txn: &Transaction, def: &TableDef, view: &TableView, id: i64, random: &mut Random) -> Result<()> {
    let Some((row, mut values)) = lock_row(txn, view, id)? else {
        return block_on(txn.insert(def, &doctor(def, id, note(random)))).map(drop);
    };
    values[2] = Datum::Int64(1);
    block_on(txn.update(view, row, &values)).map(drop)
}

/// The condition of [`Route::Filter`].
struct OnCall {
    def: Arc<TableDef>,
    ward: i64,
}

impl RowFilter for OnCall {
    fn may_match(&self, segment: &SegmentView, slots: &[u32]) -> bool {
        let arrays = segment.read(&self.def.schema, &[WARD, ON_CALL], &Selection::Slots(slots.to_vec()));
        // What cannot be read for want of memory may match.
        let Ok(arrays) = arrays else { return true };
        let is = |column: usize, place: usize, wanted: i64| {
            let reader = ColumnReader::new(arrays[column].as_ref(), &ColumnType::Int64).expect("of the type");
            reader.value(place).expect("in the array").to_datum() == Datum::Int64(wanted)
        };
        (0..slots.len()).any(|place| is(0, place, self.ward) && is(1, place, 1))
    }
}
