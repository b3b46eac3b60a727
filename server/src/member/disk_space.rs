//! The room on the file systems that hold a member's data: watched, so that writes stop while there
//! is still enough to go on with everything else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The part of a file system that is reserved at most: a small one would else be all reserve.
const RESERVED_PART_MAX: u64 = 10;

/// What is free of the reserve, and more, before writes are let in again: a quarter.
const RECOVERY_PART: u64 = 4;

/// The room of a member's directories.
pub(crate) struct DiskSpace {
    directories: Vec<PathBuf>,
    reserve_bytes: u64,
    is_low: AtomicBool,
}

/// What a look at the directories found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// All is as it was.
    Same,
    /// There has become too little.
    Low(Shortage),
    /// There is enough again.
    Recovered,
}

/// A directory with less free than is to be kept for what must go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// The directory.
    pub directory: PathBuf,
    /// What is free there.
    pub available_bytes: u64,
    /// What is kept.
    pub reserve_bytes: u64,
}

/// What a file system says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    available_bytes: u64,
    total_bytes: u64,
}

impl DiskSpace {
    /// The room of `directories`, of which `reserve_bytes` each are kept free of writes; 0 keeps
    /// none.
    pub(crate) fn new(directories: Vec<PathBuf>, reserve_bytes: u64) -> Self {
        Self {
            directories,
            reserve_bytes,
            is_low: AtomicBool::new(false),
        }
    }

    /// Whether there was too little at the last look.
    pub(crate) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    /// Asks the file systems.
    ///
    /// # Errors
    ///
    /// Theirs, with the directory; what was found before still stands.
    pub(crate) fn look(&self) -> Result<Look, (PathBuf, io::Error)> {
        let mut shortage = None;
        for directory in &self.directories {
            let room = ask(directory).map_err(|error| (directory.clone(), error))?;
            let found = room.shortage(directory, self.reserve_bytes, self.is_low());
            shortage = shortage.or(found);
        }
        let was_low = self.is_low.swap(shortage.is_some(), Ordering::Relaxed);
        Ok(match (was_low, shortage) {
            (false, Some(shortage)) => Look::Low(shortage),
            (true, None) => Look::Recovered,
            _ => Look::Same,
        })
    }
}

impl Room {
    /// Whether there is too little of it; a bit more is wanted where there was too little before.
    fn shortage(self, directory: &Path, reserve_bytes: u64, was_low: bool) -> Option<Shortage> {
        let reserve_bytes = reserve_bytes.min(self.total_bytes / RESERVED_PART_MAX);
        let wanted = if was_low {
            reserve_bytes + reserve_bytes / RECOVERY_PART
        } else {
            reserve_bytes
        };
        (self.available_bytes < wanted).then(|| Shortage {
            directory: directory.to_owned(),
            available_bytes: self.available_bytes,
            reserve_bytes,
        })
    }
}

fn ask(directory: &Path) -> io::Result<Room> {
    let fs = rustix::fs::statvfs(directory)?;
    Ok(Room {
        available_bytes: fs.f_bavail.saturating_mul(fs.f_frsize),
        total_bytes: fs.f_blocks.saturating_mul(fs.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: u64 = 100_000;

    fn is_low(available_bytes: u64, reserve_bytes: u64, was_low: bool) -> bool {
        let room = Room {
            available_bytes,
            total_bytes: TOTAL,
        };
        let shortage = room.shortage(Path::new("/data"), reserve_bytes, was_low);
        shortage.is_some()
    }

    #[test]
    fn room_is_low_below_the_reserve_until_a_quarter_more_is_free() {
        assert!(!is_low(4000, 4000, false));
        assert!(is_low(3999, 4000, false));
        assert!(is_low(4999, 4000, true));
        assert!(!is_low(5000, 4000, true));
    }

    #[test]
    fn a_small_file_system_keeps_a_tenth_and_no_reserve_nothing() {
        assert!(!is_low(10_000, 1 << 30, false));
        assert!(is_low(9999, 1 << 30, false));
        assert!(!is_low(0, 0, false));
    }

    #[test]
    fn a_directory_is_asked_and_one_that_is_gone_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let space = DiskSpace::new(vec![path.clone()], 0);
        assert_eq!(space.look().unwrap(), Look::Same);
        assert!(!space.is_low());
        drop(directory);
        assert_eq!(space.look().unwrap_err().0, path);
    }
}
