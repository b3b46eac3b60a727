//! An etcd member's data directory as Cairn's: the same member, cluster, keys, leases, users.
//!
//! The database becomes ours at the entry that it had applied. The log goes along: what it holds after
//! that entry, committed or not, and some of what is before for members that are behind. So members
//! that are all moved have the logs that raft left them with, and nothing acknowledged is lost,
//! wherever each was stopped.

use std::fs::{File, TryLockError};
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, MemoryEngine, Table};
use cairn_consensus::disk::RealDisk;
use cairn_consensus::wal::WalOptions;
use cairn_consensus::{
    ClusterId, ConfChange, ConfState, Identity, LogHead, LogIndex, MemberId, RawEntry, Term,
    begin_log,
};
use cairn_etcd_file::wal::Log;
use cairn_etcd_file::{Snapshot, snap};
use cairn_replica::membership::{Member, MemberChange, Membership};

use crate::data_dir::{DataDir, Kind};
use crate::entries;
use crate::error::Error;
use crate::etcd_database::EtcdDatabase;
use crate::load::Loading;
use crate::mapping::{INDEX_KEY, TERM_KEY};
use crate::place::{Place, Room};
use crate::progress::Progress;
use crate::v2_store;

/// How many entries go along for members that are behind; as many as are kept by default.
const ENTRIES_BEFORE: u64 = 5000;

/// What a moved member is.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Who it is.
    pub identity: Identity,
    /// The revision of its store.
    pub revision: i64,
    /// The last entry that is applied.
    pub applied: u64,
    /// The last entry of its log.
    pub last: u64,
    /// Where the old data are kept.
    pub kept: PathBuf,
    /// What an operator should know.
    pub notices: Vec<String>,
}

/// An etcd member's data, opened and found to belong together.
pub struct MoveIn {
    place: Place,
    log: Log,
    log_path: PathBuf,
    database: EtcdDatabase,
    /// Held so that no etcd starts meanwhile.
    _lock: File,
    snapshot: Option<Snapshot>,
    applied: u64,
    applied_term: u64,
    notices: Vec<String>,
}

/// Opens a stopped etcd member's data. `None` if they were moved already, and only their old name was
/// left to be given.
///
/// # Errors
///
/// [`Error`]: the data are not etcd's, are in use, are damaged, or do not belong together.
pub fn move_in(directory: &DataDir) -> Result<Option<MoveIn>, Error> {
    let place = Place::new(directory, "etcd");
    if place.resume(Kind::Etcd)? {
        return Ok(None);
    }
    if directory.kind()? != Kind::Etcd {
        return Err(Error::Refused(format!(
            "{} is no etcd member's data directory",
            directory.root().display()
        )));
    }
    let lock = lock_database(&directory.database())?;
    let log_path = directory.wal();
    let log = Log::read(&log_path)?;
    let snapshot = newest_snapshot(&directory.snap(), &log)?;
    let (database, applied) = open_database(directory, snapshot.as_ref())?;
    let applied_term = applied_term(&database, &log, snapshot.as_ref(), applied)?;
    Ok(Some(MoveIn {
        place,
        log,
        log_path,
        database,
        _lock: lock,
        snapshot,
        applied,
        applied_term,
        notices: Vec::new(),
    }))
}

