//! Raft's snapshot files: `<term>-<index>.snap`, both as 16 hexadecimal digits.
//!
//! A message of a CRC-32C and the encoded [`Snapshot`] that it covers. etcd writes one before it
//! shortens its log; the data itself is in the database.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;

use crate::messages::{SnapFile, Snapshot};

/// Longer than any: the v2 store with some members, and v2 keys if somebody used those.
const SNAP_BYTES_MAX: u64 = 1 << 30;

/// Why a `.snap` file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapError {
    /// The disk.
    #[error("reading {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it reported.
        source: io::Error,
    },
    /// The bytes are none of a snapshot.
    #[error("{path}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The name of a snapshot's file.
#[must_use]
pub fn file_name(term: u64, index: u64) -> String {
    format!("{term:016x}-{index:016x}.snap")
}

/// Term and index of a file's name; none if it is of another kind.
#[must_use]
pub fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (term, index) = name.strip_suffix(".snap")?.split_once('-')?;
    let number = |text: &str| {
        let is_one = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    };
    Some((number(term)?, number(index)?))
}

/// Reads a snapshot.
///
/// # Errors
///
/// A text that says what is wrong.
pub fn decode(file: Bytes) -> Result<Snapshot, String> {
    let bad = |error: prost::DecodeError| format!("no snapshot: {error}");
    let SnapFile { crc, data } = SnapFile::decode(file).map_err(bad)?;
    let (stored, data) = (crc.unwrap_or_default(), data.unwrap_or_default());
    if data.is_empty() || stored == 0 {
        return Err("it is empty".to_owned());
    }
    let computed = crc32c::crc32c(&data);
    if computed != stored {
        return Err(format!(
            "its checksum is {stored:#x}, {computed:#x} by its bytes"
        ));
    }
    Snapshot::decode(data).map_err(bad)
}

/// The bytes of a snapshot's file.
#[must_use]
pub fn encode(snapshot: &Snapshot) -> Bytes {
    let data = snapshot.encode_to_vec();
    let file = SnapFile {
        crc: Some(crc32c::crc32c(&data)),
        data: Some(data.into()),
    };
    file.encode_to_vec().into()
}

/// All snapshots in a directory, by term and index, the newest first.
///
/// # Errors
///
/// [`SnapError::Io`].
pub fn list(directory: &Path) -> Result<Vec<(u64, u64)>, SnapError> {
    let failed = |source| SnapError::Io {
        path: directory.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        found.extend(name.to_str().and_then(parse_name));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Reads a snapshot's file.
///
/// # Errors
///
/// [`SnapError`].
pub fn read(directory: &Path, term: u64, index: u64) -> Result<Snapshot, SnapError> {
    let path = directory.join(file_name(term, index));
    let failed = |source| SnapError::Io {
        path: path.clone(),
        source,
    };
    let damaged = |reason: String| SnapError::Damaged {
        path: path.clone(),
        reason,
    };
    let length = fs::metadata(&path).map_err(failed)?.len();
    if length > SNAP_BYTES_MAX {
        return Err(damaged(format!("{length} bytes are too many")));
    }
    decode(fs::read(&path).map_err(failed)?.into()).map_err(damaged)
}
