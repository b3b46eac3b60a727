//! When the log is cut, and how much of it stays.

use crate::log_index::LogIndex;

/// How much log there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogExtent {
    /// Its first entry.
    pub first: LogIndex,
    /// Its last entry.
    pub last: LogIndex,
    /// About how many bytes on disk its entries take.
    pub bytes: u64,
}

/// How much log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionPolicy {
    /// Entries beyond those kept for followers after which the log is cut (`--snapshot-count`).
    pub snapshot_count: u64,
    /// Entries kept for followers that are behind (`--snapshot-catchup-entries`).
    pub catchup_entries: u64,
    /// Bytes of entries kept for them at most.
    pub catchup_bytes_max: u64,
    /// Bytes of log after which it is cut whatever the number of entries.
    pub bytes_max: u64,
}

impl Default for CompactionPolicy {
    /// etcd's counts; in bytes, two segments for followers and six in all, so that large values do
    /// not make a log of gigabytes.
    fn default() -> Self {
        Self {
            snapshot_count: 10_000,
            catchup_entries: 5000,
            catchup_bytes_max: 128 << 20,
            bytes_max: 384 << 20,
        }
    }
}

impl CompactionPolicy {
    /// Whether it is time to cut a log of which the application has made `durable` durable.
    #[must_use]
    pub fn is_due(&self, extent: LogExtent, durable: LogIndex) -> bool {
        let covered = durable.next().distance_from(extent.first);
        covered >= self.snapshot_count + self.catchup_entries
            || (covered > 0 && extent.bytes >= self.bytes_max)
    }

    /// The last entry that is dropped when `durable` is durable; `within` is the first entry from
    /// which on the log is within `catchup_bytes_max`.
    #[must_use]
    pub fn cut(&self, durable: LogIndex, within: LogIndex) -> LogIndex {
        durable
            .back(self.catchup_entries)
            .max(within.back(1))
            .min(durable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(first: u64, last: u64, bytes: u64) -> LogExtent {
        LogExtent {
            first: LogIndex::new(first),
            last: LogIndex::new(last),
            bytes,
        }
    }

    #[test]
    fn a_log_is_cut_when_it_has_too_many_entries_or_bytes() {
        let policy = CompactionPolicy::default();
        let due = |extent, durable| policy.is_due(extent, LogIndex::new(durable));
        assert!(
            !due(extent(1, 20_000, 0), 14_999),
            "entries that are not durable do not count"
        );
        assert!(due(extent(1, 20_000, 0), 15_000));
        assert!(due(extent(1, 200, 400 << 20), 150));
        assert!(
            !due(extent(151, 200, 400 << 20), 150),
            "nothing could be dropped"
        );
    }

    #[test]
    fn followers_keep_what_fits_both_limits() {
        let policy = CompactionPolicy::default();
        let cut = |durable, within| {
            policy
                .cut(LogIndex::new(durable), LogIndex::new(within))
                .get()
        };
        assert_eq!(cut(20_000, 1), 15_000);
        assert_eq!(
            cut(20_000, 18_001),
            18_000,
            "fewer entries if they are large"
        );
        assert_eq!(cut(20_000, 30_000), 20_000, "never what is not durable");
        assert_eq!(cut(100, 1), 0, "a short log is kept whole");
    }
}
