//! Which renewal of a lease is meant.

/// The log entry that granted a lease or, if one did so later, renewed it.
///
/// It is the entry's index: unlike a count it is never the same for two leases, not even if they bear
/// the same id one after the other. A renewal that needed no log entry leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Renewal(pub u64);
