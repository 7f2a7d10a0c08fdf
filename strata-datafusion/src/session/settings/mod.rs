//! The parameters of SET and SHOW.
//!
//! A change made in a transaction is undone when that rolls back, to its start or to a savepoint; one made by SET LOCAL also when it commits. What to go
//! back to is kept from the first change on, so that a transaction that changes nothing costs nothing. What a client must
//! hear of (ParameterStatus) is collected until [`Settings::take_changes`].
//!
//! | module | what |
//! |---|---|
//! | `parameters` | the parameters, with their defaults |
//! | `values` | the values that they take |

mod parameters;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use parameters::SERVER_VERSION;
pub(crate) use parameters::descriptions;
use parameters::{PARAMETERS, find};
pub(crate) use values::parse_bool;
use values::{DURATION_UNITS, Kind, parse_units};

use crate::error::{SqlError, SqlResult};

/// The values of one session.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: Vec<Arc<str>>,
    /// What the session started with: RESET goes back to it.
    start: Vec<Arc<str>>,
    custom: BTreeMap<String, Arc<str>>,
    in_transaction: bool,
    /// What the open transaction has changed, if it has.
    saved: Option<Box<Saved>>,
    changes: Vec<(String, String)>,
    generation: u64,
}

/// What a transaction may have to go back to.
#[derive(Clone, Debug)]
struct Saved {
    values: Vec<Arc<str>>,
    custom: BTreeMap<String, Arc<str>>,
    /// What SET LOCAL has changed, and the values before it.
    local: BTreeMap<usize, Arc<str>>,
    local_custom: BTreeMap<String, Option<Arc<str>>>,
}

/// All that a savepoint may have to go back to.
pub(crate) struct SavedSettings {
    values: Vec<Arc<str>>,
    custom: BTreeMap<String, Arc<str>>,
    saved: Option<Box<Saved>>,
}

