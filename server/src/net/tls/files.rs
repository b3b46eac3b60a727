//! Files that may be replaced while the server runs.
//!
//! A file is known to be unchanged by what the system says of it, which costs a microsecond, so that
//! every handshake can ask. Contents are compared as well, since clocks are coarse and a file that is
//! touched is not replaced.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::error::TlsError;

/// A file that was written less than this before it was read may be written again without another
/// time stamp.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// What tells one state of a file from another; none if it is not there.
type Stamp = Option<(u64, u64, u64, [i64; 4])>;

/// What was in some files.
#[derive(Clone)]
pub(super) struct Contents(BTreeMap<PathBuf, Vec<u8>>);

/// When and how the files were last seen.
pub(super) struct Seen {
    stamps: Vec<(PathBuf, Stamp)>,
    is_settled: bool,
    digest: [u8; 32],
}

impl Contents {
    /// Reads all of `paths`.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, TlsError> {
        let read = |path: &PathBuf| match std::fs::read(path) {
            Ok(bytes) => Ok((path.clone(), bytes)),
            Err(source) => Err(TlsError::Unreadable {
                path: path.clone(),
                source,
            }),
        };
        paths.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// What was in `path`, which was among those that were read.
    pub(super) fn of(&self, path: &Path) -> &[u8] {
        self.0.get(path).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for bytes in self.0.values() {
            hasher.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(bytes);
        }
        hasher.finalize().into()
    }
}

impl Seen {
    /// Looks at `paths`; to be called before they are read.
    pub(super) fn look(paths: &[PathBuf]) -> Self {
        let stamps: Vec<_> = paths
            .iter()
            .map(|path| (path.clone(), stamp(path)))
            .collect();
        let is_settled = paths.iter().all(|path| is_settled(path));
        Self {
            stamps,
            is_settled,
            digest: [0; 32],
        }
    }

    pub(super) fn with_digest(self, digest: [u8; 32]) -> Self {
        Self { digest, ..self }
    }

    pub(super) const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether the files should be read again.
    pub(super) fn is_stale(&self) -> bool {
        !self.is_settled || self.stamps.iter().any(|(path, seen)| stamp(path) != *seen)
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    let times = [
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ];
    Some((found.dev(), found.ino(), found.size(), times))
}

fn is_settled(path: &Path) -> bool {
    let written = std::fs::metadata(path).and_then(|found| found.modified());
    written.is_ok_and(|at| {
        SystemTime::now()
            .duration_since(at)
            .is_ok_and(|since| since > SETTLE_TIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_just_written_is_looked_at_again_and_an_old_one_is_not_until_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let paths = [path.clone()];
        assert!(Seen::look(&paths).is_stale());
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(long_ago).unwrap();
        let seen = Seen::look(&paths);
        assert!(!seen.is_stale());
        let other = directory.path().join("other");
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(seen.is_stale());
        std::fs::remove_file(&path).unwrap();
        assert!(seen.is_stale());
    }

    #[test]
    fn contents_that_are_cut_in_another_way_have_another_digest() {
        let directory = tempfile::tempdir().unwrap();
        let paths = [directory.path().join("a"), directory.path().join("b")];
        let digest = |first: &str, second: &str| {
            std::fs::write(&paths[0], first).unwrap();
            std::fs::write(&paths[1], second).unwrap();
            Contents::read(&paths).unwrap().digest()
        };
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
        assert_eq!(digest("ab", "c"), digest("ab", "c"));
    }
}
