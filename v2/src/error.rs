//! What a request is refused with: etcd's numbered errors.

use bytes::Bytes;
use cairn_mvcc::ReadError;

/// An error that a client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} ({})", kind.message(), cause.escape_ascii())]
pub struct Error {
    /// What it is.
    pub kind: ErrorKind,
    /// What it is about: mostly a path.
    pub cause: Bytes,
    /// The index of the store then; 0 if the store was not asked.
    pub index: u64,
}

/// Kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such node.
    KeyNotFound,
    /// The node is not what it should be.
    CompareFailed,
    /// A directory where a file is needed.
    NotFile,
    /// A file where a directory is needed.
    NotDirectory,
    /// There is such a node.
    NodeExists,
    /// The root and the namespaces stay.
    RootReadOnly,
    /// A directory that is to be deleted alone has something in it.
    DirectoryNotEmpty,
    /// The caller may not do it.
    Unauthorized,
    /// `prevValue` is empty.
    PrevValueRequired,
    /// `ttl` is no number.
    TtlNotNumber,
    /// `prevIndex` or `waitIndex` is no number.
    IndexNotNumber,
    /// A field has no meaning.
    InvalidField,
    /// The form cannot be read.
    InvalidForm,
    /// A refresh comes with a value.
    RefreshValue,
    /// A refresh comes without a time to live.
    RefreshTtlRequired,
    /// The request could not be carried out.
    RaftInternal,
    /// What a watcher waits for may have passed.
    WatcherCleared,
    /// History does not reach back that far.
    EventIndexCleared,
}

impl ErrorKind {
    /// etcd's number.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::KeyNotFound => 100,
            Self::CompareFailed => 101,
            Self::NotFile => 102,
            Self::NotDirectory => 104,
            Self::NodeExists => 105,
            Self::RootReadOnly => 107,
            Self::DirectoryNotEmpty => 108,
            Self::Unauthorized => 110,
            Self::PrevValueRequired => 201,
            Self::TtlNotNumber => 202,
            Self::IndexNotNumber => 203,
            Self::InvalidField => 209,
            Self::InvalidForm => 210,
            Self::RefreshValue => 211,
            Self::RefreshTtlRequired => 212,
            Self::RaftInternal => 300,
            Self::WatcherCleared => 400,
            Self::EventIndexCleared => 401,
        }
    }

    /// etcd's words.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::KeyNotFound => "Key not found",
            Self::CompareFailed => "Compare failed",
            Self::NotFile => "Not a file",
            Self::NotDirectory => "Not a directory",
            Self::NodeExists => "Key already exists",
            Self::RootReadOnly => "Root is read only",
            Self::DirectoryNotEmpty => "Directory not empty",
            Self::Unauthorized => "The request requires user authentication",
            Self::PrevValueRequired => "PrevValue is Required in POST form",
            Self::TtlNotNumber => "The given TTL in POST form is not a number",
            Self::IndexNotNumber => "The given index in POST form is not a number",
            Self::InvalidField => "Invalid field",
            Self::InvalidForm => "Invalid POST form",
            Self::RefreshValue => "Value provided on refresh",
            Self::RefreshTtlRequired => "A TTL must be provided on refresh",
            Self::RaftInternal => "Raft Internal Error",
            Self::WatcherCleared => "watcher is cleared due to etcd recovery",
            Self::EventIndexCleared => "The event in requested index is outdated and cleared",
        }
    }

    /// The HTTP status that it goes with.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::NotFile | Self::DirectoryNotEmpty => 403,
            Self::KeyNotFound => 404,
            Self::CompareFailed | Self::NodeExists => 412,
            Self::RaftInternal => 500,
            Self::NotDirectory
            | Self::RootReadOnly
            | Self::PrevValueRequired
            | Self::TtlNotNumber
            | Self::IndexNotNumber
            | Self::InvalidField
            | Self::InvalidForm
            | Self::RefreshValue
            | Self::RefreshTtlRequired
            | Self::WatcherCleared
            | Self::EventIndexCleared => 400,
        }
    }

    /// This error, from a store at `index`.
    #[must_use]
    pub fn about(self, cause: impl Into<Bytes>, index: u64) -> Error {
        Error {
            kind: self,
            cause: cause.into(),
            index,
        }
    }
}

/// The stored tree cannot be read: the member must stop, for what it holds is not known.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A stored record is not what its key says.
    #[error("a v2 record does not decode: key {:?}", .0.escape_ascii().to_string())]
    Damaged(Bytes),
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It is refused, by every member alike; nothing was written.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The stored tree cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Storage(error.into())
    }
}
