//! A set of key intervals, merged as they come: where a transaction deletes.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use cairn_index::KeyRange;

/// Disjoint intervals of keys.
///
/// Invariants:
/// 1. Intervals are not empty, do not overlap and do not touch.
///
/// An interval is `[start, end)`.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySpans(BTreeMap<Bytes, Bytes>);

impl KeySpans {
    /// Adds the keys of `range`, unless it has no end: etcd lets a transaction put a key and delete
    /// everything from a key on, for there it takes the end `\0` as it is, before all keys.
    pub(super) fn insert(&mut self, range: &KeyRange) {
        if range.is_empty() {
            return;
        }
        match range {
            KeyRange::One(key) => {
                let mut after = key.to_vec();
                after.push(0);
                self.insert_span(key.clone(), after.into());
            }
            KeyRange::Span { start, end } => self.insert_span(start.clone(), end.clone()),
            KeyRange::From(_) | KeyRange::All => {}
        }
    }

    /// Adds all intervals of `other`.
    pub(super) fn union(&mut self, other: Self) {
        for (start, end) in other.0 {
            self.insert_span(start, end);
        }
    }

    /// Whether `key` lies in an interval.
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        let until_key = (Bound::Unbounded, Bound::Included(key));
        let before = self.0.range::<[u8], _>(until_key).next_back();
        before.is_some_and(|(_, end)| key < end.as_ref())
    }

    fn insert_span(&mut self, mut start: Bytes, mut end: Bytes) {
        // Every interval that begins at or before the new one's end, from the last to the first,
        // until one ends before the new one starts.
        loop {
            let until_end = (Bound::Unbounded, Bound::Included(end.as_ref()));
            let meeting = self.0.range::<[u8], _>(until_end).next_back();
            let Some((other_start, other_end)) = meeting else {
                break;
            };
            if *other_end < start {
                break;
            }
            let (other_start, other_end) = (other_start.clone(), other_end.clone());
            self.0.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.0.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(start: &[u8], end: &[u8]) -> KeyRange {
        KeyRange::from_wire(Bytes::copy_from_slice(start), Bytes::copy_from_slice(end))
    }

    #[test]
    fn touching_spans_become_one() {
        let mut spans = KeySpans::default();
        spans.insert(&span(b"a", b"c"));
        spans.insert(&span(b"c", b"e"));
        spans.insert(&span(b"x", b""));
        assert_eq!(spans.0.len(), 2);
        assert!(spans.contains(b"c") && spans.contains(b"x"));
        assert!(!spans.contains(b"e") && !spans.contains(b"x\0"));
    }

    #[test]
    fn ranges_without_an_end_contain_nothing_here() {
        let mut spans = KeySpans::default();
        spans.insert(&span(b"a", b"\0"));
        spans.insert(&span(b"\0", b"\0"));
        assert!(!spans.contains(b"a") && !spans.contains(b"b") && !spans.contains(b"\0"));
    }

    proptest! {
        #[test]
        fn spans_contain_what_some_range_contains(
            ranges in prop::collection::vec((b'a'..b'j', b'a'..b'j'), 0..12),
        ) {
            let ranges: Vec<KeyRange> =
                ranges.iter().map(|&(start, end)| span(&[start], &[end])).collect();
            let mut spans = KeySpans::default();
            for range in &ranges {
                spans.insert(range);
            }
            for key in b'a'..=b'k' {
                let expected = ranges.iter().any(|range| range.contains(&[key]));
                prop_assert_eq!(spans.contains(&[key]), expected);
            }
            let starts: Vec<_> = spans.0.iter().collect();
            for pair in starts.windows(2) {
                prop_assert!(pair[0].1 < pair[1].0);
            }
        }
    }
}
