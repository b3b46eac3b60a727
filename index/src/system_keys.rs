//! The part of the key space that clients do not see: what the server keeps in the store for itself.
//!
//! It has an exact place in the middle of all keys, so no key that clients may want is lost but those
//! that begin with these very bytes. Ranges of clients go around it: [`KeyRange`](crate::KeyRange)
//! has system keys only if it begins among them, and as clients send it it never does.

use std::ops::Bound;

use crate::leaves::KeyBounds;

/// What every system key begins with. It is stored, and never changes.
pub const SYSTEM_PREFIX: &[u8] = b"\0cairn\0";

/// The first key after all system keys.
pub(crate) const SYSTEM_END: &[u8] = b"\0cairn\x01";

/// Whether a key is the server's own.
#[must_use]
pub fn is_system_key(key: &[u8]) -> bool {
    key.starts_with(SYSTEM_PREFIX)
}

/// What is left of bounds that begin before the system keys and reach into them.
pub(crate) fn around(bounds: KeyBounds<'_>) -> (KeyBounds<'_>, Option<KeyBounds<'_>>) {
    let (start, end) = bounds;
    let begins_before = match start {
        Bound::Included(key) | Bound::Excluded(key) => key < SYSTEM_PREFIX,
        Bound::Unbounded => true,
    };
    let reaches = |place: &[u8]| match end {
        Bound::Included(key) => key >= place,
        Bound::Excluded(key) => key > place,
        Bound::Unbounded => true,
    };
    if !begins_before || !reaches(SYSTEM_PREFIX) {
        return (bounds, None);
    }
    let before = (start, Bound::Excluded(SYSTEM_PREFIX));
    let after = (Bound::Included(SYSTEM_END), end);
    (before, reaches(SYSTEM_END).then_some(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyRange;
    use bytes::Bytes;

    fn span(start: &'static [u8], end: &'static [u8]) -> KeyRange {
        KeyRange::Span {
            start: Bytes::from_static(start),
            end: Bytes::from_static(end),
        }
    }

    #[test]
    fn ranges_that_begin_before_system_keys_go_around_them() {
        let keys: [&[u8]; 9] = [
            b"\0",
            b"\0cairn",
            b"\0cairn\0",
            b"\0cairn\0x",
            b"\0cairn\0\xff",
            b"\0cairn\x01",
            b"\0d",
            b"a",
            b"b",
        ];
        let ranges = [
            KeyRange::All,
            KeyRange::From(Bytes::from_static(b"\0cairn")),
            KeyRange::From(Bytes::from_static(b"\0cairn\0")),
            span(b"\0", b"b"),
            span(b"\0", b"\0cairn\0x"),
            span(b"\0", b"\0cairn\0"),
            span(b"\0cairn\0", b"\0cairn\0y"),
            span(b"a", b"b"),
            span(b"b", b"a"),
            KeyRange::One(Bytes::from_static(b"\0cairn\0x")),
        ];
        for range in &ranges {
            let (first, rest) = around(range.bounds());
            let begins_inside = match range.bounds().0 {
                Bound::Included(start) => is_system_key(start),
                _ => false,
            };
            for key in keys {
                let set = std::collections::BTreeSet::from([key]);
                let within = |bounds| set.range::<[u8], KeyBounds<'_>>(bounds).count();
                let expected =
                    within(range.bounds()) == 1 && (begins_inside || !is_system_key(key));
                let found = within(first) + rest.map_or(0, within);
                assert_eq!(found, usize::from(expected), "{range:?} {key:?}");
                assert_eq!(range.contains(key), expected, "{range:?} {key:?}");
            }
        }
    }
}
