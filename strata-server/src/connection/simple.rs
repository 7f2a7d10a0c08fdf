//! The simple protocol: a string of statements, one implicit transaction.

use strata_datafusion::session::{Outcome, Statement};
use tokio::io::{AsyncRead, AsyncWrite};

use super::rows::Rows;
use super::{Connection, Failure};
use crate::backend;
use crate::wire::Ended;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Serves a Query message, up to and with ReadyForQuery.
    pub(super) async fn query(&mut self, text: &str) -> Result<(), Ended> {
        // As PostgreSQL has it: a simple query takes the place of the unnamed statement and portal.
        self.statements.remove("");
        self.portals.remove("");
        match self.run_statements(text).await {
            Ok(()) => {}
            Err(Failure::Statement(error)) => self.report(error).await,
            Err(Failure::Connection(ended)) => return Err(ended),
        }
        self.ready().await
    }

    async fn run_statements(&mut self, text: &str) -> Result<(), Failure> {
        // All or nothing: a syntax error in the last statement keeps the first from running.
        let statements = self.session.parse(text)?;
        let Some(last) = statements.len().checked_sub(1) else {
            backend::empty_query_response(&mut self.wire.output);
            return Ok(());
        };
        for (index, statement) in statements.iter().enumerate() {
            let tag = self.run_statement(statement).await?;
            if index == last {
                self.finish_implicit().await?;
            }
            self.notices();
            match tag {
                Some(tag) => self.complete(&tag),
                None => backend::empty_query_response(&mut self.wire.output),
            }
            self.wire.send_when_full().await?;
        }
        Ok(())
    }

    /// Runs a statement and writes its rows; gives its command tag, or nothing for an empty one.
    async fn run_statement(&mut self, statement: &Statement) -> Result<Option<String>, Failure> {
        let outcome = self.wire.watch(&self.cancel, self.session.execute_statement(statement)).await??;
        Ok(match outcome {
            Outcome::Empty => None,
            Outcome::Command(tag) => Some(tag),
            Outcome::Rows(stream) => {
                backend::row_description(&mut self.wire.output, &stream.fields, &[]);
                let mut rows = Rows::new(stream, &[])?;
                rows.send(&mut self.wire, &self.cancel, usize::MAX).await?;
                Some(rows.tag())
            }
            Outcome::CopyIn { format, columns } => Some(self.copy_in(format, columns).await?),
            Outcome::CopyOut(copy) => Some(self.copy_out(copy).await?),
        })
    }
}
