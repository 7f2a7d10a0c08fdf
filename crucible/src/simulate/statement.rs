//! The statements of clients that read and write rows, each checked against the model at once.

use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use strata_core::Error;
use strata_core::ids::{RowId, TableId};
use strata_core::row::Datum;
use strata_core::table::{Isolation, Locked, TableView};
use strata_core::txn::{RowLockMode, TableLockMode};

use super::client::{GONE, Outcome, Shared};
use super::model::{Row, State, Table, Write};
use super::open::Open;
use super::reads::Part;
use super::stop::{Stop, wrong};
use super::{refusal, schema, verify};
use crate::random::Random;

/// A table out of those of a state.
pub(super) fn pick_of(state: &State, table: u64) -> Option<&Arc<Table>> {
    let place = table.checked_rem(state.tables.len() as u64)?;
    state.tables.values().nth(place as usize)
}

pub(super) async fn insert(shared: &Shared, open: &mut Open, table: u64, seed: u64) -> Outcome {
    let Some(def) = open.pick(table) else { return Ok("no table".into()) };
    let Some(def) = open.lock(shared, def.id, TableLockMode::RowExclusive).await? else {
        return Ok(GONE.into());
    };
    let (mut random, tag) = (Random::new(seed), shared.new_tag());
    let key = schema::key(&def, shared.keys, &mut random);
    let values = schema::row(&def, tag, key, &mut random);
    match open.txn.insert(&def, &values).await {
        Ok(_) => {
            let said = format!("inserted row {tag} with key {:?} into {}", values[schema::KEY], def.name);
            open.note_keys(shared, def.id, &values, None, None);
            open.writes.push(Write::Put { table: def.id, tag, values, replaces: None });
            Ok(said)
        }
        Err(error) => {
            open.note_keys(shared, def.id, &values, None, Some(&error));
            Err(refusal::of_row(error, || open.published(shared), def.id, tag, &values))
        }
    }
}

