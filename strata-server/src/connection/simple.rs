//! The simple protocol: a string of statements, one implicit transaction.

use strata_datafusion::session::Outcome;
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
        // A statement that has come before needs no parsing.
        if let Some(outcome) = self.wire.watch(&self.cancel, self.session.execute_text(text)).await?? {
            let tag = self.answer(outcome).await?;
            return self.finish_statement(tag, true).await;
        }
        // All or nothing: a syntax error in the last statement keeps the first from running.
        let statements = self.session.parse(text)?;
        let Some(last) = statements.len().checked_sub(1) else {
            backend::empty_query_response(&mut self.wire.output);
            return Ok(());
        };
        for (index, statement) in statements.iter().enumerate() {
            let outcome = self.wire.watch(&self.cancel, self.session.execute_statement(statement)).await??;
            let tag = self.answer(outcome).await?;
            self.finish_statement(tag, index == last).await?;
        }
        Ok(())
    }

    /// The end of a statement, and with the last one of the transaction.
    async fn finish_statement(&mut self, tag: Option<String>, is_last: bool) -> Result<(), Failure> {
        self.forget_undone();
        if is_last {
            self.finish_implicit().await?;
        }
        self.notices();
        match tag {
            Some(tag) => self.complete(&tag),
            None => backend::empty_query_response(&mut self.wire.output),
        }
        Ok(self.wire.send_when_full().await?)
    }

    /// Writes the rows of an outcome; gives its command tag, or nothing for an empty one.
    async fn answer(&mut self, outcome: Outcome) -> Result<Option<String>, Failure> {
        Ok(match outcome {
            Outcome::Point(rows) => {
                backend::row_description(&mut self.wire.output, &rows.fields, &[]);
                rows.encode(|_| false, &mut self.wire.output)?;
                Some(format!("SELECT {}", rows.count()))
            }
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
