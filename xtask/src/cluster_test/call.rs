//! A request of a history, sent, and what became of it.

use std::time::Duration;

use cairn_history::{
    Answer, HashKv, LeaseId, Outcome, RangeResponse, Refusal, Request, Response, Time, TxnResponse,
};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use cairn_proto::v3lockpb;
use cairn_proto::v3lockpb::lock_client::LockClient;
use tonic::Status;
use tonic::transport::Channel;

use super::recorder::Recorder;

/// How long a client waits for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
const UNIMPLEMENTED: i32 = 12;

/// Sends a request and waits for the answer.
pub(crate) async fn call(channel: &Channel, request: &Request, recorder: &Recorder) -> Outcome {
    let sent = tokio::time::timeout(ANSWER_MAX, send(channel, request)).await;
    let at = recorder.now();
    match sent {
        Ok(Ok((header, body))) => Outcome::Ok(Answer::with_header(at, header.as_ref(), body)),
        Ok(Err(status)) => of_status(at, request, &status),
        Err(_) => Outcome::Unknown {
            at: Some(at),
            error: "no answer in time".to_owned(),
        },
    }
}

fn of_status(at: Time, request: &Request, status: &Status) -> Outcome {
    let code = i32::from(status.code());
    if code == UNIMPLEMENTED {
        let why = Refusal::Other("unimplemented".to_owned());
        return Outcome::Refused { at, why };
    }
    Outcome::from_error(at, request, code, status.message())
}

/// Whether the server does not know such requests.
pub(crate) fn is_unimplemented(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused { why: Refusal::Other(text), .. } if text == "unimplemented")
}

type Sent = Result<(Option<pb::ResponseHeader>, Response), Status>;

async fn send(channel: &Channel, request: &Request) -> Sent {
    let mut kv = KvClient::new(channel.clone());
    match request {
        Request::Range(range) => {
            let got = kv.range(pb::RangeRequest::from(range)).await?.into_inner();
            Ok((got.header, Response::Range(RangeResponse::from(&got))))
        }
        Request::Put(put) => {
            let got = kv.put(pb::PutRequest::from(put)).await?.into_inner();
            let body = Response::from(&got);
            Ok((got.header, body))
        }
        Request::DeleteRange(delete) => {
            let delete = pb::DeleteRangeRequest::from(delete);
            let got = kv.delete_range(delete).await?.into_inner();
            Ok((got.header, Response::DeleteRange((&got).into())))
        }
        Request::Txn(txn) => {
            let got = kv.txn(pb::TxnRequest::from(txn)).await?.into_inner();
            Ok((got.header, Response::Txn(TxnResponse::from(&got))))
        }
        Request::Compact(revision) => {
            let compact = pb::CompactionRequest {
                revision: revision.0,
                physical: false,
            };
            let got = kv.compact(compact).await?.into_inner();
            Ok((got.header, Response::Done))
        }
        Request::LeaseGrant { .. }
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive { .. } => send_lease(channel, request).await,
        Request::Lock { name, lease } => {
            let lock = v3lockpb::LockRequest {
                name: name.clone().into(),
                lease: lease.0,
            };
            let got = LockClient::new(channel.clone()).lock(lock).await?;
            let got = got.into_inner();
            Ok((got.header, Response::Lock(got.key.into())))
        }
        Request::Unlock(key) => {
            let unlock = v3lockpb::UnlockRequest {
                key: key.clone().into(),
            };
            let got = LockClient::new(channel.clone()).unlock(unlock).await?;
            Ok((got.into_inner().header, Response::Done))
        }
        Request::HashKv(revision) => {
            let hash = pb::HashKvRequest {
                revision: revision.unwrap_or_default().0,
            };
            let mut members = MaintenanceClient::new(channel.clone());
            let got = members.hash_kv(hash).await?.into_inner();
            let hash = HashKv::from(&got);
            Ok((got.header, Response::HashKv(hash)))
        }
        Request::Other(name) => Err(Status::unimplemented(name.clone())),
    }
}

async fn send_lease(channel: &Channel, request: &Request) -> Sent {
    let mut leases = LeaseClient::new(channel.clone());
    match request {
        Request::LeaseGrant { id, ttl_secs } => {
            let grant = pb::LeaseGrantRequest {
                ttl: *ttl_secs,
                id: id.unwrap_or_default().0,
            };
            let got = leases.lease_grant(grant).await?.into_inner();
            let body = Response::LeaseGrant {
                id: LeaseId(got.id),
                ttl_secs: got.ttl,
            };
            Ok((got.header, body))
        }
        Request::LeaseRevoke(id) => {
            let revoke = pb::LeaseRevokeRequest { id: id.0 };
            let got = leases.lease_revoke(revoke).await?.into_inner();
            Ok((got.header, Response::Done))
        }
        Request::LeaseKeepAlive(id) => {
            let once = tokio_stream::once(pb::LeaseKeepAliveRequest { id: id.0 });
            let mut stream = leases.lease_keep_alive(once).await?.into_inner();
            let got = stream.message().await?;
            let got = got.ok_or_else(|| Status::unavailable("the stream ended"))?;
            Ok((got.header, Response::LeaseKeepAlive(got.ttl)))
        }
        Request::LeaseTimeToLive { id, keys } => {
            let ask = pb::LeaseTimeToLiveRequest {
                id: id.0,
                keys: *keys,
            };
            let got = leases.lease_time_to_live(ask).await?.into_inner();
            let body = Response::LeaseTimeToLive {
                ttl_secs: got.ttl,
                granted_secs: got.granted_ttl,
                keys: got.keys.into_iter().map(Into::into).collect(),
            };
            Ok((got.header, body))
        }
        other => Err(Status::unimplemented(other.to_string())),
    }
}
