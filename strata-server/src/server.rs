//! The listener: accepts connections, bounds their number, and ends them in order.
//!
//! **Stopping.** The listener closes first. Connections that wait for input end at once, those that run something when they have
//! answered; after [`ServerOptions::drain`] what still runs is cancelled, and after [`CANCEL_PATIENCE`] dropped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use strata_datafusion::session::Engine;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::cancel::CancelRegistry;
use crate::connection::handshake::{self, Begun, Shared};
use crate::wire::{Phase, Wire, reached};

/// How long connections get to end after they were cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(12);
/// How many connections may be between accept and ReadyForQuery; more are hung up on.
const STARTING_LIMIT: usize = 256;
/// How long accepting pauses when the system refuses it, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many connections the system may hold for us to accept.
const BACKLOG: u32 = 1024;

/// How a server listens.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Whether an address that other machines reach is accepted, though nothing is encrypted or authenticated.
    pub insecure: bool,
    /// How many sessions at once; further ones are told 53300.
    pub max_connections: usize,
    /// How long a client may take from connecting to ReadyForQuery.
    pub startup_timeout: Duration,
    /// How long running statements may go on once the server stops.
    pub drain: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            insecure: false,
            max_connections: 1000,
            startup_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(2),
        }
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Others could reach it, and nothing would keep them out.
    #[error(
        "{0} can be reached from other machines, and connections are neither encrypted nor authenticated yet: listen on 127.0.0.1, or give --insecure if the network is trusted"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// A running server. Dropping it stops it too, without waiting.
pub struct Server {
    local_addr: SocketAddr,
    phase: Arc<watch::Sender<Phase>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and serves connections on the runtime that this is called on.
    pub async fn start(engine: Arc<Engine>, options: ServerOptions) -> Result<Self, StartError> {
        let address = options.listen;
        if !options.insecure && !address.ip().is_loopback() {
            return Err(StartError::NotLoopback(address));
        }
        let bound = listen(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (local_addr, listener) = bound.map_err(|source| StartError::Listen { address, source })?;
        let phase = Arc::new(watch::Sender::new(Phase::Running));
        let shared = Arc::new(Shared {
            engine,
            registry: Arc::new(CancelRegistry::default()),
            sessions: Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS))),
        });
        let acceptor = tokio::spawn(accept(listener, shared, options, Arc::clone(&phase)));
        Ok(Self { local_addr, phase, acceptor: Some(acceptor) })
    }

    /// The address it listens on, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops it, and returns once all connections have ended.
    pub async fn shutdown(mut self) {
        self.phase.send_replace(Phase::Draining);
        if let Some(acceptor) = self.acceptor.take()
            && let Err(error) = acceptor.await
        {
            tracing::error!(%error, "the acceptor ended badly");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.phase.send_if_modified(|phase| {
            let running = *phase == Phase::Running;
            if running {
                *phase = Phase::Draining;
            }
            running
        });
    }
}

/// Accepted sockets inherit keep-alive: a peer that vanished without a word is noticed in the end.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    options: ServerOptions,
    phase: Arc<watch::Sender<Phase>>,
) {
    let starting = Arc::new(Semaphore::new(STARTING_LIMIT));
    let mut stopping = phase.subscribe();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = reached(&mut stopping, Phase::Draining) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let Ok(place) = Arc::clone(&starting).try_acquire_owned() else {
                        tracing::warn!(%peer, "hung up: too many connections are starting");
                        continue;
                    };
                    if let Err(error) = socket.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "cannot switch delays off");
                    }
                    let wire = Wire::new(socket, phase.subscribe());
                    let (shared, timeout) = (Arc::clone(&shared), options.startup_timeout);
                    connections.spawn(async move {
                        serve(wire, peer, &shared, timeout, place).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    for patience in [options.drain, CANCEL_PATIENCE] {
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_ok() {
            return;
        }
        phase.send_replace(Phase::Cancelling);
    }
    tracing::warn!(connections = connections.len(), "dropped connections that did not end");
    connections.shutdown().await;
}

async fn serve<P>(wire: Wire<TcpStream>, peer: SocketAddr, shared: &Shared, timeout: Duration, place: P) {
    let begun = match tokio::time::timeout(timeout, handshake::begin(wire, shared)).await {
        Ok(Ok(begun)) => begun,
        Ok(Err(ended)) => {
            tracing::debug!(%peer, %ended, "no session");
            return;
        }
        Err(_) => {
            tracing::debug!(%peer, "the client did not finish starting");
            return;
        }
    };
    drop(place);
    let Begun { connection, registration, permit } = begun;
    let pid = registration.pid;
    tracing::debug!(%peer, pid, "session begins");
    let ended = connection.run().await;
    tracing::debug!(%peer, pid, %ended, "session ends");
    // Held to here: the session's locks are released before its place is another's.
    drop((registration, permit));
}
