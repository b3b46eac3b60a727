//! The owner of the store's write side.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use cairn_auth::{AuthInfo, AuthRequest, AuthStore, TokenChange};
use cairn_backend::{Applied as Place, ReadError};
use cairn_consensus::{ConfChange, Entry, EntryKind, LogIndex, MemberId, Term};
use cairn_lease::{LeaseId, Renewal};
use cairn_mvcc::{
    Change, CompactError, CompactionPoint, Restored, Revision, Store, WriteBatch, WriteTxn,
};
use cairn_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, alarm_request::AlarmAction,
};

use super::permission::Permission;
use parking_lot::Mutex;

use super::leases::{self, LeaseChanges, SharedLeases};
use super::{Failure, FatalError, Outcome, txn, v2};
use crate::alarms::{Alarm, Alarms};
use crate::error::ApplyError;
use crate::lease_request::LeaseRequest;
use crate::log_request::{LogEntry, LogRequest};
use crate::membership::{Member, MemberChange, Membership};
use crate::quota;
use crate::request::{DeleteRange, Put, Txn};
use crate::request_ids::RequestId;
use crate::state::{State, checksum_of};
use crate::state_checksum::{StateChecksum, StoreFacts};

/// Applies log entries to the store.
///
/// Invariants:
/// 1. `applied` is the index stored with the data: what is at or below it is never applied again.
/// 2. `alarms` and `membership`, as the API sees them, are those stored with the data.
/// 3. The API sees `auth_store` once the batch that changed them has ended, before anyone is answered.
pub struct Applier {
    store: Store,
    applied: LogIndex,
    alarms: Arc<ArcSwap<Alarms>>,
    membership: Arc<ArcSwap<Membership>>,
    leases: SharedLeases,
    /// The rules as the entries applied so far have made them.
    auth_store: AuthStore,
    /// Whether they are other than those that the API sees.
    auth_changed: bool,
    published_auth: Arc<ArcSwap<AuthStore>>,
    v2_stats: Arc<cairn_v2::Stats>,
}

/// What became of a change of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfChangeDone {
    /// Its place in the log.
    pub index: LogIndex,
    /// The change, if raft is to carry it out.
    pub accepted: Option<ConfChange>,
}

/// What a batch of entries did.
#[derive(Debug, Default)]
pub struct Applied {
    /// The answers, for those entries that a request waits for.
    pub replies: Vec<(RequestId, Result<Outcome, ApplyError>)>,
    /// What changed in the store, in order.
    pub changes: Vec<Change>,
    /// What happens to the tokens that this member accepts, in order.
    pub tokens: Vec<TokenChange>,
    /// What became of leases.
    pub leases: LeaseChanges,
    /// Whether a compaction was scheduled.
    pub compaction: bool,
    /// Changes of the group, each to be answered to raft: done, or not.
    pub conf_changes: Vec<ConfChangeDone>,
    /// The revision of the store after each of the entries, in order.
    pub revisions: Vec<Revision>,
    /// The last entry's place in the log.
    pub last: Option<(LogIndex, Term)>,
}

impl Applier {
    /// Takes up where the store left off.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`] if a row is not what was written, or is missing; or the backend's.
    pub fn restore(restored: Restored) -> Result<Self, ReadError> {
        let Restored { store, leases } = restored;
        let State {
            applied,
            alarms,
            membership,
            leases,
            auth_store,
        } = State::read(&store.backend().read()?, StoreFacts::of(&store), leases)?;
        let published_auth = Arc::new(ArcSwap::from_pointee(auth_store.clone()));
        Ok(Self {
            store,
            applied: LogIndex::new(applied.index),
            alarms: Arc::new(ArcSwap::from_pointee(alarms)),
            membership: Arc::new(ArcSwap::from_pointee(membership)),
            leases: Arc::new(Mutex::new(leases)),
            auth_store,
            auth_changed: false,
            published_auth,
            v2_stats: Arc::default(),
        })
    }

