//! Terms: the epochs of leadership.

use std::fmt;

/// An epoch with at most one leader; 0 before the first election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(u64);

impl Term {
    /// The term with this number.
    #[must_use]
    pub const fn new(term: u64) -> Self {
        Self(term)
    }

    /// The number of this term.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
