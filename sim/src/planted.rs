//! Bugs that can be planted, to prove that the checks find them.
//!
//! Each is put in at a seam of the simulator, between parts of the production code, where it does
//! what a mistake in them would do; the product has none of it.

use std::io;
use std::sync::Arc;

use cairn_auth::AuthInfo;
use cairn_backend::{Applied, Backend, BackendOptions, MemoryEngine};
use cairn_consensus::disk::{Disk, DiskFile};
use cairn_consensus::{Entry, EntryKind};
use cairn_mvcc::{Change, ChangeKind};
use cairn_replica::log_request::{LogEntry, LogRequest};
use clap::ValueEnum;

use crate::profile::Profile;

/// A bug that is planted in every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Planted {
    /// The log's disk says that it has synced and has not.
    SkipSync,
    /// The applied index is stored before what was applied: a crash between loses entries.
    IndexBeforeData,
    /// What was applied is stored before the applied index: a crash between applies twice.
    DataBeforeIndex,
    /// A linearizable read asks nobody.
    ReadWithoutIndex,
    /// A linearizable read does not wait until the index it was given is applied.
    ReadBeforeApplied,
    /// A write is acknowledged when it is in the member's own log.
    AnswerBeforeCommit,
    /// One member passes over an entry now and then.
    LoseEntry,
    /// One member answers and stores with another value now and then.
    UnequalApply,
    /// A client that does not know what became of its write sends it again as if it were the same.
    RetryUnknown,
    /// A stream's events are sent a second time now and then.
    ResendEvents,
    /// A stream's events are lost when its queue is full.
    LoseEvents,
    /// Progress is told that has not been made.
    EarlyProgress,
    /// The previous pair of an event is an older one.
    StalePrevKv,
    /// A watcher that starts in the past starts one revision late.
    LateStart,
    /// Watchers' events of a revision come in two replies.
    SplitRevision,
    /// A leader ends expired leases by a plain revocation, as etcd does.
    UnfencedRevoke,
    /// A leader renews leases without asking whether it leads still.
    RenewUnconfirmed,
    /// What is left of leases is never written down, so that each new leader begins anew.
    NoCheckpoints,
    /// One member deletes the keys of a lease in another order.
    UnequalOrder,
    /// One member carries out what it applies without asking who may.
    UncheckedAtOne,
    /// All members carry out what they apply without asking who may.
    UncheckedAtAll,
    /// One member misses a change of the rules now and then.
    LoseRules,
    /// A read is not checked again when it has been read.
    ReadUnconfirmed,
    /// Members let in who has forgotten what it promised, and pass over what shows it.
    LetInForgotten,
    /// Members keep for themselves whom they have met.
    MetNotTold,
    /// Rows of a database are read without a look at their checksums.
    UncheckedRows,
}

impl Planted {
    /// The scenario that looks for it; for the others, all take turns.
    #[must_use]
    pub fn profile(self) -> Option<&'static Profile> {
        let name = match self {
            Self::UnequalOrder => "p17-leases",
            Self::UnfencedRevoke | Self::RenewUnconfirmed => "p17-stalled",
            Self::NoCheckpoints => "p17-checkpoints",
            Self::UncheckedAtOne
            | Self::UncheckedAtAll
            | Self::LoseRules
            | Self::ReadUnconfirmed => "p03-auth",
            Self::LetInForgotten => "amnesia",
            Self::MetNotTold => "amnesia-apart",
            Self::UncheckedRows => "rot",
            _ => return None,
        };
        Profile::named(name)
    }

    /// Whether this is what is planted.
    pub(crate) fn is(self, planted: Option<Self>) -> bool {
        planted == Some(self)
    }
}

/// The disk as a member sees it.
pub(crate) fn disk(planted: Option<Planted>, disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
    if Planted::SkipSync.is(planted) {
        Arc::new(LyingDisk(disk))
    } else {
        disk
    }
}

/// A disk that never syncs and always says so.
struct LyingDisk(Arc<dyn Disk>);

struct LyingFile(Arc<dyn DiskFile>);

impl Disk for LyingDisk {
    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.0.create(name, length)?;
        Ok(Arc::new(LyingFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LyingFile(self.0.open(name)?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

impl DiskFile for LyingFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What the tables of `backend` stand for.
pub(crate) fn stored_index(backend: &Backend) -> Option<Applied> {
    Applied::read(&backend.read().ok()?).ok()
}

/// Stores an applied index behind the member's back.
pub(crate) fn store_index(engine: &MemoryEngine, applied: Applied) {
    if let Ok(backend) = Backend::open(engine.clone(), BackendOptions::default()) {
        let mut tx = backend.write();
        applied.write(&mut tx);
        // An engine in memory commits.
        let _ = tx.end();
        let _ = backend.commit();
    }
}

/// Lets entries be applied on behalf of who may do everything.
pub(crate) fn allow_all(planted: Option<Planted>, one: bool, entries: &mut [Entry]) {
    if !(Planted::UncheckedAtAll.is(planted) || one && Planted::UncheckedAtOne.is(planted)) {
        return;
    }
    for entry in entries {
        if let EntryKind::Normal(data) = &mut entry.kind
            && let Ok(LogEntry {
                id: Some(id),
                auth_info: Some(_),
                request: Some(request),
            }) = LogEntry::decode(data.clone())
        {
            let root = AuthInfo::from_wire("root", u64::MAX);
            *data = request.encode(id, root.as_ref());
        }
    }
}

/// Turns round the order of the deletions of each revision.
pub(crate) fn disorder(changes: &mut [Change]) {
    let of_one = |one: &Change, other: &Change| {
        one.at.main == other.at.main
            && one.kind == ChangeKind::Delete
            && other.kind == ChangeKind::Delete
    };
    for changes in changes.chunk_by_mut(of_one) {
        let places: Vec<_> = changes.iter().map(|change| change.at).collect();
        changes.reverse();
        for (change, at) in changes.iter_mut().zip(places) {
            change.at = at;
        }
    }
}

/// Spoils entries on their way to one member's store.
pub(crate) fn spoil(planted: Option<Planted>, entries: &mut [Entry]) {
    for entry in entries {
        if Planted::LoseRules.is(planted)
            && entry.index.get().is_multiple_of(3)
            && let EntryKind::Normal(data) = &entry.kind
            && let Ok(LogEntry {
                request: Some(LogRequest::Auth(_)),
                ..
            }) = LogEntry::decode(data.clone())
        {
            entry.kind = EntryKind::Empty;
        }
        if !entry.index.get().is_multiple_of(23) {
            continue;
        }
        match &mut entry.kind {
            kind @ EntryKind::Normal(_) if Planted::LoseEntry.is(planted) => {
                *kind = EntryKind::Empty;
            }
            EntryKind::Normal(data) if Planted::UnequalApply.is(planted) => {
                if let Ok(LogEntry {
                    id: Some(id),
                    request: Some(LogRequest::Put(mut put)),
                    ..
                }) = LogEntry::decode(data.clone())
                {
                    put.value = bytes::Bytes::from_static(b"spoilt");
                    *data = LogRequest::Put(put).encode(id, None);
                }
            }
            _ => {}
        }
    }
}
