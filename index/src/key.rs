//! A key as the index holds it.
//!
//! Most keys are short. A short key lies in the map's own leaf, so that a comparison costs no extra
//! cache miss and copying a leaf under a snapshot touches no reference counts; a longer one is
//! shared on the heap.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The longest key stored in place: with the length and the variant it fills 48 bytes.
const INLINE_BYTES_MAX: usize = 46;

const _: () = assert!(size_of::<Key>() == INLINE_BYTES_MAX + 2);

/// A key: bytes, ordered as bytes, cheap to clone.
#[derive(Clone)]
pub struct Key(Form);

#[derive(Clone)]
enum Form {
    Inline {
        len: u8,
        bytes: [u8; INLINE_BYTES_MAX],
    },
    Shared(Arc<[u8]>),
}

impl Key {
    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            // `len` is at most `INLINE_BYTES_MAX`, by construction.
            Form::Inline { len, bytes } => bytes.split_at(usize::from(*len)).0,
            Form::Shared(bytes) => bytes,
        }
    }
}

impl Default for Key {
    /// The empty key, which is before all others.
    fn default() -> Self {
        Self(Form::Inline {
            len: 0,
            bytes: [0; INLINE_BYTES_MAX],
        })
    }
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        let mut bytes = [0; INLINE_BYTES_MAX];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(key);
                Self(Form::Inline { len, bytes })
            }
            _ => Self(Form::Shared(key.into())),
        }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_come_back_and_order_as_bytes() {
        let lengths = [
            0,
            1,
            INLINE_BYTES_MAX - 1,
            INLINE_BYTES_MAX,
            INLINE_BYTES_MAX + 1,
            300,
        ];
        let mut previous: Option<Key> = None;
        for len in lengths {
            let bytes = vec![b'k'; len];
            let key = Key::from(bytes.as_slice());
            assert_eq!(key.as_bytes(), bytes);
            assert!(previous.is_none_or(|shorter| shorter < key));
            previous = Some(key);
        }
    }

    #[test]
    fn a_key_is_shown_as_text_with_odd_bytes_escaped() {
        assert_eq!(
            format!("{:?}", Key::from(b"a\0\xff".as_slice())),
            r#""a\x00\xff""#
        );
    }
}
