//! Incarnations: what tells one start of a member from another, and one directory from its copy.
//!
//! Each start of a member on its directory is an incarnation, with a number and a random ID. The
//! directory keeps all of them ([`Lineage`]), and writes each down before the member says anything. So
//! a directory that was put back, emptied or exchanged lacks those that others have met since: they
//! know what it has forgotten ([`crate::Incarnations`]).

use std::fmt;

/// How many incarnations a directory remembers. One that a peer met before these is taken for an
/// ancestor: the peer was away while the member started so often.
const LINEAGE_MAX: usize = 4096;

/// One start of a member on its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// Which start it is; the first is 1.
    pub number: u64,
    /// Drawn by chance: two directories with a common past differ in it from then on.
    pub id: u64,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.number, self.id)
    }
}

impl Incarnation {
    /// Reads what [`fmt::Display`] wrote; `None` if it is nothing of that kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, id) = text.split_once('-')?;
        let number = number.parse().ok().filter(|number| *number > 0)?;
        let id = u64::from_str_radix(id, 16).ok()?;
        Some(Self { number, id })
    }
}

/// The incarnations of a directory, the last one included.
///
/// Invariants:
/// 1. There is at least one, and at most [`LINEAGE_MAX`]; the first number is at least 1, and the last
///    at most `u64::MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The number of the oldest that is remembered.
    first: u64,
    /// IDs, the oldest first.
    ids: Vec<u64>,
}

/// Numbers that are no lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} incarnations from number {first} on are no lineage")]
pub struct LineageError {
    /// The number of the oldest.
    pub first: u64,
    /// How many there are.
    pub count: usize,
}

impl Lineage {
    /// A directory's first start.
    #[must_use]
    pub fn begin(id: u64) -> Self {
        let (first, ids) = (1, vec![id]);
        Self { first, ids }
    }

    /// The incarnations with these IDs, the oldest first, which has the number `first`.
    ///
    /// # Errors
    ///
    /// [`LineageError`] if that breaks the invariant.
    pub fn new(first: u64, ids: Vec<u64>) -> Result<Self, LineageError> {
        let count = ids.len();
        let last = first.checked_add(count as u64);
        if first == 0 || last.is_none() || !(1..=LINEAGE_MAX).contains(&count) {
            return Err(LineageError { first, count });
        }
        Ok(Self { first, ids })
    }

    /// The number of the oldest incarnation that is remembered.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The IDs, the oldest first.
    #[must_use]
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// The present incarnation.
    #[must_use]
    pub fn last(&self) -> Incarnation {
        let number = self.first + self.ids.len() as u64 - 1;
        // Invariant 1: there is one.
        let id = self.ids.last().copied().unwrap_or_default();
        Incarnation { number, id }
    }

    /// Whether the directory has been `earlier`, as far as it remembers.
    #[must_use]
    pub fn descends_from(&self, earlier: Incarnation) -> bool {
        let Some(place) = earlier.number.checked_sub(self.first) else {
            return true;
        };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        self.ids.get(place) == Some(&earlier.id)
    }

    /// The lineage after one more start; `None` if there is no further number.
    #[must_use]
    pub fn start(mut self, id: u64) -> Option<Self> {
        self.ids.push(id);
        let excess = self.ids.len().saturating_sub(LINEAGE_MAX);
        self.ids.drain(..excess);
        Self::new(self.first.checked_add(excess as u64)?, self.ids).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(ids: &[u64]) -> Lineage {
        Lineage::new(1, ids.to_vec()).unwrap()
    }

    #[test]
    fn a_copy_does_not_descend_from_what_came_after_it() {
        let copied = lineage(&[7, 8]);
        let went_on = copied.clone().start(9).unwrap();
        let put_back = copied.clone().start(10).unwrap();
        assert!(went_on.descends_from(copied.last()));
        assert!(put_back.descends_from(copied.last()));
        assert!(!put_back.descends_from(went_on.last()));
        assert!(
            !copied.descends_from(went_on.last()),
            "it did not even start"
        );
        assert!(!Lineage::begin(11).descends_from(copied.last()));
    }

    #[test]
    fn only_the_last_starts_are_remembered_and_older_ones_are_believed() {
        let mut lineage = Lineage::begin(1);
        for id in 2..=5000 {
            lineage = lineage.start(id).unwrap();
        }
        assert_eq!(lineage.ids().len(), LINEAGE_MAX);
        assert_eq!(
            lineage.last(),
            Incarnation {
                number: 5000,
                id: 5000
            }
        );
        let first = lineage.first();
        let is_mine = |number, id| lineage.descends_from(Incarnation { number, id });
        assert!(is_mine(first, first) && !is_mine(first, 0) && is_mine(first - 1, 0));
        assert!(!is_mine(5001, 5001));
    }

    #[test]
    fn what_is_no_lineage_is_refused() {
        for (first, count) in [(0, 1), (1, 0), (u64::MAX, 1), (1, LINEAGE_MAX + 1)] {
            let refused = LineageError { first, count };
            assert_eq!(Lineage::new(first, vec![0; count]), Err(refused));
        }
        assert_eq!(Lineage::new(u64::MAX - 1, vec![0]).unwrap().start(1), None);
    }

    #[test]
    fn an_incarnation_is_read_as_it_was_written() {
        let incarnation = Incarnation {
            number: 12,
            id: 0xAB,
        };
        assert_eq!(incarnation.to_string(), "12-00000000000000ab");
        assert_eq!(Incarnation::parse("12-00000000000000ab"), Some(incarnation));
        for bad in ["", "12", "0-1", "-1", "x-1", "1-x"] {
            assert_eq!(Incarnation::parse(bad), None, "{bad}");
        }
    }
}
