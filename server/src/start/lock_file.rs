//! The lock on a data directory: two servers must never write one database.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Time between two tries.
const RETRY: Duration = Duration::from_millis(50);

/// Held as long as a server uses its data directory; the system gives it back when the process
/// ends, however it ends.
#[derive(Debug)]
pub(super) struct LockFile(
    #[expect(dead_code, reason = "an open file is what holds the lock")] File,
);

impl LockFile {
    /// Takes the lock of a data directory, waiting up to `patience` for whoever has it: a killed
    /// server keeps it for as long as the system needs to bury the process.
    ///
    /// # Errors
    ///
    /// That another process holds it, or what the file system says.
    pub(super) fn take(data_dir: &Path, patience: Duration) -> io::Result<Self> {
        let path = data_dir.join("member").join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| {
                io::Error::new(
                    source.kind(),
                    format!(
                        "cannot lock the data directory by {}: {source}. Make it a directory that this \
                         user can write to, or choose another --data-dir",
                        path.display()
                    ),
                )
            })?;
        let mut tries = patience.as_millis() / RETRY.as_millis();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if tries > 0 => {
                    tries -= 1;
                    std::thread::sleep(RETRY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(
                        io::ErrorKind::WouldBlock,
                        format!(
                            "the data directory {} is in use by another server: stop that one, or \
                             choose another --data-dir",
                            data_dir.display()
                        ),
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
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
        let first = LockFile::take(directory.path(), Duration::ZERO).unwrap();
        let second = LockFile::take(directory.path(), Duration::ZERO).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(LockFile::take(directory.path(), Duration::ZERO).is_ok());
    }
}
