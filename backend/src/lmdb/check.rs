//! A check of a whole database file, page by page and row by row, without LMDB.
//!
//! LMDB believes what pages say, and a damaged one may end the process. So the file is read here as
//! plain bytes, and nothing in it is believed: every page must name itself, lie within the file, be
//! used once, and hold ascending keys within what the page above it says; the trees must have as many
//! pages and rows as is noted of them; and every row must have its checksum. Nothing may write the
//! file meanwhile. Pages and numbers are those of LMDB 0.9 on a little-endian machine of 64 bits.

mod page;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use self::page::{Kind, Meta, Node, Page, Tree};
use crate::lmdb::env::CHECKSUMS_MARK;
use crate::row;
use crate::table::Table;

/// How much damage is told: who has so much needs no more.
const FINDINGS_MAX: usize = 100;

/// Trees are never deeper: a hundred rows are less than a page.
const DEPTH_MAX: u16 = 32;

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// The pages that are in use, meta pages included.
    pub pages: u64,
    /// The rows of all tables.
    pub rows: u64,
    /// Whether rows have checksums; a database of before there were any has none.
    pub has_checksums: bool,
    /// What is damaged, the first so many.
    pub damage: Vec<Damage>,
}

/// One damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The page.
    pub page: u64,
    /// The table, as far as it is known.
    pub table: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "page {}", self.page)?;
        if let Some(table) = &self.table {
            write!(f, " of table {table}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// The file could not be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Neither of its first pages is one of LMDB's.
    #[error("{} is no database, or both of its first pages are damaged", path.display())]
    NoDatabase {
        /// The file.
        path: PathBuf,
    },
}

/// Checks the database file at `path`, which nobody may write meanwhile.
///
/// # Errors
///
/// [`CheckError`]; damage is no error, it is in the report.
pub fn check(path: &Path) -> Result<CheckReport, CheckError> {
    examine(path, Depth::Rows)
}

/// Checks what leads to the rows of the database file at `path`: one page of a hundred. Rows have
/// checksums of their own; a page above them that is damaged ends the process, or hides rows.
pub(super) fn check_branches(path: &Path) -> Result<Vec<Damage>, CheckError> {
    Ok(examine(path, Depth::Branches)?.damage)
}

/// How far down a check goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// To the pages that hold rows, which are not read.
    Branches,
    Rows,
}

fn examine(path: &Path, depth: Depth) -> Result<CheckReport, CheckError> {
    let io_error = |source| CheckError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io_error)?;
    let length = file.metadata().map_err(io_error)?.len();
    let meta = newest_meta(&file).map_err(io_error)?;
    let meta = meta.ok_or_else(|| CheckError::NoDatabase {
        path: path.to_owned(),
    })?;
    let pages = length / u64::from(meta.page_bytes);
    let words =
        usize::try_from(pages.div_ceil(64)).map_err(|error| io_error(io::Error::other(error)))?;
    let mut check = Check {
        file,
        depth,
        page_bytes: meta.page_bytes,
        pages,
        used: vec![0; words],
        report: CheckReport {
            pages: page::META_PAGES,
            ..CheckReport::default()
        },
    };
    if meta.last_page >= pages {
        let what = format!(
            "the last page is {}, but the file ends before it",
            meta.last_page
        );
        check.tell(meta.last_page, None, what);
    }
    check.database(&meta).map_err(io_error)?;
    Ok(check.report)
}

/// The meta page of the last transaction.
fn newest_meta(file: &File) -> io::Result<Option<Meta>> {
    let mut first = [0; page::META_BYTES];
    file.read_exact_at(&mut first, 0)?;
    let first = Meta::decode(&first, 0);
    // If the first is damaged, the second is where it is on every machine we know.
    let page_bytes = first.as_ref().map_or(4096, |meta| meta.page_bytes);
    let mut second = [0; page::META_BYTES];
    file.read_exact_at(&mut second, u64::from(page_bytes))?;
    let second = Meta::decode(&second, 1);
    Ok(first
        .into_iter()
        .chain(second)
        .max_by_key(|meta| meta.transaction))
}

/// A check under way.
struct Check {
    file: File,
    depth: Depth,
    page_bytes: u32,
    pages: u64,
    /// A bit for each page.
    used: Vec<u64>,
    report: CheckReport,
}

