//! What can be wrong with a database file.

use std::io;

/// Why a database file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BoltError {
    /// The disk.
    #[error("reading {bytes} bytes at offset {offset}: {source}")]
    Io {
        /// Where.
        offset: u64,
        /// How many were wanted.
        bytes: usize,
        /// What it reported.
        source: io::Error,
    },
    /// The bytes are not those of a database.
    #[error("page {page}, offset {offset} of the file: {damage}")]
    Damaged {
        /// The page; an inline bucket's is the one that holds it.
        page: u64,
        /// Where in the file.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// Neither meta page can be used.
    #[error("no meta page is valid (first: {first}; second: {second}): this is no bbolt database")]
    NoMeta {
        /// What is wrong with page 0.
        first: Damage,
        /// What is wrong with page 1, wherever it was looked for.
        second: Damage,
    },
}

/// What is wrong with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file ends before it.
    #[error("the file ends at {length} bytes, {needed} are needed")]
    Short {
        /// The file's length.
        length: u64,
        /// What it must at least be.
        needed: u64,
    },
    /// A meta page without bbolt's number.
    #[error("magic number {0:#x} is not bbolt's")]
    Magic(u32),
    /// A number of bbolt's in the other byte order.
    #[error("the file was written by a big-endian machine")]
    BigEndian,
    /// A meta page of another format.
    #[error("format version {0} is not known")]
    Version(u32),
    /// A meta page with a page size that cannot be.
    #[error("page size {0} is none")]
    PageSize(u32),
    /// A meta page that was torn.
    #[error("checksum is {stored:#x}, {computed:#x} by its bytes")]
    Checksum {
        /// In the page.
        stored: u64,
        /// As it should be.
        computed: u64,
    },
    /// A page that another one points to is not in the file.
    #[error("it points to page {child}, but pages are 2 to {last}")]
    NoSuchPage {
        /// The page.
        child: u64,
        /// The last there is.
        last: u64,
    },
    /// A page says that it is another.
    #[error("it says that it is page {0}")]
    OtherPage(u64),
    /// A page is of a kind that does not belong there.
    #[error("its kind is {0:#x}, which does not belong here")]
    Kind(u16),
    /// A page goes on beyond the file.
    #[error("{0} overflow pages go beyond the file's last page")]
    Overflow(u32),
    /// A page run longer than can be.
    #[error("{0} bytes in one page are too many")]
    TooLong(u64),
    /// An element lies outside its page.
    #[error("element {0} lies outside the page")]
    Element(usize),
    /// Elements that share bytes.
    #[error("the elements claim {claimed} bytes of {bytes}")]
    Overlap {
        /// What they add up to.
        claimed: u64,
        /// What there is.
        bytes: usize,
    },
    /// A key is empty, or longer than can be.
    #[error("the key of element {element} has {bytes} bytes")]
    KeyLength {
        /// Which.
        element: usize,
        /// How many.
        bytes: usize,
    },
    /// A key does not ascend.
    #[error("the key of element {0} is not after the one before it")]
    Order(usize),
    /// A page with nothing in it, below another.
    #[error("it is empty, but not a root")]
    Empty,
    /// A tree that never ends.
    #[error("it is {0} levels deep")]
    TooDeep(usize),
    /// A bucket's record is too short.
    #[error("the record of bucket in element {0} is cut short")]
    Bucket(usize),
    /// A page that is used twice.
    #[error("it is used more than once")]
    UsedTwice,
    /// A page that is used and free.
    #[error("it is used, and in the list of free pages")]
    UsedAndFree,
    /// A page that is neither used nor free.
    #[error("it is neither used nor free")]
    Lost,
    /// The list of free pages names one that is none.
    #[error("it lists page {0} as free, which is none or is listed twice")]
    Freelist(u64),
}
