//! What goes wrong with leases.

use cairn_backend::ReadError;
use cairn_mvcc::LeaseId;

/// A lease that is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// There is one of this id.
    #[error("lease {0} exists")]
    Exists(LeaseId),
}

/// Leases that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Storage failed.
    #[error("reading leases: {0}")]
    Backend(#[from] ReadError),
    /// A stored lease is damaged.
    #[error("the stored lease under {key:02x?} is damaged")]
    Damaged {
        /// Its key.
        key: Vec<u8>,
    },
}
