//! The extended protocol. Each message writes its answer into the buffer; Sync sends it.

use strata_datafusion::error::SqlError;
use strata_datafusion::session::{Outcome, TransactionStatus};
use tokio::io::{AsyncRead, AsyncWrite};

use super::portals::{Portal, PortalState};
use super::rows::{Rows, Stop};
use super::{Connection, Failure};
use crate::backend::{self, format_of};
use crate::frontend::{Bind, Format, Target};
use crate::wire::Ended;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) async fn parse(&mut self, name: &str, query: &str, oids: &[u32]) -> Result<(), Failure> {
        self.statements.check_free(name)?;
        let statements = self.session.parse(query)?;
        let prepared = match statements.as_slice() {
            [] => None,
            [statement] => Some(self.wire.watch(&self.cancel, self.session.prepare(statement, oids)).await??),
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(SqlError::syntax(message).into());
            }
        };
        self.statements.insert(name, prepared);
        backend::parse_complete(&mut self.wire.output);
        Ok(())
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let name = bind.statement.as_str();
        let statement = self.statements.get(name)?.cloned();
        let (parameters, columns) = match &statement {
            Some(prepared) => {
                (prepared.parameter_oids().len(), prepared.fields().map_or(0, |fields| fields.len()))
            }
            None => (0, 0),
        };
        let given = bind.parameters.len();
        if given != parameters {
            let message = format!(
                "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {parameters}"
            );
            return Err(SqlError::new("08P01", message).into());
        }
        let formats = bind.result_formats.len();
        if formats > 1 && formats != columns {
            let message =
                format!("bind message has {formats} result formats but query has {columns} columns");
            return Err(SqlError::new("08P01", message).into());
        }
        let portal = bind.portal.clone();
        self.portals
            .insert(portal.as_str(), Portal::new(statement, bind, self.session.savepoint_serial()))?;
        backend::bind_complete(&mut self.wire.output);
        Ok(())
    }

    pub(super) fn describe(&mut self, target: &Target) -> Result<(), Failure> {
        let out = &mut self.wire.output;
        let (statement, formats) = match target {
            Target::Statement(name) => {
                let statement = self.statements.get(name.as_str())?;
                backend::parameter_description(
                    out,
                    statement.map_or(&[], |prepared| prepared.parameter_oids()),
                );
                (statement, [].as_slice())
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name.as_str())?;
                (portal.statement.as_ref(), portal.result_formats.as_slice())
            }
        };
        match statement.and_then(|prepared| prepared.fields()) {
            Some(fields) => backend::row_description(out, fields, formats),
            None => backend::no_data(out),
        }
        Ok(())
    }

    pub(super) async fn execute(&mut self, name: &str, max_rows: usize) -> Result<(), Failure> {
        let mut portal = self.portals.take(name)?;
        let resumes = matches!(portal.state, PortalState::Suspended(_));
        if resumes && self.session.status() == TransactionStatus::Failed {
            self.portals.insert(name, portal)?;
            self.session.check_block()?;
            return Ok(());
        }
        self.run_portal(name, &mut portal, max_rows).await?;
        // COMMIT and ROLLBACK end the portals of their transaction, ROLLBACK TO those made since, themselves included.
        let undone = self.forget_undone();
        if undone.is_none_or(|savepoint| !portal.is_undone(savepoint)) {
            self.portals.insert(name, portal)?;
        }
        Ok(())
    }

    async fn run_portal(&mut self, name: &str, portal: &mut Portal, max_rows: usize) -> Result<(), Failure> {
        let rows = match std::mem::replace(&mut portal.state, PortalState::Finished { rows: false }) {
            PortalState::New => self.start_portal(portal, max_rows).await?,
            PortalState::Suspended(rows) => Some(*rows),
            PortalState::Finished { rows: true } => {
                portal.state = PortalState::Finished { rows: true };
                self.complete("SELECT 0");
                return Ok(());
            }
            PortalState::Finished { rows: false } => {
                return Err(SqlError::new("55000", format!("portal \"{name}\" cannot be run")).into());
            }
        };
        let Some(mut rows) = rows else { return Ok(()) };
        let limit = if max_rows == 0 { usize::MAX } else { max_rows };
        match rows.send(&mut self.wire, &self.cancel, limit).await? {
            Stop::End => {
                self.notices();
                self.complete(&rows.tag());
                portal.state = PortalState::Finished { rows: true };
            }
            Stop::Limit => {
                backend::portal_suspended(&mut self.wire.output);
                portal.state = PortalState::Suspended(Box::new(rows));
            }
        }
        Ok(())
    }

    /// Runs a portal's statement; gives its rows, or writes what it came to.
    async fn start_portal(&mut self, portal: &mut Portal, max_rows: usize) -> Result<Option<Rows>, Failure> {
        let Some(prepared) = &portal.statement else {
            backend::empty_query_response(&mut self.wire.output);
            return Ok(None);
        };
        let parameters = portal.parameters();
        let work = self.session.execute(prepared, &parameters);
        let tag = match self.wire.watch(&self.cancel, work).await?? {
            Outcome::Rows(stream) => return Ok(Some(Rows::new(stream, &portal.result_formats)?)),
            Outcome::Point(rows) if max_rows > 0 => {
                return Ok(Some(Rows::new(rows.into_stream()?, &portal.result_formats)?));
            }
            Outcome::Point(rows) => {
                let formats = &portal.result_formats;
                rows.encode(|place| format_of(formats, place) == Format::Binary, &mut self.wire.output)?;
                portal.state = PortalState::Finished { rows: true };
                Some(format!("SELECT {}", rows.count()))
            }
            Outcome::Empty => None,
            Outcome::Command(tag) => Some(tag),
            Outcome::CopyIn { format, columns } => Some(self.copy_in(format, columns).await?),
            Outcome::CopyOut(copy) => Some(self.copy_out(copy).await?),
        };
        self.notices();
        match tag {
            Some(tag) => self.complete(&tag),
            None => backend::empty_query_response(&mut self.wire.output),
        }
        Ok(None)
    }

    pub(super) fn close(&mut self, target: &Target) {
        match target {
            Target::Statement(name) => self.statements.remove(name.as_str()),
            Target::Portal(name) => self.portals.remove(name.as_str()),
        }
        backend::close_complete(&mut self.wire.output);
    }

    /// The end of an extended query: commits what is implicit, and sends everything.
    pub(super) async fn sync(&mut self) -> Result<(), Ended> {
        let skipped = std::mem::take(&mut self.skipping);
        if !skipped {
            match self.finish_implicit().await {
                Ok(()) => {}
                Err(Failure::Statement(error)) => self.report(error).await,
                Err(Failure::Connection(ended)) => return Err(ended),
            }
        }
        self.ready().await
    }

    /// Writes a command's tag; the commands that forget statements do so here, since their names live here.
    pub(super) fn complete(&mut self, tag: &str) {
        if matches!(tag, "DISCARD ALL" | "DEALLOCATE ALL") {
            self.statements.clear();
        }
        backend::command_complete(&mut self.wire.output, tag);
    }
}
