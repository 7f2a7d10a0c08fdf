//! pgbench's built-in scripts, unmodified, in alternating runs on Strata and PostgreSQL.
//!
//! `pgbench -i` makes and fills the tables of both. Runs pass `-n`, so that pgbench does not truncate the history between them:
//! afterwards the balances of accounts must equal the history's sum, and those of tellers the branches'.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::{Args, ValueEnum};
use crucible::process::{ServerCommand, ServerProcess};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::Failure;
use crate::client;

#[derive(Debug, Args)]
pub struct Arguments {
    /// pgbench's scale: 100,000 accounts each.
    #[arg(long, default_value_t = 10)]
    scale: u32,
    /// Clients at once.
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// pgbench's threads.
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Seconds of a run.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Runs of each script and protocol on each server; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// The scripts.
    #[arg(long, value_delimiter = ',', default_values_t = [Script::SelectOnly, Script::SimpleUpdate, Script::TpcbLike])]
    scripts: Vec<Script>,
    /// The protocols.
    #[arg(long, value_delimiter = ',', default_values = ["simple", "prepared"])]
    modes: Vec<String>,
    /// The PostgreSQL server to compare with: postgres://user@host:port/database. Its pgbench tables are replaced.
    #[arg(long)]
    postgres: Option<String>,
    /// The pgbench program.
    #[arg(long, default_value = "pgbench")]
    pgbench: PathBuf,
    /// The folder of Strata's database; one that is removed at the end if it is not given.
    #[arg(long)]
    database: Option<PathBuf>,
    /// Strata's memory.
    #[arg(long, default_value = "1GiB")]
    memory: String,
    /// Strata's server program; strata-server beside this one if it is not given.
    #[arg(long)]
    server: Option<PathBuf>,
}

/// A built-in script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Script {
    SelectOnly,
    SimpleUpdate,
    TpcbLike,
}

impl std::fmt::Display for Script {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::SelectOnly => "select-only",
            Self::SimpleUpdate => "simple-update",
            Self::TpcbLike => "tpcb-like",
        })
    }
}

/// A server that pgbench runs against.
struct Target {
    name: &'static str,
    config: Config,
}

/// Runs all, and tells whether the balances agree everywhere.
pub async fn run(arguments: Arguments) -> Result<bool, Failure> {
    let scratch = tempfile::tempdir()?;
    let folder = arguments.database.clone().unwrap_or_else(|| scratch.path().join("database"));
    let command = match &arguments.server {
        Some(program) => ServerCommand::new(program),
        None => ServerCommand::beside("strata-server")?,
    };
    let server = ServerProcess::start(&command.trailing("--memory").trailing(&arguments.memory), &folder)?;
    let mut targets = vec![Target { name: "Strata", config: server.config() }];
    if let Some(url) = &arguments.postgres {
        targets.push(Target { name: "PostgreSQL", config: url.parse()? });
    }
    for target in &targets {
        let scale = arguments.scale.to_string();
        pgbench(&arguments.pgbench, &target.config, &["-i", "-q", "-s", &scale])?;
    }
    for script in &arguments.scripts {
        for mode in &arguments.modes {
            measure(&arguments, &targets, *script, mode)?;
        }
    }
    let mut agree = true;
    for target in &targets {
        agree &= balances(target).await?;
    }
    server.stop()?;
    Ok(agree)
}

fn measure(arguments: &Arguments, targets: &[Target], script: Script, mode: &str) -> Result<(), Failure> {
    let mut tps = vec![Vec::new(); targets.len()];
    for _ in 0..arguments.runs {
        for (target, tps) in targets.iter().zip(&mut tps) {
            let output = pgbench(
                &arguments.pgbench,
                &target.config,
                &[
                    "-n",
                    "-b",
                    &script.to_string(),
                    "-M",
                    mode,
                    "-c",
                    &arguments.clients.to_string(),
                    "-j",
                    &arguments.threads.to_string(),
                    "-T",
                    &arguments.seconds.to_string(),
                ],
            )?;
            let text = String::from_utf8_lossy(&output.stdout);
            tps.push(transactions_a_second(&text).ok_or_else(|| format!("no tps in {text}"))?);
        }
    }
    let medians: Vec<f64> = tps.into_iter().map(median).collect();
    let figures = targets.iter().zip(&medians).map(|(target, tps)| format!("{} {tps:.0} tps", target.name));
    let ratio = match medians[..] {
        [ours, theirs] => format!(", ratio {:.2}", ours / theirs),
        _ => String::new(),
    };
    println!("{script} -M {mode}: {}{ratio}", figures.collect::<Vec<_>>().join(", "));
    Ok(())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Of `tps = 1234.5 (without initial connection time)`.
fn transactions_a_second(output: &str) -> Option<f64> {
    let line = output.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

fn pgbench(program: &Path, config: &Config, arguments: &[&str]) -> Result<Output, Failure> {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "127.0.0.1".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let output = Command::new(program)
        .args(arguments)
        .args(["-h", &host, "-p", &port.to_string()])
        .args(["-U", config.get_user().unwrap_or("postgres")])
        .arg(config.get_dbname().unwrap_or("postgres"))
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("pgbench {}: {errors}", arguments.join(" ")).into());
    }
    Ok(output)
}

async fn balances(target: &Target) -> Result<bool, Failure> {
    let client = client::connect(&target.config).await?;
    let mut sums = Vec::new();
    for (table, column) in [
        ("pgbench_accounts", "abalance"),
        ("pgbench_history", "delta"),
        ("pgbench_tellers", "tbalance"),
        ("pgbench_branches", "bbalance"),
    ] {
        let sum = client::value(&client, &format!("SELECT sum({column}) FROM {table}")).await?;
        sums.push(sum.unwrap_or_else(|| "0".to_owned()));
    }
    let agree = matches!(&sums[..], [accounts, history, tellers, branches]
        if accounts == history && tellers == branches);
    println!(
        "{}: balances of accounts {}, history {}, tellers {}, branches {}: {}",
        target.name,
        sums[0],
        sums[1],
        sums[2],
        sums[3],
        if agree { "they agree" } else { "THEY DIFFER" }
    );
    Ok(agree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tps_is_read_from_the_report() {
        let report = "latency average = 0.1 ms\ntps = 1234.56 (without initial connection time)\n";
        assert_eq!(transactions_a_second(report), Some(1234.56));
        assert_eq!(transactions_a_second("nothing"), None);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
