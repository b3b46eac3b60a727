//! A set of keys as ranges: merged once, asked often.

use bytes::Bytes;

use crate::key_span::KeySpan;

/// A set of keys.
///
/// Invariants:
/// 1. Ranges ascend, and between two of them there is a key that is in neither: whatever is covered
///    at all is covered by one range, which a binary search finds.
/// 2. No range is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRanges(Vec<KeyRange>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyRange {
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
    /// The keys in any of `spans`. A span that no permission can be about adds nothing.
    #[must_use]
    pub fn merge<'a>(spans: impl Iterator<Item = KeySpan<'a>>) -> Self {
        let grantable = spans.filter(KeySpan::is_grantable);
        let mut ranges: Vec<KeyRange> = grantable.map(KeyRange::of).collect();
        ranges.sort_by(|a, b| a.first.cmp(&b.first));
        let mut merged: Vec<KeyRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                // Ranges that touch leave no key between them.
                Some(last) if !last.end.is_before(&range.first) => {
                    last.end = last.end.clone().max(range.end);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// Whether each key of `span` is in the set. A span of no key is covered by what lies around it.
    #[must_use]
    pub fn covers(&self, span: KeySpan<'_>) -> bool {
        let (KeySpan::One(first) | KeySpan::Between(first, _) | KeySpan::From(first)) = span;
        let after = self.0.partition_point(|range| range.first <= first);
        let Some(range) = after.checked_sub(1).and_then(|at| self.0.get(at)) else {
            return false;
        };
        match (&range.end, span) {
            (End::Never, _) => true,
            (End::Before(_), KeySpan::From(_)) => false,
            (End::Before(end), KeySpan::One(key)) => key < end,
            // The first key too: of a reversed span only that would be looked at.
            (End::Before(end), KeySpan::Between(first, last)) => first < end && last <= end,
        }
    }

    /// Whether no key is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl KeyRange {
    fn of(span: KeySpan<'_>) -> Self {
        let (first, end) = match span {
            // The least key after a key is the key and a zero byte.
            KeySpan::One(key) => (key, End::Before([key, &[0]].concat().into())),
            KeySpan::Between(first, end) => (first, End::Before(Bytes::copy_from_slice(end))),
            KeySpan::From(first) => (first, End::Never),
        };
        let first = Bytes::copy_from_slice(first);
        Self { first, end }
    }
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

    fn ranges(spans: &[(&str, &str)]) -> KeyRanges {
        KeyRanges::merge(
            spans
                .iter()
                .map(|(key, end)| KeySpan::from_wire(key.as_bytes(), end.as_bytes())),
        )
    }

    fn covers(ranges: &KeyRanges, key: &str, range_end: &str) -> bool {
        ranges.covers(KeySpan::from_wire(key.as_bytes(), range_end.as_bytes()))
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
}