    /// Reads everything again: the store has become another member's, with these `leases` of keys.
    ///
    /// # Errors
    ///
    /// As [`Self::restore`]; the API then sees what it saw before.
    pub fn reload(&mut self, leases: Vec<(LeaseId, Bytes)>) -> Result<(), ReadError> {
        let fresh = Self::restore(Restored {
            store: self.store.clone(),
            leases,
        })?;
        std::mem::swap(&mut *self.leases.lock(), &mut *fresh.leases.lock());
        self.applied = fresh.applied;
        self.alarms.store(fresh.alarms.load_full());
        self.membership.store(fresh.membership.load_full());
        self.published_auth.store(fresh.published_auth.load_full());
        self.auth_store = fresh.auth_store;
        self.auth_changed = false;
        Ok(())
    }

    /// The last entry whose effects are in the store.
    pub const fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The alarms, as they change.
    pub fn alarms(&self) -> Arc<ArcSwap<Alarms>> {
        Arc::clone(&self.alarms)
    }

    /// The members, as they change.
    pub fn membership(&self) -> Arc<ArcSwap<Membership>> {
        Arc::clone(&self.membership)
    }

    /// The leases, as they change.
    pub fn leases(&self) -> SharedLeases {
        Arc::clone(&self.leases)
    }

    /// Users, roles and permissions, as they change.
    pub fn auth_store(&self) -> Arc<ArcSwap<AuthStore>> {
        Arc::clone(&self.published_auth)
    }

    /// How often what was asked of the second API's tree.
    pub fn v2_stats(&self) -> Arc<cairn_v2::Stats> {
        Arc::clone(&self.v2_stats)
    }

    /// Applies `entries`, in order; those that the store holds already are passed over.
    ///
    /// # Errors
    ///
    /// [`FatalError`]: the process must stop.
    ///
    /// # Panics
    ///
    /// If entries are left out: the log has no gaps.
    pub fn apply(
        &mut self,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Applied, FatalError> {
        let mut applied = Applied::default();
        let store = self.store.clone();
        let mut batch = store.write();
        for entry in entries {
            if entry.index <= self.applied {
                continue;
            }
            assert!(entry.index == self.applied.next(), "the log has no gaps");
            self.applied = entry.index;
            applied.last = Some((entry.index, entry.term));
            if let Err(error) = self.apply_entry(entry, &mut batch, &mut applied) {
                // Without its place in the log, it would be applied again after a restart.
                batch.abandon();
                return Err(error);
            }
            applied.revisions.push(batch.current());
        }
        if let Some((index, term)) = applied.last {
            let place = Place {
                index: index.get(),
                term: term.get(),
            };
            place.write(batch.backend());
            self.checksum(place, &batch).write(batch.backend());
        }
        batch.end()?;
        if self.auth_changed {
            self.published_auth.store(Arc::new(self.auth_store.clone()));
            self.auth_changed = false;
        }
        Ok(applied)
    }

    fn apply_entry(
        &mut self,
        entry: Entry,
        batch: &mut WriteBatch<'_>,
        applied: &mut Applied,
    ) -> Result<(), FatalError> {
        match entry.kind {
            EntryKind::Empty => Ok(()),
            EntryKind::Normal(data) => self.apply_request(data, entry.term, batch, applied),
            EntryKind::ConfChange(change) => {
                self.change_members(entry.index, change, batch, applied);
                Ok(())
            }
        }
    }

    /// What the tables hold when the batch has ended.
    fn checksum(&self, applied: Place, batch: &WriteBatch<'_>) -> StateChecksum {
        let store = StoreFacts {
            revision: batch.current(),
            compacted: batch.compaction_point(),
            live: batch.live_checksum(),
        };
        let (alarms, membership) = (self.alarms.load(), self.membership.load());
        let leases = self.leases.lock().checksum();
        StateChecksum::new(applied, store, |table| {
            checksum_of(table, &alarms, &membership, leases, &self.auth_store)
        })
    }

    fn apply_request(
        &mut self,
        data: Bytes,
        term: Term,
        batch: &mut WriteBatch<'_>,
        applied: &mut Applied,
    ) -> Result<(), FatalError> {
        let unreadable = |reason| FatalError::Unreadable {
            index: self.applied,
            reason,
        };
        let LogEntry {
            id,
            auth_info,
            request,
        } = LogEntry::decode(data).map_err(|error| unreadable(error.to_string()))?;
        let request = request
            .ok_or_else(|| unreadable("it is of a kind that this version does not know".into()))?;
        let reply = match self.carry_out(request, auth_info.as_ref(), term, batch, applied) {
            Ok(outcome) => Ok(outcome),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Fatal(error)) => return Err(error),
        };
        applied.replies.extend(id.map(|id| (id, reply)));
        Ok(())
    }

