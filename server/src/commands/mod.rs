//! Commands for data at rest: `cairn snapshot …`, `backup …`, `hashkv`, `defrag`, `migrate`, `check`,
//! `rebuild`.
//!
//! Names, flags and output are those of etcdutl, where it has such a command. The work itself is
//! `cairn_migrate`'s and `cairn_backup`'s. None of them talks to a member, but for `cairn gateway` and
//! `cairn grpc-proxy`, which stand in front of a cluster and have a command line of their own.

mod backup;
mod bar;
mod data;
mod gateway;
mod grpc_proxy;
mod in_front;
mod output;
mod snapshot;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::output::Format;
use crate::logging::Chain;

/// The words that a command line for data at rest begins with.
const AT_REST: [&str; 7] = [
    "snapshot", "backup", "hashkv", "defrag", "migrate", "check", "rebuild",
];
/// Those of one in front of a cluster. All other command lines are a member's.
const IN_FRONT: [&str; 2] = ["gateway", "grpc-proxy"];

/// Why a command failed.
type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// Commands for the data of members that do not run.
#[derive(Parser)]
#[command(name = "cairn", disable_help_subcommand = true)]
struct CommandLine {
    /// The output format
    #[arg(short, long, global = true, default_value = "simple")]
    write_out: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Looks at snapshot files, and makes data directories of them
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
    /// Looks at continuous backups, and gets states out of them
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Prints the hash of a database file's keys, by which members compare
    Hashkv {
        /// The file: a snapshot, or an etcd member's database
        filename: PathBuf,
        /// The revision; 0 is the last
        #[arg(long, default_value_t = 0)]
        rev: i64,
    },
    /// Gives free room in the database of a stopped member back to the file system
    Defrag(Place),
    /// Makes an etcd member's data directory Cairn's, or Cairn's etcd's; the old data are kept
    Migrate(data::MigrateArgs),
    /// Reads all of a stopped member's data, and says what is wrong where
    Check(Place),
    /// Gives a stopped member whose database is damaged the one of a snapshot of its cluster; its log,
    /// and so what it has promised, stays
    Rebuild(data::RebuildArgs),
}

/// What stands in front of a cluster.
#[derive(Parser)]
#[command(name = "cairn", disable_help_subcommand = true)]
enum InFrontLine {
    /// Passes connections on to the members of a cluster
    #[command(subcommand)]
    Gateway(gateway::GatewayCommand),
    /// Passes calls on to a cluster, and makes one watch of many equal ones
    #[command(subcommand)]
    GrpcProxy(grpc_proxy::GrpcProxyCommand),
}

/// Where a stopped member's data are.
#[derive(Args)]
struct Place {
    /// The data directory
    #[arg(long)]
    data_dir: PathBuf,
    /// The log's directory, if it is not in the data directory
    #[arg(long)]
    wal_dir: Option<PathBuf>,
}

/// Runs the command that this process was started with; none if it is to be a member.
#[must_use]
pub(crate) fn run_process() -> Option<ExitCode> {
    let first = std::env::args().nth(1)?;
    let mut text = String::new();
    let done = match first.as_str() {
        word if AT_REST.contains(&word) => {
            CommandLine::try_parse().map(|line| run(line, &mut text))
        }
        word if IN_FRONT.contains(&word) => InFrontLine::try_parse().map(InFrontLine::run),
        _ => return None,
    };
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            let _ = error.print();
            return Some(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)));
        }
    };
    // Whoever closed the pipe has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Some(match done {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    })
}

impl InFrontLine {
    /// Runs until a signal ends the process.
    fn run(self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Gateway(command) => command.run()?,
            Self::GrpcProxy(command) => command.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn run(line: CommandLine, text: &mut String) -> Result<ExitCode, CommandError> {
    let format = line.write_out;
    match line.command {
        Command::Snapshot(command) => command.run(format, text)?,
        Command::Backup(command) => command.run(text)?,
        Command::Hashkv { filename, rev } => snapshot::hash(&filename, rev, format, text)?,
        Command::Defrag(place) => data::defragment(&place, text)?,
        Command::Migrate(args) => data::migrate(&args, text)?,
        Command::Rebuild(args) => data::rebuild(&args, text)?,
        Command::Check(place) => return data::check(&place, text),
    }
    Ok(ExitCode::SUCCESS)
}
