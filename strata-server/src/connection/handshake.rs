//! The beginning of a connection: until ReadyForQuery, or until there is nothing to begin.
//!
//! Encryption is refused with `N` (clients then go on in the clear or hang up), a cancel request is served and the connection closed
//! without an answer, and a startup packet begins a session. Whoever connects is believed to be who he says: the server
//! listens on the loopback interface unless told otherwise.

use std::sync::Arc;

use strata_datafusion::error::SqlError;
use strata_datafusion::session::{Engine, Session, SessionOptions, TransactionStatus};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Connection, options};
use crate::backend::{self, Severity};
use crate::cancel::{CancelRegistry, Registration, SecretSize};
use crate::frontend::DecodeError;
use crate::frontend::startup::{Startup, StartupPacket};
use crate::wire::{Ended, Wire};

/// The newest minor version of protocol 3 that the server speaks.
const NEWEST_MINOR: u16 = 2;
/// Clients ask for TLS once and for GSSAPI once.
const ENCRYPTION_REQUESTS: usize = 2;

/// What all connections share.
pub struct Shared {
    /// Where sessions come from.
    pub engine: Arc<Engine>,
    /// Whom cancel requests reach.
    pub registry: Arc<CancelRegistry>,
    /// One permit a session.
    pub sessions: Arc<Semaphore>,
}

/// A session that is ready, and what it gives back at its end.
pub struct Begun<S> {
    /// The session's connection.
    pub connection: Connection<S>,
    /// Its place among those that can be cancelled.
    pub registration: Registration,
    /// Its place among those that may be.
    pub permit: OwnedSemaphorePermit,
}

/// Brings a connection up.
pub async fn begin<S>(mut wire: Wire<S>, shared: &Shared) -> Result<Begun<S>, Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let startup = match read_startup(&mut wire, &shared.registry).await {
        Ok(startup) => startup,
        Err(ended) => {
            let error = match &ended {
                Ended::Decode(error @ DecodeError::InvalidText(_)) => {
                    Some(SqlError::new("22021", error.to_string()))
                }
                ended => super::last_words(ended),
            };
            if let Some(error) = error {
                refuse(&mut wire, &error).await;
            }
            return Err(ended);
        }
    };
    match open_session(&mut wire, &startup, shared) {
        Ok((session, registration, permit)) => {
            wire.send().await?;
            Ok(Begun { connection: Connection::new(wire, session), registration, permit })
        }
        Err(error) => {
            refuse(&mut wire, &error).await;
            Err(Ended::Refused(error.message))
        }
    }
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, error: &SqlError) {
    backend::error_response(&mut wire.output, Severity::Fatal, error);
    wire.farewell().await;
}

async fn read_startup<S>(wire: &mut Wire<S>, registry: &CancelRegistry) -> Result<Startup, Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for _ in 0..=ENCRYPTION_REQUESTS {
        let frame = wire.startup_frame().await?;
        match StartupPacket::decode(frame.body)? {
            StartupPacket::Encryption => wire.output.extend_from_slice(b"N"),
            StartupPacket::Cancel { pid, secret } => {
                let found = registry.cancel(pid, &secret);
                tracing::debug!(pid, found, "cancel request");
                return Err(Ended::Terminated);
            }
            StartupPacket::Startup(startup) => return Ok(startup),
        }
    }
    Err(Ended::Protocol("encryption was refused already"))
}

fn open_session<S>(
    wire: &mut Wire<S>,
    startup: &Startup,
    shared: &Shared,
) -> Result<(Session, Registration, OwnedSemaphorePermit), SqlError> {
    let Startup { major, minor, .. } = *startup;
    if major != 3 {
        let message =
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{NEWEST_MINOR}");
        return Err(SqlError::unsupported(message));
    }
    let permit = Arc::clone(&shared.sessions)
        .try_acquire_owned()
        .map_err(|_| SqlError::new("53300", "sorry, too many clients already"))?;
    let mut session = Session::new(Arc::clone(&shared.engine), session_options(startup)?);
    let out = &mut wire.output;
    let unknown: Vec<String> =
        names(startup).filter(|name| name.starts_with("_pq_.")).map(str::to_owned).collect();
    if minor > NEWEST_MINOR || !unknown.is_empty() {
        let version = (i32::from(major) << 16) | i32::from(minor.min(NEWEST_MINOR));
        backend::negotiate_protocol_version(out, version, unknown);
    }
    backend::authentication_ok(out);
    for (name, value) in session.startup_parameters() {
        backend::parameter_status(out, name, value);
    }
    let size = if minor >= NEWEST_MINOR { SecretSize::Long } else { SecretSize::Short };
    let registration = shared.registry.register(process_id(&session), size, session.cancel_handle());
    backend::backend_key_data(out, registration.pid, registration.secret.clone());
    for notice in session.take_notices() {
        backend::notice_response(out, &notice);
    }
    backend::ready_for_query(out, TransactionStatus::Idle);
    Ok((session, registration, permit))
}

/// The wire's process ids are signed; what pg_backend_pid() shows has the same bits.
fn process_id(session: &Session) -> i32 {
    session.backend_id().cast_signed()
}

/// What the startup packet asks of the session.
fn session_options(startup: &Startup) -> Result<SessionOptions, SqlError> {
    let user = startup.get("user").filter(|user| !user.is_empty());
    let user =
        user.ok_or_else(|| SqlError::new("28000", "no PostgreSQL user name specified in startup packet"))?;
    if startup.get("replication").is_some_and(|value| !matches!(value, "false" | "off" | "no" | "0")) {
        return Err(SqlError::unsupported("replication connections are not supported"));
    }
    let database = startup.get("database").filter(|database| !database.is_empty()).unwrap_or(user);
    let named = |name: &str| {
        matches!(name, "user" | "database" | "replication" | "options" | "application_name")
            || name.starts_with("_pq_.")
    };
    let pairs = startup.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let given =
        pairs.filter(|(name, _)| !named(name)).map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut parameters = options::settings(startup.get("options").unwrap_or_default())?;
    parameters.extend(given);
    Ok(SessionOptions {
        user: user.to_owned(),
        database: database.to_owned(),
        application_name: startup.get("application_name").unwrap_or_default().to_owned(),
        parameters,
    })
}

fn names(startup: &Startup) -> impl Iterator<Item = &str> {
    startup.parameters.iter().map(|(name, _)| name.as_str())
}
