//! A Cairn member's data directory as etcd's: the same member, cluster, keys, leases, users.
//!
//! The database becomes etcd's at the entry that it had applied, a `.snap` file says who the members
//! were then, and the log goes along with what it holds after that entry. One thing does not go along:
//! an entry about leases of Cairn's own kind that was not applied yet. After a stop in good order there
//! is none.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_backend::{Applied, Backend, BackendOptions, LmdbEngine, LmdbOptions};
use cairn_consensus::disk::{ReadOnlyDisk, RealDisk};
use cairn_consensus::{ConfState, LogCopy, LogHead, LogIndex, MemberId, NodeOptions};
use cairn_etcd_file::wal::{self, LogFile, SnapshotPoint};
use cairn_etcd_file::{self as etcd, HardState, Metadata, Snapshot, SnapshotMetadata, snap};
use cairn_replica::membership::Membership;

use crate::data_dir::{DataDir, Kind, create_private, sync};
use crate::entries;
use crate::error::Error;
use crate::mapping::StorageVersion;
use crate::place::{Place, Room};
use crate::progress::Progress;
use crate::snapshot::SnapshotPlan;
use crate::v2_store;

/// How much is written at once.
const WRITE_BYTES: usize = 1 << 20;

/// What a member that went back is.
#[derive(Clone, Debug)]
pub struct WentBack {
    /// What its database and log hold.
    pub head: LogHead,
    /// The last entry that is applied.
    pub applied: u64,
    /// The last entry of its log.
    pub last: u64,
    /// Where the old data are kept.
    pub kept: PathBuf,
}

/// A Cairn member's data, opened and found to belong together.
pub struct GoBack {
    place: Place,
    backend: Backend,
    log: LogCopy,
    membership: Membership,
    applied: Applied,
}

/// Opens a stopped Cairn member's data. `None` if they went back already, and only their old name was
/// left to be given.
///
/// # Errors
///
/// [`Error`]: the data are not Cairn's, are in use, are damaged, or do not belong together.
pub fn go_back(directory: &DataDir) -> Result<Option<GoBack>, Error> {
    let place = Place::new(directory, "cairn");
    if place.resume(Kind::Cairn)? {
        return Ok(None);
    }
    if directory.kind()? != Kind::Cairn {
        return Err(Error::Refused(format!(
            "{} is no Cairn member's data directory",
            directory.root().display()
        )));
    }
    let engine = LmdbEngine::open(&directory.snap(), LmdbOptions::default());
    let backend = Backend::open(engine.map_err(Error::database)?, BackendOptions::default());
    let backend = backend.map_err(Error::database)?;
    let view = backend.read().map_err(Error::database)?;
    let applied = Applied::read(&view).map_err(Error::database)?;
    let membership = Membership::restore(&view).map_err(Error::database)?;
    drop(view);
    let log = open_log(&directory.wal(), applied, membership.conf_state())?;
    Ok(Some(GoBack {
        place,
        backend,
        log,
        membership,
        applied,
    }))
}

/// The log that belongs to a database, which stays as it is.
pub(crate) fn open_log(
    directory: &Path,
    applied: Applied,
    conf_state: ConfState,
) -> Result<LogCopy, Error> {
    let disk = RealDisk::open(directory).map_err(Error::io(directory))?;
    let options = NodeOptions {
        applied: LogIndex::new(applied.index),
        conf_state,
        ..NodeOptions::default()
    };
    let disk = Arc::new(ReadOnlyDisk::of(Arc::new(disk)));
    Ok(LogCopy::open(disk, &options)?)
}

impl GoBack {
    /// How much room is needed.
    ///
    /// # Errors
    ///
    /// If the disk does not say.
    pub fn room(&self) -> Result<Room, Error> {
        self.place.room(self.backend.size())
    }

