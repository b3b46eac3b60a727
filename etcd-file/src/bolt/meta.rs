//! The meta pages: where everything else is.

use super::error::Damage;
use super::page::{HEADER_BYTES, KIND_META, u32_at, u64_at};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// The bytes of a meta record.
const META_BYTES: usize = 64;
/// What its checksum covers.
const SUMMED_BYTES: usize = 56;
/// How much of a meta page must be there.
pub(super) const META_PAGE_BYTES: usize = HEADER_BYTES + META_BYTES;
/// In place of a page: there is no list of free pages.
const NO_FREELIST: u64 = u64::MAX;

/// What a meta page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes of a page; a power of two.
    pub page_bytes: u32,
    /// The root of the bucket of buckets.
    pub root: u64,
    /// Its sequence number.
    pub sequence: u64,
    /// Where the list of free pages is, if it was stored.
    pub freelist: Option<u64>,
    /// How many pages there are.
    pub pages: u64,
    /// The transaction that wrote it.
    pub transaction: u64,
}

impl Meta {
    /// Reads a meta page.
    pub(super) fn decode(page: &[u8]) -> Result<Self, Damage> {
        let record = page.get(HEADER_BYTES..META_PAGE_BYTES);
        let record = record.ok_or(Damage::Short {
            length: page.len() as u64,
            needed: META_PAGE_BYTES as u64,
        })?;
        match u32_at(record, 0) {
            MAGIC => {}
            other if other.swap_bytes() == MAGIC => return Err(Damage::BigEndian),
            other => return Err(Damage::Magic(other)),
        }
        if u32_at(record, 4) != VERSION {
            return Err(Damage::Version(u32_at(record, 4)));
        }
        let stored = u64_at(record, SUMMED_BYTES);
        let computed = fnv1a(record.get(..SUMMED_BYTES).unwrap_or_default());
        if stored != computed {
            return Err(Damage::Checksum { stored, computed });
        }
        let page_bytes = u32_at(record, 8);
        if !page_bytes.is_power_of_two() || !(512..=1 << 25).contains(&page_bytes) {
            return Err(Damage::PageSize(page_bytes));
        }
        Ok(Self {
            page_bytes,
            root: u64_at(record, 16),
            sequence: u64_at(record, 24),
            freelist: Some(u64_at(record, 32)).filter(|page| *page != NO_FREELIST),
            pages: u64_at(record, 40),
            transaction: u64_at(record, 48),
        })
    }

    /// The page `id` with this in it, filled up with zeros.
    pub(super) fn encode(&self, id: u64) -> Vec<u8> {
        let mut page = Vec::with_capacity(self.page_bytes as usize);
        page.extend_from_slice(&id.to_le_bytes());
        page.extend_from_slice(&KIND_META.to_le_bytes());
        page.extend_from_slice(&[0; 6]);
        for number in [MAGIC, VERSION, self.page_bytes, 0] {
            page.extend_from_slice(&number.to_le_bytes());
        }
        let freelist = self.freelist.unwrap_or(NO_FREELIST);
        for number in [
            self.root,
            self.sequence,
            freelist,
            self.pages,
            self.transaction,
        ] {
            page.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = fnv1a(page.get(HEADER_BYTES..).unwrap_or_default());
        page.extend_from_slice(&checksum.to_le_bytes());
        page.resize(self.page_bytes as usize, 0);
        page
    }
}

/// FNV-1a of 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;

    bytes.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta {
        page_bytes: 4096,
        root: 3,
        sequence: 0,
        freelist: None,
        pages: 4,
        transaction: 7,
    };

    #[test]
    fn a_meta_page_is_read_as_it_was_written() {
        assert_eq!(Meta::decode(&META.encode(1)), Ok(META));
        let kept = Meta {
            freelist: Some(2),
            ..META
        };
        assert_eq!(Meta::decode(&kept.encode(0)), Ok(kept));
    }

    #[test]
    fn every_bit_of_a_meta_record_counts() {
        let page = META.encode(0);
        for at in HEADER_BYTES..META_PAGE_BYTES {
            let mut torn = page.clone();
            torn[at] ^= 1;
            assert!(Meta::decode(&torn).is_err(), "byte {at}");
        }
    }
}
