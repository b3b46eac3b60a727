//! Ranges of keys, as requests name them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Data;

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRange {
    /// The one key.
    One(Data),
    /// `[first, end)`; empty if `end` is not above `first`.
    Span(Data, Data),
    /// This key and all above it.
    From(Data),
}

impl KeyRange {
    /// Every key there can be.
    #[must_use]
    pub fn all() -> Self {
        Self::From("\0".into())
    }

    /// All keys that begin so.
    #[must_use]
    pub fn prefix(prefix: impl Into<Data>) -> Self {
        let first = prefix.into();
        let mut end = first.as_slice().to_vec();
        while let Some(last) = end.pop() {
            if let Some(next) = last.checked_add(1) {
                end.push(next);
                return Self::Span(first, end.into());
            }
        }
        Self::From(first)
    }

    /// From the two fields of a request: an empty end is one key, a single zero byte is no end.
    #[must_use]
    pub fn from_wire(key: Data, range_end: Data) -> Self {
        match range_end.as_slice() {
            [] => Self::One(key),
            [0] => Self::From(key),
            _ => Self::Span(key, range_end),
        }
    }

    /// The two fields of a request.
    #[must_use]
    pub fn to_wire(&self) -> (Data, Data) {
        match self {
            Self::One(key) => (key.clone(), Data::default()),
            Self::From(key) => (key.clone(), "\0".into()),
            Self::Span(first, end) => (first.clone(), end.clone()),
        }
    }

    /// Whether the range holds the key.
    #[must_use]
    pub fn contains(&self, key: &Data) -> bool {
        match self {
            Self::One(one) => key == one,
            Self::Span(first, end) => first <= key && key < end,
            Self::From(first) => first <= key,
        }
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(key) => write!(f, "{key}"),
            Self::Span(first, end) => write!(f, "[{first}, {end})"),
            Self::From(first) if first.as_slice() == [0] => write!(f, "[all]"),
            Self::From(first) => write!(f, "[{first}, ∞)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_what_begins_with_it_and_nothing_else() {
        let range = KeyRange::prefix(vec![b'a', 0xff]);
        assert!(range.contains(&vec![b'a', 0xff, 0xff].into()));
        assert!(!range.contains(&"b".into()));
        assert!(!range.contains(&"a".into()));
        assert_eq!(
            KeyRange::prefix(vec![0xff]),
            KeyRange::From(vec![0xff].into())
        );
    }

    #[test]
    fn wire_fields_and_ranges_are_the_same_thing() {
        for range in [
            KeyRange::One("a".into()),
            KeyRange::all(),
            KeyRange::prefix("a"),
        ] {
            let (key, end) = range.to_wire();
            assert_eq!(KeyRange::from_wire(key, end), range);
        }
    }
}
