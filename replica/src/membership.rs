//! The members of the cluster, as the log has made them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cairn_backend::{BatchTx, DamagedRow, ReadError, ReadTx, RowsChecksum, Table};
use cairn_consensus::{ConfChange, ConfChangeKind, ConfState, MemberId};
use cairn_proto::etcdserverpb;
use serde::{Deserialize, Serialize};

use crate::request_ids::RequestId;

/// One member. Its JSON is the stored record and the context of the log entry that adds it, with
/// etcd's field names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its ID, which never comes back once it is removed.
    #[serde(with = "id_as_number")]
    pub id: MemberId,
    /// Where other members reach it.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
    /// Whether it follows without a vote.
    #[serde(
        rename = "isLearner",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_learner: bool,
    /// Its name; empty until it has started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it says clients reach it, to the letter.
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    pub client_urls: Vec<String>,
}

impl Member {
    /// The record of this member.
    pub fn to_json(&self) -> Bytes {
        encode(self)
    }

    /// Reads a row of table `members`, or says what is wrong with it.
    fn decode(key: &[u8], record: &[u8]) -> Result<Self, String> {
        let member: Self = serde_json::from_slice(record).map_err(|error| error.to_string())?;
        if key != record_key(member.id).as_bytes() {
            return Err("the record is another member's".to_owned());
        }
        Ok(member)
    }

    /// The member as clients see it.
    pub fn to_wire(&self) -> etcdserverpb::Member {
        etcdserverpb::Member {
            id: self.id.get(),
            name: self.name.clone(),
            peer_urls: self.peer_urls.clone(),
            client_urls: self.client_urls.clone(),
            is_learner: self.is_learner,
        }
    }
}

/// A change of the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A new member, with a vote or as a learner.
    Add {
        /// It.
        member: Member,
        /// How many learners there may be with it: the proposer's limit travels with the change, so
        /// that every member judges alike.
        learners_max: usize,
    },
    /// A learner gets a vote.
    Promote(MemberId),
    /// A member is reached elsewhere.
    Update {
        /// It.
        id: MemberId,
        /// Where.
        peer_urls: Vec<String>,
    },
    /// A member leaves for good.
    Remove(MemberId),
}

/// Why a change of the members is refused, by every member alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Its ID was a member's that has been removed.
    #[error("the member has been removed")]
    IdRemoved,
    /// Its ID is a member's.
    #[error("the member ID exists")]
    IdExists,
    /// No member has this ID.
    #[error("no such member")]
    IdNotFound,
    /// Another member is reached under one of its addresses.
    #[error("a peer URL is another member's")]
    PeerUrlExists,
    /// Only a learner can be promoted.
    #[error("the member is no learner")]
    NotLearner,
    /// There are as many learners as there may be.
    #[error("there are too many learners")]
    TooManyLearners,
    /// Nobody would be left to vote.
    #[error("the member is the last that votes")]
    LastVoter,
    /// The change does not say what it is.
    #[error("the change cannot be understood")]
    Malformed,
}

/// What the context of a change says: a member, in etcd's form, and what else is to be known.
#[derive(Serialize, Deserialize)]
struct Context {
    #[serde(flatten)]
    member: Member,
    #[serde(
        rename = "isPromote",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    is_promote: bool,
    #[serde(
        rename = "maxLearners",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    learners_max: Option<usize>,
}

impl MemberChange {
    /// Whom it concerns.
    pub fn id(&self) -> MemberId {
        match self {
            Self::Add { member, .. } => member.id,
            Self::Promote(id) | Self::Remove(id) | Self::Update { id, .. } => *id,
        }
    }

    /// The change as raft takes it; `request` waits for it.
    pub fn to_conf_change(&self, request: RequestId) -> ConfChange {
        let (kind, context) = self.kind_and_context();
        ConfChange {
            id: request.to_wire(),
            kind,
            member: self.id(),
            context,
        }
    }

    /// What raft carries along for the application.
    pub fn context(&self) -> Bytes {
        self.kind_and_context().1
    }

