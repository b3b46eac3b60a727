//! What a range read asks for.

use std::num::NonZeroUsize;

use cairn_index::{KeyRange, KeyVersion, Revision};

/// A range read, with every option that the API has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeQuery {
    /// The keys.
    pub range: KeyRange,
    /// The revision.
    pub at: ReadAt,
    /// How many pairs at most; `None` is all.
    pub limit: Option<NonZeroUsize>,
    /// What to sort by.
    pub target: SortTarget,
    /// How to sort.
    pub order: SortOrder,
    /// Leave values out.
    pub keys_only: bool,
    /// Return the count alone; every other option but `range` and `at` is then without effect.
    pub count_only: bool,
    /// Which transactions may have written a key last.
    pub modified: RevisionFilter,
    /// Which transactions may have created a key.
    pub created: RevisionFilter,
}

impl RangeQuery {
    /// All pairs of a range, now, in key order.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            at: ReadAt::Latest,
            limit: None,
            target: SortTarget::Key,
            order: SortOrder::None,
            keys_only: false,
            count_only: false,
            modified: RevisionFilter::default(),
            created: RevisionFilter::default(),
        }
    }

    /// Whether pairs come in the order in which the index holds them.
    pub(crate) fn in_key_order(&self) -> bool {
        self.target == SortTarget::Key && self.order != SortOrder::Descend
    }

    /// Whether an answer needs nothing but the index. Such pairs have lease 0, as etcd 3.7 has it.
    pub(crate) fn needs_no_values(&self) -> bool {
        self.keys_only && self.target != SortTarget::Value
    }

    pub(crate) fn admits(&self, version: &KeyVersion) -> bool {
        self.modified.admits(version.modified.main) && self.created.admits(version.created)
    }

    /// How many keys are looked at at all before sorting: sorting without an order being asked for
    /// sorts what a limited read found, and that reads one more than the limit.
    pub(crate) fn candidates_max(&self) -> Option<usize> {
        let filtered = !self.modified.admits_all() || !self.created.admits_all();
        match (self.order, filtered, self.limit) {
            (SortOrder::None, false, Some(limit)) => Some(limit.get().saturating_add(1)),
            _ => None,
        }
    }
}

/// At which revision to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadAt {
    /// The current one.
    #[default]
    Latest,
    /// This one.
    Revision(Revision),
}

/// What pairs are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// How often the key was written since it was created.
    Version,
    /// When the key was created.
    Create,
    /// When the key was last written.
    Modify,
    /// The value.
    Value,
}

/// How pairs are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// Nothing was asked for: ascending, but the limit comes before the sort.
    #[default]
    None,
    /// Ascending.
    Ascend,
    /// Descending.
    Descend,
}

/// A range of transactions, both ends included if given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevisionFilter {
    /// The first.
    pub min: Option<i64>,
    /// The last.
    pub max: Option<i64>,
}

impl RevisionFilter {
    fn admits(self, revision: Revision) -> bool {
        let wire = revision.to_wire();
        self.min.is_none_or(|min| min <= wire) && self.max.is_none_or(|max| wire <= max)
    }

    const fn admits_all(self) -> bool {
        self.min.is_none() && self.max.is_none()
    }
}
