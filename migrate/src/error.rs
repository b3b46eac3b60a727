//! Why data could not be carried over.

use std::io;
use std::path::{Path, PathBuf};

use cairn_etcd_file::bolt::{BoltError, BuildError};
use cairn_etcd_file::snap::SnapError;
use cairn_etcd_file::wal::WalError;

/// Why data could not be carried over. Whatever was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it reported.
        source: io::Error,
    },
    /// A database file of etcd's is damaged.
    #[error("{path}: {source}")]
    Bolt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BoltError,
    },
    /// A database file of etcd's cannot be written.
    #[error("writing etcd's file: {0}")]
    Build(#[from] BuildError),
    /// A log of etcd's is damaged.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// A `.snap` file is damaged.
    #[error(transparent)]
    Snap(#[from] SnapError),
    /// Our own database.
    #[error("Cairn's database: {0}")]
    Database(String),
    /// Our own log.
    #[error("Cairn's log: {0}")]
    Log(#[from] cairn_consensus::NodeError),
    /// A state and a log that do not belong together.
    #[error("the snapshot cannot be this member's state: {0}")]
    Adopt(#[from] cairn_consensus::AdoptError),
    /// A row that cannot be carried over.
    #[error("bucket {bucket}, key {key}: {reason}")]
    Row {
        /// The bucket.
        bucket: String,
        /// The key, escaped.
        key: String,
        /// Why.
        reason: String,
    },
    /// An entry of the log that cannot be carried over.
    #[error("entry {index} of the log: {reason}")]
    Entry {
        /// Its place.
        index: u64,
        /// Why.
        reason: String,
    },
    /// The data is not such that this can be done.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path: path.clone(),
            source,
        }
    }

    pub(crate) fn bolt(path: &Path) -> impl Fn(BoltError) -> Self {
        let path = path.to_owned();
        move |source| Self::Bolt {
            path: path.clone(),
            source,
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "a text or an error, whichever is at hand"
    )]
    pub(crate) fn row(bucket: &str, key: &[u8], reason: impl ToString) -> Self {
        Self::Row {
            bucket: bucket.to_owned(),
            key: key.escape_ascii().to_string(),
            reason: reason.to_string(),
        }
    }

    /// An error of our own database, whatever its type.
    pub(crate) fn database(error: impl std::error::Error) -> Self {
        Self::Database(with_causes(&error))
    }
}

/// An error's text with what caused it, down to what the system said; what the text already ends with is not
/// repeated.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}