    fn kind_and_context(&self) -> (ConfChangeKind, Bytes) {
        let bare = |id: MemberId, peer_urls: &[String]| Member {
            id,
            peer_urls: peer_urls.to_vec(),
            is_learner: false,
            name: String::new(),
            client_urls: Vec::new(),
        };
        let (kind, context) = match self {
            Self::Add {
                member,
                learners_max,
            } => {
                let kind = if member.is_learner {
                    ConfChangeKind::AddLearner
                } else {
                    ConfChangeKind::AddVoter
                };
                (kind, Some((member.clone(), false, Some(*learners_max))))
            }
            Self::Promote(id) => (ConfChangeKind::AddVoter, Some((bare(*id, &[]), true, None))),
            Self::Update { id, peer_urls } => (
                ConfChangeKind::Update,
                Some((bare(*id, peer_urls), false, None)),
            ),
            Self::Remove(_) => (ConfChangeKind::Remove, None),
        };
        let context = context.map_or_else(Bytes::new, |(member, is_promote, learners_max)| {
            encode(&Context {
                member,
                is_promote,
                learners_max,
            })
        });
        (kind, context)
    }

    /// Reads what [`MemberChange::to_conf_change`] or etcd wrote.
    ///
    /// # Errors
    ///
    /// [`MembershipError::Malformed`].
    pub fn parse(change: &ConfChange) -> Result<Self, MembershipError> {
        let id = change.member;
        if change.kind == ConfChangeKind::Remove {
            return Ok(Self::Remove(id));
        }
        let context: Context =
            serde_json::from_slice(&change.context).map_err(|_| MembershipError::Malformed)?;
        if context.member.id != id {
            return Err(MembershipError::Malformed);
        }
        Ok(match change.kind {
            ConfChangeKind::AddVoter if context.is_promote => Self::Promote(id),
            ConfChangeKind::Update => Self::Update {
                id,
                peer_urls: context.member.peer_urls,
            },
            kind => Self::Add {
                member: Member {
                    is_learner: kind == ConfChangeKind::AddLearner,
                    ..context.member
                },
                learners_max: context.learners_max.unwrap_or(usize::MAX),
            },
        })
    }
}

/// All members, those that were, and which version of the protocol they have agreed on.
///
/// Invariants:
/// 1. No ID is both a member's and a removed one's; a removed ID never comes back.
/// 2. Two members share no peer URL.
/// 3. What is stored with the applied index is this, so that raft's configuration at a restart
///    follows from it: see [`Membership::conf_state`].
/// 4. `checksums` are those of the rows that are stored of it.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    members: BTreeMap<MemberId, Member>,
    removed: BTreeSet<MemberId>,
    version: Option<String>,
    downgrade: Option<String>,
    checksums: MembershipChecksums,
}

/// The checksums of the tables of a [`Membership`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MembershipChecksums {
    pub(crate) cluster: RowsChecksum,
    pub(crate) members: RowsChecksum,
    pub(crate) removed: RowsChecksum,
}

/// Where the agreed version is stored, in table `cluster`.
const VERSION_KEY: &[u8] = b"clusterVersion";
/// Where the target of a downgrade is stored, in table `cluster`.
const DOWNGRADE_KEY: &[u8] = b"downgrade";
/// What etcd stores under the ID of a removed member.
const REMOVED: &[u8] = b"removed";

impl Membership {
    /// Reads the stored members.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`] for a row that is no good, or the backend's.
    pub fn restore(tx: &ReadTx) -> Result<Self, ReadError> {
        let mut members = BTreeMap::new();
        tx.read_table(Table::Members, |key, record| {
            let member = Member::decode(key, record)?;
            members.insert(member.id, member);
            Ok::<_, String>(())
        })?;
        let mut removed = BTreeSet::new();
        tx.read_table(Table::MembersRemoved, |key, record| {
            let id = read_record_key(key).ok_or("not the ID of a member")?;
            if record != REMOVED || members.contains_key(&id) {
                return Err("not the record of a removed member");
            }
            removed.insert(id);
            Ok(())
        })?;
        let text = |key| -> Result<Option<String>, ReadError> {
            let stored = tx.get(Table::Cluster, key)?;
            let text = stored
                .map(|text| String::from_utf8(text.to_vec()))
                .transpose();
            Ok(text.map_err(|error| DamagedRow::new(Table::Cluster, key, error.to_string()))?)
        };
        let mut restored = Self {
            members,
            removed,
            version: text(VERSION_KEY)?,
            downgrade: text(DOWNGRADE_KEY)?.filter(|target| !target.is_empty()),
            checksums: MembershipChecksums::default(),
        };
        restored.sum_up();
        Ok(restored)
    }

