//! Looking for members whose data differs: at the start, now and then, and after compactions.
//!
//! Members that have applied the same log hold the same bytes, so the hash of all history up to a
//! revision is equal on all that have compacted at the same point. Everything else (a member that is
//! behind, or ahead, or has compacted elsewhere) says nothing and raises no alarm
//! (etcd-io/etcd#15548, #16047).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_consensus::MemberId;
use cairn_index::Revision;
use cairn_mvcc::{CompactionPoint, HashKv, ReadAt};
use cairn_proto::etcdserverpb::alarm_request::AlarmAction;
use cairn_proto::etcdserverpb::{AlarmRequest, HashKvRequest, HashKvResponse};
use cairn_replica::alarms::Alarm;
use cairn_replica::log_request::LogRequest;

use super::Member;
use crate::member::PeerClient;
use crate::member::auth::Caller;
use crate::member::error::{Error, MaintenanceError};
use crate::settings::CorruptionChecks;

/// The hash of what a member holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DataHash {
    /// Of all history up to this revision.
    revision: i64,
    /// Where history begins; etcd's number, -1 if it is whole.
    compact_revision: i64,
    hash: u32,
    /// The member's latest revision when it answered.
    current: i64,
}

impl DataHash {
    fn of(answer: &HashKvResponse) -> Self {
        Self {
            revision: answer.hash_revision,
            compact_revision: answer.compact_revision,
            hash: answer.hash,
            current: answer.header.as_ref().map_or(0, |header| header.revision),
        }
    }
}

/// Other members hold something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "found data inconsistency with peers {peers:?} at revision {revision}. One of the members is \
     corrupt: compare `etcdctl endpoint hashkv --cluster`, then remove the one that differs from \
     the majority, delete its data directory and add it again"
)]
pub(crate) struct Inconsistent {
    /// Those whose data differs.
    peers: Vec<String>,
    /// Where.
    revision: i64,
}

impl Member {
    /// Compares this member's data with the others', before it serves. Members that cannot be asked
    /// say nothing.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`], or that the data cannot be read.
    pub(crate) async fn check_at_start(
        &self,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        tracing::info!(
            timeout = ?self.limits.request_timeout,
            "starting initial corruption check"
        );
        self.wait_for_others().await;
        let own = self.own_hash(ReadAt::Latest).await?;
        let others = self.hashes_of_others(own.revision).await;
        let peers: Vec<_> = others
            .iter()
            .filter(|(_, other)| differs(&own, other))
            .map(|(id, _)| id.to_string())
            .collect();
        if peers.is_empty() {
            let checked = others.len();
            tracing::info!(checked, "initial corruption checking passed; no corruption");
            return Ok(());
        }
        let revision = own.revision;
        Err(Inconsistent { peers, revision }.into())
    }

    /// Compares the members' data for as long as the process runs; only a leader looks.
    pub(crate) async fn look_for_corruption(self: Arc<Self>, checks: CorruptionChecks) {
        let member = &self;
        let latest = async move {
            let Some(every) = checks.every else { return };
            loop {
                tokio::time::sleep(every).await;
                if member.progress.role().leads()
                    && let Err(error) = member.check_latest().await
                {
                    tracing::warn!(%error, "failed to compare the members' data");
                }
            }
        };
        let compacted = async move {
            let Some(every) = checks.compacted_every else {
                return;
            };
            let mut done = None;
            loop {
                tokio::time::sleep(every).await;
                let point = member.store.compacted();
                if point == done || !member.progress.role().leads() {
                    continue;
                }
                tracing::info!("starting compact hash check");
                match member.check_compacted(point).await {
                    Ok(everybody) => {
                        tracing::info!(
                            number_of_hashes_checked = usize::from(point.is_some()),
                            "finished compaction hash check"
                        );
                        if everybody {
                            done = point;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "failed to compare what a compaction left");
                    }
                }
            }
        };
        tokio::join!(latest, compacted);
    }

    pub(super) fn other_members(&self) -> Vec<MemberId> {
        let conf_state = self.membership().conf_state();
        let all = conf_state.voters.into_iter().chain(conf_state.learners);
        all.filter(|id| *id != self.identity.member).collect()
    }

