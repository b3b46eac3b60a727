//! A range of keys that a request or a permission is about.
//!
//! The wire's `(key, range_end)` is decoded once, here, with etcd's special values: no `range_end` is
//! one key, a single zero byte is every key from `key` on. That is where etcd had GHSA-xg4h-6gfc-h4m8:
//! a permission on one key covered a request for every key after it.

/// Keys from a first one up to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySpan<'a> {
    /// This key alone.
    One(&'a [u8]),
    /// The keys from the first up to, and without, the second; none if that is not greater.
    Between(&'a [u8], &'a [u8]),
    /// This key and every key after it.
    From(&'a [u8]),
}

impl<'a> KeySpan<'a> {
    /// Reads a range as clients send it and as permissions hold it.
    #[must_use]
    pub const fn from_wire(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            [] => Self::One(key),
            [0] => Self::From(key),
            _ => Self::Between(key, range_end),
        }
    }

    /// Whether a permission may be about it: it has a first key, and its end is after that.
    #[must_use]
    pub fn is_grantable(&self) -> bool {
        match self {
            Self::One(key) | Self::From(key) => !key.is_empty(),
            Self::Between(key, end) => !key.is_empty() && key < end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_range_ends_of_the_wire_become_variants() {
        assert_eq!(KeySpan::from_wire(b"a", b""), KeySpan::One(b"a"));
        assert_eq!(KeySpan::from_wire(b"a", b"\0"), KeySpan::From(b"a"));
        assert_eq!(KeySpan::from_wire(b"a", b"b"), KeySpan::Between(b"a", b"b"));
        let zeros = KeySpan::from_wire(b"a", b"\0\0");
        assert_eq!(zeros, KeySpan::Between(b"a", b"\0\0"));
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
            let span = KeySpan::from_wire(key.as_bytes(), range_end.as_bytes());
            assert_eq!(span.is_grantable(), grantable, "{key:?} {range_end:?}");
        }
    }
}
