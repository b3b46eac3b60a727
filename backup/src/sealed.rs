//! How an object is wrapped: compressed, perhaps encrypted, with a checksum.
//!
//! ```text
//! 8 bytes   "CAIRNBK1"
//! 1 byte    0: not encrypted; 1: AES-256-GCM
//! 12 bytes  the nonce, if it is encrypted
//! n bytes   the content, compressed by LZ4 (4 bytes of length before it), then encrypted
//! 32 bytes  SHA-256 of the object's name and all of the above
//! ```
//!
//! The name is part of what is summed and authenticated, so an object under another name is found out.
//! The sum is also what the next object refers to.

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, UnboundKey};
use ring::digest::{Context, SHA256};

use crate::error::Error;

const MAGIC: &[u8; 8] = b"CAIRNBK1";
const PLAIN: u8 = 0;
const ENCRYPTED: u8 = 1;
const DIGEST_BYTES: usize = 32;
/// What may come behind the content.
const TAG_AND_DIGEST_BYTES: usize = ring::aead::MAX_TAG_LEN + DIGEST_BYTES;
/// More than any object holds: what says that it holds more is damaged.
const CONTENT_BYTES_MAX: usize = 1 << 30;

/// What an object is known by: the checksum at its end.
pub(crate) type Digest = [u8; DIGEST_BYTES];

/// A number that is used once with a key.
pub type Nonce = [u8; NONCE_LEN];

/// A key that objects are encrypted with.
#[derive(Clone)]
pub struct Key(std::sync::Arc<LessSafeKey>);

impl Key {
    /// The key of these bytes.
    ///
    /// # Errors
    ///
    /// None is expected: any 32 bytes are a key.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, Error> {
        let key = UnboundKey::new(&AES_256_GCM, bytes);
        let key = key.map_err(|_| Error::NotThere("these bytes are no key".to_owned()))?;
        Ok(Self(std::sync::Arc::new(LessSafeKey::new(key))))
    }

    /// Reads a key file: 64 hexadecimal digits, as `openssl rand -hex 32` writes them.
    ///
    /// # Errors
    ///
    /// If that is not what is there.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::NotThere("a key file holds 64 hexadecimal digits".to_owned());
        let text = text.trim();
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Self::new(&bytes)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// An object's content, unwrapped.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) content: Bytes,
    pub(crate) digest: Digest,
}

/// Wraps the content of the object `name`.
pub(crate) fn seal(
    name: &str,
    content: &[u8],
    key: Option<&Key>,
    nonce: Nonce,
) -> Result<(Bytes, Digest), Error> {
    let mut head = MAGIC.to_vec();
    match key {
        None => head.push(PLAIN),
        Some(_) => {
            head.push(ENCRYPTED);
            head.extend(nonce);
        }
    }
    let body_at = head.len();
    let length = u32::try_from(content.len());
    let length = length.map_err(|_| Error::damaged(name, "it is too large"))?;
    head.extend(length.to_le_bytes());
    // All of it in one buffer: fresh memory is most of what a backup costs.
    let compressed_max = lz4_flex::block::get_maximum_output_size(content.len());
    let mut object = vec![0; head.len() + compressed_max + TAG_AND_DIGEST_BYTES];
    let (before, room) = object
        .split_at_mut_checked(head.len())
        .ok_or_else(|| Error::damaged(name, "there is no room for it"))?;
    before.copy_from_slice(&head);
    let compressed = lz4_flex::block::compress_into(content, room);
    let compressed = compressed.map_err(|error| Error::damaged(name, error.to_string()))?;
    object.truncate(head.len() + compressed);
    if let Some(Key(key)) = key {
        let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
        let cannot = || Error::damaged(name, "it cannot be encrypted");
        let body = object.get_mut(body_at..).ok_or_else(cannot)?;
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(name.as_bytes()), body);
        object.extend(tag.map_err(|_| cannot())?.as_ref());
    }
    let digest = digest_of(name, &object);
    object.extend(digest);
    Ok((object.into(), digest))
}