    fn carry_out(
        &mut self,
        request: LogRequest,
        auth_info: Option<&AuthInfo>,
        term: Term,
        batch: &mut WriteBatch<'_>,
        applied: &mut Applied,
    ) -> Result<Outcome, Failure> {
        let auth_store = &self.auth_store;
        let permission = Permission {
            auth_store,
            auth_info,
        };
        let keys_of_lease = |lease| leases::keys(&self.leases, lease);
        match request {
            LogRequest::Put(put) => {
                self.check_alarms(NeedsSpace::Yes)?;
                let put = Put::parse(put).map_err(ApplyError::from)?;
                permission
                    .put(&put, &keys_of_lease)
                    .map_err(ApplyError::from)?;
                self.put(&put, batch, applied).map(Outcome::Put)
            }
            LogRequest::DeleteRange(delete) => {
                self.check_alarms(NeedsSpace::No)?;
                let delete = DeleteRange::parse(delete).map_err(ApplyError::from)?;
                permission.delete_range(&delete).map_err(ApplyError::from)?;
                let mut txn = batch.txn();
                let response = txn::write_delete_range(&delete, &mut txn)?;
                self.end(txn, applied)?;
                Ok(Outcome::DeleteRange(response))
            }
            LogRequest::Txn(txn) => {
                let needs_space = quota::cost_of_txn(&txn) > 0;
                self.check_alarms(if needs_space {
                    NeedsSpace::Yes
                } else {
                    NeedsSpace::No
                })?;
                let txn = Txn::parse_logged(txn).map_err(ApplyError::from)?;
                permission
                    .txn(&txn, &keys_of_lease)
                    .map_err(ApplyError::from)?;
                self.txn(&txn, batch, applied).map(Outcome::Txn)
            }
            LogRequest::V2(request) => self.v2(&request, batch, applied),
            LogRequest::Compaction(CompactionRequest { revision, .. }) => {
                self.check_alarms(NeedsSpace::No)?;
                let outcome = compact(revision, batch)?;
                applied.compaction = true;
                Ok(outcome)
            }
            LogRequest::Alarm(alarm) => Ok(Outcome::Alarm(self.alarm(&alarm, batch))),
            LogRequest::Lease(request) => self.lease(request, permission, term, batch, applied),
            LogRequest::Auth(request) => self.auth(&request, auth_info, batch, applied),
            LogRequest::ClusterMemberAttrSet(attributes) => {
                self.set_member_attributes(attributes, batch)?;
                Ok(Outcome::Done)
            }
            LogRequest::DowngradeInfoSet(downgrade) => {
                let target = downgrade.enabled.then_some(downgrade.ver);
                self.change_membership(|members| members.set_downgrade(target, batch.backend()));
                Ok(Outcome::Done)
            }
            LogRequest::ClusterVersionSet(version) => {
                self.change_membership(|members| members.set_version(version.ver, batch.backend()));
                Ok(Outcome::Done)
            }
        }
    }