    /// Builds etcd's data and puts them in place. `version` is that of the etcd which will start on
    /// them; by default the one that members have agreed on.
    ///
    /// # Errors
    ///
    /// [`Error`]; then the old data are where they were.
    pub fn run(
        self,
        version: Option<StorageVersion>,
        progress: &mut dyn Progress,
    ) -> Result<WentBack, Error> {
        self.room()?.check()?;
        self.place.clear()?;
        let snap = self.place.building().join("snap");
        let wal = self.place.building().join("wal");
        create_private(&snap)?;
        create_private(&wal)?;
        self.write_database(&snap, version, progress)?;
        self.write_snapshot(&snap, version)?;
        let last = self.write_log(&wal, version)?;
        sync(&snap)?;
        sync(&wal)?;
        let Self {
            place,
            log,
            applied,
            backend,
            ..
        } = self;
        let head = log.head();
        place.swap()?;
        drop(backend);
        Ok(WentBack {
            head,
            applied: applied.index,
            last,
            kept: place.kept().to_owned(),
        })
    }

    fn write_database(
        &self,
        directory: &Path,
        version: Option<StorageVersion>,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let view = self.backend.read().map_err(Error::database)?;
        let plan = SnapshotPlan::of_version(&view, version)?;
        progress.begin("going back", plan.bytes());
        write_file(&directory.join("db"), |file| {
            let mut failed = Ok(());
            plan.write(|page| {
                progress.advance(page.len() as u64);
                file.write_all(page).map_err(|error| {
                    failed = Err(error);
                    crate::snapshot::Stopped
                })
            })?;
            failed.map_err(Error::io(directory))
        })
    }

    fn conf_state(&self) -> etcd::ConfState {
        let ids = |members: &[MemberId]| members.iter().map(|id| id.get()).collect();
        let ConfState {
            voters, learners, ..
        } = self.membership.conf_state();
        etcd::ConfState {
            voters: ids(&voters),
            learners: ids(&learners),
            auto_leave: Some(false),
            ..etcd::ConfState::default()
        }
    }

    fn write_snapshot(
        &self,
        directory: &Path,
        version: Option<StorageVersion>,
    ) -> Result<(), Error> {
        let Applied { index, term } = self.applied;
        let agreed = self.membership.version().map(str::to_owned);
        let version = version.map(|version| version.to_string()).or(agreed);
        let version = version.unwrap_or_else(|| StorageVersion::OURS.to_string());
        let removed = self.membership.removed().map(MemberId::get);
        let tree = v2_store::write(self.membership.iter(), removed, &version);
        let snapshot = Snapshot {
            data: Some(tree.into()),
            metadata: Some(SnapshotMetadata {
                conf_state: Some(self.conf_state()),
                index: Some(index),
                term: Some(term),
            }),
        };
        let path = directory.join(snap::file_name(term, index));
        write_file(&path, |file| {
            file.write_all(&snap::encode(&snapshot))
                .map_err(Error::io(&path))
        })
    }

    /// The last entry of the log.
    fn write_log(&self, directory: &Path, version: Option<StorageVersion>) -> Result<u64, Error> {
        let agreed = || self.membership.version().and_then(StorageVersion::parse);
        let version = version.or_else(agreed).unwrap_or(StorageVersion::OURS);
        let Applied { index, term } = self.applied;
        let head = self.log.head();
        let metadata = Metadata {
            member: Some(head.identity.member.get()),
            cluster: Some(head.identity.cluster.get()),
        };
        let path = directory.join(wal::file_name(0, 0));
        let mut next = LogIndex::new(index).next();
        write_file(&path, |file| {
            let failed = Error::io(&path);
            let mut log = LogFile::begin(file, metadata).map_err(&failed)?;
            log.snapshot(SnapshotPoint {
                index,
                term,
                conf_state: Some(self.conf_state()),
            })
            .map_err(&failed)?;
            loop {
                let entries = self.log.read(next)?;
                if entries.is_empty() {
                    break;
                }
                for entry in entries {
                    next = entry.index.next();
                    let entry = entries::outward(entry, version)?;
                    log.entry(&entry).map_err(&failed)?;
                }
            }
            log.hard_state(HardState {
                term: Some(head.term.get().max(term)),
                vote: Some(head.vote.map_or(0, MemberId::get)),
                commit: Some(head.commit.get().max(index)),
            })
            .map_err(&failed)
        })?;
        Ok(next.get() - 1)
    }
}

/// Writes a file that only its owner can read, durably.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Error>,
) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt;

    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io(path))?;
    let mut file = BufWriter::with_capacity(WRITE_BYTES, file);
    write(&mut file)?;
    let file = file
        .into_inner()
        .map_err(|error| Error::io(path)(error.into_error()))?;
    file.sync_all().map_err(Error::io(path))
}
