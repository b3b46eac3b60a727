//! A database file that is read.

use bytes::Bytes;

use super::cursor::{Cursor, Value};
use super::error::{BoltError, Damage};
use super::meta::{META_PAGE_BYTES, Meta};
use super::page::u64_at;
use super::page::{HEADER_BYTES, Header, Page, Place};
use crate::source::Source;

/// The longest page run that is read: more than any value that etcd takes.
const RUN_BYTES_MAX: u64 = 1 << 30;
/// The smallest page size there can be, as a power of two.
const PAGE_SIZE_BITS_MIN: u32 = 9;
/// The largest.
const PAGE_SIZE_BITS_MAX: u32 = 25;

/// A database file, opened for reading.
///
/// Invariant: `meta.pages` pages are in the file.
pub struct Database<S> {
    source: S,
    meta: Meta,
}

/// A bucket: a tree of its own.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub(super) root: Root,
    /// A number that users of the bucket may count up.
    pub sequence: u64,
}

/// Where a bucket's tree begins.
#[derive(Clone, Debug)]
pub(super) enum Root {
    Page(u64),
    /// In the record of the bucket itself.
    Inline(Page),
}

impl<S: Source> Database<S> {
    /// Opens a file by the newer of its valid meta pages.
    ///
    /// # Errors
    ///
    /// [`BoltError`].
    pub fn open(source: S) -> Result<Self, BoltError> {
        let length = source.length().map_err(|source| BoltError::Io {
            offset: 0,
            bytes: 0,
            source,
        })?;
        let meta = newest_meta(&source, length)?;
        let needed = meta.pages.saturating_mul(u64::from(meta.page_bytes));
        if needed > length || meta.pages < 3 {
            return Err(BoltError::Damaged {
                page: meta.transaction % 2,
                offset: 0,
                damage: Damage::Short { length, needed },
            });
        }
        Ok(Self { source, meta })
    }

    /// What the meta page says.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Bytes of the file that belong to the database; a checksum may follow.
    pub fn bytes(&self) -> u64 {
        self.meta.pages * u64::from(self.meta.page_bytes)
    }

    /// The bucket of buckets.
    pub fn root(&self) -> Bucket {
        Bucket {
            root: Root::Page(self.meta.root),
            sequence: self.meta.sequence,
        }
    }

    /// The bucket `name`, if there is one.
    ///
    /// # Errors
    ///
    /// [`BoltError`].
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket>, BoltError> {
        Ok(match self.find(&self.root(), name)? {
            Some(Value::Bucket(bucket)) => Some(bucket),
            Some(Value::Bytes(_)) | None => None,
        })
    }

    /// The value of a key; none if it is a bucket.
    ///
    /// # Errors
    ///
    /// [`BoltError`].
    pub fn get(&self, bucket: &Bucket, key: &[u8]) -> Result<Option<Bytes>, BoltError> {
        Ok(match self.find(bucket, key)? {
            Some(Value::Bytes(value)) => Some(value),
            Some(Value::Bucket(_)) | None => None,
        })
    }

