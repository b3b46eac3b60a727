//! About how many bytes of log there are: a mark every 64 KiB, not one an entry.

use std::collections::VecDeque;

/// How exact the measure is. A log of 1 GiB has 16,384 marks of 16 bytes.
const MARK_EVERY_BYTES: u64 = 64 << 10;

/// What an entry takes on disk besides its data.
const ENTRY_OVERHEAD_BYTES: u64 = 22;

/// Bytes of entries, summed up.
///
/// Invariants:
/// 1. The marks' entries rise strictly, and so do their sums, none beyond `sum`.
/// 2. Between two marks there are at most `MARK_EVERY_BYTES` and one entry.
#[derive(Debug, Default)]
pub(crate) struct LogMeasure {
    /// An entry, and the sum of all before it.
    marks: VecDeque<(u64, u64)>,
    sum: u64,
}

impl LogMeasure {
    /// Counts entry `index` with so much data; the log's next.
    pub(crate) fn add(&mut self, index: u64, data_bytes: usize) {
        if self
            .marks
            .back()
            .is_none_or(|(_, before)| self.sum - before >= MARK_EVERY_BYTES)
        {
            self.marks.push_back((index, self.sum));
        }
        self.sum += ENTRY_OVERHEAD_BYTES + data_bytes as u64;
    }

    /// Forgets the entries from `from` on, as far as marks tell them apart.
    pub(crate) fn truncate(&mut self, from: u64) {
        while let Some((_, before)) = self.marks.pop_back_if(|(index, _)| *index >= from) {
            self.sum = before;
        }
    }

    /// Forgets the entries before `first`, as far as marks tell them apart.
    pub(crate) fn forget_before(&mut self, first: u64) {
        while self.marks.get(1).is_some_and(|(index, _)| *index <= first) {
            self.marks.pop_front();
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// About how many bytes of log there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.marks
            .front()
            .map_or(0, |(_, before)| self.sum - before)
    }

    /// The first entry from which on there are at most about `bytes_max`; `None` if the last mark
    /// is beyond that already.
    pub(crate) fn first_within(&self, bytes_max: u64) -> Option<u64> {
        let at = self
            .marks
            .partition_point(|(_, before)| self.sum - before > bytes_max);
        self.marks.get(at).map(|(index, _)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: usize = 65_536 - 22;

    #[test]
    fn entries_are_measured_by_marks() {
        let mut measure = LogMeasure::default();
        assert_eq!((measure.bytes(), measure.first_within(0)), (0, None));
        for index in 1..=10 {
            measure.add(index, DATA);
        }
        assert_eq!(measure.bytes(), 640 << 10);
        assert_eq!(measure.first_within(640 << 10), Some(1));
        assert_eq!(measure.first_within(100 << 10), Some(10));
        assert_eq!(measure.first_within(1), None);
        measure.truncate(9);
        assert_eq!(measure.bytes(), 512 << 10);
        measure.forget_before(7);
        assert_eq!(measure.bytes(), 128 << 10);
        measure.clear();
        assert_eq!(measure.bytes(), 0);
    }

    #[test]
    fn small_entries_share_a_mark_and_are_kept_with_it() {
        let mut measure = LogMeasure::default();
        (1..=100).for_each(|index| measure.add(index, 10));
        measure.forget_before(60);
        assert_eq!(measure.bytes(), 3200, "what a mark has is not told apart");
        assert_eq!(measure.first_within(3200), Some(1));
        measure.truncate(60);
        assert_eq!(measure.bytes(), 3200);
    }
}
