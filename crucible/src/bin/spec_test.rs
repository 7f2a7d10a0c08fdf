//! `spec-test`: runs the spec files against a server that it starts, or against PostgreSQL.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use crucible::process::ServerCommand;
use crucible::spec::{self, Against, Pass};

type Failure = Box<dyn std::error::Error>;

/// Runs sqllogictest files over the wire.
#[derive(Debug, Parser)]
struct Arguments {
    /// Files or folders; all of crucible/spec if none is given.
    paths: Vec<PathBuf>,
    /// The server's program; strata-server beside this one if it is not given.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Runs against a PostgreSQL server instead, in databases of its own: postgres://user@host:port/database.
    #[arg(long)]
    against: Option<String>,
    /// Writes the answers of `--against` into the files.
    #[arg(long, requires = "against")]
    write: bool,
    /// Only this pass: simple, extended or restarts.
    #[arg(long, value_parser = pass)]
    pass: Option<Pass>,
    /// How many failures of a pass are shown.
    #[arg(long, default_value_t = 20)]
    show: usize,
}

fn pass(name: &str) -> Result<Pass, String> {
    Pass::ALL.into_iter().find(|pass| pass.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Pass::ALL.iter().map(|pass| pass.name()).collect();
        format!("one of {}", names.join(", "))
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("spec-test: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut arguments: Arguments) -> Result<bool, Failure> {
    if arguments.paths.is_empty() {
        arguments.paths.push(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("spec"));
    }
    let mut files = Vec::new();
    for path in &arguments.paths {
        files.extend(spec::files(path)?);
    }
    let against = match (&arguments.against, &arguments.server) {
        (Some(url), _) => Against::Postgres(Box::new(url.parse()?)),
        (None, Some(program)) => Against::Strata(ServerCommand::new(program)),
        (None, None) => Against::Strata(ServerCommand::beside("strata-server")?),
    };
    let passes = Pass::ALL.into_iter().filter(|pass| arguments.pass.is_none_or(|only| only == *pass));
    let passes: Vec<Pass> = passes.filter(|pass| against.has(*pass)).collect();
    let mut failed = 0;
    for file in &files {
        if let (true, Against::Postgres(config)) = (arguments.write, &against) {
            spec::write_expectations(file, config).await?;
        }
        for pass in &passes {
            let report = spec::run_file(file, &against, *pass).await?;
            println!("{} ({}): {report}", file.display(), pass.name());
            for failure in report.failures.iter().take(arguments.show) {
                println!("{failure}\n");
            }
            failed += report.failures.len();
        }
    }
    let names: Vec<&str> = passes.iter().map(|pass| pass.name()).collect();
    println!("{} files, passes {}: {failed} failures", files.len(), names.join(", "));
    Ok(failed == 0 && !files.is_empty())
}
