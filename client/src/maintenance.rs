//! What operators ask of single members: use [`Client::only`] to say which.

use cairn_proto::etcdserverpb as pb;
use tokio_stream::Stream;

use crate::client::{Client, to_error};
use crate::error::Error;
use crate::revision::Revision;
use crate::transport::Replies;
use crate::unfold::{BoxFuture, unfold};

pub use pb::{
    AlarmMember, AlarmType, HashKvResponse, SnapshotResponse, StatusResponse,
    downgrade_request::DowngradeAction,
};

const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";

/// The calls about the work of members; see [`Client::maintenance`].
#[derive(Clone, Debug)]
pub struct Maintenance(Client);

impl Client {
    /// The calls about the work of members.
    #[must_use]
    pub fn maintenance(&self) -> Maintenance {
        Maintenance(self.clone())
    }
}

impl Maintenance {
    /// Versions, sizes, leader and log of the member that answers.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn status(&self) -> Result<StatusResponse, Error> {
        self.0.call(pb::StatusRequest {}).await
    }

    /// The alarms that are on.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn alarms(&self) -> Result<Vec<AlarmMember>, Error> {
        self.alarm(pb::alarm_request::AlarmAction::Get, AlarmType::None, 0)
            .await
    }

    /// Puts out every alarm that is on; returns them.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn disarm_all(&self) -> Result<Vec<AlarmMember>, Error> {
        let alarms = self.alarms().await?;
        for on in &alarms {
            self.disarm(on.alarm(), on.member_id).await?;
        }
        Ok(alarms)
    }

    /// Puts out an alarm of a member.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn disarm(&self, alarm: AlarmType, member: u64) -> Result<Vec<AlarmMember>, Error> {
        self.alarm(pb::alarm_request::AlarmAction::Deactivate, alarm, member)
            .await
    }

    /// Raises an alarm.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn raise(&self, alarm: AlarmType, member: u64) -> Result<Vec<AlarmMember>, Error> {
        self.alarm(pb::alarm_request::AlarmAction::Activate, alarm, member)
            .await
    }

    async fn alarm(
        &self,
        action: pb::alarm_request::AlarmAction,
        alarm: AlarmType,
        member: u64,
    ) -> Result<Vec<AlarmMember>, Error> {
        let request = pb::AlarmRequest {
            action: action.into(),
            member_id: member,
            alarm: alarm.into(),
        };
        Ok(self.0.call(request).await?.alarms)
    }

    /// Gives the member's free space back to its file system. An etcd serves nobody meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn defragment(&self) -> Result<(), Error> {
        self.0.call(pb::DefragmentRequest {}).await?;
        Ok(())
    }

    /// The hash of the member's whole database; only tests compare it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn hash(&self) -> Result<u32, Error> {
        Ok(self.0.call(pb::HashRequest {}).await?.hash)
    }

    /// The hash of all keys up to a revision, or up to now: the same at every member.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn hash_kv(&self, revision: Option<Revision>) -> Result<HashKvResponse, Error> {
        let revision = revision.map_or(0, Revision::get);
        self.0.call(pb::HashKvRequest { revision }).await
    }

    /// Makes another member the leader; the leader must be asked.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn move_leader(&self, to: u64) -> Result<(), Error> {
        self.0.call(pb::MoveLeaderRequest { target_id: to }).await?;
        Ok(())
    }

    /// Prepares the cluster for an older version, or calls that off; returns the cluster's version.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn downgrade(
        &self,
        action: DowngradeAction,
        version: impl Into<String>,
    ) -> Result<String, Error> {
        let request = pb::DowngradeRequest {
            action: action.into(),
            version: version.into(),
        };
        Ok(self.0.call(request).await?.version)
    }

    /// A copy of the member's database, in parts. It is whole only if the stream ends without an
    /// error; the last part is the SHA-256 of all before.
    ///
    /// # Errors
    ///
    /// [`Error`]; also as an item, if the connection is lost on the way.
    pub async fn snapshot(
        &self,
    ) -> Result<impl Stream<Item = Result<SnapshotResponse, Error>> + Send + Unpin + use<>, Error>
    {
        let begun = self
            .0
            .server_stream::<SnapshotResponse>(SNAPSHOT, &pb::SnapshotRequest {});
        let (first, replies) = begun.await?;
        let state = (first, Some(Box::new(replies)));
        Ok(unfold(state, |state| -> BoxFuture<_> {
            Box::pin(next_part(state))
        }))
    }
}

type Parts = (Option<SnapshotResponse>, Option<Box<Replies>>);

async fn next_part((first, replies): Parts) -> Option<(Result<SnapshotResponse, Error>, Parts)> {
    if let Some(first) = first {
        return Some((Ok(first), (None, replies)));
    }
    let mut replies = replies?;
    match replies.next().await {
        Ok(Some(part)) => Some((Ok(part), (None, Some(replies)))),
        Ok(None) => None,
        Err(failure) => Some((
            Err(to_error(failure, std::time::Duration::ZERO)),
            (None, None),
        )),
    }
}