/// Unwraps the object `name`.
pub(crate) fn open(name: &str, object: &Bytes, key: Option<&Key>) -> Result<Opened, Error> {
    let damaged = |reason: &str| Error::damaged(name, reason);
    let end = object.len().checked_sub(DIGEST_BYTES);
    let (summed, stored) = object
        .split_at_checked(end.ok_or_else(|| damaged("it is cut short"))?)
        .ok_or_else(|| damaged("it is cut short"))?;
    let digest = digest_of(name, summed);
    if digest != stored {
        return Err(damaged("its checksum is another"));
    }
    let body = summed.strip_prefix(MAGIC);
    let body = body.ok_or_else(|| damaged("it is no object of a backup"))?;
    let compressed = match (body.split_first(), key) {
        (Some((&PLAIN, body)), _) => body.to_vec(),
        (Some((&ENCRYPTED, body)), Some(key)) => {
            decrypt(name, body, key).ok_or_else(|| damaged("the key is another"))?
        }
        (Some((&ENCRYPTED, _)), None) => {
            return Err(damaged("it is encrypted: a key file is needed"));
        }
        _ => return Err(damaged("it is of a form that this version does not know")),
    };
    let (length, _) = lz4_flex::block::uncompressed_size(&compressed)
        .map_err(|error| Error::damaged(name, error))?;
    if length > CONTENT_BYTES_MAX {
        return Err(damaged("it says that it is longer than can be"));
    }
    let content = lz4_flex::decompress_size_prepended(&compressed)
        .map_err(|error| Error::damaged(name, error))?;
    Ok(Opened {
        content: content.into(),
        digest,
    })
}

fn decrypt(name: &str, body: &[u8], Key(key): &Key) -> Option<Vec<u8>> {
    let (nonce, body) = body.split_at_checked(NONCE_LEN)?;
    let nonce = ring::aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = body.to_vec();
    let length = key
        .open_in_place(nonce, Aad::from(name.as_bytes()), &mut body)
        .ok()?
        .len();
    body.truncate(length);
    Some(body)
}

fn digest_of(name: &str, object: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(name.as_bytes());
    context.update(&[0]);
    context.update(object);
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; 32]).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_under_its_name_and_with_its_key_alone() {
        let content = b"some content, some content, some content".repeat(100);
        for key in [None, Some(&key(1))] {
            let (object, digest) = seal("a/b", &content, key, [7; 12]).unwrap();
            assert!(object.len() < content.len() / 2, "it is compressed");
            let opened = open("a/b", &object, key).unwrap();
            assert_eq!(
                (opened.content, opened.digest),
                (content.clone().into(), digest)
            );
            assert!(open("a/c", &object, key).is_err());
        }
        let (object, _) = seal("a/b", &content, Some(&key(1)), [7; 12]).unwrap();
        let no_key = open("a/b", &object, None).unwrap_err().to_string();
        assert_eq!(no_key, "a/b: it is encrypted: a key file is needed");
        let other = open("a/b", &object, Some(&key(2))).unwrap_err().to_string();
        assert_eq!(other, "a/b: the key is another");
    }

    #[test]
    fn no_byte_of_an_object_can_be_changed_or_left_out() {
        for key in [None, Some(&key(1))] {
            let (object, _) = seal("a", b"content", key, [7; 12]).unwrap();
            for place in 0..object.len() {
                let mut changed = object.to_vec();
                changed[place] ^= 1;
                assert!(open("a", &changed.into(), key).is_err(), "{place}");
                assert!(open("a", &object.slice(..place), key).is_err(), "{place}");
            }
        }
    }

    #[test]
    fn a_key_file_holds_64_digits() {
        assert!(Key::parse(&format!("{}\n", "0f".repeat(32))).is_ok());
        for text in ["", "0f", &"0g".repeat(32), &"ä".repeat(32)] {
            assert!(Key::parse(text).is_err(), "{text}");
        }
    }
}
