//! The numbers that etcd hands out, each a type of its own.

use std::fmt;
use std::num::NonZeroI64;

use crate::error::Error;

/// A revision of the store: every write transaction makes the next one.
///
/// Invariant: at least 1, the revision of an empty store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(i64);

impl Revision {
    /// The revision of an empty store.
    pub const FIRST: Self = Self(1);

    /// A revision from its number, if the number can be one.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        (number >= 1).then_some(Self(number))
    }

    /// The number, as it is on the wire.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }

    /// The revision of the write transaction after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The revision before this one, if there is one.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        Self::new(self.0 - 1)
    }

    pub(crate) fn from_wire(number: i64) -> Result<Self, Error> {
        Self::new(number).ok_or_else(|| Error::protocol(format!("{number} is not a revision")))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a lease; shown in hexadecimal, as etcd's tools do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(NonZeroI64);

impl LeaseId {
    /// A lease by its number; zero stands for no lease.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        NonZeroI64::new(number).map(Self)
    }

    /// The number, as it is on the wire.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0.get()
    }

    pub(crate) fn from_wire(number: i64) -> Result<Self, Error> {
        Self::new(number).ok_or_else(|| Error::protocol("a lease without a number".to_owned()))
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_one_are_not_revisions() {
        for number in [0, -1, i64::MIN] {
            assert_eq!(Revision::new(number), None);
        }
        assert_eq!(Revision::FIRST.previous(), None);
        assert_eq!(Revision::FIRST.next().get(), 2);
    }

    #[test]
    fn a_lease_is_shown_as_etcdctl_shows_it() {
        let lease = LeaseId::new(0x694d_77aa_9e38_260f).unwrap();
        assert_eq!(lease.to_string(), "694d77aa9e38260f");
        assert_eq!(LeaseId::new(0), None);
    }
}
