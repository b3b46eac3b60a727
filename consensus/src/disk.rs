//! The disk as the log needs it: one flat directory of named files.
//!
//! The log never touches a file system itself. [`RealDisk`] is a directory; [`FaultDisk`] is memory
//! that tears, loses and refuses writes, from a seed. What the log assumes of either is written at
//! [`Disk`] and [`DiskFile`]; there is no append, no truncation and no metadata here, because the
//! log uses none.

mod fault;
mod read_only;
mod real;

use std::io;
use std::sync::Arc;

pub use fault::{CrashOutcome, Fault, FaultDisk, Operation, Survival};
pub use read_only::ReadOnlyDisk;
pub use real::RealDisk;

/// A directory of files.
///
/// A created, renamed or removed name survives a crash only after [`Disk::sync_dir`]; before, each
/// such change may or may not have happened.
pub trait Disk: Send + Sync {
    /// What errors call a file of this name: on a real disk, its path.
    fn place(&self, name: &str) -> String {
        name.to_owned()
    }

    /// Makes a new file of `length` zero bytes, with its space allocated.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports; also if the name is taken.
    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports; `NotFound` if there is no such file.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of all files, in no order.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Renames a file; a file of the new name is replaced. Open handles stay good.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file.
///
/// What was written is durable once [`DiskFile::sync`] has returned. Before, any 512-byte sector of
/// it may, each for itself, hold the new or the old bytes after a crash. A sector is never mixed.
pub trait DiskFile: Send + Sync {
    /// The file's length.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports; `UnexpectedEof` past the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// The first place from `offset` on that may be other than zero; `None` if the rest of the
    /// file is zero. It may be too early, and is `offset` itself if the disk does not know.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        Ok(Some(offset))
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports; how much was written is then unknown.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports; what is durable is then unknown, and asking again proves nothing.
    fn sync(&self) -> io::Result<()>;
}
