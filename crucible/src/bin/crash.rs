//! `crash`: kills a server under eight writing clients, again and again, and verifies what is left.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use crucible::crash::{self, CrashOptions, Doing};
use crucible::process::ServerCommand;
use crucible::random::Random;
use crucible::serve::{self, ServeArguments};

/// In so many rounds, kills meet clients at everything they write.
const MEET_ALL_ROUNDS: u32 = 50;

type Failure = Box<dyn std::error::Error>;

/// Kills a server under writing clients, and verifies what is left.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The server that tests start: they know no other package's programs.
    #[command(hide = true)]
    Serve(ServeArguments),
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// How often the server is killed.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// How many clients write.
    #[arg(long, default_value_t = 8)]
    clients: u64,
    /// What decides everything random; chosen and printed if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// The longest a round's clients write, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    round_ms: u64,
    /// The rows of the largest bulk insert.
    #[arg(long, default_value_t = 100_000)]
    bulk_rows: u64,
    /// The server's program; strata-server beside this one if it is not given.
    #[arg(long)]
    server: Option<PathBuf>,
    /// The memory of the server.
    #[arg(long, default_value = "128MiB")]
    memory: String,
    /// Where the database lives; a folder that is removed at the end if it is not given, and kept if something is wrong.
    #[arg(long)]
    folder: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Some(Command::Serve(serve)) => serve::serve(serve),
        None => run(&arguments.run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crash: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let server = match &arguments.server {
        Some(program) => ServerCommand::new(program),
        None => ServerCommand::beside("strata-server")?,
    };
    let options = CrashOptions {
        server: server.trailing("--memory").trailing(&arguments.memory),
        rounds: arguments.rounds,
        clients: arguments.clients,
        seed: arguments.seed.unwrap_or_else(Random::any_seed),
        round_ms: arguments.round_ms,
        bulk_rows: arguments.bulk_rows,
    };
    println!("seed {}", options.seed);
    let scratch = tempfile::tempdir()?;
    let folder = arguments.folder.clone().unwrap_or_else(|| scratch.path().join("database"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(crash::run(&folder, &options, |line| println!("{line}"))) {
        Ok(report) => {
            println!("{report:?}");
            println!("kills met: {}", report.hits);
            // A query leaves nothing that a crash could break.
            let mut writes = Doing::ALL.into_iter().filter(|doing| *doing != Doing::Query);
            let missed = writes.find(|doing| report.hits.of(*doing) == 0);
            match missed {
                Some(doing) if report.rounds >= MEET_ALL_ROUNDS => {
                    Err(format!("in {} rounds no kill met a client at {doing:?}", report.rounds).into())
                }
                _ => Ok(()),
            }
        }
        Err(error) => Err(format!("{error}\nthe database is kept in {}", scratch.keep().display()).into()),
    }
}
