//! A consistent view of the store: one revision, what the index says of it, and the bytes.

use cairn_backend::ReadTx;
use cairn_index::Revision;

use crate::compaction_point::CompactionPoint;
use crate::index_view::IndexView;

/// What a read works on, from beginning to end.
///
/// Invariants:
/// 1. `compacted ≤ at ≤ current`.
/// 2. Every change that `index` finds at `at` is in `values`: the index was asked before `values`
///    was opened, and no compaction past `at` had been published when it was.
pub(crate) struct View {
    pub(crate) current: Revision,
    pub(crate) at: Revision,
    pub(crate) compacted: Option<CompactionPoint>,
    pub(crate) index: IndexView,
    pub(crate) values: ReadTx,
}

impl View {
    pub(crate) fn check(&self) {
        assert!(
            self.compacted.is_none_or(|point| !point.hides(self.at)),
            "1"
        );
        assert!(self.at <= self.current, "1");
    }
}
