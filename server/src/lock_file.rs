//! The lock on a data directory: two servers must never write one database.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Held as long as a server uses its data directory; the system gives it back when the process
/// ends, however it ends.
#[derive(Debug)]
pub struct LockFile(#[expect(dead_code, reason = "an open file is what holds the lock")] File);

impl LockFile {
    /// Takes the lock of a data directory.
    ///
    /// # Errors
    ///
    /// That another process holds it, or what the file system says.
    pub fn take(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join("member").join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!(
                    "the data directory {} is in use by another server: stop that one, or choose \
                     another --data-dir",
                    data_dir.display()
                ),
            )),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_user_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("member")).unwrap();
        let first = LockFile::take(directory.path()).unwrap();
        let second = LockFile::take(directory.path()).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(LockFile::take(directory.path()).is_ok());
    }
}
