//! The check of a whole file: every page is used once, or free.

use bytes::Bytes;

use super::cursor::DEPTH_MAX;
use super::database::{Bucket, Database, Root};
use super::error::{BoltError, Damage};
use super::page::{HEADER_BYTES, Header, KIND_FREELIST, Page, Place, u64_at};
use crate::source::Source;

/// Buckets in buckets: more than anybody makes.
const NESTED_MAX: usize = 16;

/// What a check has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Pages that hold something, meta pages included.
    pub used_pages: u64,
    /// Pages that hold nothing.
    pub free_pages: u64,
    /// Buckets, nested ones too.
    pub buckets: u64,
    /// Keys, those of buckets left out.
    pub keys: u64,
}

/// One bit a page.
struct Marks(Vec<u64>);

impl Marks {
    fn new(pages: u64) -> Self {
        Self(vec![0; usize::try_from(pages / 64 + 1).unwrap_or_default()])
    }

    /// Marks a page; whether it was not.
    fn mark(&mut self, page: u64) -> bool {
        let word = usize::try_from(page / 64).ok();
        let Some(word) = word.and_then(|word| self.0.get_mut(word)) else {
            return false;
        };
        let bit = 1 << (page % 64);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn has(&self, page: u64) -> bool {
        let word = usize::try_from(page / 64).ok();
        let word = word.and_then(|word| self.0.get(word));
        word.is_some_and(|word| word & (1 << (page % 64)) != 0)
    }
}

impl<S: Source> Database<S> {
    /// Reads everything there is: all pages, keys, buckets, and the list of free pages.
    ///
    /// Takes a bit of memory for each page, and a time that grows with the file.
    ///
    /// # Errors
    ///
    /// The first [`BoltError`].
    pub fn check(&self) -> Result<Census, BoltError> {
        let mut walk = Walk {
            database: self,
            used: Marks::new(self.meta().pages),
            census: Census {
                used_pages: 2,
                ..Census::default()
            },
        };
        walk.used.mark(0);
        walk.used.mark(1);
        let root = self.root();
        walk.bucket(&root, 0)?;
        walk.freelist()?;
        Ok(walk.census)
    }
}

struct Walk<'a, S> {
    database: &'a Database<S>,
    used: Marks,
    census: Census,
}

impl<S: Source> Walk<'_, S> {
    fn bucket(&mut self, bucket: &Bucket, nested: usize) -> Result<(), BoltError> {
        let page = match &bucket.root {
            Root::Page(id) => {
                let asks = Place { page: 0, offset: 0 };
                self.take(asks, *id)?
            }
            Root::Inline(page) => page.clone(),
        };
        let mut last_key = None;
        self.tree(&page, 0, nested, &mut last_key)
    }

    /// Goes through a tree from `page` down.
    fn tree(
        &mut self,
        page: &Page,
        depth: usize,
        nested: usize,
        last_key: &mut Option<Bytes>,
    ) -> Result<(), BoltError> {
        if depth >= DEPTH_MAX || nested >= NESTED_MAX {
            return Err(page.place.damaged(0, Damage::TooDeep(depth.max(nested))));
        }
        if page.count() == 0 && (depth > 0 || !page.is_leaf()) {
            return Err(page.place.damaged(0, Damage::Empty));
        }
        for element in 0..page.count() {
            let key = page.key(element)?;
            let is_wrong = match last_key.as_ref() {
                // The first key of a child may be the one that its parent names.
                Some(last) if page.is_leaf() => *last >= key,
                _ => false,
            };
            if is_wrong {
                return Err(page.place.damaged(0, Damage::Order(element)));
            }
            if page.is_leaf() {
                let found = page.leaf(element)?;
                *last_key = Some(key);
                if found.is_bucket {
                    let bucket = Bucket::decode(page.place, element, &found.value, found.value_at)?;
                    self.census.buckets += 1;
                    self.bucket(&bucket, nested + 1)?;
                } else {
                    self.census.keys += 1;
                }
                continue;
            }
            let (least, child) = page.branch(element)?;
            let child = self.take(page.place, child)?;
            if child.count() > 0 && child.key(0)? < least {
                return Err(child.place.damaged(0, Damage::Order(0)));
            }
            self.tree(&child, depth + 1, nested, last_key)?;
        }
        Ok(())
    }

    /// Loads a page that nobody has used yet.
    fn take(&mut self, asks: Place, id: u64) -> Result<Page, BoltError> {
        let (place, header) = self.database.header(asks, id)?;
        self.use_run(place, header)?;
        self.database.page(asks, id)
    }

    fn use_run(&mut self, place: Place, header: Header) -> Result<(), BoltError> {
        let pages = u64::from(header.overflow) + 1;
        if pages > self.database.meta().pages - place.page {
            return Err(place.damaged(12, Damage::Overflow(header.overflow)));
        }
        for page in place.page..place.page + pages {
            if !self.used.mark(page) {
                return Err(place.damaged(0, Damage::UsedTwice));
            }
        }
        self.census.used_pages += pages;
        Ok(())
    }

    fn freelist(&mut self) -> Result<(), BoltError> {
        let pages = self.database.meta().pages;
        let Some(id) = self.database.meta().freelist else {
            self.census.free_pages = pages.saturating_sub(self.census.used_pages);
            return Ok(());
        };
        let asks = Place { page: 0, offset: 0 };
        let (place, header) = self.database.header(asks, id)?;
        if header.kind != KIND_FREELIST {
            return Err(place.damaged(8, Damage::Kind(header.kind)));
        }
        self.use_run(place, header)?;
        let (_, bytes) = self.database.run(asks, id)?;
        let (first, count) = if header.count == u16::MAX {
            (HEADER_BYTES + 8, u64_at(&bytes, HEADER_BYTES))
        } else {
            (HEADER_BYTES, u64::from(header.count))
        };
        let room = (bytes.len().saturating_sub(first) / 8) as u64;
        if count > room {
            return Err(place.damaged(HEADER_BYTES, Damage::Freelist(count)));
        }
        let mut free = Marks::new(pages);
        for listed in 0..usize::try_from(count).unwrap_or_default() {
            let page = u64_at(&bytes, first + listed * 8);
            if page < 2 || page >= pages || !free.mark(page) {
                return Err(place.damaged(first + listed * 8, Damage::Freelist(page)));
            }
            if self.used.has(page) {
                let place = Place { page, ..place };
                return Err(place.damaged(first + listed * 8, Damage::UsedAndFree));
            }
        }
        self.census.free_pages = count;
        let lost = (2..pages).find(|page| !self.used.has(*page) && !free.has(*page));
        match lost {
            None => Ok(()),
            Some(page) => {
                let offset = page * u64::from(self.database.meta().page_bytes);
                Err(Place { page, offset }.damaged(0, Damage::Lost))
            }
        }
    }
}
