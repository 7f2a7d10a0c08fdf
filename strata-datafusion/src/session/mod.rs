//! A [`Session`] is one connection's state: its transaction, its settings, its prepared statements' plans.
//!
//! It is driven by one task at a time. Only its [`CancelHandle`] is for other threads.

mod abandon;
pub mod cancel;
mod copy;
mod definition;
mod embedded;
pub mod engine;
mod memory;
mod point;
pub mod prepared;
pub(crate) mod query;
pub(crate) mod run;
mod savepoint;
mod set_config;
pub(crate) mod settings;
pub mod storage;
mod transaction;
pub mod types;
mod utility;
mod yielding;

use std::sync::Arc;

pub use cancel::CancelHandle;
pub use engine::{Engine, EngineOptions};
pub use prepared::Prepared;
use transaction::{Failed, Open, State};
pub use types::{
    CopyFormat, CopyOut, Outcome, Parameter, ResultField, RowStream, RowsTag, TransactionStatus,
};

use crate::error::{SqlError, SqlResult};
use crate::postgres::types::{PgType, oid};
pub use crate::sql::parse::Statement;
use crate::sql::{ddl, dml, explain};
use prepared::result_field;
pub(crate) use settings::SERVER_VERSION;
use settings::Settings;
use storage::Isolation;
pub(crate) use utility::text_rows;

/// Who connects, and to what.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The user's name.
    pub user: String,
    /// The database asked for.
    pub database: String,
    /// The client program.
    pub application_name: String,
    /// Other startup parameters.
    pub parameters: Vec<(String, String)>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            user: "strata".to_owned(),
            database: crate::sql::names::DATABASE.to_owned(),
            application_name: String::new(),
            parameters: Vec::new(),
        }
    }
}

/// One connection.
pub struct Session {
    engine: Arc<Engine>,
    user: String,
    backend: u32,
    settings: Settings,
    state: State,
    cancel: CancelHandle,
    notices: Vec<SqlError>,
    config: query::CachedConfig,
    /// A COPY … FROM STDIN that waits for its data.
    copying: Option<crate::sql::copy::CopyIn>,
    point: point::PointState,
    /// The serial number of the last savepoint.
    last_savepoint: u64,
    /// See [`take_undone`](Self::take_undone).
    undone: Option<u64>,
}

impl Session {
    /// A session of this engine. Startup parameters that are unknown or wrong become notices.
    pub fn new(engine: Arc<Engine>, options: SessionOptions) -> Self {
        let mut settings = Settings::new(&options.user);
        let mut notices = Vec::new();
        let named = ("application_name".to_owned(), options.application_name);
        for (name, value) in std::iter::once(named).chain(options.parameters) {
            if let Err(error) = settings.set_start(&name, &value) {
                notices.push(error);
            }
        }
        let backend = engine.next_backend();
        Self {
            engine,
            user: options.user,
            backend,
            settings,
            state: State::Idle,
            cancel: CancelHandle::default(),
            notices,
            config: query::CachedConfig::default(),
            copying: None,
            point: point::PointState::default(),
            last_savepoint: 0,
            undone: None,
        }
    }

    /// Parses a query string.
    pub fn parse(&self, sql: &str) -> SqlResult<Vec<Statement>> {
        crate::sql::parse::parse(sql)
    }

    /// Plans a statement. `parameter_oids` are the types that the client gave, 0 for what it left open; the result
    /// has them all.
    pub async fn prepare(&mut self, statement: &Statement, parameter_oids: &[u32]) -> SqlResult<Prepared> {
        if utility::ends_block(statement.ast()) {
            return Ok(Prepared::new(statement.clone(), Vec::new(), None, None));
        }
        self.state.check()?;
        if let Some(fields) = utility::describe(statement.ast())? {
            return Ok(Prepared::new(statement.clone(), Vec::new(), fields, None));
        }
        if ddl::is_ddl(statement.ast()) {
            return Ok(Prepared::new(statement.clone(), Vec::new(), None, None));
        }
        if explain::is_explain(statement.ast()) {
            let column = result_field(explain::COLUMN, PgType::new(oid::TEXT));
            return Ok(Prepared::new(
                statement.clone(),
                parameter_oids.to_vec(),
                Some([column].into()),
                None,
            ));
        }
        if crate::sql::copy::is_copy(statement.ast()) {
            return Ok(Prepared::new(statement.clone(), Vec::new(), None, None));
        }
        if let Some(set) = set_config::read(statement.ast())? {
            return Ok(set.prepare(statement, parameter_oids));
        }
        if dml::is_dml(statement.ast()) {
            return self.prepare_dml(statement, parameter_oids);
        }
        self.prepare_query(statement, parameter_oids)
    }