fn unrecognized(name: &str) -> SqlError {
    SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

impl Settings {
    /// The settings of a session of this user.
    pub(crate) fn new(user: &str) -> Self {
        let mut values: Vec<Arc<str>> = PARAMETERS.iter().map(|parameter| parameter.default.into()).collect();
        if let Some(index) = find("session_authorization") {
            values[index] = user.into();
        }
        Self {
            start: values.clone(),
            values,
            custom: BTreeMap::new(),
            in_transaction: false,
            saved: None,
            changes: Vec::new(),
            generation: 0,
        }
    }

    /// Grows with each change.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The value that SHOW prints.
    pub(crate) fn show(&self, name: &str) -> SqlResult<Arc<str>> {
        match find(name) {
            Some(index) => Ok(Arc::clone(&self.values[index])),
            None => self.custom.get(&name.to_ascii_lowercase()).cloned().ok_or_else(|| unrecognized(name)),
        }
    }

    /// The value of a parameter that is known to exist.
    pub(crate) fn get(&self, name: &str) -> &str {
        find(name).map_or("", |index| &self.values[index])
    }

    /// Milliseconds of a duration parameter.
    pub(crate) fn milliseconds(&self, name: &str) -> u64 {
        parse_units(self.get(name), "ms", DURATION_UNITS)
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or(0)
    }

    /// All parameters: name, value, description.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        PARAMETERS
            .iter()
            .zip(&self.values)
            .map(|(parameter, value)| (parameter.name, &**value, parameter.description))
    }

    /// All parameters by their names in lower case.
    pub(crate) fn by_name(&self) -> BTreeMap<String, String> {
        let custom = self.custom.iter().map(|(name, value)| (name.clone(), value.to_string()));
        let known = PARAMETERS.iter().zip(&self.values);
        known
            .map(|(parameter, value)| (parameter.name.to_ascii_lowercase(), value.to_string()))
            .chain(custom)
            .collect()
    }

    /// What a client is told when it connects.
    pub(crate) fn reported(&self) -> Vec<(String, String)> {
        PARAMETERS
            .iter()
            .zip(&self.values)
            .filter(|(parameter, _)| parameter.reported)
            .map(|(parameter, value)| (parameter.name.to_owned(), value.to_string()))
            .collect()
    }

    /// The reported parameters that changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.changes)
    }

    /// Sets a parameter at the start of a session: RESET comes back to it.
    pub(crate) fn set_start(&mut self, name: &str, value: &str) -> SqlResult<()> {
        self.set(name, Some(value), false)?;
        if let Some(index) = find(name) {
            self.start[index] = Arc::clone(&self.values[index]);
        }
        self.changes.clear();
        Ok(())
    }

    /// SET, or with `None` SET … TO DEFAULT.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> SqlResult<()> {
        let Some(index) = find(name) else { return self.set_custom(name, value, local) };
        let parameter = &PARAMETERS[index];
        let value: Arc<str> = match value {
            Some(value) => parameter.accept(value)?.into(),
            None => Arc::clone(&self.start[index]),
        };
        let before = Arc::clone(&self.values[index]);
        if before == value {
            // Nothing to go back to, but what was local until now stays.
            if !local && let Some(saved) = &mut self.saved {
                saved.local.remove(&index);
            }
            return Ok(());
        }
        match self.keep() {
            Some(saved) if local => drop(saved.local.entry(index).or_insert(before)),
            Some(saved) => drop(saved.local.remove(&index)),
            None => {}
        }
        self.assign(index, value);
        Ok(())
    }

    fn set_custom(&mut self, name: &str, value: Option<&str>, local: bool) -> SqlResult<()> {
        if !name.contains('.') {
            return Err(unrecognized(name));
        }
        let name = name.to_ascii_lowercase();
        let before = self.custom.get(&name).cloned();
        match self.keep() {
            Some(saved) if local => drop(saved.local_custom.entry(name.clone()).or_insert(before)),
            Some(saved) => drop(saved.local_custom.remove(&name)),
            None => {}
        }
        self.generation += 1;
        match value {
            Some(value) => self.custom.insert(name, value.into()),
            None => self.custom.remove(&name),
        };
        Ok(())
    }

    fn assign(&mut self, index: usize, value: Arc<str>) {
        if self.values[index] == value {
            return;
        }
        self.generation += 1;
        let parameter = &PARAMETERS[index];
        if parameter.reported {
            self.changes.retain(|(name, _)| name != parameter.name);
            self.changes.push((parameter.name.to_owned(), value.to_string()));
        }
        self.values[index] = value;
    }

    /// RESET ALL, and part of DISCARD ALL.
    pub(crate) fn reset_all(&mut self) {
        self.keep();
        for (index, parameter) in PARAMETERS.iter().enumerate() {
            if !matches!(parameter.kind, Kind::Fixed) {
                self.assign(index, Arc::clone(&self.start[index]));
            }
        }
        self.custom.clear();
        self.generation += 1;
    }

    /// A transaction begins.
    pub(crate) fn save(&mut self) {
        self.in_transaction = true;
        self.saved = None;
    }

    /// Keeps what the open transaction may have to go back to. Called before each change.
    fn keep(&mut self) -> Option<&mut Saved> {
        if !self.in_transaction {
            return None;
        }
        let saved = self.saved.get_or_insert_with(|| {
            Box::new(Saved {
                values: self.values.clone(),
                custom: self.custom.clone(),
                local: BTreeMap::new(),
                local_custom: BTreeMap::new(),
            })
        });
        Some(saved)
    }

    /// A savepoint is made.
    pub(crate) fn keep_for_savepoint(&self) -> SavedSettings {
        SavedSettings { values: self.values.clone(), custom: self.custom.clone(), saved: self.saved.clone() }
    }

    /// The transaction goes back to a savepoint.
    pub(crate) fn restore(&mut self, savepoint: &SavedSettings) {
        self.go_back(&savepoint.values, &savepoint.custom);
        self.saved.clone_from(&savepoint.saved);
    }

    fn go_back(&mut self, values: &[Arc<str>], custom: &BTreeMap<String, Arc<str>>) {
        for (index, value) in values.iter().enumerate() {
            self.assign(index, Arc::clone(value));
        }
        if self.custom != *custom {
            self.generation += 1;
            self.custom.clone_from(custom);
        }
    }

    /// It ends.
    pub(crate) fn release(&mut self, committed: bool) {
        self.in_transaction = false;
        let Some(saved) = self.saved.take() else { return };
        if committed {
            for (index, value) in saved.local {
                self.assign(index, value);
            }
            for (name, before) in saved.local_custom {
                self.generation += 1;
                match before {
                    Some(value) => self.custom.insert(name, value),
                    None => self.custom.remove(&name),
                };
            }
        } else {
            self.go_back(&saved.values, &saved.custom);
        }
    }
}
