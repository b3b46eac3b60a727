//! All leases of a member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_backend::{BatchTx, DamagedRow, ReadError, ReadTx, RowsChecksum, Table};
use cairn_mvcc::{Change, ChangeKind, KvFields, LeaseId, MalformedKv};

use crate::attachments::Attachments;
use crate::error::GrantError;
use crate::lease::{Lease, Timer};
use crate::primary::{CHECKPOINT_INTERVAL, Checkpoint, Expired, Primary};
use crate::record;
use crate::renewal::Renewal;
use crate::ttl::Ttl;

/// The leases, their keys and, at the leader, their time.
///
/// Invariants:
/// 1. A lease is here if it is stored, and stored as it is here.
/// 2. The keys attached are the keys of the store that carry a lease, once
///    [`follow`](Self::follow) has seen all changes.
/// 3. At the leader a lease's time runs, or it waits for its start in `waiting`, or its expiry is
///    under way; and as many are [expiring](Timer::Expiring) as `primary` has counted.
/// 4. `checksum` is that of the rows of `table`.
#[derive(Debug)]
pub struct Leases {
    pub(crate) table: BTreeMap<LeaseId, Lease>,
    pub(crate) attachments: Attachments,
    pub(crate) primary: Option<Primary>,
    pub(crate) checkpoint_interval: Duration,
    checksum: RowsChecksum,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            table: BTreeMap::new(),
            attachments: Attachments::default(),
            primary: None,
            checkpoint_interval: CHECKPOINT_INTERVAL,
            checksum: RowsChecksum::default(),
        }
    }
}

impl Leases {
    /// Reads leases back, as they are when a member starts or has installed a snapshot: nobody's
    /// time runs. `attached` are the keys that carry a lease.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`] for a row that is not a lease's, or a key that carries a lease that is
    /// not there; or the backend's.
    pub fn restore(
        tx: &ReadTx,
        attached: impl IntoIterator<Item = (LeaseId, Bytes)>,
    ) -> Result<Self, ReadError> {
        let mut leases = Self::default();
        tx.read_table(Table::Lease, |key, value| {
            let (id, lease) = record::decode(key, value).ok_or("not the record of a lease")?;
            leases.checksum.add(key, &record::encode(id, &lease));
            leases.table.insert(id, lease);
            Ok::<_, &str>(())
        })?;
        for (lease, key) in attached {
            if !leases.contains(lease) {
                let reason = format!(
                    "there is none, and key \"{}\" carries it",
                    key.escape_ascii()
                );
                return Err(DamagedRow::new(Table::Lease, &record::key(lease), reason).into());
            }
            leases.attachments.attach(&key, lease);
        }
        Ok(leases)
    }

    /// The checksum of the table of leases, as its rows are to be for what is here.
    #[must_use]
    pub const fn checksum(&self) -> RowsChecksum {
        self.checksum
    }

    /// Grants a lease, by the log entry `at`.
    ///
    /// # Errors
    ///
    /// [`GrantError`] if there is one of this id.
    pub fn grant(
        &mut self,
        id: LeaseId,
        ttl: Ttl,
        at: Renewal,
        tx: &mut BatchTx<'_>,
    ) -> Result<(), GrantError> {
        if self.table.contains_key(&id) {
            return Err(GrantError::Exists(id));
        }
        self.store(id, Lease::new(ttl, at), tx);
        if let Some(primary) = &mut self.primary {
            primary.waiting.push(id);
        }
        Ok(())
    }

    /// Ends a lease. `None` if there is no such lease; otherwise its keys, sorted, which are to be
    /// deleted in one revision.
    pub fn revoke(&mut self, id: LeaseId, tx: &mut BatchTx<'_>) -> Option<Vec<Arc<[u8]>>> {
        let lease = self.table.remove(&id)?;
        tx.delete(Table::Lease, &record::key(id));
        self.checksum
            .remove(&record::key(id), &record::encode(id, &lease));
        if let Some(primary) = &mut self.primary
            && lease.timer == Timer::Expiring
        {
            primary.leave_expiring();
        }
        Some(self.attachments.detach_all(id))
    }

    /// Ends an expired lease, as [`revoke`](Self::revoke), unless it is no longer what the leader
    /// saw. The caller has checked that the entry is of the term that it carries.
    pub fn expire(&mut self, expired: Expired, tx: &mut BatchTx<'_>) -> Option<Vec<Arc<[u8]>>> {
        let lease = self.table.get_mut(&expired.id)?;
        if lease.renewal == expired.renewal {
            return self.revoke(expired.id, tx);
        }
        if let Some(primary) = &mut self.primary
            && lease.timer == Timer::Expiring
        {
            // It was renewed through the log while its expiry was under way.
            primary.leave_expiring();
            lease.timer = Timer::Waiting;
            primary.waiting.push(expired.id);
        }
        None
    }

