//! What an applied entry answers to the request that waits for it.

use cairn_auth::AuthResponse;
use cairn_mvcc::CompactionPoint;
use cairn_proto::etcdserverpb::{self, AlarmMember, LeaseGrantResponse, LeaseRevokeResponse};
use cairn_proto::stored;

/// The answer to one kind of request. Headers carry the revision alone: the API knows the rest.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// To a put.
    Put(stored::PutResponse),
    /// To a delete.
    DeleteRange(stored::DeleteRangeResponse),
    /// To a transaction.
    Txn(stored::TxnResponse),
    /// To a change of the second API's tree, or why it is refused.
    V2(Result<cairn_v2::Done, cairn_v2::Error>),
    /// To a grant of a lease.
    LeaseGrant(LeaseGrantResponse),
    /// To the end of a lease.
    LeaseRevoke(LeaseRevokeResponse),
    /// To a compaction: it is scheduled at this revision.
    Compaction(CompactionPoint),
    /// To an alarm request: the alarms it names, or changed.
    Alarm(Vec<AlarmMember>),
    /// To a change of the members: all of them.
    Members(Vec<etcdserverpb::Member>),
    /// To a request about users and roles.
    Auth(AuthResponse),
    /// To what answers nothing.
    Done,
}
