//! Where a member's files are.

use std::io;
use std::path::{Path, PathBuf};

use crate::settings::Settings;

/// Where a member's files are.
pub(super) struct DataPaths {
    /// The database.
    pub(super) database: PathBuf,
    /// The log.
    pub(super) log: PathBuf,
}

impl DataPaths {
    /// Creates the directories that are missing.
    pub(super) fn create(settings: &Settings) -> io::Result<Self> {
        let member = settings.data_dir.join("member");
        let database = member.join("snap");
        let log = settings
            .wal_dir
            .clone()
            .unwrap_or_else(|| member.join("wal"));
        warn_of_others(&settings.data_dir);
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

/// Warns of a directory that others than its owner may use, in etcd's words; it stays as it is.
fn warn_of_others(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let Ok(found) = std::fs::metadata(directory) else {
        return;
    };
    let mode = found.permissions().mode() & 0o777;
    if found.is_dir() && mode != 0o700 {
        let shown = |mode: u32| {
            let bits = (0..9).rev().zip("rwxrwxrwx".chars());
            let letters = bits.map(|(bit, letter)| if mode >> bit & 1 == 1 { letter } else { '-' });
            letters.collect::<String>()
        };
        let error = format!(
            "directory \"{}\" exist, but the permission is \"d{}\". The recommended permission is \
             \"-{}\" to prevent possible unprivileged access to the data",
            directory.display(),
            shown(mode),
            shown(0o700)
        );
        tracing::warn!(error, "check file permission");
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