    /// The checksums of the tables, as their rows are to be for what is here.
    pub(crate) const fn checksums(&self) -> MembershipChecksums {
        self.checksums
    }

    /// Makes the fourth invariant true again. There are few members, and they seldom change.
    fn sum_up(&mut self) {
        let members = self.members.iter();
        let removed = self.removed.iter();
        let facts = [
            (VERSION_KEY, self.version.as_deref()),
            (DOWNGRADE_KEY, self.downgrade.as_deref()),
        ];
        let facts = facts.into_iter();
        self.checksums = MembershipChecksums {
            cluster: RowsChecksum::of(facts.filter_map(|(key, text)| Some((key, text?)))),
            members: RowsChecksum::of(members.map(|(id, it)| (record_key(*id), it.to_json()))),
            removed: RowsChecksum::of(removed.map(|id| (record_key(*id), REMOVED))),
        };
    }

    /// The member `id`.
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// IDs that were members and never will be again.
    pub fn removed(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.removed.iter().copied()
    }

    /// Whether `id` was a member and has been removed.
    pub fn was_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    /// The members that vote.
    pub fn voters(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        let members = self.members.iter().map(|(id, member)| (*id, member));
        members.filter(|(_, member)| !member.is_learner)
    }

    /// The configuration of raft that goes with these members.
    pub fn conf_state(&self) -> ConfState {
        let ids = |learners: bool| {
            let members = self.members.iter();
            let members = members.filter(move |(_, member)| member.is_learner == learners);
            members.map(|(id, _)| *id).collect()
        };
        ConfState {
            voters: ids(false),
            learners: ids(true),
            ..ConfState::default()
        }
    }

    /// The version that a downgrade under way is to reach.
    pub fn downgrade(&self) -> Option<&str> {
        self.downgrade.as_deref()
    }

    /// Whether `change` can be made; etcd's rules, in etcd's order.
    ///
    /// # Errors
    ///
    /// [`MembershipError`] says which rule it breaks.
    pub fn check(&self, change: &MemberChange) -> Result<(), MembershipError> {
        let id = change.id();
        if self.removed.contains(&id) {
            return Err(MembershipError::IdRemoved);
        }
        let known = self.members.get(&id);
        match change {
            MemberChange::Add {
                member,
                learners_max,
            } => {
                if known.is_some() {
                    return Err(MembershipError::IdExists);
                }
                self.check_urls(id, &member.peer_urls)?;
                let learners = self.members.values().filter(|it| it.is_learner).count();
                if member.is_learner && learners >= *learners_max {
                    return Err(MembershipError::TooManyLearners);
                }
                Ok(())
            }
            MemberChange::Promote(_) => match known {
                None => Err(MembershipError::IdNotFound),
                Some(member) if !member.is_learner => Err(MembershipError::NotLearner),
                Some(_) => Ok(()),
            },
            MemberChange::Remove(_) => {
                let member = known.ok_or(MembershipError::IdNotFound)?;
                if !member.is_learner && self.voters().count() == 1 {
                    return Err(MembershipError::LastVoter);
                }
                Ok(())
            }
            MemberChange::Update { peer_urls, .. } => {
                known.ok_or(MembershipError::IdNotFound)?;
                self.check_urls(id, peer_urls)
            }
        }
    }

    /// Makes a change that [`Membership::check`] has let pass.
    pub fn apply(&mut self, change: MemberChange, tx: &mut BatchTx<'_>) {
        match change {
            MemberChange::Add { member, .. } => self.add(member, tx),
            MemberChange::Promote(id) => self.change(id, tx, |member| member.is_learner = false),
            MemberChange::Update { id, peer_urls } => {
                self.change(id, tx, |member| member.peer_urls = peer_urls);
            }
            MemberChange::Remove(id) => {
                let key = record_key(id);
                self.members.remove(&id);
                self.removed.insert(id);
                tx.delete(Table::Members, key.as_bytes());
                let record = Bytes::from_static(REMOVED);
                tx.put(Table::MembersRemoved, key.as_bytes(), record);
                self.sum_up();
            }
        }
    }

