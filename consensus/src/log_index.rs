//! Places in the log.

use std::fmt;

/// The place of an entry in the log; the first entry's is 1.
///
/// [`LogIndex::ZERO`] is the place before the first entry: what an empty log ends with, and what
/// a member that has applied nothing has applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIndex(u64);

impl LogIndex {
    /// The place before the first entry.
    pub const ZERO: Self = Self(0);

    /// The place with this number.
    #[must_use]
    pub const fn new(index: u64) -> Self {
        Self(index)
    }

    /// The number of this place.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// How many places this one is after `earlier`; 0 if it is not after it.
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The place `count` before this one, or [`LogIndex::ZERO`].
    #[must_use]
    pub const fn back(self, count: u64) -> Self {
        Self(self.0.saturating_sub(count))
    }
}

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
