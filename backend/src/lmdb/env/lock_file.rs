//! LMDB's lock file, which needs no disk.
//!
//! LMDB makes its lock file longer and writes it through a map. On a full disk that is the end of
//! the process (SIGBUS), and a member must start, defragment and receive on a full disk as far as
//! can be. Only this process uses the file, and only as long as it is open, so it is memory: a
//! link with its name leads LMDB there. Where that cannot be had, it is a file, with its space
//! allocated before LMDB opens it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, MemfdFlags};

use crate::error::OpenError;

/// More than the table of the most readers takes: LMDB uses what is there.
const FILE_BYTES: u64 = 1 << 20;

/// A lock file, from before LMDB opens it until after.
pub(super) struct LockFile {
    path: PathBuf,
    _memory: Option<OwnedFd>,
}

impl LockFile {
    /// Puts one beside the database at `database`, where a crash may have left an older one.
    pub(super) fn place(database: &Path) -> Result<Self, OpenError> {
        let mut path = database.to_owned().into_os_string();
        path.push("-lock");
        let path = PathBuf::from(path);
        let error = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(error(source)),
            _ => {}
        }
        let memory = in_memory(&path);
        if memory.is_none() {
            on_disk(&path).map_err(error)?;
        }
        Ok(Self {
            path,
            _memory: memory,
        })
    }

    /// Takes the name away: it lives on as long as it is open, and would only be left over.
    pub(super) fn unlink(self) -> Result<(), OpenError> {
        fs::remove_file(&self.path).map_err(|source| OpenError::Io {
            path: self.path,
            source,
        })
    }
}

/// A file in memory that can be opened at `path`; none if the system has no such thing.
fn in_memory(path: &Path) -> Option<OwnedFd> {
    let memory = rustix::fs::memfd_create("db-lock", MemfdFlags::CLOEXEC).ok()?;
    let target = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
    if !target.exists() {
        return None;
    }
    std::os::unix::fs::symlink(target, path).ok()?;
    Some(memory)
}

fn on_disk(path: &Path) -> io::Result<()> {
    let file = File::create_new(path)?;
    let allocated = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES);
    match allocated {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(error.into())
        }
    }
}