/// A tree being walked.
struct Walk<'a> {
    name: Option<&'a str>,
    /// Whether keys are bytes in order; those of free pages are numbers.
    is_ordered: bool,
    depth: Depth,
    found: Tree,
    last_key: Option<Vec<u8>>,
}

impl Check {
    fn database(&mut self, meta: &Meta) -> io::Result<()> {
        let mut named = Vec::new();
        let mut main = Walk::new(None, true, Depth::Rows);
        self.tree(&meta.main, &mut main, &mut |_, node| {
            if let (Some(tree), Ok(name)) = (node.tree(), std::str::from_utf8(node.key)) {
                named.push((name.to_owned(), tree));
            }
            Ok(true)
        })?;
        self.report.has_checksums = named.iter().any(|(name, _)| name == CHECKSUMS_MARK);
        for table in Table::ALL {
            let is_missing = !named.iter().any(|(name, _)| name == table.name());
            // A file that is just being made has none yet.
            if is_missing && self.depth == Depth::Rows {
                self.tell(
                    meta.main.root,
                    None,
                    format!("there is no table {}", table.name()),
                );
            }
        }
        for (name, tree) in &named {
            let table = Table::ALL.into_iter().find(|table| table.name() == name);
            let mut walk = Walk::new(Some(name), true, self.depth);
            let is_checked = self.report.has_checksums;
            let mut rows = 0;
            self.tree(tree, &mut walk, &mut |value, node| {
                rows += 1;
                let Some(table) = table.filter(|_| is_checked) else {
                    return Ok(true);
                };
                Ok(row::open(table, node.key, value).is_some())
            })?;
            self.report.rows += rows;
        }
        let mut free = Walk::new(Some("free pages"), false, self.depth);
        let mut freed = Vec::new();
        self.tree(&meta.free, &mut free, &mut |value, _| {
            let numbers = value.as_chunks::<8>().0.iter();
            freed.extend(numbers.skip(1).map(|number| u64::from_le_bytes(*number)));
            Ok(true)
        })?;
        for number in freed {
            if self.is_used(number) {
                self.tell(number, None, "it is in use and counts as free".to_owned());
            }
        }
        Ok(())
    }