    fn check_alarms(&self, needs_space: NeedsSpace) -> Result<(), ApplyError> {
        let alarms = self.alarms.load();
        if alarms.is_on(Alarm::Corrupt) {
            return Err(ApplyError::Corrupt);
        }
        if needs_space == NeedsSpace::Yes && alarms.is_on(Alarm::NoSpace) {
            return Err(ApplyError::NoSpace);
        }
        Ok(())
    }

    fn put(
        &self,
        put: &Put,
        batch: &mut WriteBatch<'_>,
        applied: &mut Applied,
    ) -> Result<cairn_proto::stored::PutResponse, Failure> {
        let mut txn = batch.txn();
        txn::check_put(put, &txn, &|lease| self.lease_exists(lease))?;
        let response = txn::write_put(put, &mut txn)?;
        self.end(txn, applied)?;
        Ok(response)
    }

    fn txn(
        &self,
        request: &Txn,
        batch: &mut WriteBatch<'_>,
        applied: &mut Applied,
    ) -> Result<cairn_proto::stored::TxnResponse, Failure> {
        let mut txn = batch.txn();
        let chosen = txn::choose(request, &txn)?;
        chosen.check(&txn, &|lease| self.lease_exists(lease))?;
        let response = chosen.write(&mut txn)?;
        self.end(txn, applied)?;
        Ok(response)
    }

    /// Ends a transaction: leases are told which keys it changed.
    fn end(&self, txn: WriteTxn<'_, '_>, applied: &mut Applied) -> Result<(), FatalError> {
        let changes = txn.end().changes;
        leases::follow(&self.leases, &changes)?;
        applied.changes.extend(changes);
        Ok(())
    }

    fn v2(
        &self,
        request: &cairn_v2::Request,
        batch: &mut WriteBatch<'_>,
        applied: &mut Applied,
    ) -> Result<Outcome, Failure> {
        self.check_alarms(v2::needs_space(request))?;
        v2::apply(request, batch, &self.v2_stats, &mut applied.changes)
    }

    fn lease_exists(&self, lease: LeaseId) -> bool {
        self.leases.lock().contains(lease)
    }

    /// What ends leases also deletes keys, and is refused as that is while the cluster is corrupt.
    fn lease(
        &self,
        request: LeaseRequest,
        permission: Permission<'_>,
        term: Term,
        batch: &mut WriteBatch<'_>,
        applied: &mut Applied,
    ) -> Result<Outcome, Failure> {
        match &request {
            LeaseRequest::Grant(_) => self.check_alarms(NeedsSpace::Yes)?,
            LeaseRequest::Revoke(revoke) => {
                self.check_alarms(NeedsSpace::No)?;
                let keys = |lease| leases::keys(&self.leases, lease);
                if let Some(lease) = LeaseId::from_wire(revoke.id) {
                    let allowed = permission.lease_writes(lease, &keys);
                    allowed.map_err(ApplyError::from)?;
                }
            }
            LeaseRequest::Expire(_) => self.check_alarms(NeedsSpace::No)?,
            LeaseRequest::Checkpoint { .. } | LeaseRequest::Renew { .. } => {}
        }
        let place = leases::Place {
            renewal: Renewal(self.applied.get()),
            term,
        };
        let Applied {
            changes,
            leases: told,
            ..
        } = applied;
        let mut leases = self.leases.lock();
        leases::apply(request, place, &mut leases, batch, changes, told)
    }

    fn auth(
        &mut self,
        request: &AuthRequest,
        auth_info: Option<&AuthInfo>,
        batch: &mut WriteBatch<'_>,
        applied: &mut Applied,
    ) -> Result<Outcome, Failure> {
        let index = self.applied.get();
        let done = self
            .auth_store
            .apply(request, auth_info, index, batch.backend());
        let done = done.map_err(ApplyError::from)?;
        self.auth_changed = true;
        applied.tokens.extend(done.tokens);
        Ok(Outcome::Auth(done.response))
    }

