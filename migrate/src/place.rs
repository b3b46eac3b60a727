//! Putting what was built in the place of what was there.
//!
//! What is new is built beside the old, in a directory of a name that no member looks at. When it is
//! whole and durable the two change names, in one step where the file system can; so at every moment
//! one of them is `member`, and the old one is whole whatever happens.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};

use crate::data_dir::{DataDir, Kind, sync};
use crate::error::Error;

/// What the new data are called until they are whole.
const UNFINISHED: &str = "member.migrating";
/// Beside the database there is a new log, and room to work.
const ROOM_BESIDE_BYTES: u64 = 256 << 20;

/// Room on the disk of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// About what will be needed, in bytes.
    pub needed_bytes: u64,
    /// What there is.
    pub available_bytes: u64,
}

/// Where the new data of a member are built, and where the old ones go.
pub(crate) struct Place {
    root: PathBuf,
    member: PathBuf,
    building: PathBuf,
    kept: PathBuf,
}

impl Place {
    /// For a directory whose data will be kept as `member.<kept>`.
    pub(crate) fn new(directory: &DataDir, kept: &str) -> Self {
        let root = directory.root();
        Self {
            root: root.to_owned(),
            member: directory.member(),
            building: root.join(UNFINISHED),
            kept: root.join(format!("member.{kept}")),
        }
    }

    pub(crate) fn kept(&self) -> &Path {
        &self.kept
    }

    /// Where to build.
    pub(crate) fn building(&self) -> &Path {
        &self.building
    }

    /// Ends what a crash cut short between the two renames; whether there was such a thing.
    pub(crate) fn resume(&self, old: Kind) -> Result<bool, Error> {
        let as_member = |directory: &Path| DataDir::of_member(directory).kind();
        if !self.building.exists() {
            return Ok(false);
        }
        if !self.member.exists() && self.kept.exists() {
            fs::rename(&self.building, &self.member).map_err(Error::io(&self.member))?;
            sync(&self.root)?;
            return Ok(true);
        }
        if as_member(&self.building)? == old && as_member(&self.member)? != old {
            fs::rename(&self.building, &self.kept).map_err(Error::io(&self.kept))?;
            sync(&self.root)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Makes an empty place to build in. What an earlier try has left there is removed.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        if self.kept.exists() {
            return Err(Error::Refused(format!(
                "{} is there from an earlier time: move it away first",
                self.kept.display()
            )));
        }
        if self.building.exists() {
            fs::remove_dir_all(&self.building).map_err(Error::io(&self.building))?;
        }
        crate::data_dir::create_private(&self.building)
    }

    /// How much room there is.
    pub(crate) fn room(&self, database_bytes: u64) -> Result<Room, Error> {
        let stat = statvfs(&self.root).map_err(|error| Error::io(&self.root)(error.into()))?;
        Ok(Room {
            needed_bytes: database_bytes + database_bytes / 2 + ROOM_BESIDE_BYTES,
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    /// Gives what was built the name of the old, which is kept under another.
    pub(crate) fn swap(&self) -> Result<(), Error> {
        sync(&self.building)?;
        sync(&self.root)?;
        let exchanged = renameat_with(
            CWD,
            &self.building,
            CWD,
            &self.member,
            RenameFlags::EXCHANGE,
        );
        if exchanged.is_ok() {
            sync(&self.root)?;
            fs::rename(&self.building, &self.kept).map_err(Error::io(&self.kept))?;
        } else {
            fs::rename(&self.member, &self.kept).map_err(Error::io(&self.kept))?;
            fs::rename(&self.building, &self.member).map_err(Error::io(&self.member))?;
        }
        sync(&self.root)
    }
}

impl Room {
    /// Refuses what will not fit.
    pub(crate) fn check(self) -> Result<(), Error> {
        if self.available_bytes >= self.needed_bytes {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "about {} bytes of disk are needed, and {} are free",
            self.needed_bytes, self.available_bytes
        )))
    }
}
