//! Writing a database: a tree that is loaded in order, and leaves as pages in order.
//!
//! Pages are laid out as they become full: a leaf, then the leaves after it, and a branch as soon as
//! it can take no more children. So what is in memory is one page a level, and the row that is being
//! written. Only the meta pages, which come first, must know what comes last; therefore rows are
//! given twice: to a [`LayoutCounter`], which gives a [`Layout`], then to a [`FileWriter`].

use super::KEY_BYTES_MAX;
use super::meta::Meta;
use super::page::{ELEMENT_BUCKET, ELEMENT_BYTES, HEADER_BYTES};
use super::page::{KIND_BRANCH, KIND_FREELIST, KIND_LEAF};

/// The page size of files that are written; most machines' own.
pub const PAGE_BYTES: usize = 4096;

/// The longest value, in bytes; bbolt's limit.
const VALUE_BYTES_MAX: usize = (1 << 31) - 2;
/// The most elements that a page's header can count; bbolt keeps the last number for itself.
const ELEMENTS_MAX: usize = 0xFFFE;
/// Where the empty list of free pages is.
const FREELIST_PAGE: u64 = 2;
/// The first page of the first bucket.
const FIRST_PAGE: u64 = 3;

/// Why a database cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A row comes before any bucket.
    #[error("a row comes before any bucket")]
    NoBucket,
    /// Names or keys do not ascend.
    #[error("a name or key of {0} bytes is not after the one before it")]
    Order(usize),
    /// A name or key is empty, or too long.
    #[error("a name or key has {0} bytes, 1 to {KEY_BYTES_MAX} are possible")]
    KeyLength(usize),
    /// A value is too long.
    #[error("a value has {0} bytes, more than a page can say")]
    ValueLength(usize),
    /// The rows were others the second time.
    #[error("the rows are not those that were counted")]
    LayoutChanged,
    /// Whoever takes the bytes has given up.
    #[error("nobody takes the bytes any more")]
    Closed,
}

/// How long a file will be, and where its root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    root: u64,
    pages: u64,
}

impl Layout {
    /// The length of the file.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.pages * PAGE_BYTES as u64
    }
}

/// The first pass: counts pages.
#[derive(Default)]
pub struct LayoutCounter(Tree);

impl LayoutCounter {
    /// Begins a bucket; names ascend.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn bucket(&mut self, name: &[u8]) -> Result<(), BuildError> {
        self.0.bucket(name, &mut Nowhere)
    }

    /// A row of the bucket that was begun last; keys ascend.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), BuildError> {
        self.0.row(key, value, &mut Nowhere)
    }

    /// What was counted.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn finish(mut self) -> Result<Layout, BuildError> {
        self.0.finish(&mut Nowhere)
    }
}

/// The second pass: gives the file's bytes, in order, to `take`, a page at a time.
pub struct FileWriter<T> {
    tree: Tree,
    layout: Layout,
    taker: Taker<T>,
}

impl<T: FnMut(&[u8]) -> Result<(), BuildError>> FileWriter<T> {
    /// Begins the file.
    ///
    /// # Errors
    ///
    /// That of `take`.
    pub fn new(layout: Layout, take: T) -> Result<Self, BuildError> {
        let mut taker = Taker {
            take,
            page: Vec::with_capacity(PAGE_BYTES),
        };
        for id in 0..2 {
            let meta = Meta {
                page_bytes: 4096,
                root: layout.root,
                sequence: 0,
                freelist: Some(FREELIST_PAGE),
                pages: layout.pages,
                // The page of a transaction is its number's remainder; both describe this one.
                transaction: 2 - id,
            };
            let id = meta.transaction % 2;
            (taker.take)(&meta.encode(id))?;
        }
        let freelist = Pending::new(KIND_FREELIST);
        taker.put(FREELIST_PAGE, &freelist)?;
        Ok(Self {
            tree: Tree::default(),
            layout,
            taker,
        })
    }

    /// Begins a bucket; names ascend.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn bucket(&mut self, name: &[u8]) -> Result<(), BuildError> {
        self.tree.bucket(name, &mut self.taker)
    }

    /// A row of the bucket that was begun last; keys ascend.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), BuildError> {
        self.tree.row(key, value, &mut self.taker)
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// [`BuildError::LayoutChanged`] if it is not as its first page says; then it is worth nothing.
    pub fn finish(mut self) -> Result<(), BuildError> {
        let written = self.tree.finish(&mut self.taker)?;
        if written == self.layout {
            Ok(())
        } else {
            Err(BuildError::LayoutChanged)
        }
    }
}