    fn check_urls(&self, id: MemberId, peer_urls: &[String]) -> Result<(), MembershipError> {
        let others = self.members.iter().filter(|(other, _)| **other != id);
        let mut taken = others.flat_map(|(_, member)| &member.peer_urls);
        if taken.any(|url| peer_urls.contains(url)) {
            return Err(MembershipError::PeerUrlExists);
        }
        Ok(())
    }

    /// The members, by ID.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether there is a member `id`.
    pub fn contains(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    /// The version that all members speak, once they have agreed.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    fn add(&mut self, member: Member, tx: &mut BatchTx<'_>) {
        let key = record_key(member.id);
        tx.put(Table::Members, key.as_bytes(), member.to_json());
        self.members.insert(member.id, member);
        self.sum_up();
    }

    fn change(&mut self, id: MemberId, tx: &mut BatchTx<'_>, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(&id) {
            change(member);
            tx.put(Table::Members, record_key(id).as_bytes(), member.to_json());
            self.sum_up();
        }
    }

    /// Notes what a member says of itself. Nothing happens if it is not a member.
    pub fn set_attributes(
        &mut self,
        id: MemberId,
        name: String,
        client_urls: Vec<String>,
        tx: &mut BatchTx<'_>,
    ) {
        self.change(id, tx, |member| {
            member.name = name;
            member.client_urls = client_urls;
        });
    }

    /// Notes the version that a downgrade is to reach, or that none is under way.
    pub fn set_downgrade(&mut self, target: Option<String>, tx: &mut BatchTx<'_>) {
        let record = Bytes::from(target.clone().unwrap_or_default());
        tx.put(Table::Cluster, DOWNGRADE_KEY, record);
        self.downgrade = target;
        self.sum_up();
    }

    /// Notes the version that all members speak.
    pub fn set_version(&mut self, version: String, tx: &mut BatchTx<'_>) {
        tx.put(
            Table::Cluster,
            VERSION_KEY,
            Bytes::copy_from_slice(version.as_bytes()),
        );
        self.version = Some(version);
        self.sum_up();
    }
}

fn record_key(id: MemberId) -> String {
    format!("{:016x}", id.get())
}

fn read_record_key(key: &[u8]) -> Option<MemberId> {
    let digits = std::str::from_utf8(key).ok()?;
    let id = MemberId::from_wire(u64::from_str_radix(digits, 16).ok()?)?;
    (record_key(id).as_bytes() == key).then_some(id)
}

/// The JSON of a record or a context.
#[expect(
    clippy::expect_used,
    reason = "a struct of strings, numbers and flags always serializes"
)]
fn encode(record: &impl Serialize) -> Bytes {
    serde_json::to_vec(record)
        .expect("strings, numbers and flags serialize")
        .into()
}

