//! The key under which a change is stored.
//!
//! ```text
//! 8 bytes          1 byte  8 bytes          1 byte, deletions alone
//! main revision    '_'     sub revision     't'
//! ```
//!
//! Both numbers are big-endian, so keys sort as revisions do. It is etcd's format.

use std::fmt;

use cairn_index::{FullRevision, Revision, SubRevision};

use crate::change::ChangeKind;

const MAIN_LEN: usize = 8;
const SEPARATOR: u8 = b'_';
const PLAIN_LEN: usize = 17;
const TOMBSTONE_LEN: usize = PLAIN_LEN + 1;
const TOMBSTONE_MARK: u8 = b't';

/// The encoded key of one change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BucketKey {
    bytes: [u8; TOMBSTONE_LEN],
    tombstone: bool,
}

impl BucketKey {
    /// The key of a change.
    #[must_use]
    pub fn new(at: FullRevision, kind: ChangeKind) -> Self {
        let tombstone = kind == ChangeKind::Delete;
        Self::encode(at.main.number(), at.sub.number(), tombstone)
    }

    /// The key of a put.
    #[must_use]
    pub fn put(at: FullRevision) -> Self {
        Self::new(at, ChangeKind::Put)
    }

    /// The key of a deletion.
    #[must_use]
    pub fn tombstone(at: FullRevision) -> Self {
        Self::new(at, ChangeKind::Delete)
    }

    /// The key at or before every change of a transaction, and after all earlier ones.
    #[must_use]
    pub fn first_of(main: Revision) -> Self {
        Self::encode(main.number(), 0, false)
    }

    /// A main revision as the `meta` table holds it; zero is legal there alone.
    pub(crate) fn mark(main: u64) -> Self {
        Self::encode(main, 0, false)
    }

    fn encode(main: u64, sub: u64, tombstone: bool) -> Self {
        let mut bytes = [0; TOMBSTONE_LEN];
        let (head, tail) = bytes.split_at_mut(MAIN_LEN);
        head.copy_from_slice(&main.to_be_bytes());
        if let [separator, sub_bytes @ .., mark] = tail {
            *separator = SEPARATOR;
            sub_bytes.copy_from_slice(&sub.to_be_bytes());
            *mark = TOMBSTONE_MARK;
        }
        Self { bytes, tombstone }
    }

    /// Reads a stored key.
    ///
    /// # Errors
    ///
    /// [`InvalidBucketKey`] if no change has such a key.
    pub fn decode(bytes: &[u8]) -> Result<(FullRevision, ChangeKind), InvalidBucketKey> {
        let invalid = || InvalidBucketKey(bytes.into());
        let kind = match bytes.get(PLAIN_LEN..).ok_or_else(invalid)? {
            [] => ChangeKind::Put,
            [TOMBSTONE_MARK] => ChangeKind::Delete,
            _ => return Err(invalid()),
        };
        let (main, sub) = numbers(bytes).ok_or_else(invalid)?;
        let main = Revision::new(main).ok_or_else(invalid)?;
        let sub = i64::try_from(sub).map_err(|_| invalid())?;
        let sub = SubRevision::new(sub.unsigned_abs());
        Ok((FullRevision::new(main, sub), kind))
    }

    /// Reads a main revision that [`mark`](Self::mark) wrote.
    pub(crate) fn decode_mark(bytes: &[u8]) -> Result<u64, InvalidBucketKey> {
        match numbers(bytes) {
            Some((main, 0)) if bytes.len() == PLAIN_LEN && i64::try_from(main).is_ok() => Ok(main),
            _ => Err(InvalidBucketKey(bytes.into())),
        }
    }

    /// The bytes, as stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let [plain @ .., _mark] = &self.bytes;
        if self.tombstone { &self.bytes } else { plain }
    }
}

impl fmt::Debug for BucketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// The two numbers of a key, whatever follows them.
fn numbers(bytes: &[u8]) -> Option<(u64, u64)> {
    let (main, rest) = bytes.split_first_chunk()?;
    let (separator, rest) = rest.split_first()?;
    let (sub, _) = rest.split_first_chunk()?;
    (*separator == SEPARATOR).then(|| (u64::from_be_bytes(*main), u64::from_be_bytes(*sub)))
}

/// Bytes in the key table that are no change's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the key of a change", .0.escape_ascii())]
pub struct InvalidBucketKey(pub Box<[u8]>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(main: u64, sub: u64) -> FullRevision {
        FullRevision::new(Revision::new(main).unwrap(), SubRevision::new(sub))
    }

    #[test]
    fn keys_have_etcds_bytes() {
        assert_eq!(
            BucketKey::put(full(258, 3)).as_bytes(),
            b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03"
        );
        assert_eq!(
            BucketKey::tombstone(full(2, 0)).as_bytes(),
            b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0t"
        );
    }

    #[test]
    fn malformed_keys_are_refused() {
        let good = BucketKey::tombstone(full(2, 0));
        for end in 0..PLAIN_LEN {
            assert!(BucketKey::decode(&good.as_bytes()[..end]).is_err());
        }
        let mut long = good.as_bytes().to_vec();
        long.push(b't');
        assert!(BucketKey::decode(&long).is_err());
        for (at, byte) in [(0, 0x80), (7, 0), (8, b'-'), (9, 0x80), (17, b'x')] {
            let mut bytes = good.as_bytes().to_vec();
            bytes[at] = byte;
            assert!(
                BucketKey::decode(&bytes).is_err(),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn a_key_survives_the_round_trip_and_sorts_as_its_revision(
            a in (1..=i64::MAX as u64, 0..=i64::MAX as u64),
            b in (1..=i64::MAX as u64, 0..=i64::MAX as u64),
        ) {
            let (a, b) = (full(a.0, a.1), full(b.0, b.1));
            prop_assert_eq!(BucketKey::decode(BucketKey::put(a).as_bytes()), Ok((a, ChangeKind::Put)));
            prop_assert_eq!(
                BucketKey::decode(BucketKey::tombstone(b).as_bytes()),
                Ok((b, ChangeKind::Delete))
            );
            prop_assert_eq!(
                BucketKey::put(a).as_bytes().cmp(BucketKey::put(b).as_bytes()),
                a.cmp(&b)
            );
        }
    }
}