    /// Runs a prepared statement. It joins the open transaction, or opens an implicit one that
    /// [`finish_implicit`](Self::finish_implicit) ends.
    pub async fn execute(&mut self, prepared: &Prepared, parameters: &[Parameter<'_>]) -> SqlResult<Outcome> {
        if parameters.len() != prepared.parameter_oids().len() {
            return Err(SqlError::new(
                "08P01",
                format!(
                    "bind message supplies {} parameters, but the prepared statement requires {}",
                    parameters.len(),
                    prepared.parameter_oids().len()
                ),
            ));
        }
        match self.execute_point(prepared, parameters).await? {
            Some(outcome) => Ok(outcome),
            None => self.execute_ordinary(prepared, parameters).await,
        }
    }

    async fn execute_ordinary(
        &mut self,
        prepared: &Prepared,
        parameters: &[Parameter<'_>],
    ) -> SqlResult<Outcome> {
        let limits = self.limits();
        if let Some(outcome) = self.execute_utility(prepared.statement().ast(), &limits).await? {
            return Ok(outcome);
        }
        self.state.check()?;
        if ddl::is_ddl(prepared.statement().ast()) {
            return ddl::execute(self, prepared.statement(), &limits).await;
        }
        if explain::is_explain(prepared.statement().ast()) {
            return explain::execute(self, prepared, parameters, limits).await;
        }
        if crate::sql::copy::is_copy(prepared.statement().ast()) {
            return crate::sql::copy::execute(self, prepared.statement(), limits).await;
        }
        if let Some(set) = set_config::read(prepared.statement().ast())? {
            return self.set_config(&set, prepared, parameters);
        }
        if dml::is_dml(prepared.statement().ast()) {
            return dml::execute(self, prepared, parameters, limits).await;
        }
        self.execute_query(prepared, parameters, limits).await
    }

    /// Plans and runs a statement without parameters. What comes again goes through
    /// [`execute_text`](Self::execute_text).
    pub async fn execute_statement(&mut self, statement: &Statement) -> SqlResult<Outcome> {
        let prepared = self.prepare(statement, &[]).await?;
        if !prepared.parameter_oids().is_empty() {
            return Err(SqlError::new("42P02", "there is no parameter $1"));
        }
        self.execute_ordinary(&prepared, &[]).await
    }

    /// At Sync, and after the last statement of a simple query: commits what is implicit, durably.
    pub async fn finish_implicit(&mut self) -> SqlResult<()> {
        match self.state.take() {
            State::Implicit(open) => {
                let result = open.storage.commit().await;
                self.settings.release(result.is_ok());
                result
            }
            other => {
                self.state = other;
                Ok(())
            }
        }
    }

    /// After any error: rolls the implicit transaction back, or marks the block failed, which keeps what there was at its last
    /// savepoint.
    pub async fn fail(&mut self) {
        self.copying = None;
        self.state = match self.state.take() {
            State::Implicit(open) => {
                open.storage.rollback();
                self.settings.release(false);
                self.note_undone(0);
                State::Idle
            }
            State::Block(mut open) => {
                let modes = (open.isolation, open.read_only);
                if self.undo_to_last_savepoint(&mut open) {
                    State::Failed(Failed { open: Some(open), modes })
                } else {
                    open.storage.rollback();
                    self.note_undone(0);
                    State::Failed(Failed { open: None, modes })
                }
            }
            other => other,
        };
    }

    /// Where the connection stands.
    pub fn status(&self) -> TransactionStatus {
        self.state.status()
    }

    /// An error where the block has failed.
    pub fn check_block(&self) -> SqlResult<()> {
        self.state.check()
    }

    /// What cancels this session's statements. A request holds until [`CancelHandle::reset`], which whoever drives the
    /// session calls when a command begins.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// A number of this session that no other one of the engine has.
    pub fn backend_id(&self) -> u32 {
        self.backend
    }

    /// Reported parameters that changed since the last call.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        self.settings.take_changes()
    }

    /// Notices and warnings since the last call.
    pub fn take_notices(&mut self) -> Vec<SqlError> {
        std::mem::take(&mut self.notices)
    }

    /// What a client is told when it connects.
    pub fn startup_parameters(&self) -> Vec<(String, String)> {
        self.settings.reported()
    }

    /// The open transaction; an implicit one is begun if there is none.
    fn transaction(&mut self) -> SqlResult<&mut Open> {
        self.state.check()?;
        if matches!(self.state, State::Idle) {
            let (isolation, read_only) = self.known_modes();
            let open = Open::begin(&self.engine.database, isolation, read_only)?;
            self.settings.save();
            self.state = State::Implicit(open);
        }
        self.state.open().ok_or_else(|| SqlError::internal("no transaction is open"))
    }

    fn default_modes(&self) -> (Isolation, bool) {
        let isolation = match self.settings.get("default_transaction_isolation") {
            "repeatable read" => Isolation::RepeatableRead,
            "serializable" => Isolation::Serializable,
            _ => Isolation::ReadCommitted,
        };
        (isolation, self.settings.get("default_transaction_read_only") == "on")
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