/// etcd holds the same lock while it runs.
fn lock_database(path: &Path) -> Result<File, Error> {
    let file = File::options().read(true).write(true).open(path);
    let file = file.map_err(Error::io(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Refused(format!(
            "{} is in use: stop its etcd first",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(Error::io(path)(error)),
    }
}

/// The newest snapshot of raft that the log knows and that is committed.
fn newest_snapshot(directory: &Path, log: &Log) -> Result<Option<Snapshot>, Error> {
    let commit = log.hard_state().commit.unwrap_or_default();
    for (term, index) in snap::list(directory)? {
        let mut known = log.snapshots().iter();
        let known = known.any(|it| (it.term, it.index) == (term, index));
        if known && index <= commit {
            return Ok(Some(snap::read(directory, term, index)?));
        }
    }
    Ok(None)
}

/// Entry and term of a snapshot; the beginning, if there is none.
fn point(snapshot: Option<&Snapshot>) -> (u64, u64) {
    let metadata = snapshot.and_then(|it| it.metadata.as_ref());
    metadata.map_or((0, 0), |it| {
        (it.index.unwrap_or_default(), it.term.unwrap_or_default())
    })
}

/// The database, and what was applied to it. One that came from the leader may not have its name yet.
fn open_database(
    directory: &DataDir,
    snapshot: Option<&Snapshot>,
) -> Result<(EtcdDatabase, u64), Error> {
    let applied_to = |database: &EtcdDatabase| {
        let stored = database.meta_number(INDEX_KEY)?;
        Ok::<_, Error>(stored.unwrap_or_default())
    };
    let database = EtcdDatabase::open(&directory.database())?;
    let applied = applied_to(&database)?;
    let (index, _) = point(snapshot);
    if applied >= index {
        return Ok((database, applied));
    }
    let received = directory.snap().join(format!("{index:016x}.snap.db"));
    if !received.exists() {
        return Err(Error::Refused(format!(
            "the database has entry {applied} applied, but raft's snapshot is of entry {index}, and \
             {} is not there: they do not belong together",
            received.display()
        )));
    }
    let database = EtcdDatabase::open(&received)?;
    let applied = applied_to(&database)?;
    if applied < index {
        return Err(Error::Refused(format!(
            "{} has entry {applied} applied, but is named for {index}",
            received.display()
        )));
    }
    Ok((database, applied))
}

/// The term of the entry that was applied last: etcd before 3.5 does not note it.
fn applied_term(
    database: &EtcdDatabase,
    log: &Log,
    snapshot: Option<&Snapshot>,
    applied: u64,
) -> Result<u64, Error> {
    let (index, term) = point(snapshot);
    if applied == index {
        return Ok(term);
    }
    let entry = log.entry(applied)?.ok_or_else(|| {
        Error::Refused(format!(
            "entry {applied} was applied to the database, but the log does not have it: they do not \
             belong together"
        ))
    })?;
    let term = entry.term.unwrap_or_default();
    let noted = database.meta_number(TERM_KEY)?.filter(|noted| *noted > 0);
    match noted {
        Some(noted) if noted != term => Err(Error::Refused(format!(
            "entry {applied} is of term {term} in the log and of term {noted} in the database: they \
             do not belong together"
        ))),
        _ => Ok(term),
    }
}

impl MoveIn {
    /// How much room is needed.
    ///
    /// # Errors
    ///
    /// If the disk does not say.
    pub fn room(&self) -> Result<Room, Error> {
        self.place.room(self.database.bytes())
    }

    /// Builds Cairn's data and puts them in place.
    ///
    /// # Errors
    ///
    /// [`Error`]; then the old data are where they were.
    pub fn run(mut self, progress: &mut dyn Progress) -> Result<Moved, Error> {
        self.room()?.check()?;
        let identity = self.identity()?;
        let (members, conf_state) = self.members()?;
        self.place.clear()?;
        let snap = self.place.building().join("snap");
        let revision = self.fill(&snap, &members, progress)?;
        let last = self.write_log(identity, conf_state)?;
        self.place.swap()?;
        if !self
            .log_path
            .starts_with(self.place.kept().with_file_name("member"))
        {
            self.notices.push(format!(
                "the new log is in the data directory; {} is etcd's still: start without --wal-dir, \
                 or move {} there",
                self.log_path.display(),
                "member/wal"
            ));
        }
        Ok(Moved {
            identity,
            revision,
            applied: self.applied,
            last,
            kept: self.place.kept().to_owned(),
            notices: self.notices,
        })
    }

    fn identity(&self) -> Result<Identity, Error> {
        let metadata = self.log.metadata();
        let member = metadata.member.and_then(MemberId::from_wire);
        Ok(Identity {
            cluster: ClusterId::new(metadata.cluster.unwrap_or_default()),
            member: member.ok_or_else(|| Error::Refused("the log is of no member".to_owned()))?,
        })
    }

    /// Who the members are after the entry that was applied last: those of raft's snapshot, and the
    /// changes since, by the rules by which they were made. What each says of itself is the
    /// database's, where it has it. They are in the tables of what is returned.
    fn members(&mut self) -> Result<(Backend, ConfState), Error> {
        let data = self.snapshot.as_ref().and_then(|it| it.data.clone());
        let known = match data.filter(|data| !data.is_empty()) {
            Some(data) => v2_store::read(&data)
                .map_err(|why| Error::Refused(format!("members in raft's snapshot: {why}")))?,
            None => v2_store::V2Members::default(),
        };
        if known.keys > 0 || self.has_v2_keys()? {
            self.notices.push(
                "there are keys of the second API (etcdctl with ETCDCTL_API=2): they stay behind"
                    .to_owned(),
            );
        }
        let backend = Backend::open(MemoryEngine::new(), BackendOptions::default());
        let backend = backend.map_err(Error::database)?;
        let mut membership = Membership::default();
        let mut batch = backend.write();
        for member in known.members {
            let change = MemberChange::Add {
                member,
                learners_max: usize::MAX,
            };
            membership.apply(change, &mut batch);
        }
        let (after, _) = point(self.snapshot.as_ref());
        for index in after + 1..=self.applied {
            let entry = self.log.entry(index)?.ok_or_else(|| Error::Entry {
                index,
                reason: "it is not in the log".to_owned(),
            })?;
            if entry.kind != Some(1) {
                continue;
            }
            let refused = |reason: String| Error::Entry { index, reason };
            let change = ConfChange::decode(entry.data.unwrap_or_default());
            let change = change.map_err(|error| refused(error.to_string()))?;
            let change = MemberChange::parse(&change);
            let change = change.map_err(|error| refused(error.to_string()))?;
            // What breaks the rules was turned down then, too.
            if membership.check(&change).is_ok() {
                membership.apply(change, &mut batch);
            }
        }
        self.take_removed(&known.removed, &mut membership, &mut batch)?;
        self.take_attributes(&mut membership, &mut batch)?;
        batch.end().map_err(Error::database)?;
        Ok((backend, membership.conf_state()))
    }

    /// Whether the log has keys of the second API that are not in raft's snapshot.
    fn has_v2_keys(&self) -> Result<bool, Error> {
        let (after, _) = point(self.snapshot.as_ref());
        let Some((first, last)) = self.log.extent() else {
            return Ok(false);
        };
        for index in first.max(after + 1)..=last {
            let entry = self.log.entry(index)?;
            if entry.is_some_and(|entry| entries::is_v2_key(&entry)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// IDs that must not come back.
    fn take_removed(
        &self,
        known: &[u64],
        membership: &mut Membership,
        batch: &mut cairn_backend::BatchTx<'_>,
    ) -> Result<(), Error> {
        let mut removed = known.to_vec();
        self.database.rows_for_cairn(&mut |table, key, _| {
            if table == Table::MembersRemoved {
                let id = std::str::from_utf8(key).ok();
                removed.extend(id.and_then(|id| u64::from_str_radix(id, 16).ok()));
            }
            Ok(())
        })?;
        for id in removed.into_iter().filter_map(MemberId::from_wire) {
            // The database may be ahead of the entry that is applied; the log removes it again then.
            if !membership.contains(id) {
                membership.apply(MemberChange::Remove(id), batch);
            }
        }
        Ok(())
    }

    /// Names and addresses, which members tell by requests of their own.
    fn take_attributes(
        &mut self,
        membership: &mut Membership,
        batch: &mut cairn_backend::BatchTx<'_>,
    ) -> Result<(), Error> {
        let mut stored = Vec::new();
        self.database.rows_for_cairn(&mut |table, key, value| {
            if table == Table::Members {
                let member: Member =
                    serde_json::from_slice(value).map_err(|why| Error::row("members", key, why))?;
                stored.push(member);
            }
            Ok(())
        })?;
        for member in stored {
            let id = member.id;
            match membership.get(id) {
                Some(known) if known.is_learner != member.is_learner => {
                    self.notices.push(format!(
                        "member {id} is {} to raft, and the other in etcd's database: raft's counts",
                        if known.is_learner { "a learner" } else { "a voter" }
                    ));
                    membership.set_attributes(id, member.name, member.client_urls, batch);
                }
                Some(_) => {
                    membership.set_attributes(id, member.name, member.client_urls, batch);
                }
                None if membership.was_removed(id) => {}
                None => self.notices.push(format!(
                    "member {id} is in etcd's database and not in raft's group: it is left out"
                )),
            }
        }
        Ok(())
    }

    /// The database, with these members and at this entry. Its revision.
    fn fill(
        &self,
        directory: &Path,
        members: &Backend,
        progress: &mut dyn Progress,
    ) -> Result<i64, Error> {
        let mut loading = Loading::begin(directory)?;
        let mut has_members = false;
        progress.begin("moving in", self.database.bytes());
        self.database.rows_for_cairn(&mut |table, key, value| {
            progress.advance((key.len() + value.len()) as u64);
            match table {
                Table::Members | Table::MembersRemoved => return Ok(()),
                Table::Meta if !has_members => {
                    put_members(&mut loading, members)?;
                    has_members = true;
                }
                _ => {}
            }
            match (table, key) {
                (Table::Meta, INDEX_KEY | TERM_KEY) => Ok(()),
                _ => loading.row(table, key, value),
            }
        })?;
        if !has_members {
            put_members(&mut loading, members)?;
        }
        for (key, number) in [(INDEX_KEY, self.applied), (TERM_KEY, self.applied_term)] {
            loading.row(Table::Meta, key, &number.to_be_bytes())?;
        }
        Ok(loading.finish_member(directory)?.current().to_wire())
    }

    /// The log. Its last entry.
    fn write_log(&self, identity: Identity, conf_state: ConfState) -> Result<u64, Error> {
        let (snapshot, snapshot_term) = point(self.snapshot.as_ref());
        let begins_after = snapshot.max(self.applied.saturating_sub(ENTRIES_BEFORE));
        let begins_after = match self.log.extent() {
            Some((first, _)) => begins_after.max(first.saturating_sub(1)),
            None => self.applied,
        };
        let begins_after_term = if begins_after == self.applied {
            self.applied_term
        } else if begins_after == snapshot {
            snapshot_term
        } else {
            let entry = self.log.entry(begins_after)?;
            entry.and_then(|it| it.term).unwrap_or_default()
        };
        let last = self.log.extent().map_or(self.applied, |(_, last)| last);
        let last = last.max(self.applied);
        let state = self.log.hard_state();
        let commit = state.commit.unwrap_or_default().max(self.applied);
        let head = LogHead {
            identity,
            begins_after: LogIndex::new(begins_after),
            begins_after_term: Term::new(begins_after_term),
            conf_state,
            term: Term::new(state.term.unwrap_or_default().max(self.applied_term)),
            vote: state.vote.and_then(MemberId::from_wire),
            commit: LogIndex::new(commit.min(last)),
        };
        let entries = (begins_after + 1..=last).map(|index| self.entry(index));
        let path = self.place.building().join("wal");
        let disk = RealDisk::open(&path).map_err(Error::io(&path))?;
        begin_log(Arc::new(disk), WalOptions::default(), &head, entries)?;
        Ok(last)
    }

    fn entry(&self, index: u64) -> Result<RawEntry, Error> {
        match self.log.entry(index)? {
            // What it did is in the database: only its place matters.
            Some(entry) if index <= self.applied => {
                let term = Term::new(entry.term.unwrap_or_default());
                entries::inward(entry).or_else(|_| {
                    Ok(RawEntry {
                        index: LogIndex::new(index),
                        term,
                        kind: cairn_consensus::RawKind::Normal,
                        data: Bytes::new(),
                    })
                })
            }
            Some(entry) => entries::inward(entry),
            None => Err(Error::Entry {
                index,
                reason: "it is not in the log".to_owned(),
            }),
        }
    }
}

fn put_members(loading: &mut Loading, members: &Backend) -> Result<(), Error> {
    let view = members.read().map_err(Error::database)?;
    for table in [Table::Members, Table::MembersRemoved] {
        let everything = (Bound::Unbounded, Bound::Unbounded);
        let mut put = Ok(());
        let scanned = view.scan(table, everything, &mut |key, value| {
            put = loading.row(table, key, value);
            if put.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        scanned.map_err(Error::database)?;
        put?;
    }
    Ok(())
}
