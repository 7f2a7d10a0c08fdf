//! One client's session, from its first message after the handshake to its last.
//!
//! | module | what |
//! |---|---|
//! | `handshake` | startup packets: encryption refused, cancel requests served, sessions begun |
//! | `options` | the command-line settings that a startup packet may carry |
//! | `simple` | Query: statements in one implicit transaction |
//! | `extended` | Parse, Bind, Describe, Execute, Close, Sync |
//! | `portals` | the statements and portals that the extended protocol names |
//! | `rows` | result batches into DataRow messages |
//! | `copy` | the COPY sub-protocol, in both directions |
//!
//! **Failing.** A statement's error ([`Failure::Statement`]) goes to the client and the session goes on; in the extended protocol everything
//! up to the next Sync is then passed over. What ends the connection is [`Failure::Connection`].
//!
//! **Committing.** A Query's last statement is reported complete once the implicit transaction is durable, and ReadyForQuery is not
//! sent before it.

mod copy;
mod extended;
pub mod handshake;
mod options;
mod portals;
mod rows;
mod simple;

#[cfg(test)]
mod tests;

use strata_datafusion::error::SqlError;
use strata_datafusion::session::{CancelHandle, Session, TransactionStatus};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::backend::{self, Severity};
use crate::frame::Frame;
use crate::frontend::{DecodeError, FrontendMessage};
use crate::wire::{Ended, Wire};
use portals::{Portals, Statements};

/// Why a message could not be served.
#[derive(Debug)]
enum Failure {
    /// The statement's fault: the client is told, the session goes on.
    Statement(SqlError),
    /// The connection is at its end.
    Connection(Ended),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Statement(error)
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self::Connection(ended)
    }
}

/// A session and its wire.
pub struct Connection<S> {
    wire: Wire<S>,
    session: Session,
    cancel: CancelHandle,
    statements: Statements,
    portals: Portals,
    /// After an error of the extended protocol, until the next Sync.
    skipping: bool,
    /// Nothing has come since ReadyForQuery.
    idle: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection whose handshake is done.
    pub fn new(wire: Wire<S>, session: Session) -> Self {
        let cancel = session.cancel_handle();
        let (statements, portals) = (Statements::default(), Portals::default());
        Self { wire, session, cancel, statements, portals, skipping: false, idle: true }
    }

    /// Serves the client until one side ends it.
    pub async fn run(mut self) -> Ended {
        let ended = loop {
            let frame = match self.wire.frame().await {
                Ok(frame) => frame,
                Err(ended) => break ended,
            };
            if let Err(ended) = self.serve(frame).await {
                break ended;
            }
        };
        if let Some(error) = last_words(&ended) {
            backend::error_response(&mut self.wire.output, Severity::Fatal, &error);
            self.wire.farewell().await;
        }
        ended
    }

    async fn serve(&mut self, frame: Frame) -> Result<(), Ended> {
        let tag = frame.tag;
        if std::mem::take(&mut self.idle) {
            // A cancel request that came in between was meant for a query that is over.
            self.cancel.reset();
        }
        // Not even decoded: what follows an error need not make sense.
        if self.skipping && !matches!(tag, b'S' | b'X') {
            return Ok(());
        }
        let served = match FrontendMessage::decode(frame) {
            Ok(FrontendMessage::Query(text)) => return self.query(text.as_str()).await,
            Ok(FrontendMessage::Sync) => return self.sync().await,
            Ok(FrontendMessage::Terminate) => return Err(Ended::Terminated),
            Ok(FrontendMessage::Password) => return Err(Ended::Protocol("unexpected password message")),
            Ok(FrontendMessage::FunctionCall) => {
                self.report(SqlError::unsupported("function calls by message are not supported")).await;
                return self.ready().await;
            }
            // Left over from a COPY that failed: the client had not heard of it.
            Ok(FrontendMessage::CopyData(_) | FrontendMessage::CopyDone | FrontendMessage::CopyFail(_)) => {
                Ok(())
            }
            Ok(FrontendMessage::Flush) => self.wire.send().await.map_err(Failure::Connection),
            Ok(FrontendMessage::Parse { name, query, parameter_oids }) => {
                self.parse(name.as_str(), query.as_str(), &parameter_oids).await
            }
            Ok(FrontendMessage::Bind(bind)) => self.bind(bind),
            Ok(FrontendMessage::Describe(target)) => self.describe(&target),
            Ok(FrontendMessage::Execute { portal, max_rows }) => {
                self.execute(portal.as_str(), max_rows).await
            }
            Ok(FrontendMessage::Close(target)) => {
                self.close(&target);
                Ok(())
            }
            Err(error @ DecodeError::InvalidText(_)) => Err(SqlError::new("22021", error.to_string()).into()),
            Err(error) => return Err(error.into()),
        };
        match served {
            Ok(()) => self.wire.send_when_full().await,
            Err(Failure::Connection(ended)) => Err(ended),
            Err(Failure::Statement(error)) => {
                self.report(error).await;
                if tag == b'Q' {
                    return self.ready().await;
                }
                self.skipping = true;
                Ok(())
            }
        }
    }

    /// Tells the client of an error, and the session too.
    async fn report(&mut self, error: SqlError) {
        // Portals hold streams of what is undone here.
        self.session.fail().await;
        self.forget_undone();
        self.notices();
        backend::error_response(&mut self.wire.output, Severity::Error, &error);
    }

    /// Forgets the portals of what was undone, if something was; tells from which savepoint on.
    fn forget_undone(&mut self) -> Option<u64> {
        let undone = self.session.take_undone();
        if let Some(savepoint) = undone {
            self.portals.forget_undone(savepoint);
        }
        undone
    }

    /// Writes the notices that have gathered.
    fn notices(&mut self) {
        for notice in self.session.take_notices() {
            backend::notice_response(&mut self.wire.output, &notice);
        }
    }

    /// Commits what is implicit.
    async fn finish_implicit(&mut self) -> Result<(), Failure> {
        self.wire.watch(&self.cancel, self.session.finish_implicit()).await??;
        if self.session.status() == TransactionStatus::Idle {
            self.portals.clear();
        }
        Ok(())
    }

    /// Tells the client that it may go on, and sends all there is.
    async fn ready(&mut self) -> Result<(), Ended> {
        self.notices();
        for (name, value) in self.session.take_parameter_changes() {
            backend::parameter_status(&mut self.wire.output, name, value);
        }
        backend::ready_for_query(&mut self.wire.output, self.session.status());
        self.idle = true;
        self.wire.send().await
    }
}

/// What a client is told at the end, where it can still hear.
fn last_words(ended: &Ended) -> Option<SqlError> {
    match ended {
        Ended::Frame(_) | Ended::Decode(_) | Ended::Protocol(_) => {
            Some(SqlError::new("08P01", ended.to_string()))
        }
        Ended::Stopped => Some(SqlError::new("57P01", ended.to_string())),
        Ended::Terminated | Ended::Gone | Ended::Refused(_) | Ended::Io(_) => None,
    }
}