    /// Walks a tree; `visit` gets each row's value and says whether it is whole.
    fn tree(
        &mut self,
        tree: &Tree,
        walk: &mut Walk<'_>,
        visit: &mut dyn FnMut(&[u8], &Node<'_>) -> io::Result<bool>,
    ) -> io::Result<()> {
        if tree.root == page::NO_PAGE {
            if tree.entries > 0 {
                self.tell(0, walk.name, format!("{} rows and no root", tree.entries));
            }
            return Ok(());
        }
        let damage_before = self.report.damage.len();
        self.page(tree.root, tree.depth, None, walk, visit)?;
        let found = &walk.found;
        let expected = (
            tree.branch_pages,
            tree.leaf_pages,
            tree.overflow_pages,
            tree.entries,
        );
        let counted = (
            found.branch_pages,
            found.leaf_pages,
            found.overflow_pages,
            found.entries,
        );
        let is_as_noted = match walk.depth {
            Depth::Rows => counted == expected,
            Depth::Branches => (counted.0, counted.1) == (expected.0, expected.1),
        };
        if !is_as_noted && self.report.damage.len() == damage_before {
            let what = format!(
                "branch, leaf and overflow pages and rows are {counted:?}, but {expected:?} are noted"
            );
            self.tell(tree.root, walk.name, what);
        }
        Ok(())
    }

    fn page(
        &mut self,
        number: u64,
        depth: u16,
        from: Option<&[u8]>,
        walk: &mut Walk<'_>,
        visit: &mut dyn FnMut(&[u8], &Node<'_>) -> io::Result<bool>,
    ) -> io::Result<()> {
        if self.is_full() || !self.claim(number, 1, walk.name) {
            return Ok(());
        }
        if depth == 0 || depth > DEPTH_MAX {
            self.tell(
                number,
                walk.name,
                format!("a page {depth} levels above the rows"),
            );
            return Ok(());
        }
        if depth == 1 && walk.depth == Depth::Branches {
            walk.found.leaf_pages += 1;
            return Ok(());
        }
        let bytes = self.read(number, 1)?;
        let kind = if depth == 1 { Kind::Leaf } else { Kind::Branch };
        let page = match Page::decode(&bytes, number, kind) {
            Ok(page) => page,
            Err(what) => {
                self.tell(number, walk.name, what.to_owned());
                return Ok(());
            }
        };
        if kind == Kind::Branch {
            walk.found.branch_pages += 1;
        } else {
            walk.found.leaf_pages += 1;
        }
        for (at, node) in page.nodes().enumerate() {
            let node = match node {
                Ok(node) => node,
                Err(what) => {
                    self.tell(number, walk.name, format!("entry {at}: {what}"));
                    return Ok(());
                }
            };
            if kind == Kind::Branch {
                // The first key of a branch page stands for all that is below.
                let from = if at == 0 { from } else { Some(node.key) };
                self.page(node.child(), depth - 1, from, walk, visit)?;
            } else {
                self.row(number, &node, from, walk, visit)?;
            }
        }
        Ok(())
    }

    fn row(
        &mut self,
        number: u64,
        node: &Node<'_>,
        from: Option<&[u8]>,
        walk: &mut Walk<'_>,
        visit: &mut dyn FnMut(&[u8], &Node<'_>) -> io::Result<bool>,
    ) -> io::Result<()> {
        walk.found.entries += 1;
        let key = node.key;
        let ascends = walk.last_key.as_deref().is_none_or(|last| last < key)
            && from.is_none_or(|from| from <= key);
        if walk.is_ordered && !ascends {
            let what = format!("key \"{}\" is out of order", key.escape_ascii());
            self.tell(number, walk.name, what);
        }
        walk.last_key = Some(key.to_vec());
        let long;
        let value = match node.overflow() {
            None => node.data,
            Some((first, length)) => {
                let bytes = length + page::HEADER_BYTES as u64;
                let pages = bytes.div_ceil(u64::from(self.page_bytes));
                if !self.claim(first, pages, walk.name) {
                    return Ok(());
                }
                walk.found.overflow_pages += pages;
                long = self.read(first, pages)?;
                match page::overflow_value(&long, first, pages, length) {
                    Ok(value) => value,
                    Err(what) => {
                        self.tell(first, walk.name, what.to_owned());
                        return Ok(());
                    }
                }
            }
        };
        if !visit(value, node)? {
            let what = format!(
                "the row of key \"{}\" has a wrong checksum",
                key.escape_ascii()
            );
            self.tell(number, walk.name, what);
        }
        Ok(())
    }

    fn read(&self, number: u64, pages: u64) -> io::Result<Vec<u8>> {
        let page_bytes = u64::from(self.page_bytes);
        let length = usize::try_from(pages * page_bytes).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, number * page_bytes)?;
        Ok(bytes)
    }

    /// Notes pages as used; false if they are not there or were used before.
    fn claim(&mut self, first: u64, pages: u64, table: Option<&str>) -> bool {
        let end = first.checked_add(pages).filter(|end| *end <= self.pages);
        let Some(end) = end.filter(|_| first >= page::META_PAGES) else {
            self.tell(
                first,
                table,
                format!("{pages} pages from there on are not in the file"),
            );
            return false;
        };
        for number in first..end {
            if self.is_used(number) {
                self.tell(number, table, "it is used twice".to_owned());
                return false;
            }
            if let Some(word) = usize::try_from(number / 64)
                .ok()
                .and_then(|at| self.used.get_mut(at))
            {
                *word |= 1 << (number % 64);
            }
        }
        self.report.pages += pages;
        true
    }

    fn is_used(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64)
            .ok()
            .and_then(|at| self.used.get(at));
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    fn is_full(&self) -> bool {
        self.report.damage.len() >= FINDINGS_MAX
    }

    fn tell(&mut self, page: u64, table: Option<&str>, what: String) {
        if !self.is_full() {
            self.report.damage.push(Damage {
                page,
                table: table.map(str::to_owned),
                what,
            });
        }
    }
}

impl<'a> Walk<'a> {
    fn new(name: Option<&'a str>, is_ordered: bool, depth: Depth) -> Self {
        Self {
            name,
            is_ordered,
            depth,
            found: Tree::default(),
            last_key: None,
        }
    }
}