    /// Whether [`expire`](Self::expire) would end a lease that has keys.
    #[must_use]
    pub fn expires_with_keys(&self, expired: Expired) -> bool {
        let lease = self.table.get(&expired.id);
        lease.is_some_and(|lease| lease.renewal == expired.renewal)
            && self.keys(expired.id).next().is_some()
    }

    /// Notes what is left of a lease's time. Nothing happens if there is no such lease, or if it was
    /// renewed through the log since the leader looked.
    pub fn checkpoint(&mut self, checkpoint: Checkpoint, tx: &mut BatchTx<'_>) {
        let Checkpoint {
            id,
            renewal,
            remaining,
        } = checkpoint;
        let Some(mut lease) = self.table.get(&id).copied() else {
            return;
        };
        if lease.renewal != renewal {
            return;
        }
        lease.checkpointing = false;
        lease.remaining = Some(remaining).filter(|remaining| *remaining < lease.ttl);
        if let (Some(primary), Timer::Until(_)) = (&mut self.primary, lease.timer) {
            primary.checkpointed.push(id);
        }
        self.store(id, lease, tx);
    }

    /// Renews a lease by the log entry `at`, which undoes its checkpoints, also those that are under
    /// way. Nothing happens if there is no such lease.
    pub fn renewed(&mut self, id: LeaseId, at: Renewal, tx: &mut BatchTx<'_>) {
        let Some(mut lease) = self.table.get(&id).copied() else {
            return;
        };
        lease.checkpointing = false;
        lease.remaining = None;
        lease.renewal = at;
        if let (Some(primary), Timer::Until(_)) = (&mut self.primary, lease.timer) {
            lease.timer = Timer::Waiting;
            primary.waiting.push(id);
        }
        self.store(id, lease, tx);
    }

    /// Attaches and detaches the keys that changed, in the order of their changes: a put takes the
    /// key to the lease that it names, away from any other; a deletion detaches it.
    ///
    /// # Errors
    ///
    /// [`MalformedKv`] for bytes that no store made.
    pub fn follow(&mut self, changes: &[Change]) -> Result<(), MalformedKv> {
        for change in changes {
            let lease = match change.kind {
                ChangeKind::Put => KvFields::parse(&change.kv)?.lease,
                ChangeKind::Delete => None,
            };
            match lease {
                Some(lease) => self.attachments.attach(&change.key, lease),
                None if self.attachments.is_empty() => {}
                None => self.attachments.detach(&change.key),
            }
        }
        Ok(())
    }

    /// Whether there is such a lease.
    #[must_use]
    pub fn contains(&self, id: LeaseId) -> bool {
        self.table.contains_key(&id)
    }

    /// How many leases there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The ids of all leases, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = LeaseId> + '_ {
        self.table.keys().copied()
    }

    /// The time to live that was granted.
    #[must_use]
    pub fn granted(&self, id: LeaseId) -> Option<Ttl> {
        Some(self.table.get(&id)?.ttl)
    }

    /// The keys attached to a lease, sorted.
    pub fn keys(&self, id: LeaseId) -> impl Iterator<Item = &Arc<[u8]>> {
        self.attachments.keys(id)
    }

    /// Checks the third and fourth invariant; the first two need the store.
    ///
    /// # Panics
    ///
    /// If one does not hold.
    pub fn check_invariants(&self) {
        let rows = self.table.iter();
        let rows = rows.map(|(id, lease)| (record::key(*id), record::encode(*id, lease)));
        assert_eq!(RowsChecksum::of(rows), self.checksum, "4");
        let Some(primary) = &self.primary else { return };
        let mut expiring = 0;
        for (id, lease) in &self.table {
            match lease.timer {
                Timer::Waiting => assert!(primary.waiting.contains(id), "3: {id} waits"),
                Timer::Until(_) => {}
                Timer::Expiring => expiring += 1,
            }
        }
        assert_eq!(expiring, primary.expiring, "3");
    }

    fn store(&mut self, id: LeaseId, lease: Lease, tx: &mut BatchTx<'_>) {
        let (key, row) = (record::key(id), record::encode(id, &lease));
        self.checksum.add(&key, &row);
        tx.put(Table::Lease, &key, row);
        if let Some(before) = self.table.insert(id, lease) {
            self.checksum.remove(&key, &record::encode(id, &before));
        }
    }
}
