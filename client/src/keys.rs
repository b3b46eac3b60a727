//! Which keys a call means: one, a prefix, a range.

use bytes::Bytes;

use crate::into_bytes::IntoBytes;

/// One key or a range of keys. Text and bytes convert to one key.
///
/// ```
/// use cairn_client::Keys;
///
/// let one: Keys = "fruit/apple".into();
/// let all_fruit = Keys::prefix("fruit/");
/// let up_to_pear = Keys::range("fruit/", "fruit/pear");
/// assert!(all_fruit.contains(b"fruit/pear") && !up_to_pear.contains(b"fruit/pear"));
/// # assert!(one.contains(b"fruit/apple"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keys {
    /// The first key.
    pub(crate) key: Bytes,
    /// As on the wire: empty is one key, a zero byte is no end.
    pub(crate) end: Bytes,
}

/// The end of a range that has none, and the key before all others.
const ZERO: Bytes = Bytes::from_static(b"\0");

impl Keys {
    /// One key.
    pub fn one(key: impl IntoBytes) -> Self {
        Self {
            key: key.into_bytes(),
            end: Bytes::new(),
        }
    }

    /// All keys that begin so. Every key begins with the empty prefix.
    pub fn prefix(prefix: impl IntoBytes) -> Self {
        let prefix = prefix.into_bytes();
        if prefix.is_empty() {
            return Self::all();
        }
        Self {
            end: prefix_end(&prefix),
            key: prefix,
        }
    }

    /// The keys from `first` on that are before `end`.
    pub fn range(first: impl IntoBytes, end: impl IntoBytes) -> Self {
        Self {
            key: first.into_bytes(),
            end: end.into_bytes(),
        }
    }

    /// The keys from `first` on.
    pub fn from_key(first: impl IntoBytes) -> Self {
        Self {
            key: first.into_bytes(),
            end: ZERO,
        }
    }

    /// All keys.
    #[must_use]
    pub fn all() -> Self {
        Self {
            key: ZERO,
            end: ZERO,
        }
    }

    /// The first key.
    #[must_use]
    pub fn first(&self) -> &Bytes {
        &self.key
    }

    /// The end of the range as on the wire: empty for one key, a zero byte for a range without end.
    #[must_use]
    pub fn range_end(&self) -> &Bytes {
        &self.end
    }

    /// Whether it is one key.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.end.is_empty()
    }

    /// Whether a key is among them.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        if self.is_one() {
            return key == self.key;
        }
        key >= &self.key[..] && (self.end == ZERO || key < &self.end[..])
    }

    /// The keys of these after one of them.
    pub(crate) fn after(&self, key: &[u8]) -> Self {
        Self {
            key: [key, b"\0"].concat().into(),
            end: self.end.clone(),
        }
    }

    /// These keys as they are on the server for a client with a namespace.
    pub(crate) fn within(&self, namespace: &Bytes) -> Self {
        if namespace.is_empty() {
            return self.clone();
        }
        Self {
            key: [namespace, &self.key[..]].concat().into(),
            end: match &self.end {
                end if end.is_empty() => Bytes::new(),
                end if *end == ZERO => prefix_end(namespace),
                end => [namespace, &end[..]].concat().into(),
            },
        }
    }
}

impl<K: IntoBytes> From<K> for Keys {
    fn from(key: K) -> Self {
        Self::one(key)
    }
}

/// The first key after all that begin with a prefix; a zero byte if there is none.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    ZERO
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0_u8), Just(1), Just(b'a'), Just(254), Just(255)];
        proptest::collection::vec(byte, 0..5)
    }

    proptest! {
        #[test]
        fn a_prefix_has_the_keys_that_begin_with_it(prefix in bytes(), key in bytes()) {
            // The empty key is none that a store can hold.
            prop_assume!(!key.is_empty());
            prop_assert_eq!(Keys::prefix(&prefix).contains(&key), key.starts_with(&prefix));
        }

        #[test]
        fn within_a_namespace_are_the_same_keys_with_its_prefix(
            namespace in bytes(), first in bytes(), end in bytes(), key in bytes(),
        ) {
            prop_assume!(!first.is_empty());
            let keys = Keys { key: first.into(), end: end.into() };
            let namespace = Bytes::from(namespace);
            let outside = keys.within(&namespace);
            let whole = [&namespace[..], &key].concat();
            prop_assert_eq!(outside.contains(&whole), keys.contains(&key));
        }

        #[test]
        fn after_a_key_are_the_keys_behind_it(first in bytes(), cut in bytes(), key in bytes()) {
            let keys = Keys::from_key(first);
            prop_assume!(keys.contains(&cut));
            let after = keys.after(&cut);
            prop_assert_eq!(after.contains(&key), keys.contains(&key) && key > cut);
        }
    }
}
