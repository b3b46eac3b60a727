//! `backup ls`, `backup get`, `backup verify`, and what `snapshot restore --from` takes out of a backup.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cairn_backup::{Base, Catalog, Key, Replayed, Stop, Target, clusters, replay_any, verify};
use cairn_consensus::ClusterId;
use cairn_object_store::AddressedStore;
use clap::{Args, Subcommand};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::CommandError;
use super::bar::Bar;
use crate::logging::size::size;

#[derive(Subcommand)]
pub(super) enum BackupCommand {
    /// Lists what can be restored: each whole database, and how far one gets from it
    Ls(Source),
    /// Writes the state at a revision or time as a snapshot file
    Get {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        moment: Moment,
        /// The file to write
        filename: PathBuf,
    },
    /// Reads all of a backup, replays it, and compares hashes
    Verify {
        #[command(flatten)]
        source: Source,
        /// Where databases are built meanwhile [default: the directory for temporary files]
        #[arg(long)]
        scratch: Option<PathBuf>,
    },
}

/// Where a backup is.
#[derive(Args)]
pub(super) struct Source {
    /// The backup: file:///directory, s3://bucket/path, gs://bucket/path or az://container/path
    #[arg(long)]
    from: String,
    #[command(flatten)]
    access: Access,
}

/// How to get at a backup.
#[derive(Args)]
pub(super) struct Access {
    /// The address of a store that speaks S3 and is not Amazon's
    #[arg(long)]
    endpoint: Option<String>,
    /// The file with the key that the backup is encrypted with
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// The ID of the cluster, if there are backups of several
    #[arg(long)]
    cluster: Option<String>,
}

/// Which state is meant.
#[derive(Args)]
pub(super) struct Moment {
    /// The last state with this revision [default: the last state there is]
    #[arg(long, conflicts_with = "time")]
    revision: Option<u64>,
    /// The last state at this time, as in 2026-01-31T12:00:00Z
    #[arg(long)]
    time: Option<String>,
}

impl Moment {
    pub(super) const fn is_given(&self) -> bool {
        self.revision.is_some() || self.time.is_some()
    }

    fn target(&self) -> Result<Target, CommandError> {
        match (self.revision, &self.time) {
            (Some(revision), _) => Ok(Target::Revision(revision)),
            (None, None) => Ok(Target::Latest),
            (None, Some(text)) => {
                let time = OffsetDateTime::parse(text, &Rfc3339);
                let time = time.map_err(|error| format!("--time {text}: {error}"))?;
                let millis = time.unix_timestamp_nanos() / 1_000_000;
                Ok(Target::Time(u64::try_from(millis)?))
            }
        }
    }
}

/// A backup that is read.
struct Opened {
    store: AddressedStore,
    catalog: Catalog,
    key: Option<Key>,
}

impl Opened {
    fn open(from: &str, access: &Access) -> Result<Self, CommandError> {
        let store = AddressedStore::open(from, access.endpoint.as_deref(), std::env::vars())?;
        let key = match &access.key_file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                Some(Key::parse(&text)?)
            }
        };
        let cluster = match &access.cluster {
            Some(id) => ClusterId::new(u64::from_str_radix(id, 16)?),
            None => only_cluster(from, &store)?,
        };
        let catalog = Catalog::read(&store, cluster, key.as_ref())?;
        if catalog.bases().is_empty() {
            return Err(format!("{from} holds no whole database of cluster {cluster}").into());
        }
        Ok(Self {
            store,
            catalog,
            key,
        })
    }
}

fn only_cluster(from: &str, store: &AddressedStore) -> Result<ClusterId, CommandError> {
    let all = clusters(store)?;
    match all.as_slice() {
        [] => Err(format!("{from} holds no backup").into()),
        [one] => Ok(*one),
        several => {
            let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(format!(
                "{from} holds several clusters' backups: name one of {} with --cluster",
                ids.join(", ")
            )
            .into())
        }
    }
}