    /// Gives the connections to the other members some time to come about.
    async fn wait_for_others(&self) {
        const LOOK_INTERVAL: Duration = Duration::from_millis(20);
        const PATIENCE: Duration = Duration::from_secs(5);

        let are_connected = || {
            let mut others = self.other_members().into_iter();
            others.all(|id| self.peers.client(id).is_ok())
        };
        let connected = async {
            while !are_connected() {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        // Who is not there by then says nothing.
        let _ = tokio::time::timeout(PATIENCE, connected).await;
    }

    async fn check_latest(&self) -> Result<(), Error> {
        let own = self.own_hash(ReadAt::Latest).await?;
        let others = self.hashes_of_others(own.revision).await;
        self.linearizable().await?;
        let later = self.own_hash(ReadAt::Latest).await?;
        let mut corrupt = suspects(&own, &later, &others);
        if differs(&own, &later) {
            corrupt.insert(0, self.identity.member);
        }
        let checked = others.len();
        tracing::info!(checked, "finished peer corruption check");
        // One alarm is enough to stop the cluster, and more would hide where it began.
        if let Some(member) = corrupt.first() {
            tracing::error!(%member, revision = own.revision, "found corrupt data");
            self.raise_corrupt(*member).await?;
        }
        Ok(())
    }

    /// Compares what is left at a compaction; false if somebody could not be compared.
    async fn check_compacted(&self, point: Option<Revision>) -> Result<bool, Error> {
        let Some(revision) = point else {
            return Ok(true);
        };
        let own = self.own_hash(ReadAt::Revision(revision)).await?;
        if own.compact_revision != revision.to_wire() {
            return Ok(false);
        }
        let others = self.hashes_of_others(own.revision).await;
        let comparable = |other: &DataHash| other.compact_revision == own.compact_revision;
        let others: BTreeMap<_, _> = others
            .into_iter()
            .filter(|(_, other)| comparable(other))
            .collect();
        let all = self.membership().iter().count();
        for member in minority(self.identity.member, &own, &others, all) {
            tracing::error!(%member, revision = own.revision, "found corrupt data");
            self.raise_corrupt(member).await?;
        }
        Ok(others.len() + 1 == all)
    }

    /// The hash of all history up to a revision, for a client or another member.
    ///
    /// # Errors
    ///
    /// That the revision cannot be read.
    pub(crate) async fn hash_kv(&self, at: ReadAt) -> Result<HashKvResponse, Error> {
        let store = self.store.clone();
        let metrics = Arc::clone(&self.metrics);
        let hashed = tokio::task::spawn_blocking(move || {
            let _timer = metrics.mvcc_hash_rev_duration_seconds.start_timer();
            store.hash_kv(at)
        });
        let hash = hashed.await;
        let hash = hash.map_err(|error| MaintenanceError::Storage(error.to_string()))??;
        Ok(self.hash_answer(&hash))
    }

    /// The hash of a compacted revision as it was before the compaction, for a client: what etcd answers
    /// until it is started again. Other members are told what can be compared after a restart too.
    pub(crate) fn remembered_hash(&self, at: ReadAt) -> Option<HashKvResponse> {
        let ReadAt::Revision(revision) = at else {
            return None;
        };
        let hash = self.store.remembered_hash(revision)?;
        Some(self.hash_answer(&hash))
    }

    fn hash_answer(&self, hash: &HashKv) -> HashKvResponse {
        HashKvResponse {
            header: Some(self.header(Some(hash.current))),
            hash: hash.hash,
            compact_revision: hash.compacted.map_or(-1, CompactionPoint::to_wire),
            hash_revision: hash.revision.to_wire(),
        }
    }

    async fn own_hash(&self, at: ReadAt) -> Result<DataHash, Error> {
        Ok(DataHash::of(&self.hash_kv(at).await?))
    }

    /// What the other members hold up to `revision`, of those that can tell.
    async fn hashes_of_others(&self, revision: i64) -> BTreeMap<MemberId, DataHash> {
        let others = self.other_members();
        let mut hashes = BTreeMap::new();
        for id in others {
            let Ok(client) = self.peers.client(id) else {
                tracing::warn!(peer = %id, "cannot compare data: not connected");
                continue;
            };
            match self.hash_of(client, revision).await {
                Ok(hash) => {
                    hashes.insert(id, hash);
                }
                // Behind, or compacted beyond: nothing can be said.
                Err(error) => tracing::warn!(peer = %id, error, "cannot compare data"),
            }
        }
        hashes
    }

    async fn hash_of(&self, mut client: PeerClient, revision: i64) -> Result<DataHash, String> {
        let asked = client.hash_kv(HashKvRequest { revision });
        let answer = tokio::time::timeout(self.limits.request_timeout, asked).await;
        let answer = answer.map_err(|_| "no answer in time".to_owned())?;
        let answer = answer.map_err(|status| status.message().to_owned())?;
        Ok(DataHash::of(&answer.into_inner()))
    }

    async fn raise_corrupt(&self, member: MemberId) -> Result<(), Error> {
        let alarm = AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id: member.get(),
            alarm: Alarm::Corrupt.to_wire().into(),
        };
        self.propose(LogRequest::Alarm(alarm), &Caller::MEMBER)
            .await
            .map(drop)
    }
}

/// Whether two hashes of the same history disagree.
const fn differs(one: &DataHash, other: &DataHash) -> bool {
    one.revision == other.revision
        && one.compact_revision == other.compact_revision
        && one.hash != other.hash
}

/// Members that cannot have the leader's data: `own` was taken before `others`, `later` after a
/// round through the log that came after them.
fn suspects(
    own: &DataHash,
    later: &DataHash,
    others: &BTreeMap<MemberId, DataHash>,
) -> Vec<MemberId> {
    let is_suspect = |other: &DataHash| {
        other.current > later.current
            || other.compact_revision > later.compact_revision
            || differs(own, other)
    };
    let suspects = others.iter().filter(|(_, other)| is_suspect(other));
    suspects.map(|(id, _)| *id).collect()
}

/// Those that differ from what most of `all` members hold; everybody, if no hash has a majority and
/// not all are equal.
fn minority(
    me: MemberId,
    own: &DataHash,
    others: &BTreeMap<MemberId, DataHash>,
    all: usize,
) -> Vec<MemberId> {
    let mut by_hash: BTreeMap<u32, Vec<MemberId>> = BTreeMap::from([(own.hash, vec![me])]);
    for (id, other) in others {
        by_hash.entry(other.hash).or_default().push(*id);
    }
    if by_hash.len() == 1 {
        return Vec::new();
    }
    let majority = by_hash.iter().find(|(_, ids)| ids.len() > all / 2);
    let majority = majority.map(|(hash, _)| *hash);
    let mut rest: Vec<_> = by_hash
        .into_iter()
        .filter(|(hash, _)| Some(*hash) != majority)
        .flat_map(|(_, ids)| ids)
        .collect();
    rest.sort_unstable();
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> MemberId {
        MemberId::from_wire(number).unwrap()
    }

    const fn hash(revision: i64, compact_revision: i64, hash: u32, current: i64) -> DataHash {
        DataHash {
            revision,
            compact_revision,
            hash,
            current,
        }
    }

    /// P21: a member that is behind, or has compacted at another point, is not corrupt.
    #[test]
    fn only_the_same_history_can_be_corrupt() {
        let own = hash(10, 5, 111, 10);
        let later = hash(12, 6, 999, 12);
        for (other, is_suspect) in [
            (hash(10, 5, 111, 11), false),
            (hash(10, 5, 222, 10), true),
            (hash(10, 6, 222, 12), false),
            (hash(9, 5, 222, 9), false),
            (hash(10, 5, 111, 13), true),
            (hash(10, 7, 222, 12), true),
            (hash(10, -1, 222, 10), false),
        ] {
            let others = BTreeMap::from([(id(2), other)]);
            let expected: &[_] = if is_suspect { &[id(2)] } else { &[] };
            assert_eq!(suspects(&own, &later, &others), expected, "{other:?}");
        }
    }

    #[test]
    fn the_minority_is_corrupt_and_without_a_majority_everybody() {
        let own = hash(5, 5, 1, 9);
        let cluster = |hashes: &[u32]| {
            let others = hashes.iter().zip(2..);
            let others = others.map(|(it, number)| (id(number), hash(5, 5, *it, 9)));
            minority(id(1), &own, &others.collect(), hashes.len() + 1)
        };
        assert!(cluster(&[1, 1]).is_empty());
        assert_eq!(cluster(&[1, 2]), [id(3)]);
        assert_eq!(cluster(&[2, 2]), [id(1)]);
        assert_eq!(cluster(&[2, 3]), [id(1), id(2), id(3)]);
        assert_eq!(cluster(&[2]), [id(1), id(2)]);
    }
}
