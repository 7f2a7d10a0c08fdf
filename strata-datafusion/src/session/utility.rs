//! Statements that no plan is needed for: transaction control, SET and SHOW.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::sql::sqlparser::ast::{
    self, ContextModifier, DiscardObject, Expr, Ident, Set, Statement as Ast, TransactionAccessMode,
    TransactionIsolationLevel, TransactionMode, UnaryOperator, Value,
};
use futures::StreamExt;

use super::Session;
use super::prepared::result_field;
use super::run::Limits;
use super::storage::Isolation;
use super::transaction::{Open, State};
use super::types::{Outcome, ResultField, RowStream, RowsTag};
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::{PgType, oid};

/// Whether a statement is accepted in a failed block.
pub(super) fn ends_block(statement: &Ast) -> bool {
    matches!(statement, Ast::Commit { .. } | Ast::Rollback { .. })
}

/// The result columns of a utility statement (`Some(None)`: none); `None` if it is no utility statement.
pub(super) fn describe(statement: &Ast) -> SqlResult<Option<Option<Arc<[ResultField]>>>> {
    let text = |name: &str| result_field(name, PgType::new(oid::TEXT));
    Ok(match statement {
        Ast::ShowVariable { variable } => Some(Some(match show_name(variable).as_str() {
            "all" => ["name", "setting", "description"].map(text).into(),
            name => [text(shown_as(name))].into(),
        })),
        Ast::StartTransaction { .. }
        | Ast::Commit { .. }
        | Ast::Rollback { .. }
        | Ast::Savepoint { .. }
        | Ast::ReleaseSavepoint { .. }
        | Ast::Set(_)
        | Ast::Reset(_)
        | Ast::Discard { .. } => Some(None),
        _ => None,
    })
}

fn show_name(variable: &[Ident]) -> String {
    let words: Vec<String> = variable.iter().map(|word| word.value.to_ascii_lowercase()).collect();
    match words.join(" ").as_str() {
        "time zone" => "timezone".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "session authorization" => "session_authorization".to_owned(),
        _ => words.join("."),
    }
}

/// SHOW names its column as the parameter is defined.
fn shown_as(name: &str) -> &str {
    match name {
        "timezone" => "TimeZone",
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        other => other,
    }
}

impl Session {
    /// Runs a utility statement; `None` if it is another kind.
    pub(super) async fn execute_utility(
        &mut self,
        statement: &Ast,
        limits: &Limits,
    ) -> SqlResult<Option<Outcome>> {
        if !ends_block(statement) {
            self.state.check()?;
        }
        let command = |tag: &str| Ok(Some(Outcome::Command(tag.to_owned())));
        match statement {
            Ast::StartTransaction { modes, begin, .. } => {
                self.begin(modes)?;
                command(if *begin { "BEGIN" } else { "START TRANSACTION" })
            }
            Ast::Commit { chain, .. } => {
                let tag = self.commit(*chain, limits).await?;
                command(tag)
            }
            Ast::Rollback { chain, savepoint: None } => {
                self.rollback(*chain)?;
                command("ROLLBACK")
            }
            Ast::Rollback { chain: true, savepoint: Some(_) } => {
                Err(SqlError::syntax("syntax error at or near \"TO\""))
            }
            Ast::Rollback { chain: false, savepoint: Some(name) } => {
                self.rollback_to_savepoint(&crate::sql::names::fold(name))?;
                command("ROLLBACK")
            }
            Ast::Savepoint { name } => {
                self.savepoint(crate::sql::names::fold(name))?;
                command("SAVEPOINT")
            }
            Ast::ReleaseSavepoint { name } => {
                self.release_savepoint(&crate::sql::names::fold(name))?;
                command("RELEASE")
            }
            Ast::Set(set) => {
                self.set(set)?;
                command("SET")
            }
            Ast::Reset(reset) => {
                self.reset(reset)?;
                command("RESET")
            }
            Ast::Discard { object_type } => {
                let tag = self.discard(object_type)?;
                command(tag)
            }
            Ast::ShowVariable { variable } => self.show(variable).map(Some),
            _ => Ok(None),
        }
    }