/// Where pages go.
trait PageSink {
    /// Whether bytes of rows matter, or their number alone.
    const KEEPS: bool;

    fn put(&mut self, id: u64, page: &Pending) -> Result<(), BuildError>;
}

struct Nowhere;

impl PageSink for Nowhere {
    const KEEPS: bool = false;

    fn put(&mut self, _: u64, _: &Pending) -> Result<(), BuildError> {
        Ok(())
    }
}

struct Taker<T> {
    take: T,
    /// A page being put together; kept for its allocation.
    page: Vec<u8>,
}

impl<T: FnMut(&[u8]) -> Result<(), BuildError>> PageSink for Taker<T> {
    const KEEPS: bool = true;

    fn put(&mut self, id: u64, pending: &Pending) -> Result<(), BuildError> {
        self.page.clear();
        pending.encode(id, &mut self.page);
        (self.take)(&self.page)
    }
}

/// The pages that are not full yet.
struct Tree {
    next_page: u64,
    /// The root of every bucket that has ended.
    roots: Pending,
    bucket: Option<OpenBucket>,
    last_name: Vec<u8>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            next_page: FIRST_PAGE,
            roots: Pending::new(KIND_LEAF),
            bucket: None,
            last_name: Vec::new(),
        }
    }
}

/// A bucket that rows go into: the page that is being filled on each level, leaves first.
struct OpenBucket {
    leaf: Pending,
    branches: Vec<Pending>,
    last_key: Vec<u8>,
}

impl Tree {
    fn bucket<S: PageSink>(&mut self, name: &[u8], sink: &mut S) -> Result<(), BuildError> {
        self.end_bucket(sink)?;
        check_key(name, &self.last_name)?;
        self.last_name.clear();
        self.last_name.extend_from_slice(name);
        self.bucket = Some(OpenBucket {
            leaf: Pending::new(KIND_LEAF),
            branches: Vec::new(),
            last_key: Vec::new(),
        });
        Ok(())
    }

    fn row<S: PageSink>(
        &mut self,
        key: &[u8],
        value: &[u8],
        sink: &mut S,
    ) -> Result<(), BuildError> {
        let open = self.bucket.as_mut().ok_or(BuildError::NoBucket)?;
        check_key(key, &open.last_key)?;
        open.last_key.clear();
        open.last_key.extend_from_slice(key);
        if value.len() > VALUE_BYTES_MAX {
            return Err(BuildError::ValueLength(value.len()));
        }
        if !open.leaf.has_room(key.len() + value.len(), 1) {
            let leaf = std::mem::replace(&mut open.leaf, Pending::new(KIND_LEAF));
            let id = put_page(&mut self.next_page, &leaf, sink)?;
            open.add_child(0, leaf.first_key, id, &mut self.next_page, sink)?;
        }
        open.leaf.push(0, key, value, 0, S::KEEPS);
        Ok(())
    }

    fn end_bucket<S: PageSink>(&mut self, sink: &mut S) -> Result<(), BuildError> {
        let Some(mut open) = self.bucket.take() else {
            return Ok(());
        };
        let mut first_key = std::mem::take(&mut open.leaf.first_key);
        let mut root = put_page(&mut self.next_page, &open.leaf, sink)?;
        let mut level = 0;
        while level < open.branches.len() {
            open.add_child(level, first_key, root, &mut self.next_page, sink)?;
            let Some(branch) = open.branches.get_mut(level) else {
                break;
            };
            let branch = std::mem::replace(branch, Pending::new(KIND_BRANCH));
            root = put_page(&mut self.next_page, &branch, sink)?;
            first_key = branch.first_key;
            level += 1;
        }
        let mut record = [0; 16];
        record[..8].copy_from_slice(&root.to_le_bytes());
        let name = std::mem::take(&mut self.last_name);
        // The record is kept even where rows are only counted: it is part of no row.
        self.roots.push(ELEMENT_BUCKET, &name, &record, 0, true);
        self.last_name = name;
        Ok(())
    }

    fn finish<S: PageSink>(&mut self, sink: &mut S) -> Result<Layout, BuildError> {
        self.end_bucket(sink)?;
        let root = put_page(&mut self.next_page, &self.roots, sink)?;
        Ok(Layout {
            root,
            pages: self.next_page,
        })
    }
}

