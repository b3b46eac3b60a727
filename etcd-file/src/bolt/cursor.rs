//! Going through a bucket in order.

use bytes::Bytes;

use super::database::{Bucket, Database};
use super::error::{BoltError, Damage};
use super::page::Page;
use crate::source::Source;

/// More levels than any tree can have: two children a page are 2^32 leaves.
pub(super) const DEPTH_MAX: usize = 32;

/// A key and what is under it.
#[derive(Clone, Debug)]
pub struct Item {
    /// The key.
    pub key: Bytes,
    /// What is under it.
    pub value: Value,
}

/// What is under a key.
#[derive(Clone, Debug)]
pub enum Value {
    /// A value.
    Bytes(Bytes),
    /// A bucket.
    Bucket(Bucket),
}

/// A place in a bucket.
///
/// Keys ascend over the whole of it, and no page below the root is empty. So every page gives a new
/// key, and pages that point at one another end in an error soon, not in a walk without end.
pub struct Cursor<'a, S> {
    database: &'a Database<S>,
    /// From the root down, each page with its next element.
    way: Vec<(Page, usize)>,
    last_key: Option<Bytes>,
}

impl<'a, S: Source> Cursor<'a, S> {
    pub(super) fn new(database: &'a Database<S>, root: Page) -> Result<Self, BoltError> {
        Ok(Self {
            database,
            way: vec![(root, 0)],
            last_key: None,
        })
    }

    /// The next item; none at the end.
    ///
    /// # Errors
    ///
    /// [`BoltError`].
    #[expect(
        clippy::should_implement_trait,
        reason = "an item or an error or the end, in the order in which callers ask"
    )]
    pub fn next(&mut self) -> Result<Option<Item>, BoltError> {
        loop {
            let depth = self.way.len();
            let Some((page, next)) = self.way.last_mut() else {
                return Ok(None);
            };
            let element = *next;
            if element == page.count() {
                if !page.is_leaf() && element == 0 {
                    return Err(page.place.damaged(0, Damage::Empty));
                }
                self.way.pop();
                continue;
            }
            *next += 1;
            if page.is_leaf() {
                let item = Self::item(page, element)?;
                if self.last_key.as_ref().is_some_and(|last| *last >= item.key) {
                    return Err(page.place.damaged(0, Damage::Order(element)));
                }
                self.last_key = Some(item.key.clone());
                return Ok(Some(item));
            }
            let (least, child) = page.branch(element)?;
            if depth >= DEPTH_MAX {
                return Err(page.place.damaged(0, Damage::TooDeep(depth)));
            }
            let place = page.place;
            let child = self.database.page(place, child)?;
            if child.count() == 0 {
                return Err(child.place.damaged(0, Damage::Empty));
            }
            if child.key(0)? < least {
                return Err(child.place.damaged(0, Damage::Order(0)));
            }
            self.way.push((child, 0));
        }
    }

    pub(super) fn item(page: &Page, element: usize) -> Result<Item, BoltError> {
        let found = page.leaf(element)?;
        let value = if found.is_bucket {
            let bucket = Bucket::decode(page.place, element, &found.value, found.value_at)?;
            Value::Bucket(bucket)
        } else {
            Value::Bytes(found.value)
        };
        Ok(Item {
            key: found.key,
            value,
        })
    }
}