    fn warn(&mut self, sqlstate: &'static str, message: &str) {
        self.notices.push(SqlError::new(sqlstate, message));
    }

    fn begin(&mut self, modes: &[TransactionMode]) -> SqlResult<()> {
        if matches!(self.state, State::Block(_)) {
            self.warn("25001", "there is already a transaction in progress");
            return Ok(());
        }
        let (isolation, read_only) = read_modes(modes, self.default_modes())?;
        let database = self.engine.database.clone();
        // Statements before BEGIN in one query string belong to the block, as in Postgres.
        let open = match self.state.take() {
            State::Implicit(mut open) => {
                let changed = open.set_modes(&database, isolation, read_only);
                self.state = State::Implicit(open);
                changed?;
                match self.state.take() {
                    State::Implicit(open) => open,
                    _ => return Err(SqlError::internal("no transaction is open")),
                }
            }
            _ => {
                self.settings.save();
                Open::begin(&database, isolation, read_only)?
            }
        };
        self.state = State::Block(open);
        self.show_modes(isolation, read_only)
    }

    /// Keeps what SHOW says about the transaction true.
    pub(super) fn show_modes(&mut self, isolation: Isolation, read_only: bool) -> SqlResult<()> {
        self.settings.set("transaction_isolation", Some(isolation.name()), true)?;
        self.settings.set("transaction_read_only", Some(if read_only { "on" } else { "off" }), true)
    }

