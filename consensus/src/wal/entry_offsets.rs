//! Where entries are in the segments: a mark every 64 KiB, not one an entry.

use std::collections::VecDeque;

use super::record::{Marker, MarkerOrigin};
use crate::log_index::LogIndex;

/// How much log lies between two marks, and so how much is read in vain for one entry. A log of
/// 1 GiB has 16,384 marks of 24 bytes.
const MARK_EVERY_BYTES: u64 = 64 << 10;

/// Where a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameOffset {
    /// The segment's number.
    pub(super) segment: u64,
    /// Where in it.
    pub(super) offset: u64,
}

/// Where some entries are.
///
/// Invariants:
/// 1. The marks' first entries rise strictly, and none is after `last`.
/// 2. From a mark's place on, in its segment, stand its entry and all up to the next mark's (or
///    `last`), in order; what stands between them besides is not of the log any more.
#[derive(Debug)]
pub(super) struct EntryOffsets {
    marks: VecDeque<(LogIndex, FrameOffset)>,
    last: LogIndex,
    bytes_since_mark: u64,
}

impl EntryOffsets {
    pub(super) fn new() -> Self {
        Self {
            marks: VecDeque::new(),
            last: LogIndex::ZERO,
            bytes_since_mark: 0,
        }
    }

    /// Notes a frame with the entries from `first` to `last`; they replace what was there from
    /// `first` on.
    pub(super) fn note(
        &mut self,
        (place, bytes): (FrameOffset, u64),
        first: LogIndex,
        last: LogIndex,
    ) {
        let follows = first == self.last.next();
        while self.marks.back().is_some_and(|(index, _)| *index >= first) {
            self.marks.pop_back();
        }
        let same_segment = self
            .marks
            .back()
            .is_some_and(|(_, mark)| mark.segment == place.segment);
        if !follows || !same_segment || self.bytes_since_mark >= MARK_EVERY_BYTES {
            self.marks.push_back((first, place));
            self.bytes_since_mark = 0;
        }
        self.bytes_since_mark += bytes;
        self.last = last;
        self.check_invariants();
    }

    /// Notes a marker: a snapshot's drops everything, a compaction's only what is read no more.
    pub(super) fn mark(&mut self, marker: &Marker) {
        if marker.origin == MarkerOrigin::Snapshot {
            self.marks.clear();
            self.last = marker.index;
        }
    }

    /// Forgets where entries before `first` are, as far as no later one needs it.
    pub(super) fn forget_before(&mut self, first: LogIndex) {
        if first > self.last {
            self.marks.clear();
        }
        while self.marks.get(1).is_some_and(|(index, _)| *index <= first) {
            self.marks.pop_front();
        }
    }

    /// From where to read entry `index`, and up to which entry (without it) that place serves.
    pub(super) fn find(&self, index: LogIndex) -> Option<(FrameOffset, LogIndex)> {
        let after = self.marks.partition_point(|(first, _)| *first <= index);
        let (_, place) = self.marks.get(after.checked_sub(1)?)?;
        let end = self
            .marks
            .get(after)
            .map_or_else(|| self.last.next(), |(first, _)| *first);
        (index < end).then_some((*place, end))
    }

    /// The first segment that holds an entry; `None` if none does.
    pub(super) fn first_segment(&self) -> Option<u64> {
        self.marks.front().map(|(_, place)| place.segment)
    }

    fn check_invariants(&self) {
        debug_assert!(
            self.marks.iter().is_sorted_by(|(a, _), (b, _)| a < b)
                && self
                    .marks
                    .back()
                    .is_none_or(|(index, _)| *index <= self.last),
            "invariant 1: {self:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u64, offset: u64) -> (FrameOffset, u64) {
        (FrameOffset { segment, offset }, 100)
    }

    fn index(index: u64) -> LogIndex {
        LogIndex::new(index)
    }

    #[test]
    fn entries_are_found_from_the_mark_before_them() {
        let mut offsets = EntryOffsets::new();
        offsets.note(at(1, 64), index(1), index(3));
        offsets.note(at(1, 164), index(4), index(4));
        offsets.note(at(2, 64), index(5), index(9));
        assert_eq!(offsets.find(index(4)), Some((at(1, 64).0, index(5))));
        assert_eq!(offsets.find(index(5)), Some((at(2, 64).0, index(10))));
        assert_eq!(offsets.find(index(10)), None);
        assert_eq!(offsets.find(index(0)), None);
    }

    #[test]
    fn replaced_entries_are_found_where_they_are_now() {
        let mut offsets = EntryOffsets::new();
        offsets.note(at(1, 64), index(1), index(5));
        offsets.note(at(1, 164), index(3), index(4));
        assert_eq!(offsets.find(index(2)), Some((at(1, 64).0, index(3))));
        assert_eq!(offsets.find(index(3)), Some((at(1, 164).0, index(5))));
        assert_eq!(
            offsets.find(index(5)),
            None,
            "entry 5 went with what followed entry 2"
        );
    }

    #[test]
    fn what_a_marker_covers_is_forgotten_with_its_segment() {
        let mut offsets = EntryOffsets::new();
        offsets.note(at(1, 64), index(1), index(5));
        offsets.note(at(2, 64), index(6), index(9));
        offsets.forget_before(index(5));
        assert_eq!(offsets.first_segment(), Some(1));
        offsets.forget_before(index(6));
        assert_eq!(offsets.first_segment(), Some(2));
        offsets.mark(&Marker {
            index: index(20),
            origin: MarkerOrigin::Snapshot,
            ..Marker::default()
        });
        assert_eq!(offsets.first_segment(), None);
        offsets.note(at(2, 500), index(21), index(21));
        assert_eq!(offsets.find(index(21)), Some((at(2, 500).0, index(22))));
    }
}
