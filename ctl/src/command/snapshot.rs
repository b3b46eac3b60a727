//! `snapshot`: a copy of a member's database, in a file.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Command;
use tokio_stream::StreamExt as _;

use crate::cli::{arguments, group, leaf};
use crate::failure::{Exit, Failure};
use crate::progress::{self, Unit};
use crate::session::{Context, DEADLINE, Session, file_error, put_out, words};

/// A database has whole sectors, and a hash follows it.
const SECTOR_BYTES: u64 = 512;
const HASH_BYTES: u64 = 32;

pub(crate) fn definition() -> Command {
    let about = "Saves a copy of the database of the one member at --endpoints";
    let save = arguments(leaf("save", about), "<file>").after_help(
        "The file appears when the copy is whole and on the disk.\n\n\
         Example:\n  snapshot save --endpoints 10.0.0.1:2379 backup.db",
    );
    group("snapshot", "Copies of members' databases: save").subcommand(save)
}

/// The file under way, which goes unless it is finished.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(target: &Path) -> Result<Self, Failure> {
        let mut path = target.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).map_err(|error| {
            let reason = file_error("open", &path, &error);
            interrupted(format!("could not open {} ({reason})", path.display()))
        })?;
        Ok(Self { path, file })
    }

    fn finish(&mut self, target: &Path) -> Result<(), Failure> {
        let synced = self.file.sync_all();
        synced.map_err(|error| interrupted(format!("could not fsync snapshot: {error}")))?;
        fs::rename(&self.path, target).map_err(|error| {
            let (from, to) = (self.path.display(), target.display());
            interrupted(format!("could not rename {from} to {to} ({error})"))
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It has its name by now, or nobody needs it.
        let _ = fs::remove_file(&self.path);
    }
}

fn interrupted(message: String) -> Failure {
    Failure::new(Exit::Interrupted, message)
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let arguments = context.flags.arguments();
    let [target] = arguments.as_slice() else {
        return Err(Failure::arguments(
            "snapshot save expects one argument <filename>",
        ));
    };
    let target = PathBuf::from(target);
    let session = context.session().await?;
    let [_] = session.globals.endpoints.as_slice() else {
        let endpoints = session.globals.endpoints.join(" ");
        return Err(interrupted(format!(
            "snapshot must be requested to one selected node, not multiple [{endpoints}]"
        )));
    };
    let saved = save(&session, &target);
    let version = if session.globals.command_timeout_is_given {
        let ended = tokio::time::timeout(session.globals.command_timeout, saved).await;
        ended.unwrap_or_else(|_| Err(interrupted(DEADLINE.to_owned())))?
    } else {
        saved.await?
    };
    put_out(format!("Snapshot saved at {}\n", target.display()).as_bytes())?;
    if version.is_empty() {
        return Ok(());
    }
    put_out(format!("Server version {version}\n").as_bytes())
}

/// Saves the database; returns the version that the server stores it in.
async fn save(session: &Session, target: &Path) -> Result<String, Failure> {
    let mut part = Part::create(target)?;
    let failed = |error: cairn_client::Error| interrupted(words(&error));
    let parts = session.client.maintenance().snapshot().await;
    let mut parts = parts.map_err(failed)?;
    let bar = progress::bar(Some(0), Unit::Bytes, "Saving");
    let (mut length, mut version) = (0_u64, String::new());
    while let Some(received) = parts.next().await {
        let received = received.map_err(failed)?;
        let written = part.file.write_all(&received.blob);
        written.map_err(|error| interrupted(format!("could not write snapshot: {error}")))?;
        length += received.blob.len() as u64;
        bar.set_length(length + received.remaining_bytes);
        bar.set_position(length);
        if !received.version.is_empty() {
            version = received.version;
        }
    }
    bar.finish_and_clear();
    if length % SECTOR_BYTES != HASH_BYTES {
        return Err(interrupted(format!(
            "sha256 checksum not found [bytes: {length}]"
        )));
    }
    part.finish(target)?;
    Ok(version)
}
