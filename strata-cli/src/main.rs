//! `strata`: the shell, `open`, `check` and `demo`.

mod backend;
mod check;
mod demo;
mod shell;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use backend::{Backend, Embedded, Failure, Server, Target};
use clap::{Args, Parser, Subcommand};
use shell::Shell;
use strata_server::parse_size;

/// An embedded engine allocates as the server does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Strata: transactions and analytics over one copy of the data.
///
/// Without a command: a shell on a running server.
#[derive(Debug, Parser)]
#[command(name = "strata", version, disable_help_flag = true, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    run: Run,
    /// Print help.
    #[arg(long, action = clap::ArgAction::Help, global = true)]
    help: Option<bool>,
}

#[derive(Debug, Args)]
struct Connect {
    /// The server's name or address.
    #[arg(long, short = 'h', env = "PGHOST", default_value = "127.0.0.1")]
    host: String,
    /// The server's port.
    #[arg(long, short = 'p', env = "PGPORT", default_value_t = 5433)]
    port: u16,
    /// Who connects.
    #[arg(long, short = 'U', env = "PGUSER", default_value = "strata")]
    user: String,
    /// The database.
    #[arg(long, short = 'd', env = "PGDATABASE", default_value = "strata")]
    dbname: String,
}

#[derive(Debug, Args)]
struct Run {
    /// Run this SQL or backslash command, then end; may be given several times.
    #[arg(long = "command", short = 'c', value_name = "SQL")]
    commands: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// A shell over the database in a folder, without a server.
    Open {
        /// The folder, made if it is not there.
        path: PathBuf,
        /// The memory that caches, writes and queries share.
        #[arg(long, env = "STRATA_MEMORY", default_value = "1GiB", value_parser = parse_size)]
        memory: usize,
        #[command(flatten)]
        run: Run,
    },
    /// See it at work: load TPC-H, transfer and analyse at once, export Parquet.
    Demo(demo::DemoOptions),
    /// Verify a database that is closed: every block, row and index entry.
    Check {
        /// The folder.
        path: PathBuf,
        /// The memory to use.
        #[arg(long, env = "STRATA_MEMORY", default_value = "1GiB", value_parser = parse_size)]
        memory: usize,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.action {
        None => connect(arguments.connect, &arguments.run),
        Some(Action::Open { path, memory, run }) => open(&path, memory, &run),
        Some(Action::Check { path, memory }) => return check::run(&path, memory),
        Some(Action::Demo(options)) => {
            return match demo::run(&options) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => {
                    eprintln!("The demo failed: {failure}");
                    ExitCode::FAILURE
                }
            };
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever read our output has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn connect(connect: Connect, run: &Run) -> io::Result<bool> {
    let target =
        Target { host: connect.host, port: connect.port, user: connect.user, database: connect.dbname };
    let runtime = runtime()?;
    match runtime.block_on(Server::connect(target)) {
        Ok(server) => shell(Shell::new(runtime, Box::new(server)), run),
        Err(failure) => Ok(refuse(&failure)),
    }
}

fn open(path: &std::path::Path, memory_bytes: usize, run: &Run) -> io::Result<bool> {
    let runtime = runtime()?;
    match Embedded::open(path, memory_bytes) {
        Ok(embedded) => shell(Shell::new(runtime, Box::new(embedded) as Box<dyn Backend>), run),
        Err(failure) => Ok(refuse(&failure)),
    }
}

fn refuse(failure: &Failure) -> bool {
    eprintln!("{}", failure.message);
    if let Some(hint) = &failure.hint {
        eprintln!("{hint}");
    }
    false
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn shell(mut shell: Shell, run: &Run) -> io::Result<bool> {
    if run.commands.is_empty() {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            shell.interact()?;
            return Ok(true);
        }
        return shell.run_script(&mut stdin.lock());
    }
    for command in &run.commands {
        if !shell.run_text(command)? {
            return Ok(false);
        }
    }
    Ok(true)
}
