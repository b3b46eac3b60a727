//! Revisions: the logical clock of the store.
//!
//! A write transaction takes the next [`Revision`]; its operations are told apart by a
//! [`SubRevision`], and both together, a [`FullRevision`], name one change of one key. A [`Version`]
//! counts the changes of a key since it was created. Nothing here knows storage: `mvcc` encodes.

use std::fmt;
use std::num::NonZeroU64;

/// The revision of a store, or of a write transaction.
///
/// Invariants:
/// 1. At least 1: an empty store is at revision 1.
/// 2. At most `i64::MAX`: clients see it as `int64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(NonZeroU64);

impl Revision {
    /// The revision of an empty store.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The revision with this number, if there can be one.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) if number.get() <= i64::MAX.unsigned_abs() => Some(Self(number)),
            _ => None,
        }
    }

    /// Reads a revision as clients send it; zero ("latest") is the caller's to decode.
    ///
    /// # Errors
    ///
    /// [`InvalidRevision`] if `wire` is zero or negative.
    pub fn from_wire(wire: i64) -> Result<Self, InvalidRevision> {
        u64::try_from(wire)
            .ok()
            .and_then(Self::new)
            .ok_or(InvalidRevision { wire })
    }

    /// The revision as clients see it.
    #[must_use]
    pub const fn to_wire(self) -> i64 {
        self.0.get().cast_signed()
    }

    /// The number itself.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0.get()
    }

    /// The revision of the write transaction after this one.
    ///
    /// # Panics
    ///
    /// If revisions are exhausted, which would break invariant 2.
    #[must_use]
    pub const fn next(self) -> Self {
        assert!(
            self.0.get() < i64::MAX.unsigned_abs(),
            "revisions exhausted"
        );
        Self(self.0.saturating_add(1))
    }

    /// The revision before this one; `None` before the first.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        Self::new(self.0.get() - 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that cannot be a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wire} is not a revision")]
pub struct InvalidRevision {
    /// The number as the client sent it.
    pub wire: i64,
}

/// The place of a change within its write transaction, from 0 up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubRevision(u64);

impl SubRevision {
    /// The first change of a transaction.
    pub const FIRST: Self = Self(0);

    /// The sub-revision with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The place of the change after this one.
    ///
    /// # Panics
    ///
    /// After 2^64 changes in one transaction.
    #[must_use]
    pub const fn next(self) -> Self {
        assert!(self.0 < u64::MAX, "sub-revisions exhausted");
        Self(self.0 + 1)
    }
}

/// One change of one key: the transaction that made it, and the place within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullRevision {
    /// The transaction's revision.
    pub main: Revision,
    /// The change's place in the transaction.
    pub sub: SubRevision,
}

impl FullRevision {
    /// The change at place `sub` of transaction `main`.
    #[must_use]
    pub const fn new(main: Revision, sub: SubRevision) -> Self {
        Self { main, sub }
    }

    /// The first change of transaction `main`.
    #[must_use]
    pub const fn first_of(main: Revision) -> Self {
        Self {
            main,
            sub: SubRevision::FIRST,
        }
    }
}

impl fmt::Display for FullRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub.0)
    }
}

/// How many times a key was written since it was created: at least 1, at most `i64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(NonZeroU64);

impl Version {
    /// The version of a key just created.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The version with this number, if there can be one.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) if number.get() <= i64::MAX.unsigned_abs() => Some(Self(number)),
            _ => None,
        }
    }

    /// Reads a version as stored in a `KeyValue`; `None` if it cannot be one.
    #[must_use]
    pub fn from_wire(wire: i64) -> Option<Self> {
        u64::try_from(wire).ok().and_then(Self::new)
    }

    /// The version as clients see it.
    #[must_use]
    pub const fn to_wire(self) -> i64 {
        self.0.get().cast_signed()
    }

    /// The number itself.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0.get()
    }

    /// The version after one more write.
    ///
    /// # Panics
    ///
    /// If versions are exhausted; revisions would have been before.
    #[must_use]
    pub const fn next(self) -> Self {
        assert!(self.0.get() < i64::MAX.unsigned_abs(), "versions exhausted");
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_negative_numbers_are_not_revisions() {
        for wire in [0, -1, i64::MIN] {
            assert_eq!(Revision::from_wire(wire), Err(InvalidRevision { wire }));
            assert_eq!(Version::from_wire(wire), None);
        }
        assert_eq!(Revision::new(u64::MAX), None);
    }

    #[test]
    fn a_revision_survives_the_wire() {
        for wire in [1, 2, i64::MAX] {
            assert_eq!(Revision::from_wire(wire).map(Revision::to_wire), Ok(wire));
        }
    }

    #[test]
    fn the_first_revision_has_none_before_it() {
        assert_eq!(Revision::FIRST.previous(), None);
        assert_eq!(Revision::FIRST.next().previous(), Some(Revision::FIRST));
    }

    #[test]
    fn changes_are_ordered_by_transaction_then_by_place() {
        let at = |main, sub| FullRevision::new(Revision::new(main).unwrap(), SubRevision::new(sub));
        assert!(at(2, 9) < at(3, 0));
        assert!(at(3, 0) < at(3, 1));
        assert_eq!(at(3, 1).to_string(), "3.1");
    }
}
