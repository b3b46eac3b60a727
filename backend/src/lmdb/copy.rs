//! A copy of the database as a stream.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use crate::engine::SnapshotReader;
use crate::error::SnapshotError;
use crate::lmdb::Directory;
use crate::lmdb::env::Env;

/// In the names of copies.
pub(super) const PURPOSE: &str = "snapshot";

/// Copies the database into a file without a name, so that the transaction is short whatever the
/// client's speed, and nothing is left over.
pub(super) fn copy(
    env: &Arc<Env>,
    directory: &Directory,
) -> Result<Box<dyn SnapshotReader>, SnapshotError> {
    let path = directory.temporary_file(PURPOSE);
    let io_error = |source| SnapshotError::Io {
        path: path.clone(),
        source,
    };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(io_error)?;
    fs::remove_file(&path).map_err(io_error)?;
    env.copy_to(&mut file)?
        .map_err(|error| io_error(io::Error::other(error)))?;
    file.rewind().map_err(io_error)?;
    let total_bytes = file.metadata().map_err(io_error)?.len();
    Ok(Box::new(LmdbCopy { file, total_bytes }))
}

struct LmdbCopy {
    file: File,
    total_bytes: u64,
}

impl Read for LmdbCopy {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into)
    }
}

impl SnapshotReader for LmdbCopy {
    fn total_bytes(&self) -> u64 {
        self.total_bytes
    }
}
