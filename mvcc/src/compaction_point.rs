//! How far history has been compacted.

use std::fmt;

use cairn_index::Revision;

/// The point before which nothing can be read.
///
/// It is a revision, or the origin before all revisions: etcd lets a store that was never compacted
/// be compacted at zero, once, which forgets nothing and is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompactionPoint(Option<Revision>);

impl CompactionPoint {
    /// Before all revisions.
    pub const ORIGIN: Self = Self(None);

    /// Reads a point as clients send it: `None` if it is negative.
    #[must_use]
    pub fn from_wire(wire: i64) -> Option<Self> {
        match wire {
            0 => Some(Self::ORIGIN),
            _ => Revision::from_wire(wire).ok().map(Self::from),
        }
    }

    /// The point as the wire has it.
    #[must_use]
    pub fn to_wire(self) -> i64 {
        self.0.map_or(0, Revision::to_wire)
    }

    /// The first revision that can be read, if the point is not the origin.
    #[must_use]
    pub const fn revision(self) -> Option<Revision> {
        self.0
    }

    /// Whether the point forbids reading at `at`.
    #[must_use]
    pub fn hides(self, at: Revision) -> bool {
        self.0.is_some_and(|first| at < first)
    }

    /// The revision as a number; 0 is before all.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0.map_or(0, Revision::number)
    }

    /// `None` if no revision has such a number.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        i64::try_from(number).ok().and_then(Self::from_wire)
    }
}

impl From<Revision> for CompactionPoint {
    fn from(revision: Revision) -> Self {
        Self(Some(revision))
    }
}

impl fmt::Display for CompactionPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_comes_before_every_revision_and_hides_none() {
        let first = CompactionPoint::from(Revision::FIRST);
        assert!(CompactionPoint::ORIGIN < first);
        assert!(!CompactionPoint::ORIGIN.hides(Revision::FIRST));
        assert!(!first.hides(Revision::FIRST));
        assert!(CompactionPoint::from(Revision::FIRST.next()).hides(Revision::FIRST));
    }

    #[test]
    fn points_survive_the_wire_and_negative_ones_do_not_exist() {
        for wire in [0, 1, 7, i64::MAX] {
            assert_eq!(
                CompactionPoint::from_wire(wire).map(CompactionPoint::to_wire),
                Some(wire)
            );
        }
        assert_eq!(CompactionPoint::from_wire(-1), None);
    }
}
