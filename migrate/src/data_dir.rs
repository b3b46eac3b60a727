//! A data directory, Cairn's or etcd's: where things are, and whose it is.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Bytes of a file that tell whose it is.
const HEAD_BYTES: u64 = 64;
/// bbolt's number, at the head of its meta page.
const BOLT_MAGIC: [u8; 4] = 0xED0C_DAED_u32.to_le_bytes();
/// LMDB's, likewise.
const LMDB_MAGIC: [u8; 4] = 0xBEEF_C0DE_u32.to_ne_bytes();

/// Whose a data directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody's: nothing is in it.
    Empty,
    /// An etcd member's.
    Etcd,
    /// A Cairn member's.
    Cairn,
}

/// Where the files of a member are.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
    member: PathBuf,
    wal: Option<PathBuf>,
}

impl DataDir {
    /// The directory `root`, with a log at `wal` or, usually, in it.
    #[must_use]
    pub fn new(root: &Path, wal: Option<&Path>) -> Self {
        Self {
            root: root.to_owned(),
            member: root.join("member"),
            wal: wal.map(Path::to_owned),
        }
    }

    /// The data of a member that are not called `member`.
    pub(crate) fn of_member(directory: &Path) -> Self {
        Self {
            root: directory.to_owned(),
            member: directory.to_owned(),
            wal: None,
        }
    }

    /// All of it.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What belongs to the member.
    pub(crate) fn member(&self) -> PathBuf {
        self.member.clone()
    }

    /// The directory of the database.
    #[must_use]
    pub fn snap(&self) -> PathBuf {
        self.member().join("snap")
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.snap().join("db")
    }

    /// The directory of the log.
    #[must_use]
    pub fn wal(&self) -> PathBuf {
        self.wal
            .clone()
            .unwrap_or_else(|| self.member().join("wal"))
    }

    /// Whose it is, by its files.
    ///
    /// # Errors
    ///
    /// If it cannot be read; or holds files of both, or of neither.
    pub fn kind(&self) -> Result<Kind, Error> {
        let database = database_kind(&self.database())?;
        let log = log_kind(&self.wal())?;
        match (database, log) {
            (Kind::Empty, kind) | (kind, Kind::Empty) => Ok(kind),
            (database, log) if database == log => Ok(database),
            _ => Err(Error::Refused(format!(
                "{} and {} do not belong together: one is etcd's, the other Cairn's",
                self.database().display(),
                self.wal().display()
            ))),
        }
    }
}

/// Whether nothing is there, or a file where a directory should be: whoever makes the directory says so.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

fn database_kind(path: &Path) -> Result<Kind, Error> {
    let mut head = Vec::new();
    match File::open(path) {
        Err(error) if is_absence(&error) => return Ok(Kind::Empty),
        Err(error) => return Err(Error::io(path)(error)),
        Ok(file) => file
            .take(HEAD_BYTES)
            .read_to_end(&mut head)
            .map_err(Error::io(path))?,
    };
    let has = |magic: [u8; 4]| head.windows(4).any(|bytes| bytes == magic);
    if head.is_empty() {
        Ok(Kind::Empty)
    } else if has(LMDB_MAGIC) {
        Ok(Kind::Cairn)
    } else if has(BOLT_MAGIC) {
        Ok(Kind::Etcd)
    } else {
        Err(Error::Refused(format!(
            "{} is neither etcd's database nor Cairn's",
            path.display()
        )))
    }
}

fn log_kind(directory: &Path) -> Result<Kind, Error> {
    let entries = match fs::read_dir(directory) {
        Err(error) if is_absence(&error) => return Ok(Kind::Empty),
        entries => entries.map_err(Error::io(directory))?,
    };
    let mut kind = Kind::Empty;
    for entry in entries {
        let name = entry.map_err(Error::io(directory))?.file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".wal")) else {
            continue;
        };
        let found = if stem.contains('-') {
            Kind::Etcd
        } else {
            Kind::Cairn
        };
        if kind != Kind::Empty && kind != found {
            return Err(Error::Refused(format!(
                "{} holds files of etcd's log and of Cairn's",
                directory.display()
            )));
        }
        kind = found;
    }
    Ok(kind)
}

/// Creates a directory that only its owner can read, as etcd does.
pub(crate) fn create_private(directory: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;

    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(Error::io(directory))
}

/// Makes the names in a directory durable.
pub(crate) fn sync(directory: &Path) -> Result<(), Error> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io(directory))
}
