//! `strata-server`: serves a database to Postgres clients until it is told to stop.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use strata_core::Options;
use strata_datafusion::session::{Engine, EngineOptions};
use strata_server::{Server, ServerOptions, connection_runtime, open_database, parse_size};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Many threads allocate and free buffers of all sizes: glibc's allocator keeps what it fragments.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

/// Serves a Strata database to Postgres clients.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on.
    #[arg(long, env = "STRATA_LISTEN", default_value = "127.0.0.1:5433")]
    listen: String,
    /// The folder of the database, made if it does not exist.
    #[arg(long, env = "STRATA_DATA_DIR", default_value = "./strata-data")]
    data_dir: PathBuf,
    /// The memory that caches, writes and queries share.
    #[arg(long, env = "STRATA_MEMORY", default_value = "2GiB", value_parser = parse_size)]
    memory: usize,
    /// How many sessions at once.
    #[arg(long, env = "STRATA_MAX_CONNECTIONS", default_value_t = 1000)]
    max_connections: usize,
    /// Listen on an address that other machines reach, without encryption or passwords.
    #[arg(long, env = "STRATA_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    insecure: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("STRATA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colours).with_env_filter(filter).init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = connection_runtime()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> Result<(), Failure> {
    // Before the database is opened: a signal while it recovers must not be lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listen = resolve(&arguments.listen).await?;
    let engine = open(arguments)?;
    let options = ServerOptions {
        listen,
        insecure: arguments.insecure,
        max_connections: arguments.max_connections,
        ..ServerOptions::default()
    };
    let server = Server::start(Arc::clone(&engine), options).await?;
    tracing::info!(address = %server.local_addr(), data_dir = %arguments.data_dir.display(), "ready");
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping on SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping on SIGINT"),
    }
    server.shutdown().await;
    close(engine)?;
    tracing::info!("stopped");
    Ok(())
}

async fn resolve(listen: &str) -> Result<SocketAddr, Failure> {
    let mut addresses = tokio::net::lookup_host(listen)
        .await
        .map_err(|error| format!("--listen {listen}: {error} (write HOST:PORT, as in 127.0.0.1:5433)"))?;
    addresses.next().ok_or_else(|| format!("--listen {listen}: no such address").into())
}

/// Opens the database and builds the engine over it.
fn open(arguments: &Arguments) -> Result<Arc<Engine>, Failure> {
    let options = Options { memory_bytes: arguments.memory, ..Options::default() };
    let database = open_database(&arguments.data_dir, options)?;
    tracing::info!(replayed_records = database.replayed_records(), "the database is open");
    Ok(Engine::new(database, EngineOptions::default())?)
}

/// Closes the database: the last session has ended.
fn close(engine: Arc<Engine>) -> Result<(), Failure> {
    drop(engine);
    Ok(())
}
