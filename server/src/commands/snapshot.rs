//! `snapshot status`, `snapshot restore` and `hashkv`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use cairn_migrate::{BumpRevision, DataDir, NewMember};
use clap::{Args, Subcommand};
use tempfile::TempDir;

use super::CommandError;
use super::backup::{self, parent};
use super::bar::Bar;
use super::output::{Field, Format, print};
use crate::logging::size::size;
use crate::settings::{self, FirstStart, Invocation};
use crate::start::first_members;

#[derive(Subcommand)]
pub(super) enum SnapshotCommand {
    /// Checks all of a snapshot file, and prints what is in it
    Status {
        /// The file
        filename: PathBuf,
    },
    /// Makes a data directory of a snapshot file: of one member of a new cluster
    Restore(Box<RestoreArgs>),
}

#[derive(Args)]
pub(super) struct RestoreArgs {
    /// The file: etcd's, of 3.4 to 3.7, or Cairn's
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    filename: Option<PathBuf>,
    /// A continuous backup instead of a file: file:///directory, s3://bucket/path, gs://bucket/path or
    /// az://container/path
    #[arg(long)]
    from: Option<String>,
    #[command(flatten)]
    access: backup::Access,
    #[command(flatten)]
    moment: backup::Moment,
    /// The data directory to make [default: NAME.etcd]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The directory of the log, if it is not to be in the data directory
    #[arg(long)]
    wal_dir: Option<PathBuf>,
    /// The name of this member
    #[arg(long, default_value = "default")]
    name: String,
    /// All members of the new cluster
    #[arg(long, default_value = "")]
    initial_cluster: String,
    /// The token of the new cluster
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Where other members reach this one
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// Takes a file without a checksum behind it, such as one copied from a data directory
    #[arg(long)]
    skip_hash_check: bool,
    /// By how much to raise the revision, so that clients never see it go back
    #[arg(long, default_value_t = 0)]
    bump_revision: u64,
    /// Marks all before the raised revision as compacted, so that watchers begin anew (required with
    /// --bump-revision, disallowed without)
    #[arg(long)]
    mark_compacted: bool,
}

impl SnapshotCommand {
    pub(super) fn run(self, format: Format, text: &mut String) -> Result<(), CommandError> {
        match self {
            Self::Status { filename } => status(&filename, format, text),
            Self::Restore(args) => restore(&args, text),
        }
    }
}

fn status(path: &Path, format: Format, text: &mut String) -> Result<(), CommandError> {
    let status = cairn_migrate::snapshot_status(path, &mut Bar::default())?;
    let shown = |column, name, shown, value: String| Field {
        column,
        name,
        shown,
        value,
    };
    let bytes = status.total_bytes;
    let fields = [
        shown(
            "HASH",
            "Hash",
            format!("{:x}", status.hash),
            status.hash.to_string(),
        ),
        Field::plain("REVISION", "Revision", status.revision),
        Field::plain("TOTAL KEYS", "Keys", status.total_keys),
        shown("TOTAL SIZE", "Size", size(bytes), bytes.to_string()),
        Field::plain("VERSION", "Version", &status.version),
    ];
    print(format, &status, &fields, text)
}

/// `hashkv`.
pub(super) fn hash(
    path: &Path,
    revision: i64,
    format: Format,
    text: &mut String,
) -> Result<(), CommandError> {
    let hash = cairn_migrate::hash_kv(path, revision, &mut Bar::default())?;
    let fields = [
        Field::plain("HASH", "Hash", hash.hash),
        Field::plain("HASH REVISION", "Hash revision", hash.revision),
        Field::plain("COMPACT REVISION", "Compact revision", hash.compacted),
    ];
    print(format, &hash, &fields, text)
}

fn restore(args: &RestoreArgs, text: &mut String) -> Result<(), CommandError> {
    if args.mark_compacted != (args.bump_revision > 0) {
        return Err(
            "--mark-compacted required if --bump-revision > 0, disallowed otherwise".into(),
        );
    }
    let member = new_member(args)?;
    let data_dir = args.data_dir.clone();
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(format!("{}.etcd", args.name)));
    let directory = DataDir::new(&data_dir, args.wal_dir.as_deref());
    let bump = Some(args.bump_revision).filter(|by| *by > 0);
    let (filename, _scratch) = snapshot_file(args, &data_dir, text)?;
    let restored = cairn_migrate::restore(
        &filename,
        &directory,
        &member,
        bump.map(BumpRevision),
        args.skip_hash_check,
        &mut Bar::default(),
    )?;
    writeln!(
        text,
        "restored {} keys at revision {} into {}, as member {} of cluster {}",
        restored.keys,
        restored.revision.to_wire(),
        data_dir.display(),
        member.identity.member,
        member.identity.cluster
    )?;
    if bump.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "Clients that watch, or remember revisions (as Kubernetes' do), must not see the revision \
             go back: consider --bump-revision 1000000000 --mark-compacted."
        );
    }
    Ok(())
}

/// The file to restore: the one that is named, or one that is made of a backup for as long as what comes
/// with it is kept.
fn snapshot_file(
    args: &RestoreArgs,
    data_dir: &Path,
    text: &mut String,
) -> Result<(PathBuf, Option<TempDir>), CommandError> {
    let Some(from) = &args.from else {
        if args.moment.is_given() {
            return Err("--revision and --time go with --from".into());
        }
        let named = args.filename.clone().ok_or("no file is named")?;
        return Ok((named, None));
    };
    let scratch = TempDir::with_prefix_in(".cairn-restore-", parent(data_dir))?;
    let filename = scratch.path().join("snapshot.db");
    let got = backup::get(from, &args.access, &args.moment, scratch.path(), &filename)?;
    writeln!(text, "{from}: {}", backup::shown(&got))?;
    Ok((filename, Some(scratch)))
}

/// The member that the flags name; judged as a first start's flags are.
fn new_member(args: &RestoreArgs) -> Result<NewMember, CommandError> {
    let flags = [
        ("name", &args.name),
        ("initial-cluster", &args.initial_cluster),
        ("initial-cluster-token", &args.initial_cluster_token),
        (
            "initial-advertise-peer-urls",
            &args.initial_advertise_peer_urls,
        ),
    ];
    let flags: Vec<_> = flags
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("--{name}={value}"))
        .collect();
    let no_file = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let Invocation::Serve(settings) = settings::read(&flags, &[], no_file)? else {
        return Err("these flags are no member's".into());
    };
    let FirstStart::New(cluster) = settings.first_start()? else {
        return Err("a snapshot is restored into a new cluster".into());
    };
    let (identity, members) = first_members(&cluster);
    Ok(NewMember { identity, members })
}