impl OpenBucket {
    /// Adds a child to the branch of a level, which may be full and leave first.
    fn add_child<S: PageSink>(
        &mut self,
        level: usize,
        first_key: Vec<u8>,
        child: u64,
        next_page: &mut u64,
        sink: &mut S,
    ) -> Result<(), BuildError> {
        let (mut level, mut first_key, mut child) = (level, first_key, child);
        loop {
            if level == self.branches.len() {
                self.branches.push(Pending::new(KIND_BRANCH));
            }
            let Some(branch) = self.branches.get_mut(level) else {
                return Ok(());
            };
            // A branch with one child alone would make no tree.
            if branch.has_room(first_key.len(), 2) {
                branch.push(0, &first_key, &[], child, true);
                return Ok(());
            }
            let mut full = std::mem::replace(branch, Pending::new(KIND_BRANCH));
            branch.push(0, &first_key, &[], child, true);
            child = put_page(next_page, &full, sink)?;
            first_key = std::mem::take(&mut full.first_key);
            level += 1;
        }
    }
}

fn check_key(key: &[u8], before: &[u8]) -> Result<(), BuildError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(BuildError::KeyLength(key.len()));
    }
    if key <= before {
        return Err(BuildError::Order(key.len()));
    }
    Ok(())
}

/// Gives a page its number, and lets it go.
fn put_page<S: PageSink>(
    next_page: &mut u64,
    page: &Pending,
    sink: &mut S,
) -> Result<u64, BuildError> {
    let id = *next_page;
    sink.put(id, page)?;
    *next_page += page.pages();
    Ok(id)
}

/// A page that is being filled.
struct Pending {
    kind: u16,
    elements: Vec<Element>,
    /// Keys and values, one after the other; nothing where rows are only counted.
    data: Vec<u8>,
    /// Bytes of all that.
    data_bytes: usize,
    first_key: Vec<u8>,
}

/// An element before its place is known.
struct Element {
    kind: u32,
    child: u64,
    /// Lengths of key and value; both below 2^31.
    key_bytes: u32,
    value_bytes: u32,
}

impl Pending {
    const fn new(kind: u16) -> Self {
        Self {
            kind,
            elements: Vec::new(),
            data: Vec::new(),
            data_bytes: 0,
            first_key: Vec::new(),
        }
    }

    fn bytes(&self) -> usize {
        HEADER_BYTES + self.elements.len() * ELEMENT_BYTES + self.data_bytes
    }

    /// How many pages it takes: more than one if its rows are longer than a page.
    fn pages(&self) -> u64 {
        self.bytes().div_ceil(PAGE_BYTES) as u64
    }

    /// Whether an element can be added; there are always at least `least`.
    fn has_room(&self, data_bytes: usize, least: usize) -> bool {
        self.elements.len() < least
            || (self.bytes() + ELEMENT_BYTES + data_bytes <= PAGE_BYTES
                && self.elements.len() < ELEMENTS_MAX)
    }

    fn push(&mut self, kind: u32, key: &[u8], value: &[u8], child: u64, keep: bool) {
        if self.elements.is_empty() {
            self.first_key.extend_from_slice(key);
        }
        // Lengths were checked when the row came.
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.elements.push(Element {
            kind,
            child,
            key_bytes: length(key),
            value_bytes: length(value),
        });
        self.data_bytes += key.len() + value.len();
        if keep {
            self.data.extend_from_slice(key);
            self.data.extend_from_slice(value);
        }
    }

    fn encode(&self, id: u64, page: &mut Vec<u8>) {
        // At most `ELEMENTS_MAX`, and pages of rows below 2^31 bytes.
        let count = u16::try_from(self.elements.len()).unwrap_or(u16::MAX);
        let overflow = u32::try_from(self.pages() - 1).unwrap_or(u32::MAX);
        page.extend_from_slice(&id.to_le_bytes());
        page.extend_from_slice(&self.kind.to_le_bytes());
        page.extend_from_slice(&count.to_le_bytes());
        page.extend_from_slice(&overflow.to_le_bytes());
        let mut data_at = HEADER_BYTES + self.elements.len() * ELEMENT_BYTES;
        for (place, element) in self.elements.iter().enumerate() {
            let position = data_at - (HEADER_BYTES + place * ELEMENT_BYTES);
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            if self.kind == KIND_BRANCH {
                page.extend_from_slice(&position.to_le_bytes());
                page.extend_from_slice(&element.key_bytes.to_le_bytes());
                page.extend_from_slice(&element.child.to_le_bytes());
            } else {
                page.extend_from_slice(&element.kind.to_le_bytes());
                page.extend_from_slice(&position.to_le_bytes());
                page.extend_from_slice(&element.key_bytes.to_le_bytes());
                page.extend_from_slice(&element.value_bytes.to_le_bytes());
            }
            data_at += element.key_bytes as usize + element.value_bytes as usize;
        }
        page.extend_from_slice(&self.data);
        page.resize(page.len().next_multiple_of(PAGE_BYTES), 0);
    }
}
