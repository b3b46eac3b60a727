//! Where a member's files are.

use std::io;
use std::path::{Path, PathBuf};

use crate::settings::Settings;

/// Where a member's files are.
pub(super) struct Places {
    /// The database.
    pub(super) database: PathBuf,
    /// The log.
    pub(super) log: PathBuf,
}

impl Places {
    /// Creates the directories that are missing.
    pub(super) fn create(settings: &Settings) -> io::Result<Self> {
        let member = settings.data_dir.join("member");
        let database = member.join("snap");
        let log = settings
            .wal_dir
            .clone()
            .unwrap_or_else(|| member.join("wal"));
        let told = |source| {
            let data_dir = settings.data_dir.display();
            io::Error::other(format!(
                "cannot keep data in {data_dir}: {source}. Make it a directory that this user can \
                 write to, or choose another --data-dir"
            ))
        };
        create_private(&database).map_err(told)?;
        create_private(&log).map_err(|source| match &settings.wal_dir {
            Some(wal_dir) => io::Error::other(format!(
                "cannot keep the log in {}: {source}. Make it a directory that this user can write \
                 to, or choose another --wal-dir",
                wal_dir.display()
            )),
            None => told(source),
        })?;
        Ok(Self { database, log })
    }
}

/// Creates a directory that only its owner can read, as etcd does; one that is there stays as it is.
fn create_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}
