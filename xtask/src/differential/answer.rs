//! What a server answered, without what differs from server to server by right.

use cairn_proto::etcdserverpb::response_op::Response;
use cairn_proto::etcdserverpb::{
    CompactionResponse, DeleteRangeResponse, HashKvResponse, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse,
    PutResponse, RangeResponse, ResponseHeader, TxnResponse, WatchResponse,
};
use tonic::Status;

use super::terse::terse;
use super::watch_stream::Transcript;

/// The answer to one step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Put(PutResponse),
    Range(RangeResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    HashKv(HashKvResponse),
    Grant(LeaseGrantResponse),
    Revoke(LeaseRevokeResponse),
    TimeToLive(LeaseTimeToLiveResponse),
    KeepAlive(LeaseKeepAliveResponse),
    Leases(LeaseLeasesResponse),
    /// A watch was created, or refused with `canceled`.
    Watch(WatchResponse),
    /// The revision of a progress answer, if there was one.
    Progress(Option<i64>),
    /// There is no answer to this step alone.
    Nothing,
    Failed {
        code: tonic::Code,
        message: String,
    },
    /// What every watch saw up to the end of the script.
    Watched(Vec<Transcript>),
}

impl Answer {
    /// A response or its error, without ids and term.
    pub(super) fn new<T>(
        result: Result<tonic::Response<T>, Status>,
        wrap: impl FnOnce(T) -> Self,
    ) -> Self {
        match result {
            Ok(response) => {
                let mut answer = wrap(response.into_inner());
                answer.forget_identity();
                answer
            }
            Err(status) => Self::Failed {
                code: status.code(),
                message: status.message().to_owned(),
            },
        }
    }

    fn forget_identity(&mut self) {
        let header = match self {
            Self::Put(response) => &mut response.header,
            Self::Range(response) => &mut response.header,
            Self::Delete(response) => &mut response.header,
            Self::Txn(response) => &mut response.header,
            Self::Compact(response) => &mut response.header,
            Self::HashKv(response) => &mut response.header,
            Self::Grant(response) => &mut response.header,
            Self::Revoke(response) => &mut response.header,
            Self::TimeToLive(response) => &mut response.header,
            Self::KeepAlive(response) => &mut response.header,
            Self::Leases(response) => &mut response.header,
            Self::Watch(response) => &mut response.header,
            Self::Progress(_) | Self::Nothing | Self::Failed { .. } | Self::Watched(_) => return,
        };
        forget_identity(header);
        match self {
            Self::Txn(response) => forget_nested(response),
            Self::TimeToLive(response) => {
                // What is left, and the order of keys and leases, is chance in etcd.
                response.ttl = response.ttl.signum();
                response.keys.sort();
            }
            Self::Leases(response) => response.leases.sort_by_key(|lease| lease.id),
            _ => {}
        }
    }

    pub(super) fn show(&self) -> String {
        match self {
            Self::Put(response) => terse(response),
            Self::Range(response) => terse(response),
            Self::Delete(response) => terse(response),
            Self::Txn(response) => terse(response),
            Self::Compact(response) => terse(response),
            Self::HashKv(response) => terse(response),
            Self::Grant(response) => terse(response),
            Self::Revoke(response) => terse(response),
            Self::TimeToLive(response) => terse(response),
            Self::KeepAlive(response) => terse(response),
            Self::Leases(response) => terse(response),
            Self::Watch(response) => terse(response),
            Self::Progress(Some(revision)) => format!("progress up to {revision}"),
            Self::Progress(None) => "no progress answer".to_owned(),
            Self::Nothing => "nothing".to_owned(),
            Self::Failed { code, message } => format!("{code:?}: {message}"),
            Self::Watched(transcripts) => {
                let shown: Vec<String> = transcripts.iter().map(Transcript::show).collect();
                shown.join("\n")
            }
        }
    }
}

/// Whether there is a header at all is kept, and that a nested one carries the revision alone.
pub(super) fn forget_identity(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        let identified = header.member_id != 0;
        header.cluster_id = 0;
        header.member_id = u64::from(identified);
        header.raft_term = 0;
    }
}

fn forget_nested(response: &mut TxnResponse) {
    for op in &mut response.responses {
        match &mut op.response {
            Some(Response::ResponseRange(range)) => forget_identity(&mut range.header),
            Some(Response::ResponsePut(put)) => forget_identity(&mut put.header),
            Some(Response::ResponseDeleteRange(delete)) => forget_identity(&mut delete.header),
            Some(Response::ResponseTxn(txn)) => {
                forget_identity(&mut txn.header);
                forget_nested(txn);
            }
            None => {}
        }
    }
}
