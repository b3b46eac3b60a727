//! `migrate`, `check`, `rebuild` and `defrag`: data directories of stopped members.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use cairn_backend::{Backend, BackendOptions, LmdbEngine, LmdbOptions};
use cairn_consensus::Fit;
use cairn_migrate::{DataDir, Kind, Moved, Rebuilt, Room, StorageVersion, WentBack};
use clap::{Args, ValueEnum};

use super::bar::Bar;
use super::{CommandError, Place};
use crate::logging::size::size;

#[derive(Args)]
pub(super) struct MigrateArgs {
    /// The data directory
    #[arg(long)]
    data_dir: PathBuf,
    /// The log's directory, if it is not in the data directory
    #[arg(long)]
    wal_dir: Option<PathBuf>,
    /// Whose it is to become
    #[arg(long, default_value = "cairn")]
    to: Target,
    /// With --to etcd: the version of the etcd that will start on it [default: what members have agreed
    /// on]
    #[arg(long)]
    target_version: Option<String>,
}

#[derive(Args)]
pub(super) struct RebuildArgs {
    #[command(flatten)]
    place: Place,
    /// The snapshot, which `etcdctl snapshot save` has got from another member of the cluster
    snapshot: PathBuf,
}

/// Whose a data directory is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    Cairn,
    Etcd,
}

impl Place {
    fn directory(&self) -> DataDir {
        DataDir::new(&self.data_dir, self.wal_dir.as_deref())
    }
}

pub(super) fn migrate(args: &MigrateArgs, text: &mut String) -> Result<(), CommandError> {
    let directory = DataDir::new(&args.data_dir, args.wal_dir.as_deref());
    let version = args.target_version.as_deref();
    let version = version.map(|version| {
        StorageVersion::parse(version)
            .filter(|version| *version <= StorageVersion::OURS)
            .ok_or_else(|| format!("{version} is no version of etcd that data can be made for"))
    });
    let version = version.transpose()?;
    match args.to {
        Target::Cairn if version.is_some() => {
            Err("--target-version goes with --to etcd alone".into())
        }
        Target::Cairn => move_in(&directory, text),
        Target::Etcd => go_back(&directory, version, text),
    }
}

fn move_in(directory: &DataDir, text: &mut String) -> Result<(), CommandError> {
    let Some(moving) = cairn_migrate::move_in(directory)? else {
        writeln!(
            text,
            "the data are Cairn's already; the old ones got their name"
        )?;
        return Ok(());
    };
    say_room(moving.room()?);
    let Moved {
        identity,
        revision,
        applied,
        last,
        kept,
        notices,
    } = moving.run(&mut Bar::default())?;
    writeln!(
        text,
        "{} is Cairn's now: member {} of cluster {}, revision {revision}, log entries {applied} applied \
         of {last}",
        directory.root().display(),
        identity.member,
        identity.cluster,
    )?;
    for notice in notices {
        writeln!(text, "note: {notice}")?;
    }
    writeln!(
        text,
        "etcd's data are kept in {}; delete them when all is well",
        kept.display()
    )?;
    Ok(())
}

fn go_back(
    directory: &DataDir,
    version: Option<StorageVersion>,
    text: &mut String,
) -> Result<(), CommandError> {
    let Some(going) = cairn_migrate::go_back(directory)? else {
        writeln!(
            text,
            "the data are etcd's already; the old ones got their name"
        )?;
        return Ok(());
    };
    say_room(going.room()?);
    let WentBack {
        head,
        applied,
        last,
        kept,
    } = going.run(version, &mut Bar::default())?;
    writeln!(
        text,
        "{} is etcd's now: member {} of cluster {}, log entries {applied} applied of {last}",
        directory.root().display(),
        head.identity.member,
        head.identity.cluster,
    )?;
    writeln!(
        text,
        "Cairn's data are kept in {}; delete them when all is well",
        kept.display()
    )?;
    Ok(())
}

fn say_room(room: Room) {
    let _ = writeln!(
        std::io::stderr(),
        "about {} of disk are needed, {} are free",
        size(room.needed_bytes),
        size(room.available_bytes)
    );
}

pub(super) fn check(place: &Place, text: &mut String) -> Result<ExitCode, CommandError> {
    let findings = cairn_migrate::check(&place.directory(), &mut Bar::default())?;
    for finding in &findings {
        writeln!(text, "{}: {}", finding.place, finding.what)?;
    }
    if findings.is_empty() {
        writeln!(text, "{} is whole", place.data_dir.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

pub(super) fn rebuild(args: &RebuildArgs, text: &mut String) -> Result<(), CommandError> {
    let directory = args.place.directory();
    let Rebuilt {
        identity,
        applied,
        fit,
        revision,
        kept,
    } = cairn_migrate::rebuild(&directory, &args.snapshot, &mut Bar::default())?;
    let log = match fit {
        Fit::Within => "its log goes on from there",
        Fit::Beyond => "its log begins there",
    };
    writeln!(
        text,
        "{} has a new database: member {} of cluster {}, revision {revision}, log entry {applied}; {log}",
        directory.root().display(),
        identity.member,
        identity.cluster,
    )?;
    if let Some(kept) = kept {
        writeln!(
            text,
            "the old one is kept in {}; delete it when all is well",
            kept.display()
        )?;
    }
    Ok(())
}

pub(super) fn defragment(place: &Place, text: &mut String) -> Result<(), CommandError> {
    let directory = place.directory();
    if directory.kind()? != Kind::Cairn {
        let path = place.data_dir.display();
        return Err(format!("{path} is no Cairn member's data directory").into());
    }
    let began = Instant::now();
    let engine = LmdbEngine::open(&directory.snap(), LmdbOptions::default())?;
    let backend = Backend::open(engine, BackendOptions::default())?;
    let before = backend.size();
    backend.defragment()?;
    writeln!(
        text,
        "Finished defragmenting directory {}: {} were {}. took {:?}",
        place.data_dir.display(),
        size(backend.size()),
        size(before),
        began.elapsed()
    )?;
    Ok(())
}
