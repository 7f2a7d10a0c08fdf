//! SAVEPOINT, ROLLBACK TO and RELEASE, as PostgreSQL has them.
//!
//! A block holds its savepoints in a stack; a name stands for the last one that bears it. ROLLBACK TO keeps the savepoint and drops those
//! above it, RELEASE drops it too. An error undoes at once what was done since the last savepoint, so that its locks and memory do not
//! wait for the client, and leaves the block failed until a ROLLBACK TO.
//!
//! Settings are restored with the data. Whether the transaction may write is a matter of the level: RELEASE restores it too.
//!
//! Each savepoint has a serial number that no other one of the session has. Portals are made at the serial of the last savepoint
//! ([`Session::savepoint_serial`]); what is undone takes with it those from a serial on ([`Session::take_undone`]).

use strata_core::table;

use super::Session;
use super::settings::SavedSettings;
use super::transaction::{Open, State};
use crate::error::{SqlError, SqlResult};

/// A savepoint of a transaction block.
pub(crate) struct Savepoint {
    name: String,
    serial: u64,
    storage: table::Savepoint,
    settings: SavedSettings,
    read_only: bool,
}

impl Open {
    /// The last savepoint of this name.
    fn find_savepoint(&self, name: &str) -> SqlResult<usize> {
        let place = self.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        place.ok_or_else(|| undefined(name))
    }

    /// Undoes what was done since a savepoint, which stays; those above it go.
    fn undo_to(&mut self, place: usize) -> SqlResult<&Savepoint> {
        self.savepoints.truncate(place + 1);
        let savepoint = self.savepoints.last().ok_or_else(|| SqlError::internal("there is no savepoint"))?;
        self.storage.inner().rollback_to(&savepoint.storage)?;
        self.read_only = savepoint.read_only;
        Ok(savepoint)
    }
}

impl Session {
    /// The last savepoint's number; what is made now is undone with it. 0 where there is none.
    pub fn savepoint_serial(&self) -> u64 {
        let open = match &self.state {
            State::Implicit(open) | State::Block(open) => Some(open),
            State::Failed(failed) => failed.open.as_ref(),
            State::Idle => None,
        };
        open.and_then(|open| open.savepoints.last()).map_or(0, |savepoint| savepoint.serial)
    }

    /// Where something was undone or ended since the last call: the lowest [serial](Self::savepoint_serial) of what went with it.
    pub fn take_undone(&mut self) -> Option<u64> {
        self.undone.take()
    }

    /// Portals from a serial on are gone.
    pub(super) fn note_undone(&mut self, serial: u64) {
        self.undone = Some(self.undone.map_or(serial, |before| before.min(serial)));
    }

    pub(super) fn savepoint(&mut self, name: String) -> SqlResult<()> {
        let State::Block(open) = &mut self.state else { return Err(outside_block("SAVEPOINT")) };
        self.last_savepoint += 1;
        open.savepoints.push(Savepoint {
            name,
            serial: self.last_savepoint,
            storage: open.storage.inner().savepoint(),
            settings: self.settings.keep_for_savepoint(),
            read_only: open.read_only,
        });
        Ok(())
    }

    pub(super) fn release_savepoint(&mut self, name: &str) -> SqlResult<()> {
        let State::Block(open) = &mut self.state else { return Err(outside_block("RELEASE SAVEPOINT")) };
        let place = open.find_savepoint(name)?;
        let read_only = open.savepoints[place].read_only;
        open.savepoints.truncate(place);
        if open.read_only != read_only {
            open.read_only = read_only;
            let (isolation, read_only) = (open.isolation, open.read_only);
            self.show_modes(isolation, read_only)?;
        }
        Ok(())
    }

    /// ROLLBACK TO: what the block was at the savepoint, and usable again where it had failed.
    pub(super) fn rollback_to_savepoint(&mut self, name: &str) -> SqlResult<()> {
        let open = match &mut self.state {
            State::Block(open) => open,
            State::Failed(failed) => failed.open.as_mut().ok_or_else(|| undefined(name))?,
            State::Idle | State::Implicit(_) => return Err(outside_block("ROLLBACK TO SAVEPOINT")),
        };
        let place = open.find_savepoint(name)?;
        let savepoint = open.undo_to(place)?;
        self.settings.restore(&savepoint.settings);
        let serial = savepoint.serial;
        self.note_undone(serial);
        self.state.mend();
        Ok(())
    }

    /// An error in a block: undoes what was done since the last savepoint. `false` where there is none, or that fails.
    pub(super) fn undo_to_last_savepoint(&mut self, open: &mut Open) -> bool {
        let Some(last) = open.savepoints.len().checked_sub(1) else { return false };
        match open.undo_to(last) {
            Ok(savepoint) => {
                self.settings.restore(&savepoint.settings);
                let serial = savepoint.serial;
                self.note_undone(serial);
                true
            }
            Err(error) => {
                tracing::error!(%error, "cannot go back to a savepoint");
                false
            }
        }
    }
}

fn undefined(name: &str) -> SqlError {
    SqlError::new("3B001", format!("savepoint \"{name}\" does not exist"))
}

fn outside_block(command: &str) -> SqlError {
    SqlError::new("25P01", format!("{command} can only be used in transaction blocks"))
}
