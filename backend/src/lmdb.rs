//! The engine on disk: one LMDB file.
//!
//! The file is `db` in a directory that one process at a time may use: the directory itself is
//! locked (`flock`), and LMDB's own lock file, which only tells processes apart, is unlinked as
//! soon as it is open. Temporary files are named `db.` and something; they are removed at opening,
//! but for databases that were received whole (`received.rs`).
//!
//! A defragmentation or an installation puts a new file in the place of the old one while both are
//! open, so what is open is not known by the name `db`: a new file is opened under a name of its own
//! and renamed while open. A defragmentation replaces the file of an engine; an installation also the
//! engine, which ends what works on the old one.
//!
//! Locks are taken in the order `defragmenting`, `committed`, `received`; nobody waits for the first
//! but another defragmentation.

mod check;
mod defragment;
mod env;
mod memory_signals;
mod received;

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::applied::Applied;
use crate::buffer::Buffer;
use crate::damaged_row::DamagedRow;
use crate::engine::{Engine, EngineSize, EngineSnapshot, Incoming};
use crate::error::{
    CommitError, DefragmentError, InstallError, OpenError, ReadError, ReceiveError,
};
use crate::lmdb::defragment::Changes;
use crate::lmdb::received::Received;

pub(crate) use env::Env;

pub use check::{CheckError, CheckReport, Damage, check};
pub use memory_signals::tell_memory_signals;

/// The name of the database file.
const FILE_NAME: &str = "db";

/// The address space to reserve for the map unless told otherwise: more than a database will have.
/// It costs nothing until it is used; where the system refuses, less is taken, and grown later.
const MAP_BYTES: usize = 1 << 40;

/// Some 20 ms of work: short enough to pin few pages and to note few changes.
const DEFRAGMENT_PIECE_BYTES: usize = 8 * 1024 * 1024;

/// With less than this free, a write that was cut short was so for want of space: a batch of a few
/// changes may write as much.
const FULL_BYTES: u64 = 1 << 20;

/// Told of a damaged row by whoever finds it, before the error is returned.
#[derive(Clone)]
pub struct DamageHook(Arc<dyn Fn(&DamagedRow) + Send + Sync>);

impl DamageHook {
    /// A hook that calls `tell`.
    pub fn new(tell: impl Fn(&DamagedRow) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl std::fmt::Debug for DamageHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DamageHook").finish_non_exhaustive()
    }
}

/// How an LMDB file is opened.
#[derive(Clone, Debug)]
pub struct LmdbOptions {
    /// The address space to reserve, in bytes; it grows with the database. Rounded up to a page.
    pub map_bytes: usize,
    /// How many snapshots may be open at once.
    pub readers_max: u32,
    /// How much a defragmentation copies between two looks at what was written meanwhile.
    pub defragment_piece_bytes: usize,
    /// Whether the rows of a file that is made have checksums. One that is there stays as it is:
    /// without them it is one of before there were any.
    pub row_checksums: bool,
    /// Told of damage, so that the process can be stopped.
    pub on_damage: Option<DamageHook>,
}

impl Default for LmdbOptions {
    fn default() -> Self {
        Self {
            map_bytes: MAP_BYTES,
            readers_max: 4096,
            defragment_piece_bytes: DEFRAGMENT_PIECE_BYTES,
            row_checksums: true,
            on_damage: None,
        }
    }
}

/// The engine on disk.
///
/// Invariant: whoever renames a file to `db` holds the lock of `committed` of the engine whose file
/// has that name, and that engine is not retired.
#[derive(Debug)]
pub struct LmdbEngine {
    directory: Arc<Directory>,
    options: LmdbOptions,
    /// The open file; replaced by a defragmentation, under the lock of `committed`.
    current: ArcSwap<Env>,
    /// Serialises commits, what they tell a running defragmentation, and whose the name `db` is.
    committed: Mutex<Changes>,
    /// Held by the one defragmentation.
    defragmenting: Mutex<()>,
    /// What may take the place of the file.
    received: Arc<Received>,
}

impl LmdbEngine {
    /// Opens the database in `directory`, or makes one there.
    ///
    /// # Errors
    ///
    /// If the directory is in use or cannot be used, or the file is not a whole database.
    pub fn open(directory: &Path, options: LmdbOptions) -> Result<Self, OpenError> {
        let directory = Arc::new(Directory::lock(directory)?);
        directory.remove_leftovers()?;
        let received = Received::find(&directory, &options)?;
        let current = Env::open(&directory, &directory.file(), &options)?;
        directory.sync().map_err(|source| directory.error(source))?;
        Ok(Self::over(
            Arc::new(current),
            directory,
            options,
            Arc::new(received),
        ))
    }

    fn over(
        current: Arc<Env>,
        directory: Arc<Directory>,
        options: LmdbOptions,
        received: Arc<Received>,
    ) -> Self {
        Self {
            directory,
            options,
            current: ArcSwap::new(current),
            committed: Mutex::default(),
            defragmenting: Mutex::default(),
            received,
        }
    }
}