/// A member's ID in JSON: a number, and not zero.
mod id_as_number {
    use cairn_consensus::MemberId;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &MemberId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(id.get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<MemberId, D::Error> {
        let id = MemberId::from_wire(u64::deserialize(from)?);
        id.ok_or_else(|| D::Error::custom("no member has ID 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_backend::{Backend, BackendOptions, MemoryEngine};

    fn id(number: u64) -> MemberId {
        MemberId::from_wire(number).unwrap()
    }

    fn member(number: u64, is_learner: bool) -> Member {
        Member {
            id: id(number),
            peer_urls: vec![format!("http://host{number}:2380")],
            is_learner,
            name: String::new(),
            client_urls: Vec::new(),
        }
    }

    fn add(number: u64, is_learner: bool) -> MemberChange {
        MemberChange::Add {
            member: member(number, is_learner),
            learners_max: 1,
        }
    }

    /// A backend, and the members that the accepted ones of `changes` make, one verdict for each.
    fn after(changes: &[MemberChange]) -> (Backend, Membership, Vec<Result<(), MembershipError>>) {
        let backend = Backend::open(MemoryEngine::new(), BackendOptions::default()).unwrap();
        let mut members = Membership::default();
        let mut tx = backend.write();
        let verdicts = changes
            .iter()
            .map(|change| {
                members.check(change)?;
                members.apply(change.clone(), &mut tx);
                Ok(())
            })
            .collect();
        tx.end().unwrap();
        (backend, members, verdicts)
    }

    #[test]
    fn every_rule_refuses_with_its_own_error() {
        use MembershipError as E;

        let moved_to = |number: u64, host: u64| MemberChange::Update {
            id: id(number),
            peer_urls: member(host, false).peer_urls,
        };
        let script = [
            (add(1, false), Ok(())),
            (MemberChange::Remove(id(1)), Err(E::LastVoter)),
            (add(1, false), Err(E::IdExists)),
            (add(2, true), Ok(())),
            (add(3, true), Err(E::TooManyLearners)),
            (add(3, false), Ok(())),
            (moved_to(3, 1), Err(E::PeerUrlExists)),
            (moved_to(3, 3), Ok(())),
            (moved_to(9, 9), Err(E::IdNotFound)),
            (MemberChange::Promote(id(9)), Err(E::IdNotFound)),
            (MemberChange::Promote(id(3)), Err(E::NotLearner)),
            (MemberChange::Promote(id(2)), Ok(())),
            (MemberChange::Promote(id(2)), Err(E::NotLearner)),
            (MemberChange::Remove(id(9)), Err(E::IdNotFound)),
            (MemberChange::Remove(id(2)), Ok(())),
            (MemberChange::Remove(id(2)), Err(E::IdRemoved)),
            (add(2, false), Err(E::IdRemoved)),
        ];
        let (changes, expected): (Vec<_>, Vec<_>) = script.into_iter().unzip();
        let (_, members, verdicts) = after(&changes);
        assert_eq!(verdicts, expected);
        assert_eq!(members.conf_state().voters, [id(1), id(3)]);
        assert!(members.conf_state().learners.is_empty());
    }

    /// P19: a promotion that is forgotten makes a learner of a voter at the next start; an update
    /// that forgets the flag a voter of a learner.
    #[test]
    fn what_is_stored_is_what_was_made_of_the_changes() {
        let (backend, members, verdicts) = after(&[
            add(1, false),
            add(2, true),
            MemberChange::Promote(id(2)),
            add(3, true),
            MemberChange::Update {
                id: id(3),
                peer_urls: vec!["http://elsewhere:1".to_owned()],
            },
            MemberChange::Remove(id(1)),
        ]);
        assert!(verdicts.iter().all(Result::is_ok));
        let stored = Membership::restore(&backend.read().unwrap()).unwrap();
        assert_eq!(stored.conf_state(), members.conf_state());
        assert_eq!(stored.conf_state().voters, [id(2)]);
        assert_eq!(stored.conf_state().learners, [id(3)]);
        assert_eq!(stored.get(id(3)).unwrap().peer_urls, ["http://elsewhere:1"]);
        assert!(stored.was_removed(id(1)) && stored.get(id(1)).is_none());
    }

    #[test]
    fn a_change_comes_back_from_raft_as_it_went_in() {
        let changes = [
            add(1, false),
            add(2, true),
            MemberChange::Promote(id(2)),
            MemberChange::Remove(id(2)),
            MemberChange::Update {
                id: id(1),
                peer_urls: vec!["http://elsewhere:1".to_owned()],
            },
        ];
        for change in changes {
            let through_raft = change.to_conf_change(RequestId::from_wire(7).unwrap());
            assert_eq!(MemberChange::parse(&through_raft), Ok(change));
        }
        let nonsense = ConfChange {
            id: 7,
            kind: ConfChangeKind::AddVoter,
            member: id(1),
            context: Bytes::from_static(b"{\"id\":2}"),
        };
        assert_eq!(
            MemberChange::parse(&nonsense),
            Err(MembershipError::Malformed)
        );
    }
}