    async fn commit(&mut self, chain: bool, limits: &Limits) -> SqlResult<&'static str> {
        match self.state.take() {
            State::Block(open) => {
                let modes = (open.isolation, open.read_only);
                // Not raced against the limits: a commit that has begun cannot be taken back.
                let _ = limits;
                let result = open.storage.commit().await;
                self.settings.release(result.is_ok());
                self.note_undone(0);
                result?;
                self.chain(chain, modes)?;
                Ok("COMMIT")
            }
            State::Failed(failed) => {
                self.settings.release(false);
                self.note_undone(0);
                self.chain(chain, failed.modes)?;
                Ok("ROLLBACK")
            }
            State::Implicit(open) => {
                self.warn("25P01", "there is no transaction in progress");
                let result = open.storage.commit().await;
                self.settings.release(result.is_ok());
                result?;
                Ok("COMMIT")
            }
            State::Idle => {
                self.warn("25P01", "there is no transaction in progress");
                Ok("COMMIT")
            }
        }
    }

    fn rollback(&mut self, chain: bool) -> SqlResult<()> {
        let modes = match self.state.take() {
            State::Block(open) => {
                let modes = (open.isolation, open.read_only);
                open.storage.rollback();
                modes
            }
            State::Failed(failed) => failed.modes,
            State::Implicit(open) => {
                self.warn("25P01", "there is no transaction in progress");
                open.storage.rollback();
                self.settings.release(false);
                return Ok(());
            }
            State::Idle => {
                self.warn("25P01", "there is no transaction in progress");
                return Ok(());
            }
        };
        self.settings.release(false);
        self.note_undone(0);
        self.chain(chain, modes)
    }

    fn chain(&mut self, chain: bool, (isolation, read_only): (Isolation, bool)) -> SqlResult<()> {
        if !chain {
            return Ok(());
        }
        self.settings.save();
        self.state = State::Block(Open::begin(&self.engine.database, isolation, read_only)?);
        self.show_modes(isolation, read_only)
    }

    fn set(&mut self, set: &Set) -> SqlResult<()> {
        match set {
            Set::SingleAssignment { scope, variable, values, .. } => {
                let name = crate::sql::names::parts(variable)?.join(".");
                let local = self.is_local(scope.as_ref());
                self.assign(&name, values, local)
            }
            Set::SetTimeZone { local, value } => {
                let local = self.is_local(local.then_some(&ContextModifier::Local));
                self.assign("TimeZone", std::slice::from_ref(value), local)
            }
            Set::SetNames { charset_name, .. } => {
                self.transaction()?;
                self.settings.set("client_encoding", Some(&charset_name.value), false)
            }
            Set::SetNamesDefault {} => {
                self.transaction()?;
                self.settings.set("client_encoding", None, false)
            }
            Set::SetTransaction { modes, snapshot: None, session: true } => {
                let (isolation, read_only) = read_modes(modes, self.default_modes())?;
                self.transaction()?;
                self.settings.set("default_transaction_isolation", Some(isolation.name()), false)?;
                let read_only = if read_only { "on" } else { "off" };
                self.settings.set("default_transaction_read_only", Some(read_only), false)
            }
            Set::SetTransaction { modes, snapshot: None, session: false } => self.set_transaction(modes),
            Set::SetRole { role_name: None, .. } => Ok(()),
            Set::SetRole { role_name: Some(role), .. } if role.value == self.user => Ok(()),
            Set::SetSessionAuthorization(ast::SetSessionAuthorizationParam {
                kind: ast::SetSessionAuthorizationParamKind::Default,
                ..
            }) => Ok(()),
            other => Err(SqlError::unsupported(format!("{other} is not supported"))),
        }
    }

    /// Whether a SET is for the transaction only; outside a block that has no effect, as Postgres warns.
    fn is_local(&mut self, scope: Option<&ContextModifier>) -> bool {
        let local = matches!(scope, Some(ContextModifier::Local));
        if local && !matches!(self.state, State::Block(_)) {
            self.warn("25P01", "SET LOCAL can only be used in transaction blocks");
        }
        local
    }

    fn assign(&mut self, name: &str, values: &[Expr], local: bool) -> SqlResult<()> {
        let value = set_value(name, values)?;
        self.set_text(name, value.as_deref(), local)
    }

    /// Sets a parameter to a text, or to its default.
    pub(super) fn set_text(&mut self, name: &str, value: Option<&str>, local: bool) -> SqlResult<()> {
        let is_mode = matches!(name, "transaction_isolation" | "transaction_read_only");
        self.transaction()?;
        if is_mode {
            let read_only = settings_bool(value);
            let mode = match (name, value.map(str::to_ascii_lowercase).as_deref()) {
                ("transaction_read_only", _) => TransactionMode::AccessMode(if read_only {
                    TransactionAccessMode::ReadOnly
                } else {
                    TransactionAccessMode::ReadWrite
                }),
                (_, Some("repeatable read")) => {
                    TransactionMode::IsolationLevel(TransactionIsolationLevel::RepeatableRead)
                }
                (_, Some("serializable")) => {
                    TransactionMode::IsolationLevel(TransactionIsolationLevel::Serializable)
                }
                _ => TransactionMode::IsolationLevel(TransactionIsolationLevel::ReadCommitted),
            };
            return self.set_transaction(&[mode]);
        }
        self.settings.set(name, value, local)
    }

    fn set_transaction(&mut self, modes: &[TransactionMode]) -> SqlResult<()> {
        let database = self.engine.database.clone();
        let State::Block(open) = &mut self.state else {
            read_modes(modes, (Isolation::ReadCommitted, false))?;
            self.warn("25P01", "SET TRANSACTION can only be used in transaction blocks");
            return Ok(());
        };
        let (isolation, read_only) = read_modes(modes, (open.isolation, open.read_only))?;
        open.set_modes(&database, isolation, read_only)?;
        self.show_modes(isolation, read_only)
    }

    fn reset(&mut self, reset: &ast::ResetStatement) -> SqlResult<()> {
        self.transaction()?;
        match &reset.reset {
            ast::Reset::ALL => self.settings.reset_all(),
            ast::Reset::ConfigurationParameter(name) => {
                let name = crate::sql::names::parts(name)?.join(".");
                self.settings.set(&name, None, false)?;
            }
        }
        Ok(())
    }

    fn discard(&mut self, object: &DiscardObject) -> SqlResult<&'static str> {
        Ok(match object {
            DiscardObject::ALL => {
                if matches!(self.state, State::Block(_)) {
                    return Err(SqlError::new("25001", "DISCARD ALL cannot run inside a transaction block"));
                }
                self.settings.reset_all();
                "DISCARD ALL"
            }
            DiscardObject::PLANS => "DISCARD PLANS",
            DiscardObject::SEQUENCES => "DISCARD SEQUENCES",
            DiscardObject::TEMP => "DISCARD TEMP",
        })
    }

    fn show(&mut self, variable: &[Ident]) -> SqlResult<Outcome> {
        let name = show_name(variable);
        let columns: Vec<(&str, Vec<String>)> = if name == "all" {
            let mut columns =
                vec![("name", Vec::new()), ("setting", Vec::new()), ("description", Vec::new())];
            for (name, value, description) in self.settings.all() {
                for (column, text) in columns.iter_mut().zip([name, value, description]) {
                    column.1.push(text.to_owned());
                }
            }
            columns
        } else {
            vec![(shown_as(&name), vec![self.settings.show(&name)?.to_string()])]
        };
        text_rows(&columns, "SHOW")
    }
}