/// Lets others go on once.
#[derive(Default)]
struct Pause {
    paused: bool,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The row that a statement is after, as its view shows it.
struct Target {
    view: TableView,
    row: RowId,
    tag: i64,
    expected: Row,
}

/// Finds a row that the transaction may change, through a unique index or by a scan.
fn find(shared: &Shared, open: &mut Open, table: TableId, pick: u64) -> Result<Option<Target>, Stop> {
    let (view, state) = open.view(shared)?;
    let view = view.table(table)?;
    let Some(expected) = state.tables.get(&table) else { return Ok(None) };
    let tags: Vec<i64> =
        expected.rows.keys().copied().filter(|tag| !open.loaded.contains(&(table, *tag))).collect();
    let Some(place) = pick.checked_rem(tags.len() as u64) else { return Ok(None) };
    let (tag, row) = (tags[place as usize], &expected.rows[&tags[place as usize]]);
    let values = row.all_values(view.def());
    let unique = view.def().indexes.iter().filter(|index| index.unique && view.index_is_whole(index.id));
    // A transaction may see two rows of one key: an own one, and one that others have ended since its snapshot, or have
    // loaded since. It will not commit the latter two.
    let keyed = unique
        .map(|index| (index, expected.key(index, &values)))
        .find(|(index, (key, has_null))| !has_null && expected.holders(index, key).count() == 1);
    let found = match keyed {
        Some((index, (key, _))) => {
            open.note(table, Part::key(&expected.def, index.id, key.clone()));
            view.first(index.id, &key)?
        }
        None => {
            open.note(table, Part::Whole);
            let mut rows = verify::rows(&view)?.into_iter();
            rows.find(|(_, values)| verify::tag_of(values) == Some(tag)).map(|(row, _)| row)
        }
    };
    let found = found.ok_or_else(|| wrong(format!("row {tag} of {} is not found", view.def().name)))?;
    let stored = view.row(found)?.to_datums(&view.def().schema)?;
    verify::same_values(&view, tag, row, &stored)?;
    Ok(Some(Target { view, row: found, tag, expected: row.clone() }))
}

/// Locks a row, and tells where it is now and what it is; `None` where it has gone. Whatever the engine says of it must
/// be what the newest state has.
async fn lock_target(
    shared: &Shared,
    open: &mut Open,
    target: &Target,
    mode: RowLockMode,
) -> Result<Option<(RowId, Row)>, Stop> {
    let (view, tag) = (&target.view, target.tag);
    let locked = open.txn.lock_row(view, target.row, mode).await;
    let newest = open.newest(shared)?;
    let newest = newest.tables.get(&view.def().id).and_then(|table| table.rows.get(&tag)).cloned();
    let as_seen = newest.as_ref() == Some(&target.expected);
    let about = |what: &str| wrong(format!("{} row {tag}: {what}; it is {newest:?}", view.def().name));
    let row = match locked {
        Ok(Locked::Current) if as_seen => return Ok(Some((target.row, target.expected.clone()))),
        Ok(Locked::Current) => return Err(about("locked as it was, and has changed")),
        Ok(Locked::Gone) if newest.is_none() => return Ok(None),
        Ok(Locked::Gone) => return Err(about("said to be gone, and is there")),
        Ok(Locked::Moved(row)) => row,
        Err(Error::SerializationFailure) if as_seen => return Err(about("refused, and has not changed")),
        Err(Error::SerializationFailure) if open.txn.isolation() == Isolation::ReadCommitted => {
            return Err(about("refused, and READ COMMITTED goes on with what it is"));
        }
        Err(error @ Error::SerializationFailure) => return Err(Stop::Ended(error)),
        Err(error) => return Err(error.into()),
    };
    let Some(newest) = newest.clone().filter(|_| !as_seen) else {
        return Err(about("said to be elsewhere, and is not"));
    };
    let stored = view.row(row)?.to_datums(&view.def().schema)?;
    if verify::tag_of(&stored) != Some(tag) {
        return Err(about("its successor is another row"));
    }
    verify::same_values(view, tag, &newest, &stored)?;
    Ok(Some((row, newest)))
}

/// Updates a row, or deletes it.
pub(super) async fn change(
    shared: &Shared,
    open: &mut Open,
    table: u64,
    pick: u64,
    to: Option<(bool, u64)>,
) -> Outcome {
    let Some(def) = open.pick(table) else { return Ok("no table".into()) };
    let Some(def) = open.lock(shared, def.id, TableLockMode::RowExclusive).await? else {
        return Ok(GONE.into());
    };
    let Some(target) = find(shared, open, def.id, pick)? else { return Ok("no row".into()) };
    if pick.is_multiple_of(4) {
        // A long statement: what it has found may have changed before it gets there.
        Pause::default().await;
    }
    let keeps_key = matches!(to, Some((false, _))) && def.indexes.iter().all(|index| !index.unique);
    let mode = if keeps_key { RowLockMode::NoKeyUpdate } else { RowLockMode::Update };
    let Some((row, before)) = lock_target(shared, open, &target, mode).await? else {
        return Ok(format!("row {} of {} is gone", target.tag, def.name));
    };
    let (tag, table) = (target.tag, def.id);
    let Some((new_key, seed)) = to else {
        open.txn.delete(&target.view, row)?;
        open.writes.push(Write::Delete { table, tag, replaces: before });
        return Ok(format!("deleted row {tag} of {}", def.name));
    };
    let mut random = Random::new(seed);
    let key = if new_key {
        schema::key(&def, shared.keys, &mut random)
    } else {
        before.value(&def, schema::KEY).clone()
    };
    let values = schema::row(&def, tag, key, &mut random);
    match open.txn.update(&target.view, row, &values).await {
        Ok(_) => {
            let said = format!("updated row {tag} of {} to key {:?}", def.name, values[schema::KEY]);
            open.note_keys(shared, table, &values, Some(&before), None);
            open.writes.push(Write::Put { table, tag, values, replaces: Some(before) });
            Ok(said)
        }
        Err(error) => {
            open.note_keys(shared, table, &values, Some(&before), Some(&error));
            Err(refusal::of_row(error, || open.published(shared), table, tag, &values))
        }
    }
}

pub(super) async fn lock_row(shared: &Shared, open: &mut Open, table: u64, pick: u64, mode: u64) -> Outcome {
    let Some(def) = open.pick(table) else { return Ok("no table".into()) };
    let Some(def) = open.lock(shared, def.id, TableLockMode::RowShare).await? else { return Ok(GONE.into()) };
    let Some(target) = find(shared, open, def.id, pick)? else { return Ok("no row".into()) };
    let modes = [RowLockMode::KeyShare, RowLockMode::Share, RowLockMode::NoKeyUpdate, RowLockMode::Update];
    let mode = modes[(mode % 4) as usize];
    let locked = lock_target(shared, open, &target, mode).await?;
    let what = if locked.is_some() { "locked" } else { "did not find" };
    Ok(format!("{what} row {} of {} for {mode:?}", target.tag, def.name))
}

pub(super) fn get(shared: &Shared, open: &mut Open, table: u64, pick: u64, seed: u64) -> Outcome {
    let (view, state) = open.view(shared)?;
    let Some(expected) = pick_of(&state, table) else { return Ok("no table".into()) };
    let view = view.table(expected.def.id)?;
    let indexes: Vec<_> = expected.def.indexes.iter().filter(|index| index.unique).collect();
    let Some(place) = pick.checked_rem(indexes.len() as u64) else { return Ok("no key".into()) };
    let (index, mut random) = (indexes[place as usize], Random::new(seed));
    let key = Datum::Int64(random.within(0..shared.keys) as i64);
    let tag = random.within(0..*shared.tags.borrow() as u64 + 1) as i64;
    let values = schema::plain_row(&expected.def, tag, key);
    if !view.index_is_whole(index.id) {
        return Ok(format!("{} is not whole yet", index.name));
    }
    open.note(expected.def.id, Part::key(&expected.def, index.id, expected.key(index, &values).0));
    verify::first(&view, expected, index, &values)?;
    Ok(format!("looked up {:?} in {}", values[schema::KEY], index.name))
}

pub(super) fn range(
    shared: &Shared,
    open: &mut Open,
    table: u64,
    pick: u64,
    seed: u64,
    reverse: bool,
) -> Outcome {
    let (view, state) = open.view(shared)?;
    let Some(expected) = pick_of(&state, table) else { return Ok("no table".into()) };
    let view = view.table(expected.def.id)?;
    let Some(place) = pick.checked_rem(expected.def.indexes.len() as u64) else {
        return Ok("no index".into());
    };
    let (index, mut random) = (&expected.def.indexes[place as usize], Random::new(seed));
    let entries = expected.entries(index);
    let mut bound = || {
        let place = random.next().checked_rem(entries.len() as u64);
        let key = place.map(|place| entries[place as usize].0.clone());
        match (key, random.within(0..4)) {
            (Some(key), 0 | 1) => Bound::Included(key),
            (Some(key), 2) => Bound::Excluded(key),
            _ => Bound::Unbounded,
        }
    };
    if !view.index_is_whole(index.id) {
        return Ok(format!("{} is not whole yet", index.name));
    }
    let (lower, upper) = (bound(), bound());
    open.note(expected.def.id, Part::Keys(expected.def.clone(), index.id, lower.clone(), upper.clone()));
    verify::range(&view, expected, index, (lower, upper), reverse)?;
    Ok(format!("read a range of {}", index.name))
}
