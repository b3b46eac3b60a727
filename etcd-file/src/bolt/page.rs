//! A page, checked as a whole when it is loaded.

use bytes::Bytes;

use super::error::{BoltError, Damage};

/// Bytes before a page's elements.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes of an element, of a leaf or a branch alike.
pub(super) const ELEMENT_BYTES: usize = 16;

pub(super) const KIND_BRANCH: u16 = 0x01;
pub(super) const KIND_LEAF: u16 = 0x02;
pub(super) const KIND_META: u16 = 0x04;
pub(super) const KIND_FREELIST: u16 = 0x10;

/// The kind of a leaf's element that is a bucket.
pub(super) const ELEMENT_BUCKET: u32 = 0x01;

/// The four bytes at `at`; zero where there are none.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The eight bytes at `at`; zero where there are none.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// What stands at the beginning of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u64,
    pub(super) kind: u16,
    pub(super) count: u16,
    pub(super) overflow: u32,
}

impl Header {
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let kind_and_count = u32_at(bytes, 8).to_le_bytes();
        let [kind_low, kind_high, count_low, count_high] = kind_and_count;
        Self {
            id: u64_at(bytes, 0),
            kind: u16::from_le_bytes([kind_low, kind_high]),
            count: u16::from_le_bytes([count_low, count_high]),
            overflow: u32_at(bytes, 12),
        }
    }
}

/// Where a page's first byte is, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) page: u64,
    pub(super) offset: u64,
}

impl Place {
    pub(super) fn damaged(self, within: usize, damage: Damage) -> BoltError {
        BoltError::Damaged {
            page: self.page,
            offset: self.offset.saturating_add(within as u64),
            damage,
        }
    }
}

/// A page of a tree, its overflow pages included.
///
/// Invariants, checked by [`Page::new`]:
/// 1. Every element lies in `bytes`, and together they claim no more than that.
/// 2. Keys are not empty, no longer than bbolt's limit, and ascend.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) place: Place,
    is_leaf: bool,
    count: usize,
    bytes: Bytes,
}

/// What an element of a leaf says.
pub(super) struct LeafElement {
    pub(super) is_bucket: bool,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    /// Where the value is in the file.
    pub(super) value_at: u64,
}

impl Page {
    pub(super) fn new(place: Place, bytes: Bytes) -> Result<Self, BoltError> {
        let header = Header::decode(&bytes);
        let is_leaf = match header.kind {
            KIND_LEAF => true,
            KIND_BRANCH => false,
            other => return Err(place.damaged(8, Damage::Kind(other))),
        };
        let page = Self {
            place,
            is_leaf,
            count: usize::from(header.count),
            bytes,
        };
        page.check()?;
        Ok(page)
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.is_leaf
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn check(&self) -> Result<(), BoltError> {
        let mut claimed = (HEADER_BYTES + self.count * ELEMENT_BYTES) as u64;
        let mut before: Option<Bytes> = None;
        for element in 0..self.count {
            let at = element_at(element);
            let key = self.key(element)?;
            claimed += key.len() as u64;
            if self.is_leaf {
                claimed += u64::from(u32_at(&self.bytes, at + 12));
            }
            if key.is_empty() || key.len() > super::KEY_BYTES_MAX {
                let bytes = key.len();
                return Err(self.place.damaged(at, Damage::KeyLength { element, bytes }));
            }
            if before.is_some_and(|before| before >= key) {
                return Err(self.place.damaged(at, Damage::Order(element)));
            }
            before = Some(key);
        }
        let bytes = self.bytes.len();
        if claimed > bytes as u64 {
            return Err(self.place.damaged(0, Damage::Overlap { claimed, bytes }));
        }
        Ok(())
    }

    /// The key of an element.
    pub(super) fn key(&self, element: usize) -> Result<Bytes, BoltError> {
        let at = element_at(element);
        let (position, length) = if self.is_leaf {
            (u32_at(&self.bytes, at + 4), u32_at(&self.bytes, at + 8))
        } else {
            (u32_at(&self.bytes, at), u32_at(&self.bytes, at + 4))
        };
        self.slice(element, position, 0, length).map(|(key, _)| key)
    }

    /// An element of a branch: the first key that the child may have, and the child.
    pub(super) fn branch(&self, element: usize) -> Result<(Bytes, u64), BoltError> {
        let child = u64_at(&self.bytes, element_at(element) + 8);
        Ok((self.key(element)?, child))
    }

    /// An element of a leaf.
    pub(super) fn leaf(&self, element: usize) -> Result<LeafElement, BoltError> {
        let at = element_at(element);
        let [kind, position, key_bytes, value_bytes] =
            [0, 4, 8, 12].map(|field| u32_at(&self.bytes, at + field));
        let (key, _) = self.slice(element, position, 0, key_bytes)?;
        let (value, within) = self.slice(element, position, key_bytes, value_bytes)?;
        Ok(LeafElement {
            is_bucket: kind & ELEMENT_BUCKET != 0,
            key,
            value,
            value_at: self.place.offset.saturating_add(within as u64),
        })
    }

    /// The last element whose key is at most `key`.
    pub(super) fn last_upto(&self, key: &[u8]) -> Result<Option<usize>, BoltError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle)? <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1))
    }

    /// Bytes of an element's data, and where they are in the page.
    fn slice(
        &self,
        element: usize,
        position: u32,
        skip: u32,
        length: u32,
    ) -> Result<(Bytes, usize), BoltError> {
        let at = element_at(element);
        let start = at
            .checked_add(position as usize)
            .and_then(|start| start.checked_add(skip as usize));
        let range = start.and_then(|start| Some(start..start.checked_add(length as usize)?));
        match range {
            Some(range) if range.end <= self.bytes.len() && range.start >= at => {
                let start = range.start;
                Ok((self.bytes.slice(range), start))
            }
            _ => Err(self.place.damaged(at, Damage::Element(element))),
        }
    }
}

fn element_at(element: usize) -> usize {
    HEADER_BYTES + element * ELEMENT_BYTES
}
