//! The prepared statements and portals of a connection, by name. The unnamed ones have the empty name.

use std::collections::HashMap;

use bytes::Bytes;
use strata_datafusion::error::SqlError;
use strata_datafusion::session::{Parameter, Prepared};

use super::rows::Rows;
use crate::backend::format_of;
use crate::frontend::{Bind, Format};

/// Prepared statements; `None` stands for an empty query string.
#[derive(Default)]
pub struct Statements {
    by_name: HashMap<Box<str>, Option<Prepared>>,
}

impl Statements {
    /// Whether the name can be given to a new statement.
    pub fn check_free(&self, name: &str) -> Result<(), SqlError> {
        if !name.is_empty() && self.by_name.contains_key(name) {
            return Err(SqlError::new("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        Ok(())
    }

    /// Names a statement; the unnamed one is replaced.
    pub fn insert(&mut self, name: &str, statement: Option<Prepared>) {
        match self.by_name.get_mut(name) {
            Some(slot) => *slot = statement,
            None => {
                self.by_name.insert(name.into(), statement);
            }
        }
    }

    /// The statement of this name.
    pub fn get(&self, name: &str) -> Result<Option<&Prepared>, SqlError> {
        match self.by_name.get(name) {
            Some(statement) => Ok(statement.as_ref()),
            None if name.is_empty() => {
                Err(SqlError::new("26000", "unnamed prepared statement does not exist"))
            }
            None => Err(SqlError::new("26000", format!("prepared statement \"{name}\" does not exist"))),
        }
    }

    /// Forgets the statement of this name, if there is one.
    pub fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_name.clear();
    }
}

/// A statement with its parameters.
pub struct Portal {
    /// What it runs; `None` for an empty query string.
    pub statement: Option<Prepared>,
    parameter_formats: Vec<Format>,
    parameters: Vec<Option<Bytes>>,
    /// The formats of its columns.
    pub result_formats: Vec<Format>,
    /// How far it has run.
    pub state: PortalState,
    /// The savepoint it was made after: it goes with that.
    savepoint: u64,
}

/// How far a portal has run.
pub enum PortalState {
    /// Not at all.
    New,
    /// Some of its rows are sent.
    Suspended(Box<Rows>),
    /// To its end; whether it gave rows.
    Finished {
        /// Then running it again gives none; otherwise that is an error.
        rows: bool,
    },
}

impl Portal {
    /// A portal that has not run.
    pub fn new(statement: Option<Prepared>, bind: Bind, savepoint: u64) -> Self {
        let Bind { parameter_formats, parameters, result_formats, .. } = bind;
        let state = PortalState::New;
        Self { statement, parameter_formats, parameters, result_formats, state, savepoint }
    }

    /// Whether it goes with what was undone from this savepoint on.
    pub fn is_undone(&self, savepoint: u64) -> bool {
        self.savepoint >= savepoint
    }

    /// Its parameters.
    pub fn parameters(&self) -> Vec<Parameter<'_>> {
        self.parameters
            .iter()
            .enumerate()
            .map(|(index, value)| Parameter {
                binary: format_of(&self.parameter_formats, index) == Format::Binary,
                value: value.as_deref(),
            })
            .collect()
    }
}

/// The portals of the transaction.
#[derive(Default)]
pub struct Portals {
    by_name: HashMap<Box<str>, Portal>,
}

impl Portals {
    /// Names a portal; the unnamed one is replaced.
    pub fn insert(&mut self, name: &str, portal: Portal) -> Result<(), SqlError> {
        match self.by_name.get_mut(name) {
            Some(_) if !name.is_empty() => {
                Err(SqlError::new("42P03", format!("cursor \"{name}\" already exists")))
            }
            Some(slot) => {
                *slot = portal;
                Ok(())
            }
            None => {
                self.by_name.insert(name.into(), portal);
                Ok(())
            }
        }
    }

    /// The portal of this name.
    pub fn get(&self, name: &str) -> Result<&Portal, SqlError> {
        self.by_name.get(name).ok_or_else(|| missing(name))
    }

    /// The portal of this name, out of the set: put it back once it has run.
    pub fn take(&mut self, name: &str) -> Result<Portal, SqlError> {
        self.by_name.remove(name).ok_or_else(|| missing(name))
    }

    /// Forgets the portal of this name, if there is one.
    pub fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Forgets those that go with what was undone from this savepoint on.
    pub fn forget_undone(&mut self, savepoint: u64) {
        self.by_name.retain(|_, portal| !portal.is_undone(savepoint));
    }

    /// Forgets all: their transaction has ended.
    pub fn clear(&mut self) {
        self.by_name.clear();
    }
}

fn missing(name: &str) -> SqlError {
    SqlError::new("34000", format!("portal \"{name}\" does not exist"))
}
