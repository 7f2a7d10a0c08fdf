//! A server in a process of its own: started, asked where it listens, stopped or killed.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long a server may take to open its database and listen.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long it may take to end once told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How many lines of its log are kept for error messages.
const KEPT_LOG_LINES: usize = 40;

/// How servers are started: a program that takes `--listen` and `--data-dir`, and what comes before and after these.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub leading: Vec<OsString>,
    /// Its last arguments.
    pub trailing: Vec<OsString>,
}

impl ServerCommand {
    /// A program without further arguments.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), leading: Vec::new(), trailing: Vec::new() }
    }

    /// With an argument ahead of all others: a subcommand.
    pub fn leading(mut self, argument: impl Into<OsString>) -> Self {
        self.leading.push(argument.into());
        self
    }

    /// With an argument behind all others.
    pub fn trailing(mut self, argument: impl Into<OsString>) -> Self {
        self.trailing.push(argument.into());
        self
    }

    /// The program of this name in the folder of the program that runs.
    ///
    /// # Errors
    /// Where it is not there, with the command that builds it.
    pub fn beside(name: &str) -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let program = own.with_file_name(name);
        if !program.is_file() {
            let message =
                format!("{} is not there: cargo build -p {name}, or name another", program.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(Self::new(program))
    }
}

/// A running server. Dropping it kills it.
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl ServerProcess {
    /// Starts a server on a folder, and waits until it listens.
    ///
    /// # Errors
    /// Where it cannot be started, ends first, or takes too long; with the end of its log.
    pub fn start(command: &ServerCommand, data_dir: &Path) -> io::Result<Self> {
        Self::begin(command, data_dir)?.ready()
    }

    /// Starts a server on a folder, and does not wait.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn begin(command: &ServerCommand, data_dir: &Path) -> io::Result<StartingServer> {
        let mut child = Command::new(&command.program)
            .args(&command.leading)
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(&command.trailing)
            .env_remove("STRATA_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", command.program.display()))
            })?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("the server has no log"))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (found, address) = mpsc::channel();
        let kept = Arc::clone(&log);
        // Ends with the server: it reads until the pipe closes, so that a server that logs never waits.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                if let Some(address) = listening_address(&line) {
                    // Whoever waited may have gone.
                    let _ = found.send(address);
                }
                let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if kept.len() == KEPT_LOG_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Ok(StartingServer { child: Some(child), address, log })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What a client connects with.
    pub fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(self.address.ip().to_string())
            .port(self.address.port())
            .user("crucible")
            .dbname("strata");
        config
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        log_text(&self.log)
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn is_running(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Kills it, as `kill -9` does: nothing it holds reaches the disk any more.
    ///
    /// # Errors
    /// Where the system does not let us.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Tells it to stop (SIGTERM), and waits until it has ended.
    ///
    /// # Errors
    /// Where it ends badly or not in time.
    pub fn stop(mut self) -> io::Result<()> {
        // std has no other signal than SIGKILL.
        let pid = self.child.id().to_string();
        let told = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]).status()?;
        if !told.success() {
            return Err(io::Error::other(format!("cannot signal process {pid}")));
        }
        let status = wait(&mut self.child, STOP_TIMEOUT)?
            .ok_or_else(|| io::Error::other(format!("the server did not stop:\n{}", log_text(&self.log))))?;
        if !status.success() {
            let log = log_text(&self.log);
            return Err(io::Error::other(format!("the server ended with {status}:\n{log}")));
        }
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It has ended already where `stop` or `kill` did their work.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that does not listen yet. Dropping it kills it.
pub struct StartingServer {
    child: Option<Child>,
    address: mpsc::Receiver<SocketAddr>,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl StartingServer {
    /// Waits until it listens.
    ///
    /// # Errors
    /// Where it ends first or takes too long; with the end of its log.
    pub fn ready(mut self) -> io::Result<ServerProcess> {
        let failed = match self.address.recv_timeout(START_TIMEOUT) {
            Ok(address) => match self.child.take() {
                Some(child) => return Ok(ServerProcess { child, address, log: Arc::clone(&self.log) }),
                None => "was killed",
            },
            Err(mpsc::RecvTimeoutError::Timeout) => "did not listen in time",
            Err(mpsc::RecvTimeoutError::Disconnected) => "ended instead of listening",
        };
        Err(io::Error::other(format!("the server {failed}:\n{}", log_text(&self.log))))
    }

    /// Kills it wherever it is.
    ///
    /// # Errors
    /// Where the system does not let us.
    pub fn kill(mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for StartingServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The address in `… ready address=127.0.0.1:41231 …`.
fn listening_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("ready address=")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn log_text(log: &Mutex<VecDeque<String>>) -> String {
    let kept = log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    kept.iter().map(|line| format!("    {line}\n")).collect()
}

fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_log() {
        let line = "2026-01-01T00:00:00Z  INFO strata_server: ready address=127.0.0.1:41231 data_dir=/x";
        assert_eq!(listening_address(line), Some(SocketAddr::from(([127, 0, 0, 1], 41_231))));
        assert_eq!(listening_address("INFO strata_server: the database is open"), None);
    }
}
