//! What goes wrong with leases.

use cairn_mvcc::LeaseId;

/// A lease that is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// There is one of this id.
    #[error("lease {0} exists")]
    Exists(LeaseId),
}
