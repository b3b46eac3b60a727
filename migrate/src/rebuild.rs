//! A new database for a member that has lost its own, but not its log.
//!
//! A snapshot of any member is the state after some log entry, and the member's own would have been the
//! same there. Log and promises stay the member's: it forgets nothing, so it is the same member afterwards.
//! The new database is built beside the old one; when it is whole, the log is told where it stands, and the
//! two change names.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_backend::Applied;
use cairn_consensus::disk::{Disk, RealDisk};
use cairn_consensus::wal::WalOptions;
use cairn_consensus::{Fit, Identity, LogIndex, SnapshotPoint, Term, adopt_state, fit_state};
use cairn_mvcc::{Revision, Store};
use cairn_replica::membership::Membership;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::data_dir::{DataDir, sync};
use crate::error::Error;
use crate::etcd_database::EtcdDatabase;
use crate::load::load;
use crate::mapping::{INDEX_KEY, TERM_KEY};
use crate::progress::Progress;

/// What the new database's directory is called until it is whole.
const UNFINISHED: &str = "snap.rebuilding";
/// What the old one's is called from then on.
const KEPT: &str = "snap.damaged";

/// A member with a new database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Who it is.
    pub identity: Identity,
    /// The last log entry in the database.
    pub applied: u64,
    /// Whether the member's log goes on from there; if not, it begins there now.
    pub fit: Fit,
    /// The revision of the store.
    pub revision: Revision,
    /// Where the old database is, if there was one.
    pub kept: Option<PathBuf>,
}

/// Gives a stopped member the database that a snapshot of its cluster has. If this is cut short, it is
/// to be run again.
///
/// # Errors
///
/// [`Error`]; the old database is then where it was.
pub fn rebuild(
    directory: &DataDir,
    snapshot: &Path,
    progress: &mut dyn Progress,
) -> Result<Rebuilt, Error> {
    let places = Places::of(directory);
    let _locks = places.lock()?;
    let disk: Arc<dyn Disk> =
        Arc::new(RealDisk::open(&places.log).map_err(Error::io(&places.log))?);
    let file = EtcdDatabase::open(snapshot)?;
    file.verify_checksum()?;
    let applied = applied(&file)?;
    let (index, term) = (LogIndex::new(applied.index), Term::new(applied.term));
    let options = WalOptions::default();
    let (identity, _) = fit_state(Arc::clone(&disk), options, index, term)?;
    let store = places.fill(snapshot, progress)?;
    let members = members(&store, identity)?;
    let revision = store.current();
    drop(store);
    let point = SnapshotPoint {
        index,
        term,
        conf_state: members.conf_state(),
    };
    sync(&places.building)?;
    sync(&places.member)?;
    let fit = adopt_state(disk, options, &point)?;
    let kept = places.swap()?;
    Ok(Rebuilt {
        identity,
        applied: applied.index,
        fit,
        revision,
        kept,
    })
}

/// The log entry after which a snapshot was made.
fn applied(file: &EtcdDatabase) -> Result<Applied, Error> {
    let number = |key| {
        let stored = file.meta_number(key)?;
        stored.ok_or_else(|| {
            Error::Refused(format!(
                "{} does not say after which log entry it was made",
                file.path().display()
            ))
        })
    };
    Ok(Applied {
        index: number(INDEX_KEY)?,
        term: number(TERM_KEY)?,
    })
}

/// The members that a database knows, of whom the log's owner must be one.
fn members(store: &Store, identity: Identity) -> Result<Membership, Error> {
    let view = store.backend().read().map_err(Error::database)?;
    let members = Membership::restore(&view).map_err(Error::database)?;
    if members.get(identity.member).is_some() {
        return Ok(members);
    }
    Err(Error::Refused(format!(
        "the snapshot is of a cluster that member {} is not in",
        identity.member
    )))
}

/// Where everything is.
struct Places {
    member: PathBuf,
    snap: PathBuf,
    log: PathBuf,
    building: PathBuf,
    kept: PathBuf,
}

impl Places {
    fn of(directory: &DataDir) -> Self {
        let member = directory.member();
        Self {
            snap: directory.snap(),
            log: directory.wal(),
            building: member.join(UNFINISHED),
            kept: member.join(KEPT),
            member,
        }
    }

    /// Keeps servers away, and whoever else works on the database.
    fn lock(&self) -> Result<Vec<File>, Error> {
        if !self.log.is_dir() || !self.member.is_dir() {
            return Err(Error::Refused(format!(
                "there is no log in {}: a member without one has forgotten what it promised, and is to be \
                 removed and added anew",
                self.log.display()
            )));
        }
        if self.kept.exists() {
            return Err(Error::Refused(format!(
                "{} is there from an earlier time: move it away first",
                self.kept.display()
            )));
        }
        let lock_path = self.member.join("lock");
        let lock = File::options().create(true).append(true).open(&lock_path);
        let mut locks = vec![(lock.map_err(Error::io(&lock_path))?, lock_path)];
        if self.snap.is_dir() {
            let opened = File::open(&self.snap).map_err(Error::io(&self.snap))?;
            locks.push((opened, self.snap.clone()));
        }
        let lock = |(file, path): (File, PathBuf)| match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::Refused(format!(
                "{} is in use: stop its member first",
                self.member.display()
            ))),
            Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
        };
        locks.into_iter().map(lock).collect()
    }

    /// Builds the database: all that the snapshot says, also of members and of where in the log it is.
    fn fill(&self, snapshot: &Path, progress: &mut dyn Progress) -> Result<Store, Error> {
        if self.building.exists() {
            fs::remove_dir_all(&self.building).map_err(Error::io(&self.building))?;
        }
        load(snapshot, &self.building, progress)
    }

    /// Gives the new database's directory its name; where the old one is.
    fn swap(&self) -> Result<Option<PathBuf>, Error> {
        let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(Error::io(to));
        if !self.snap.exists() {
            rename(&self.building, &self.snap)?;
            sync(&self.member)?;
            return Ok(None);
        }
        let flags = RenameFlags::EXCHANGE;
        if renameat_with(CWD, &self.building, CWD, &self.snap, flags).is_ok() {
            sync(&self.member)?;
            rename(&self.building, &self.kept)?;
        } else {
            rename(&self.snap, &self.kept)?;
            rename(&self.building, &self.snap)?;
        }
        sync(&self.member)?;
        Ok(Some(self.kept.clone()))
    }
}
