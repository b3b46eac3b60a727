//! Ranges of keys, as requests name them.
//!
//! The wire's `(key, range_end)` pair with its special values is decoded once, here, so that no
//! layer below the server tests for them.

use std::ops::Bound;

use bytes::Bytes;

use crate::system_keys::{SYSTEM_END, SYSTEM_PREFIX, is_system_key};

/// A set of neighbouring keys. Those of the server itself ([`SYSTEM_PREFIX`]) are in it only if it
/// begins among them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyRange {
    /// One key.
    One(Bytes),
    /// The keys in `[start, end)`; none if `end ≤ start`.
    Span {
        /// The first key of the range.
        start: Bytes,
        /// The first key after the range.
        end: Bytes,
    },
    /// This key and every key after it.
    From(Bytes),
    /// Every key.
    All,
}

impl KeyRange {
    /// Reads a range as clients send it: no `range_end` is one key, `"\0"` is "from `key` on", and
    /// `"\0"` for both is every key. A reversed range is legal, and empty. System keys are in none: a
    /// range that begins among them begins after them.
    #[must_use]
    pub fn from_wire(key: Bytes, range_end: Bytes) -> Self {
        if is_system_key(&key) {
            let start = Bytes::from_static(SYSTEM_END);
            return match range_end.as_ref() {
                [] => Self::Span {
                    start: start.clone(),
                    end: start,
                },
                [0] => Self::From(start),
                _ => Self::Span {
                    start,
                    end: range_end,
                },
            };
        }
        match (key.as_ref(), range_end.as_ref()) {
            (_, []) => Self::One(key),
            ([0], [0]) => Self::All,
            (_, [0]) => Self::From(key),
            _ => Self::Span {
                start: key,
                end: range_end,
            },
        }
    }

    /// The keys that start with `prefix`; every key if it is empty.
    #[must_use]
    pub fn prefix(prefix: Bytes) -> Self {
        let Some(last) = prefix.iter().rposition(|&byte| byte < u8::MAX) else {
            // Only 0xff: no key after the prefix's keys, so the range has no end.
            return if prefix.is_empty() {
                Self::All
            } else {
                Self::From(prefix)
            };
        };
        let mut end: Vec<u8> = prefix.iter().copied().take(last + 1).collect();
        if let Some(byte) = end.last_mut() {
            *byte += 1;
        }
        Self::Span {
            start: prefix,
            end: end.into(),
        }
    }

    /// Whether `key` is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        let shown = |start: &[u8]| start >= SYSTEM_PREFIX || !is_system_key(key);
        match self {
            Self::One(one) => one == key,
            Self::Span { start, end } => {
                start.as_ref() <= key && key < end.as_ref() && shown(start)
            }
            Self::From(start) => start.as_ref() <= key && shown(start),
            Self::All => shown(b""),
        }
    }

    /// Whether no key can be in the range: a span that ends at or before its start.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Span { start, end } if end <= start)
    }

    /// The range's ends, for maps and tables. An empty range has both ends at its start, excluded
    /// once, so that ordered maps accept it.
    #[must_use]
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        match self {
            Self::One(key) => (Bound::Included(key), Bound::Included(key)),
            Self::Span { start, .. } if self.is_empty() => {
                (Bound::Included(start), Bound::Excluded(start))
            }
            Self::Span { start, end } => (Bound::Included(start), Bound::Excluded(end)),
            Self::From(start) => (Bound::Included(start), Bound::Unbounded),
            Self::All => (Bound::Unbounded, Bound::Unbounded),
        }
    }

    /// What is left of the range after `key`: where a scan that ended with `key` goes on.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Self {
        // The least key greater than `key` is `key` and a zero byte.
        let mut next = Vec::with_capacity(key.len() + 1);
        next.extend_from_slice(key);
        next.push(0);
        let next = Bytes::from(next);
        match self {
            Self::One(one) if *one < next => Self::Span {
                start: next.clone(),
                end: next,
            },
            Self::One(_) => self.clone(),
            Self::Span { start, end } => Self::Span {
                start: start.clone().max(next),
                end: end.clone(),
            },
            Self::From(start) => Self::From(start.clone().max(next)),
            Self::All => Self::From(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::from_wire(
            Bytes::from_static(key.as_bytes()),
            Bytes::from_static(end.as_bytes()),
        )
    }

    #[test]
    fn special_range_ends_of_the_wire_become_variants() {
        assert_eq!(wire("a", ""), KeyRange::One(Bytes::from("a")));
        assert_eq!(wire("a", "\0"), KeyRange::From(Bytes::from("a")));
        assert_eq!(wire("\0", "\0"), KeyRange::All);
        assert_eq!(wire("", "\0"), KeyRange::From(Bytes::new()));
        assert_eq!(
            wire("a", "c"),
            KeyRange::Span {
                start: Bytes::from("a"),
                end: Bytes::from("c")
            }
        );
    }

    #[test]
    fn clients_ranges_begin_after_system_keys() {
        assert!(wire("\0cairn\0x", "").is_empty());
        for end in ["\0", "b"] {
            let range = wire("\0cairn\0x", end);
            assert!(!range.contains(b"\0cairn\0y") && range.contains(b"\0cairn\x01"));
        }
        assert_eq!(wire("\0cairn", ""), KeyRange::One(Bytes::from("\0cairn")));
    }

    #[test]
    fn a_reversed_span_is_empty_and_its_bounds_are_ordered() {
        let range = wire("c", "a");
        assert!(range.is_empty());
        assert!(!range.contains(b"b"));
        assert_eq!(
            range.bounds(),
            (
                Bound::Included(b"c".as_slice()),
                Bound::Excluded(b"c".as_slice())
            )
        );
        let mut map = std::collections::BTreeMap::new();
        map.insert(b"c".to_vec(), ());
        assert_eq!(map.range::<[u8], _>(range.bounds()).count(), 0);
    }

    #[test]
    fn a_prefix_ends_where_its_last_byte_can_grow() {
        assert_eq!(KeyRange::prefix(Bytes::from("ab")), wire("ab", "ac"));
        let odd = KeyRange::prefix(Bytes::from_static(b"a\xff"));
        assert!(odd.contains(b"a\xff\xff") && !odd.contains(b"b"));
        assert_eq!(
            KeyRange::prefix(Bytes::from_static(b"\xff")),
            KeyRange::From(Bytes::from_static(b"\xff"))
        );
        assert_eq!(KeyRange::prefix(Bytes::new()), KeyRange::All);
    }

    #[test]
    fn what_is_left_after_a_key_starts_right_behind_it() {
        for range in [wire("a", "d"), wire("a", "\0"), KeyRange::All] {
            let left = range.after(b"b");
            assert!(!left.contains(b"b"));
            assert!(left.contains(b"b\0") && left.contains(b"c"));
            assert_eq!(left.contains(b"d"), range.contains(b"d"));
        }
        assert!(wire("a", "").after(b"a").is_empty());
        assert_eq!(wire("b", "").after(b"a"), wire("b", ""));
        assert_eq!(wire("c", "d").after(b"a"), wire("c", "d"));
    }
}
