//! A set of keys as ranges: merged once, asked often.
//!
//! What a permission and a request are about is decoded in one place ([`KeyRange::from_wire`]). etcd had
//! GHSA-xg4h-6gfc-h4m8 here: a permission on one key covered a request for every key after it.

use bytes::Bytes;
use cairn_index::KeyRange;

/// A set of keys.
///
/// Invariants:
/// 1. Ranges ascend, and between two of them there is a key that is in neither: whatever is covered
///    at all is covered by one range, which a binary search finds.
/// 2. No range is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRanges(Vec<Interval>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    first: Bytes,
    end: End,
}

/// Where a range ends. The order of variants is their order: nothing comes after `Never`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Before this key.
    Before(Bytes),
    /// After the last key that there can be.
    Never,
}

impl KeyRanges {
    /// The keys in any of `ranges`. One that no permission can be about adds nothing.
    #[must_use]
    pub fn merge(ranges: impl Iterator<Item = KeyRange>) -> Self {
        let mut intervals: Vec<Interval> = ranges.filter_map(Interval::of).collect();
        intervals.sort_by(|a, b| a.first.cmp(&b.first));
        let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
        for interval in intervals {
            match merged.last_mut() {
                // Intervals that touch leave no key between them.
                Some(last) if !last.end.is_before(&interval.first) => {
                    last.end = last.end.clone().max(interval.end);
                }
                _ => merged.push(interval),
            }
        }
        Self(merged)
    }

    /// Whether each key of `range` is in the set. A range of no key is covered by what lies around it.
    #[must_use]
    pub fn covers(&self, range: &KeyRange) -> bool {
        let first: &[u8] = match range {
            KeyRange::One(first) | KeyRange::Span { start: first, .. } | KeyRange::From(first) => {
                first
            }
            // The least key there is.
            KeyRange::All => &[0],
        };
        let after = self.0.partition_point(|interval| interval.first <= first);
        let Some(around) = after.checked_sub(1).and_then(|at| self.0.get(at)) else {
            return false;
        };
        match (&around.end, range) {
            (End::Never, _) => true,
            (End::Before(_), KeyRange::From(_) | KeyRange::All) => false,
            (End::Before(end), KeyRange::One(key)) => key < end,
            // The first key too: of a reversed range only that would be looked at.
            (End::Before(end), KeyRange::Span { start, end: last }) => start < end && last <= end,
        }
    }

    /// Whether no key is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Interval {
    /// None for a range that no permission can be about: it has no first key, or ends before that.
    fn of(range: KeyRange) -> Option<Self> {
        let (first, end) = match range {
            // The least key after a key is the key and a zero byte.
            KeyRange::One(key) => {
                let end = [&key, &[0_u8][..]].concat();
                (key, End::Before(end.into()))
            }
            KeyRange::Span { start, end } if start < end => (start, End::Before(end)),
            KeyRange::Span { .. } => return None,
            KeyRange::From(first) => (first, End::Never),
            KeyRange::All => (Bytes::from_static(&[0]), End::Never),
        };
        (!first.is_empty()).then_some(Self { first, end })
    }
}

/// Whether a permission may be about `range`.
pub(crate) fn is_grantable(range: KeyRange) -> bool {
    Interval::of(range).is_some()
}

impl End {
    /// Whether `key` comes after the end and does not touch it.
    fn is_before(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => end < key,
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(key: &str, range_end: &str) -> KeyRange {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        KeyRange::from_wire(bytes(key), bytes(range_end))
    }

    fn ranges(granted: &[(&str, &str)]) -> KeyRanges {
        KeyRanges::merge(granted.iter().map(|(key, end)| wire(key, end)))
    }

    fn covers(ranges: &KeyRanges, key: &str, range_end: &str) -> bool {
        ranges.covers(&wire(key, range_end))
    }

    #[test]
    fn a_permission_on_one_key_covers_that_key_alone() {
        let ranges = ranges(&[("k", "")]);
        assert!(covers(&ranges, "k", ""));
        assert!(covers(&ranges, "k", "k\0"));
        for (key, range_end) in [
            ("k", "\0"),
            ("k", "l"),
            ("k\0", ""),
            ("j", ""),
            ("\0", "\0"),
            ("k", "k\0\0"),
        ] {
            assert!(!covers(&ranges, key, range_end), "{key:?} {range_end:?}");
        }
    }

    #[test]
    fn only_a_permission_without_end_covers_a_range_without_end() {
        let bounded = ranges(&[("a", "z"), ("z", "\u{7f}")]);
        assert!(covers(&bounded, "a", "\u{7f}"));
        assert!(!covers(&bounded, "a", "\0"));
        let open = ranges(&[("b", "\0")]);
        assert!(covers(&open, "b", "\0"));
        assert!(covers(&open, "c", "\0"));
        assert!(!covers(&open, "a", "\0"));
        assert!(!covers(&open, "\0", "\0"));
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let touching = ranges(&[("b", "c"), ("a", "b"), ("c", "")]);
        assert_eq!(touching.0.len(), 1);
        assert!(covers(&touching, "a", "c\0"));
        let apart = ranges(&[("a", "b"), ("b\0", "c")]);
        assert_eq!(apart.0.len(), 2);
        assert!(!covers(&apart, "a", "c"));
    }

    #[test]
    fn a_permission_about_no_key_grants_nothing() {
        let none = ranges(&[("b", "a"), ("", "\0"), ("a", "a")]);
        assert!(none.is_empty());
        assert!(!covers(&none, "a", ""));
    }

    #[test]
    fn a_permission_must_be_about_keys() {
        for (key, range_end, grantable) in [
            ("a", "", true),
            ("a", "\0", true),
            ("\0", "\0", true),
            ("a", "b", true),
            ("", "", false),
            ("", "\0", false),
            ("", "b", false),
            ("b", "a", false),
            ("a", "a", false),
        ] {
            let found = is_grantable(wire(key, range_end));
            assert_eq!(found, grantable, "{key:?} {range_end:?}");
        }
    }
}