/// Rows of text columns that are there already.
pub(crate) fn text_rows(columns: &[(&str, Vec<String>)], tag: &str) -> SqlResult<Outcome> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8View, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays =
        columns.iter().map(|(_, values)| Arc::new(StringViewArray::from_iter_values(values)) as ArrayRef);
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect())
        .map_err(|error| SqlError::internal(error.to_string()))?;
    Ok(Outcome::Rows(RowStream {
        fields: columns.iter().map(|(name, _)| result_field(name, PgType::new(oid::TEXT))).collect(),
        schema,
        batches: futures::stream::iter([Ok(batch)]).boxed(),
        tag: RowsTag::Fixed(tag.to_owned()),
        time_zone: "UTC".into(),
    }))
}

fn settings_bool(value: Option<&str>) -> bool {
    value.and_then(super::settings::parse_bool).unwrap_or(false)
}

/// The modes that BEGIN and SET TRANSACTION name, the others as they are.
fn read_modes(modes: &[TransactionMode], current: (Isolation, bool)) -> SqlResult<(Isolation, bool)> {
    let (mut isolation, mut read_only) = current;
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(access) => {
                read_only = matches!(access, TransactionAccessMode::ReadOnly);
            }
            TransactionMode::IsolationLevel(level) => {
                isolation = match level {
                    TransactionIsolationLevel::ReadUncommitted | TransactionIsolationLevel::ReadCommitted => {
                        Isolation::ReadCommitted
                    }
                    TransactionIsolationLevel::RepeatableRead => Isolation::RepeatableRead,
                    TransactionIsolationLevel::Serializable => Isolation::Serializable,
                    TransactionIsolationLevel::Snapshot => {
                        return Err(SqlError::unsupported("SNAPSHOT transactions are not supported")
                            .with_hint("REPEATABLE READ is what other systems call so."));
                    }
                };
            }
        }
    }
    Ok((isolation, read_only))
}

/// The value on the right of SET, `None` for DEFAULT. Lists are joined as search_path wants them.
fn set_value(name: &str, values: &[Expr]) -> SqlResult<Option<String>> {
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        match text_of_value(value)? {
            None if values.len() == 1 => return Ok(None),
            None => return Err(SqlError::syntax("syntax error at or near \"default\"")),
            Some(text) => texts.push(text),
        }
    }
    if name.eq_ignore_ascii_case("search_path") {
        for text in &mut texts {
            let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            // SET search_path = 'a, b' is one schema with an odd name in Postgres; '' is none at all.
            if !plain || text.is_empty() {
                *text = format!("\"{}\"", text.replace('"', "\"\""));
            }
        }
    }
    Ok(Some(texts.join(", ")))
}

fn text_of_value(value: &Expr) -> SqlResult<Option<String>> {
    Ok(Some(match value {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.clone(),
            Value::Boolean(value) => value.to_string(),
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text.clone(),
            Value::DollarQuotedString(text) => text.value.clone(),
            other => return Err(SqlError::syntax(format!("syntax error at or near \"{other}\""))),
        },
        Expr::Identifier(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default") =>
        {
            return Ok(None);
        }
        Expr::Identifier(word) => crate::sql::names::fold(word),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match text_of_value(expr)? {
            Some(text) => format!("-{text}"),
            None => return Ok(None),
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => return text_of_value(expr),
        Expr::Interval(interval) => return text_of_value(&interval.value),
        other => return Err(SqlError::syntax(format!("syntax error at or near \"{other}\""))),
    }))
}
