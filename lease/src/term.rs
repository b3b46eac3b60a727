//! The term that a leader leads in.

/// A term of Raft, as its number. At most one member leads in a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);
