//! A snapshot as the data of a member of a new cluster.
//!
//! The keys, leases, users and alarms are the snapshot's; the cluster is new: members and log begin
//! with what the operator says. All members of it are restored from the same file.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use cairn_backend::Table;
use cairn_consensus::disk::RealDisk;
use cairn_consensus::{FirstMember, Identity, Node, NodeOptions};
use cairn_mvcc::{BucketKey, Revision, Store};

use crate::data_dir::{DataDir, Kind, sync};
use crate::error::Error;
use crate::etcd_database::EtcdDatabase;
use crate::load::Loading;
use crate::mapping::{FINISHED_KEY, INDEX_KEY, SCHEDULED_KEY, TERM_KEY, lease_outward};
use crate::progress::Progress;

/// What a restored directory is called until it is whole.
const UNFINISHED: &str = "member.restoring";

/// The member that a snapshot becomes.
#[derive(Clone, Debug)]
pub struct NewMember {
    /// Who it is.
    pub identity: Identity,
    /// All members of its cluster, in the order that all of them begin with.
    pub members: Vec<FirstMember>,
}

/// By how much the revision is raised, so that clients never see it go back. What was before is
/// compacted, so that watchers begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BumpRevision(pub u64);

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The revision of the store.
    pub revision: Revision,
    /// How many keys are there.
    pub keys: usize,
}

/// Makes the data of a new member of a snapshot file, etcd's or Cairn's. The directory must be empty;
/// if this is cut short, it holds nothing that a member would start on.
///
/// # Errors
///
/// [`Error`].
pub fn restore(
    snapshot: &Path,
    to: &DataDir,
    member: &NewMember,
    bump: Option<BumpRevision>,
    skip_hash_check: bool,
    progress: &mut dyn Progress,
) -> Result<Restored, Error> {
    if to.kind()? != Kind::Empty {
        return Err(Error::Refused(format!(
            "data-dir {:?} not empty or could not be read",
            to.root().display().to_string()
        )));
    }
    let file = EtcdDatabase::open(snapshot)?;
    if !skip_hash_check {
        file.verify_checksum()?;
    }
    let building = to.root().join(UNFINISHED);
    if building.exists() {
        fs::remove_dir_all(&building).map_err(Error::io(&building))?;
    }
    let store = fill(&file, &building.join("snap"), bump, progress)?;
    let restored = Restored {
        revision: store.current(),
        keys: store.keys(),
    };
    drop(store);
    let log = building.join("wal");
    let disk = RealDisk::open(&log).map_err(Error::io(&log))?;
    Node::create(
        Arc::new(disk),
        member.identity,
        &member.members,
        &NodeOptions::default(),
    )?;
    put_in_place(&building, to)?;
    Ok(restored)
}

/// Copies the rows that a new cluster keeps.
fn fill(
    file: &EtcdDatabase,
    directory: &Path,
    bump: Option<BumpRevision>,
    progress: &mut dyn Progress,
) -> Result<Store, Error> {
    let mut loading = Loading::begin(directory)?;
    let mut last = None;
    progress.begin("restoring", file.bytes());
    file.rows_for_cairn(&mut |table, key, value| {
        progress.advance((key.len() + value.len()) as u64);
        let kept = match table {
            Table::Members | Table::MembersRemoved => false,
            // Where the old cluster was in its log.
            Table::Meta => ![INDEX_KEY, TERM_KEY].contains(&key) && bump.is_none(),
            _ => true,
        };
        if table == Table::Key {
            let (at, _) = BucketKey::decode(key).map_err(|error| Error::row("key", key, error))?;
            last = Some(at.main);
        }
        if kept && table == Table::Lease {
            let lease = lease_outward(key, value);
            let lease = lease.map_err(|why| Error::row(table.name(), key, why))?;
            if let Some((key, value)) = lease {
                loading.row(table, &key, &value)?;
            }
        } else if kept {
            loading.row(table, key, value)?;
        }
        Ok(())
    })?;
    if let Some(BumpRevision(by)) = bump {
        let raised = last
            .unwrap_or(Revision::FIRST)
            .number()
            .checked_add(by)
            .and_then(Revision::new);
        let raised = raised.ok_or_else(|| {
            Error::Refused(format!("no revision is {by} after that of the snapshot"))
        })?;
        // Begun and not finished: the first start deletes what is compacted.
        let mark = BucketKey::first_of(raised);
        loading.row(Table::Meta, SCHEDULED_KEY, mark.as_bytes())?;
        debug_assert!(SCHEDULED_KEY > FINISHED_KEY, "rows ascend");
    }
    loading.finish_member(directory)
}

/// Gives what was built its name, with the log where the operator wants it.
fn put_in_place(building: &Path, to: &DataDir) -> Result<(), Error> {
    let member = to.member();
    let log = to.wal();
    if !log.starts_with(&member) {
        crate::data_dir::create_private(&log)?;
        let built = building.join("wal");
        for entry in fs::read_dir(&built).map_err(Error::io(&built))? {
            let entry = entry.map_err(Error::io(&built))?;
            let name = log.join(entry.file_name());
            // Another file system, perhaps.
            fs::copy(entry.path(), &name).map_err(Error::io(&name))?;
            fs::File::open(&name)
                .and_then(|file| file.sync_all())
                .map_err(Error::io(&name))?;
        }
        fs::remove_dir_all(&built).map_err(Error::io(&built))?;
        sync(&log)?;
    }
    sync(building)?;
    if member.exists() {
        // Empty, as was seen to: directories that a start had made.
        fs::remove_dir_all(&member).map_err(Error::io(&member))?;
    }
    fs::rename(building, &member).map_err(Error::io(&member))?;
    sync(to.root())
}