    /// All of a bucket, in order.
    ///
    /// # Errors
    ///
    /// [`BoltError`].
    pub fn cursor(&self, bucket: &Bucket) -> Result<Cursor<'_, S>, BoltError> {
        Cursor::new(self, self.root_page(bucket)?)
    }

    fn find(&self, bucket: &Bucket, key: &[u8]) -> Result<Option<Value>, BoltError> {
        let mut page = self.root_page(bucket)?;
        for _ in 0..super::cursor::DEPTH_MAX {
            let Some(element) = page.last_upto(key)? else {
                return Ok(None);
            };
            if page.is_leaf() {
                let item = Cursor::<S>::item(&page, element)?;
                return Ok((item.key == key).then_some(item.value));
            }
            let (_, child) = page.branch(element)?;
            page = self.page(page.place, child)?;
        }
        let damage = Damage::TooDeep(super::cursor::DEPTH_MAX);
        Err(page.place.damaged(0, damage))
    }

    pub(super) fn root_page(&self, bucket: &Bucket) -> Result<Page, BoltError> {
        match &bucket.root {
            Root::Inline(page) => Ok(page.clone()),
            Root::Page(id) => {
                let asks = Place { page: 0, offset: 0 };
                self.page(asks, *id)
            }
        }
    }

    /// The page `id` of a tree; `asks` is where it was pointed to.
    pub(super) fn page(&self, asks: Place, id: u64) -> Result<Page, BoltError> {
        let (place, bytes) = self.run(asks, id)?;
        Page::new(place, bytes)
    }

    /// The bytes of a page with its overflow pages.
    pub(super) fn run(&self, asks: Place, id: u64) -> Result<(Place, Bytes), BoltError> {
        let (place, header) = self.header(asks, id)?;
        let pages = u64::from(header.overflow) + 1;
        if pages > self.meta.pages - id {
            return Err(place.damaged(12, Damage::Overflow(header.overflow)));
        }
        let bytes = pages * u64::from(self.meta.page_bytes);
        if bytes > RUN_BYTES_MAX {
            return Err(place.damaged(12, Damage::TooLong(bytes)));
        }
        // At most `RUN_BYTES_MAX`, which fits.
        let mut run = vec![0; usize::try_from(bytes).unwrap_or_default()];
        read(&self.source, &mut run, place.offset)?;
        Ok((place, run.into()))
    }

    /// Where a page is and what its header says.
    pub(super) fn header(&self, asks: Place, id: u64) -> Result<(Place, Header), BoltError> {
        let last = self.meta.pages - 1;
        if !(2..=last).contains(&id) {
            return Err(asks.damaged(0, Damage::NoSuchPage { child: id, last }));
        }
        let place = Place {
            page: id,
            offset: id * u64::from(self.meta.page_bytes),
        };
        let mut bytes = [0; HEADER_BYTES];
        read(&self.source, &mut bytes, place.offset)?;
        let header = Header::decode(&bytes);
        if header.id != id {
            return Err(place.damaged(0, Damage::OtherPage(header.id)));
        }
        Ok((place, header))
    }
}

impl Bucket {
    /// Reads the record of a bucket.
    pub(super) fn decode(
        place: Place,
        element: usize,
        record: &Bytes,
        record_at: u64,
    ) -> Result<Self, BoltError> {
        const RECORD_BYTES: usize = 16;

        if record.len() < RECORD_BYTES {
            return Err(place.damaged(0, Damage::Bucket(element)));
        }
        let root = match u64_at(record, 0) {
            0 => {
                let inline = Place {
                    page: place.page,
                    offset: record_at.saturating_add(RECORD_BYTES as u64),
                };
                let bytes = record.slice(RECORD_BYTES..);
                if bytes.len() < HEADER_BYTES {
                    return Err(place.damaged(0, Damage::Bucket(element)));
                }
                Root::Inline(Page::new(inline, bytes)?)
            }
            page => Root::Page(page),
        };
        Ok(Self {
            root,
            sequence: u64_at(record, 8),
        })
    }
}

fn read(source: &impl Source, buffer: &mut [u8], offset: u64) -> Result<(), BoltError> {
    let bytes = buffer.len();
    source
        .read_at(buffer, offset)
        .map_err(|source| BoltError::Io {
            offset,
            bytes,
            source,
        })
}

/// The valid meta page of the later transaction. The second one stands behind the first, so if that
/// one cannot tell how long pages are, every size is tried.
fn newest_meta(source: &impl Source, length: u64) -> Result<Meta, BoltError> {
    let first = meta_at(source, length, 0)?;
    let candidates = match &first {
        Ok(meta) => meta.page_bytes.trailing_zeros()..=meta.page_bytes.trailing_zeros(),
        Err(_) => PAGE_SIZE_BITS_MIN..=PAGE_SIZE_BITS_MAX,
    };
    let mut second = Err(Damage::Magic(0));
    for bits in candidates {
        let offset = 1_u64 << bits;
        let found = meta_at(source, length, offset)?;
        let found = found.and_then(|meta| match u64::from(meta.page_bytes) == offset {
            true => Ok(meta),
            false => Err(Damage::PageSize(meta.page_bytes)),
        });
        if found.is_ok() || bits == PAGE_SIZE_BITS_MIN {
            second = found;
        }
        if second.is_ok() {
            break;
        }
    }
    match (first, second) {
        (Ok(first), Ok(second)) if second.transaction > first.transaction => Ok(second),
        (Ok(meta), _) | (Err(_), Ok(meta)) => Ok(meta),
        (Err(first), Err(second)) => Err(BoltError::NoMeta { first, second }),
    }
}

fn meta_at(
    source: &impl Source,
    length: u64,
    offset: u64,
) -> Result<Result<Meta, Damage>, BoltError> {
    let needed = offset + META_PAGE_BYTES as u64;
    if needed > length {
        return Ok(Err(Damage::Short { length, needed }));
    }
    let mut page = [0; META_PAGE_BYTES];
    read(source, &mut page, offset)?;
    Ok(Meta::decode(&page))
}
