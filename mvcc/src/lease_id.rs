//! The name of a lease, as keys carry it.

use std::fmt;
use std::num::NonZeroI64;

/// The id of a lease. Negative ids are legal; zero, on the wire, is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(NonZeroI64);

impl LeaseId {
    /// Reads an id as the wire has it: `None` if it names no lease.
    #[must_use]
    pub const fn from_wire(wire: i64) -> Option<Self> {
        match NonZeroI64::new(wire) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The id as the wire has it.
    #[must_use]
    pub const fn to_wire(self) -> i64 {
        self.0.get()
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
