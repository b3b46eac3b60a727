//! A key of a cache's map.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

/// A short key lies in the node of the map that holds it: a look-up compares with a score of keys, and
/// follows no pointer for that.
#[derive(Clone)]
pub(super) enum Key {
    Short { len: u8, bytes: [u8; SHORT_LEN_MAX] },
    Long(Arc<[u8]>),
}

/// Makes it as large as a `Bytes`, of which it takes the place.
const SHORT_LEN_MAX: usize = 30;

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        let mut bytes = [0; SHORT_LEN_MAX];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(key);
                Self::Short { len, bytes }
            }
            _ => Self::Long(key.into()),
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, other): (&[u8], &[u8]) = (self.borrow(), other.borrow());
        own.cmp(other)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_takes_no_more_than_the_key_of_an_entry() {
        assert!(size_of::<Key>() <= size_of::<bytes::Bytes>());
    }

    proptest! {
        #[test]
        fn keys_are_ordered_as_their_bytes(
            one in proptest::collection::vec(0..3_u8, 0..40),
            other in proptest::collection::vec(0..3_u8, 0..40),
        ) {
            let (a, b) = (Key::from(&one[..]), Key::from(&other[..]));
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a == b, one == other);
            let back: &[u8] = a.borrow();
            prop_assert_eq!(back, &one[..]);
        }
    }
}