impl Engine for LmdbEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>, ReadError> {
        Ok(Box::new(self.current.load_full().snapshot()?))
    }

    fn commit(&self, batch: &Buffer) -> Result<(), CommitError> {
        let mut committed = self.committed.lock();
        let written = self.current.load().write(|txn| txn.apply(batch));
        written.map_err(|error| self.directory.explain(error))?;
        committed.note(batch);
        Ok(())
    }

    fn size(&self) -> Result<EngineSize, ReadError> {
        self.current.load_full().size()
    }

    fn defragment(&self) -> Result<(), DefragmentError> {
        defragment::run(self)
    }

    fn receive(&self) -> Result<Box<dyn Incoming>, ReceiveError> {
        Ok(Box::new(self.received.begin()?))
    }

    fn received(&self) -> Vec<Applied> {
        self.received.list()
    }

    fn read_received(
        &self,
        applied: Applied,
    ) -> Result<Option<Box<dyn EngineSnapshot>>, OpenError> {
        let Some(env) = self.received.open(applied)? else {
            return Ok(None);
        };
        Ok(Some(Box::new(env.snapshot().map_err(OpenError::Read)?)))
    }

    fn install(&self, applied: Applied) -> Result<Arc<dyn Engine>, InstallError> {
        let mut committed = self.committed.lock();
        let env = self.received.install(applied, || committed.retire())?;
        Ok(Arc::new(Self::over(
            env,
            Arc::clone(&self.directory),
            self.options.clone(),
            Arc::clone(&self.received),
        )))
    }

    fn discard_received(&self, applied: Applied) -> Result<(), OpenError> {
        self.received.discard(applied)
    }
}

/// The locked directory of a database.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// Locked as long as it is open.
    handle: File,
    /// Numbers temporary files.
    temporary_files: AtomicU64,
}

impl Directory {
    fn lock(path: &Path) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        let path = path.canonicalize().map_err(io_error)?;
        let handle = File::open(&path).map_err(io_error)?;
        match handle.try_lock() {
            Ok(()) => Ok(Self {
                path,
                handle,
                temporary_files: AtomicU64::new(0),
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { directory: path }),
            Err(TryLockError::Error(source)) => Err(io_error(source)),
        }
    }

    /// The database file.
    fn file(&self) -> PathBuf {
        self.path.join(FILE_NAME)
    }

    /// A name that no other file of this process has.
    fn temporary_file(&self, purpose: &str) -> PathBuf {
        let number = self.temporary_files.fetch_add(1, Ordering::Relaxed);
        self.path.join(format!("{FILE_NAME}.{purpose}-{number}"))
    }

    /// Removes the temporary files of a process that crashed.
    fn remove_leftovers(&self) -> Result<(), OpenError> {
        for name in self.names()? {
            if [defragment::PURPOSE, received::PURPOSE]
                .iter()
                .any(|purpose| name.starts_with(&format!("{FILE_NAME}.{purpose}-")))
            {
                self.remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }

    /// The names in the directory.
    fn names(&self) -> Result<Vec<String>, OpenError> {
        let entries = fs::read_dir(&self.path).map_err(|source| self.error(source))?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()
            .map_err(|source| self.error(source))
    }

    fn remove(&self, path: &Path) -> Result<(), OpenError> {
        fs::remove_file(path).map_err(|source| OpenError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// Makes the names in the directory durable.
    fn sync(&self) -> std::io::Result<()> {
        self.handle.sync_all()
    }

    /// Makes durable that another file has the database's name.
    fn sync_swapped(&self) -> Result<(), CommitError> {
        self.sync().map_err(|source| CommitError::Swap {
            path: self.file(),
            source,
        })
    }

    /// Tells a full file system from other failures of a commit.
    ///
    /// LMDB writes the pages of a transaction before the one that says where they are, so one that
    /// could not be written is as if it had never begun. It reports a write that was cut short for
    /// want of space as any I/O error.
    fn explain(&self, error: CommitError) -> CommitError {
        let CommitError::Lmdb {
            path,
            source: heed::Error::Io(source),
        } = error
        else {
            return error;
        };
        let available = rustix::fs::fstatvfs(&self.handle);
        let available_bytes = available.map_or(u64::MAX, |fs| fs.f_bavail * fs.f_frsize);
        let is_full = match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => true,
            _ => {
                source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
                    && available_bytes < FULL_BYTES
            }
        };
        if is_full {
            CommitError::NoSpace {
                path,
                available_bytes,
                source,
            }
        } else {
            CommitError::Lmdb {
                path,
                source: heed::Error::Io(source),
            }
        }
    }

    fn error(&self, source: std::io::Error) -> OpenError {
        OpenError::Io {
            path: self.path.clone(),
            source,
        }
    }
}
