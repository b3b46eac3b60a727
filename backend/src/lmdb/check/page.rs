//! LMDB's pages, read from bytes. Nothing in them is believed.
//!
//! ```text
//! header   number (8), 0 (2), flags (2), then where entries begin (2) and data (2), or pages (4)
//! entry    branch: page below (6), key length (2), key
//!          leaf: length (4), flags (2), key length (2), key, then data, or the number of its pages (8)
//! tree     0 (4), flags (2), depth (2), branch, leaf and overflow pages, rows, root (8 each)
//! meta     header, magic (4), version (4), address (8), map (8), trees of free pages and of tables,
//!          last page (8), transaction (8); the page size is the first field of the first tree
//! ```

/// What a page's header takes.
pub(super) const HEADER_BYTES: usize = 16;
/// What of a meta page is used.
pub(super) const META_BYTES: usize = HEADER_BYTES + 24 + 2 * TREE_BYTES + 16;
/// There are so many of them.
pub(super) const META_PAGES: u64 = 2;
/// The root of a tree without pages.
pub(super) const NO_PAGE: u64 = u64::MAX;

const TREE_BYTES: usize = 48;
const NODE_BYTES: usize = 8;
const MAGIC: u32 = 0xBEEF_C0DE;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const OVERFLOW: u16 = 0x04;
const META: u16 = 0x08;

/// The data are in pages of their own.
const BIG_DATA: u16 = 0x01;
/// The data are a tree.
const SUB_DATA: u16 = 0x02;

/// What a page in a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Branch,
    Leaf,
}

/// What is noted of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) depth: u16,
    pub(super) branch_pages: u64,
    pub(super) leaf_pages: u64,
    pub(super) overflow_pages: u64,
    pub(super) entries: u64,
    pub(super) root: u64,
}

impl Tree {
    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            depth: u16_at(bytes, 6)?,
            branch_pages: u64_at(bytes, 8)?,
            leaf_pages: u64_at(bytes, 16)?,
            overflow_pages: u64_at(bytes, 24)?,
            entries: u64_at(bytes, 32)?,
            root: u64_at(bytes, 40)?,
        })
    }
}

/// A meta page.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) page_bytes: u32,
    pub(super) free: Tree,
    pub(super) main: Tree,
    pub(super) last_page: u64,
    pub(super) transaction: u64,
}

impl Meta {
    /// The meta page with this number; none if the bytes are not it.
    pub(super) fn decode(bytes: &[u8; META_BYTES], number: u64) -> Option<Self> {
        let is_meta = u64_at(bytes, 0)? == number
            && u16_at(bytes, 10)? & META != 0
            && u32_at(bytes, HEADER_BYTES)? == MAGIC;
        let trees = bytes.get(HEADER_BYTES + 24..)?;
        let page_bytes = u32_at(trees, 0)?;
        let possible = page_bytes.is_power_of_two() && (512..=64 << 10).contains(&page_bytes);
        let rest = trees.get(2 * TREE_BYTES..)?;
        (is_meta && possible).then_some(Self {
            page_bytes,
            free: Tree::decode(trees)?,
            main: Tree::decode(trees.get(TREE_BYTES..)?)?,
            last_page: u64_at(rest, 0)?,
            transaction: u64_at(rest, 8)?,
        })
    }
}

/// A page of a tree.
pub(super) struct Page<'a> {
    bytes: &'a [u8],
    kind: Kind,
    entries: usize,
}

impl<'a> Page<'a> {
    /// The page with this number, if the bytes are it.
    pub(super) fn decode(bytes: &'a [u8], number: u64, kind: Kind) -> Result<Self, &'static str> {
        const SHORT: &str = "it is shorter than its header";
        if u64_at(bytes, 0).ok_or(SHORT)? != number {
            return Err("it says that it is another page");
        }
        let flags = u16_at(bytes, 10).ok_or(SHORT)?;
        let expected = match kind {
            Kind::Branch => BRANCH,
            Kind::Leaf => LEAF,
        };
        if flags & (BRANCH | LEAF | OVERFLOW | META) != expected {
            return Err("it is of another kind than the page above it says");
        }
        let lower = usize::from(u16_at(bytes, 12).ok_or(SHORT)?);
        let upper = usize::from(u16_at(bytes, 14).ok_or(SHORT)?);
        if lower < HEADER_BYTES || lower > upper || upper > bytes.len() || !lower.is_multiple_of(2)
        {
            return Err("its header makes no sense");
        }
        let entries = (lower - HEADER_BYTES) / 2;
        if entries == 0 {
            return Err("it has no entries");
        }
        Ok(Self {
            bytes,
            kind,
            entries,
        })
    }

    /// The entries, in their order.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Result<Node<'a>, &'static str>> {
        let (bytes, kind) = (self.bytes, self.kind);
        (0..self.entries).map(move |at| {
            let start = u16_at(bytes, HEADER_BYTES + 2 * at).map(usize::from);
            let start = start.filter(|start| *start >= HEADER_BYTES);
            start
                .and_then(|start| Node::decode(bytes.get(start..)?, kind))
                .ok_or("it is not within the page")
        })
    }
}

/// An entry of a page.
pub(super) struct Node<'a> {
    pub(super) key: &'a [u8],
    /// What stands behind the key: the value, a tree, or where the value is.
    pub(super) data: &'a [u8],
    flags: u16,
    /// The length of the value, or the page below.
    number: u64,
}

impl<'a> Node<'a> {
    fn decode(bytes: &'a [u8], kind: Kind) -> Option<Self> {
        let low = u64::from(u32_at(bytes, 0)?);
        let flags = u16_at(bytes, 4)?;
        let key_bytes = usize::from(u16_at(bytes, 6)?);
        let (key, rest) = bytes.get(NODE_BYTES..)?.split_at_checked(key_bytes)?;
        let (number, data) = match kind {
            Kind::Branch => (low | u64::from(flags) << 32, rest.get(..0)?),
            Kind::Leaf if flags & BIG_DATA != 0 => (low, rest.get(..8)?),
            Kind::Leaf => (low, rest.get(..usize::try_from(low).ok()?)?),
        };
        Some(Self {
            key,
            data,
            flags,
            number,
        })
    }

    /// The page below.
    pub(super) fn child(&self) -> u64 {
        self.number
    }

    /// The first page of a value that has its own, and the value's length.
    pub(super) fn overflow(&self) -> Option<(u64, u64)> {
        let first = u64_at(self.data, 0).filter(|_| self.flags & BIG_DATA != 0)?;
        Some((first, self.number))
    }

    /// The tree that the value is.
    pub(super) fn tree(&self) -> Option<Tree> {
        Tree::decode(self.data).filter(|_| self.flags & SUB_DATA != 0)
    }
}

/// The value in pages of its own.
pub(super) fn overflow_value(
    bytes: &[u8],
    number: u64,
    pages: u64,
    length: u64,
) -> Result<&[u8], &'static str> {
    let is_it = u64_at(bytes, 0) == Some(number)
        && u16_at(bytes, 10).is_some_and(|flags| flags & OVERFLOW != 0)
        && u32_at(bytes, 12).map(u64::from) == Some(pages);
    let value = usize::try_from(length)
        .ok()
        .and_then(|length| bytes.get(HEADER_BYTES..)?.get(..length));
    value
        .filter(|_| is_it)
        .ok_or("it is not the first page of the value that should be there")
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
