//! `strata demo`: loads TPC-H, runs transfers and analytics on the same tables at once, exports and reads back Parquet.
//!
//! Everything goes over the wire, as an application would do it: the server runs in this process, each part of the demo has
//! connections of its own. What it claims it checks: an answer that lacks an acknowledged commit, a total that wavers or a Parquet
//! file that differs fails the demo.

mod analytics;
mod connection;
mod export;
mod load;
mod tables;
mod transfers;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use strata_core::Options;
use strata_datafusion::session::{Engine, EngineOptions};
use strata_server::{Server, ServerOptions, connection_runtime, open_database, parse_size};
use tokio::signal::unix::{SignalKind, signal};

/// Why the demo ended early.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What can be chosen.
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// End after the demo instead of serving on.
    #[arg(long)]
    once: bool,
    /// TPC-H's scale factor: 1 is about 1 GB.
    #[arg(long, default_value_t = 0.01)]
    scale: f64,
    /// A folder for the database and the Parquet file, which are kept; otherwise a temporary one that is removed.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the server listens; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Connections that transfer.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    writers: u32,
    /// How long transfers and analytics run.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The memory that caches, writes and queries share.
    #[arg(long, env = "STRATA_MEMORY", default_value = "512MiB", value_parser = parse_size)]
    memory: usize,
}

/// Runs the demo.
pub fn run(options: &DemoOptions) -> Result<(), Failure> {
    if !(options.scale.is_finite() && options.scale > 0.0) {
        return Err("--scale must be a positive number, as in 0.01".into());
    }
    let folder = Folder::new(options.dir.as_deref())?;
    let runtime = connection_runtime()?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        serve(options, folder.path(), stop).await
    });
    // What runs still refers to the database: it must be gone before its folder is.
    drop(runtime);
    result
}

/// Starts the server, shows what it does, and serves on if that was asked for.
async fn serve(options: &DemoOptions, folder: &Path, stop: impl Future<Output = ()>) -> Result<(), Failure> {
    let data = folder.join("data");
    let database = open_database(&data, Options { memory_bytes: options.memory, ..Options::default() })?;
    let engine = Engine::new(database, EngineOptions::default())?;
    let server_options = ServerOptions { listen: options.listen, ..ServerOptions::default() };
    let server = Server::start(Arc::clone(&engine), server_options).await?;
    let address = server.local_addr();
    let mut stop = std::pin::pin!(stop);
    let result = tokio::select! {
        result = show(options, folder, address) => match result {
            Ok(()) if !options.once => {
                say(&format!("\nServing until Ctrl-C. {}", reach(address)))?;
                stop.await;
                say("")
            }
            Ok(()) => Ok(()),
            Err(failure) => Err(failure),
        },
        () = &mut stop => say("\nStopped."),
    };
    server.shutdown().await;
    drop(engine);
    result
}

/// The demo itself.
async fn show(options: &DemoOptions, folder: &Path, address: SocketAddr) -> Result<(), Failure> {
    say(&format!("Strata at {address}, database in {}", folder.join("data").display()))?;
    let note = if cfg!(debug_assertions) {
        "This is a dev build: with --release all is many times faster.\n"
    } else {
        ""
    };
    say(note)?;
    load::run(address, options.scale).await?;
    let span = Duration::from_secs(options.seconds.max(1));
    transfers::run(address, options.writers, span).await?;
    export::run(address, folder).await?;
    if options.once {
        say(&format!("\nDone, and stopping. Without --once it would serve on. {}", reach(address)))?;
    }
    Ok(())
}

/// The lines that reach the server.
fn reach(address: SocketAddr) -> String {
    let (host, port) = (address.ip(), address.port());
    format!(
        "Reach it with\n  psql -h {host} -p {port} -U strata -d strata\nor, without psql,\n  strata --host {host} --port {port}"
    )
}

/// Prints a line.
fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// Where the demo's files are.
enum Folder {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    fn new(chosen: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = chosen else {
            return Ok(Self::Temporary(tempfile::Builder::new().prefix("strata-demo-").tempdir()?));
        };
        std::fs::create_dir_all(path)?;
        if std::fs::read_dir(path)?.next().is_some() {
            return Err(format!("{} is not empty: give the demo a folder of its own", path.display()).into());
        }
        Ok(Self::Kept(std::fs::canonicalize(path)?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// A number with commas between thousands.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate per second.
fn per_second(count: u64, span: Duration) -> u64 {
    // Rounded for people: exactness beyond 2^53 does not matter.
    (count as f64 / span.as_secs_f64().max(1e-9)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn a_folder_that_holds_something_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let fresh = outer.path().join("fresh");
        assert!(Folder::new(Some(&fresh)).is_ok());
        assert!(Folder::new(Some(outer.path())).err().unwrap().to_string().contains("not empty"));
    }
}