impl BackupCommand {
    pub(super) fn run(self, text: &mut String) -> Result<(), CommandError> {
        match self {
            Self::Ls(source) => list(&source, text),
            Self::Get {
                source,
                moment,
                filename,
            } => {
                let directory = parent(&filename);
                let got = get(&source.from, &source.access, &moment, &directory, &filename)?;
                writeln!(text, "{} is {}", filename.display(), shown(&got))?;
                Ok(())
            }
            Self::Verify { source, scratch } => verify_all(&source, scratch.as_deref(), text),
        }
    }
}

/// The directory that a file is in.
pub(super) fn parent(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new(".")).to_owned()
}

/// What was got out of a backup.
pub(super) struct Got {
    revision: u64,
    time_ms: u64,
    stop: Stop,
}

/// Writes the state at a moment as a snapshot file; databases are built in `directory` meanwhile.
pub(super) fn get(
    from: &str,
    access: &Access,
    moment: &Moment,
    directory: &Path,
    filename: &Path,
) -> Result<Got, CommandError> {
    let target = moment.target()?;
    let opened = Opened::open(from, access)?;
    let scratch = TempDir::with_prefix_in(".cairn-backup-", directory)?;
    let replayed: Replayed = replay_any(
        &opened.store,
        &opened.catalog,
        opened.key.as_ref(),
        target,
        scratch.path(),
        &mut Bar::default(),
    )?;
    replayed.write_snapshot(filename)?;
    Ok(Got {
        revision: replayed.revision(),
        time_ms: replayed.time_ms(),
        stop: replayed.stop,
    })
}

/// What was got, for people.
pub(super) fn shown(got: &Got) -> String {
    let Got {
        revision,
        time_ms,
        stop,
    } = got;
    let time = timestamp(*time_ms);
    let how = match stop {
        Stop::Target => "",
        Stop::End => ", the last in the backup",
        Stop::Timeline => ", the last before the backup was interrupted",
    };
    format!("the state at revision {revision}, last written at {time}{how}")
}

fn timestamp(ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    let time = time.ok().and_then(|time| time.format(&Rfc3339).ok());
    time.unwrap_or_else(|| format!("{ms} ms after 1970"))
}

fn list(source: &Source, text: &mut String) -> Result<(), CommandError> {
    let Opened {
        store,
        catalog,
        key,
    } = Opened::open(&source.from, &source.access)?;
    let mut last: Option<&Base> = None;
    for base in catalog.bases() {
        if last.is_some_and(|last| last.timeline() != base.timeline()) {
            writeln!(
                text,
                "-- begun anew: what came between is not in the backup, or the cluster was restored"
            )?;
        }
        let reach = catalog.reach(&store, base, key.as_ref())?;
        writeln!(
            text,
            "revisions {} to {}, {} to {}, from a database of {}",
            base.revision(),
            reach.revision,
            timestamp(base.time_ms()),
            timestamp(reach.time_ms),
            size(base.bytes()),
        )?;
        last = Some(base);
    }
    Ok(())
}

fn verify_all(
    source: &Source,
    scratch: Option<&Path>,
    text: &mut String,
) -> Result<(), CommandError> {
    let Opened {
        store,
        catalog,
        key,
    } = Opened::open(&source.from, &source.access)?;
    let directory = scratch.map_or_else(std::env::temp_dir, Path::to_owned);
    let scratch = TempDir::with_prefix_in(".cairn-backup-", directory)?;
    let mut told = Ok(());
    let mut tell = |found: cairn_backup::Verified| {
        let compared = match (found.compared, found.stop) {
            (true, _) => "as the next database has it",
            (false, Stop::Timeline) => "where the backup was interrupted",
            (false, Stop::Target | Stop::End) => "the end of the backup",
        };
        let line = writeln!(
            text,
            "revisions {} to {}: replayed, HashKV {} at the last, {compared}",
            found.from, found.to, found.hash
        );
        if line.is_err() {
            told = line;
        }
    };
    verify(
        &store,
        &catalog,
        key.as_ref(),
        scratch.path(),
        &mut Bar::default(),
        &mut tell,
    )?;
    told?;
    writeln!(text, "{} is whole", source.from)?;
    Ok(())
}
