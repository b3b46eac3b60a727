//! Why a backup could not be written or read.

use crate::store::StoreError;

/// Why a backup could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store of objects.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object is not what was written.
    #[error("{name}: {reason}")]
    Damaged {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object is not there, and later ones are.
    #[error("{name} is missing: later objects are there")]
    Missing {
        /// Its name.
        name: String,
    },
    /// Replaying gave another state than the one that was backed up.
    #[error("entry {index}: replaying it gave revision {found}, and it was {expected}")]
    Diverged {
        /// The entry.
        index: u64,
        /// The revision that members had after it.
        expected: u64,
        /// The revision that replaying gave.
        found: u64,
    },
    /// What is asked for is not in the backup.
    #[error("{0}")]
    NotThere(String),
    /// A base could not be made or read.
    #[error(transparent)]
    Migrate(#[from] cairn_migrate::Error),
    /// A local file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What was reported.
        source: std::io::Error,
    },
    /// The database that a backup is replayed in, or that is backed up.
    #[error("the database: {0}")]
    Database(String),
    /// The system gives no chance.
    #[error("the system gives no random numbers")]
    Chance,
    /// The writer is to stop.
    #[error("the backup was told to stop")]
    Stopped,
}

impl Error {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a text or an error, whichever is at hand"
    )]
    pub(crate) fn damaged(name: &str, reason: impl ToString) -> Self {
        Self::Damaged {
            name: name.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn io(path: &std::path::Path) -> impl Fn(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Io {
            path: path.clone(),
            source,
        }
    }

    /// With what caused it, down to what the system said.
    pub(crate) fn database(error: impl std::error::Error) -> Self {
        Self::Database(cairn_migrate::with_causes(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_said_of_the_database_is_shown() {
        let error = Error::database(cairn_backend::OpenError::Io {
            path: "/data/db".into(),
            source: std::io::Error::from_raw_os_error(28),
        });
        let shown = error.to_string();
        for part in ["/data/db", "No space left on device (os error 28)"] {
            assert_eq!(shown.matches(part).count(), 1, "{shown}");
        }
    }
}