    fn alarm(&mut self, request: &AlarmRequest, batch: &mut WriteBatch<'_>) -> Vec<AlarmMember> {
        let alarm = Alarm::from_wire(request.alarm);
        let member = MemberId::from_wire(request.member_id);
        let mut alarms = Alarms::clone(&self.alarms.load());
        match (AlarmAction::try_from(request.action), alarm, member) {
            (Ok(AlarmAction::Get), wanted, _) => {
                let asked_for = i32::from(AlarmType::None) == request.alarm;
                return alarms
                    .iter()
                    .filter(|(alarm, _)| asked_for || Some(*alarm) == wanted)
                    .map(|(alarm, member)| alarm_record(alarm, member))
                    .collect();
            }
            (Ok(AlarmAction::Activate), Some(alarm), Some(member)) => {
                alarms.raise(alarm, member, batch.backend());
            }
            (Ok(AlarmAction::Deactivate), Some(alarm), Some(member)) => {
                if !alarms.clear(alarm, member, batch.backend()) {
                    return Vec::new();
                }
            }
            _ => return Vec::new(),
        }
        self.alarms.store(Arc::new(alarms));
        alarm
            .zip(member)
            .map(|(alarm, member)| alarm_record(alarm, member))
            .into_iter()
            .collect()
    }

    fn set_member_attributes(
        &mut self,
        request: cairn_proto::membershippb::ClusterMemberAttrSetRequest,
        batch: &mut WriteBatch<'_>,
    ) -> Result<(), ApplyError> {
        let id = MemberId::from_wire(request.member_id).ok_or(ApplyError::Unsupported)?;
        let attributes = request.member_attributes.ok_or(ApplyError::Unsupported)?;
        self.change_membership(|members| {
            members.set_attributes(id, attributes.name, attributes.client_urls, batch.backend());
        });
        Ok(())
    }

    /// A change of the members that breaks a rule leaves raft's configuration alone too.
    fn change_members(
        &mut self,
        index: LogIndex,
        conf_change: ConfChange,
        batch: &mut WriteBatch<'_>,
        applied: &mut Applied,
    ) {
        let mut members = Membership::clone(&self.membership.load());
        let change = MemberChange::parse(&conf_change);
        let checked = change.and_then(|change| members.check(&change).map(|()| change));
        let id = RequestId::from_wire(conf_change.id);
        let (accepted, reply) = match checked {
            Ok(change) => {
                members.apply(change, batch.backend());
                let all = members.iter().map(Member::to_wire).collect();
                self.membership.store(Arc::new(members));
                (Some(conf_change), Ok(Outcome::Members(all)))
            }
            Err(error) => (None, Err(ApplyError::Membership(error))),
        };
        applied
            .conf_changes
            .push(ConfChangeDone { index, accepted });
        applied.replies.extend(id.map(|id| (id, reply)));
    }

    fn change_membership(&mut self, change: impl FnOnce(&mut Membership)) {
        let mut members = Membership::clone(&self.membership.load());
        change(&mut members);
        self.membership.store(Arc::new(members));
    }
}

/// Whether a request makes the database larger.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NeedsSpace {
    Yes,
    No,
}

/// Schedules a compaction. What is below zero is below everything, so it is compacted already.
fn compact(revision: i64, batch: &mut WriteBatch<'_>) -> Result<Outcome, Failure> {
    let Some(point) = CompactionPoint::from_wire(revision) else {
        return Err(ApplyError::Compacted.into());
    };
    match batch.schedule_compaction(point) {
        Ok(()) => Ok(Outcome::Compaction(point)),
        Err(CompactError::Compacted { .. }) => Err(ApplyError::Compacted.into()),
        Err(CompactError::Future { .. }) => Err(ApplyError::Future.into()),
    }
}

fn alarm_record(alarm: Alarm, member: MemberId) -> AlarmMember {
    AlarmMember {
        member_id: member.get(),
        alarm: alarm.to_wire().into(),
    }
}
