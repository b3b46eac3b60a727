//! Every request of etcd's API that has one answer: where it goes and what repeating it would do.

use cairn_proto::etcdserverpb as pb;
use cairn_proto::{v3electionpb, v3lockpb};
use http::uri::PathAndQuery;

pub use crate::balance::retry::Effect;

/// A request of etcd's API as it is on the wire, for [`Client::call`](crate::Client::call).
pub trait Rpc: prost::Message + sealed::Sealed + 'static {
    /// The message that answers it.
    type Response: prost::Message + Default + 'static;
    /// Service and method.
    const PATH: &'static str;

    /// What doing it twice would do.
    fn effect(&self) -> Effect;
}

mod sealed {
    /// Keeps [`super::Rpc`] to etcd's requests.
    pub trait Sealed {}
}

pub(crate) fn path(text: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(text)
}

macro_rules! rpcs {
    ($($request:path => $response:path, $path:literal, $effect:expr;)+) => {
        $(
            impl sealed::Sealed for $request {}

            impl Rpc for $request {
                type Response = $response;
                const PATH: &'static str = $path;

                fn effect(&self) -> Effect {
                    let effect: fn(&Self) -> Effect = $effect;
                    effect(self)
                }
            }
        )+
    };
}

fn read<R>(_: &R) -> Effect {
    Effect::Read
}

fn again<R>(_: &R) -> Effect {
    Effect::Repeatable
}

fn write<R>(_: &R) -> Effect {
    Effect::Write
}

fn steps<R>(_: &R) -> Effect {
    Effect::Steps
}

// A lease that was granted twice ends by itself. One that was revoked twice is not found the second
// time, which would tell the caller that it was gone before. A lock and a campaign write a key, wait,
// and take the key back if the wait fails: whoever asks again meanwhile may be given the place that
// is about to be taken back. An unlock deletes whatever the lease has under the name, also what it
// took later.
rpcs! {
    pb::RangeRequest => pb::RangeResponse, "/etcdserverpb.KV/Range", read;
    pb::PutRequest => pb::PutResponse, "/etcdserverpb.KV/Put", write;
    pb::DeleteRangeRequest => pb::DeleteRangeResponse, "/etcdserverpb.KV/DeleteRange", write;
    pb::TxnRequest => pb::TxnResponse, "/etcdserverpb.KV/Txn", txn;
    pb::CompactionRequest => pb::CompactionResponse, "/etcdserverpb.KV/Compact", write;
    pb::LeaseGrantRequest => pb::LeaseGrantResponse, "/etcdserverpb.Lease/LeaseGrant", grant;
    pb::LeaseRevokeRequest => pb::LeaseRevokeResponse, "/etcdserverpb.Lease/LeaseRevoke", write;
    pb::LeaseTimeToLiveRequest => pb::LeaseTimeToLiveResponse,
        "/etcdserverpb.Lease/LeaseTimeToLive", read;
    pb::LeaseLeasesRequest => pb::LeaseLeasesResponse, "/etcdserverpb.Lease/LeaseLeases", read;
    pb::MemberAddRequest => pb::MemberAddResponse, "/etcdserverpb.Cluster/MemberAdd", write;
    pb::MemberRemoveRequest => pb::MemberRemoveResponse,
        "/etcdserverpb.Cluster/MemberRemove", write;
    pb::MemberUpdateRequest => pb::MemberUpdateResponse,
        "/etcdserverpb.Cluster/MemberUpdate", write;
    pb::MemberListRequest => pb::MemberListResponse, "/etcdserverpb.Cluster/MemberList", read;
    pb::MemberPromoteRequest => pb::MemberPromoteResponse,
        "/etcdserverpb.Cluster/MemberPromote", write;
    pb::AlarmRequest => pb::AlarmResponse, "/etcdserverpb.Maintenance/Alarm", alarm;
    pb::StatusRequest => pb::StatusResponse, "/etcdserverpb.Maintenance/Status", read;
    pb::DefragmentRequest => pb::DefragmentResponse, "/etcdserverpb.Maintenance/Defragment", write;
    pb::HashRequest => pb::HashResponse, "/etcdserverpb.Maintenance/Hash", read;
    pb::HashKvRequest => pb::HashKvResponse, "/etcdserverpb.Maintenance/HashKV", read;
    pb::MoveLeaderRequest => pb::MoveLeaderResponse, "/etcdserverpb.Maintenance/MoveLeader", again;
    pb::DowngradeRequest => pb::DowngradeResponse, "/etcdserverpb.Maintenance/Downgrade", write;
    pb::AuthEnableRequest => pb::AuthEnableResponse, "/etcdserverpb.Auth/AuthEnable", write;
    pb::AuthDisableRequest => pb::AuthDisableResponse, "/etcdserverpb.Auth/AuthDisable", write;
    pb::AuthStatusRequest => pb::AuthStatusResponse, "/etcdserverpb.Auth/AuthStatus", read;
    pb::AuthenticateRequest => pb::AuthenticateResponse, "/etcdserverpb.Auth/Authenticate", read;
    pb::AuthUserAddRequest => pb::AuthUserAddResponse, "/etcdserverpb.Auth/UserAdd", write;
    pb::AuthUserGetRequest => pb::AuthUserGetResponse, "/etcdserverpb.Auth/UserGet", read;
    pb::AuthUserListRequest => pb::AuthUserListResponse, "/etcdserverpb.Auth/UserList", read;
    pb::AuthUserDeleteRequest => pb::AuthUserDeleteResponse, "/etcdserverpb.Auth/UserDelete", write;
    pb::AuthUserChangePasswordRequest => pb::AuthUserChangePasswordResponse,
        "/etcdserverpb.Auth/UserChangePassword", write;
    pb::AuthUserGrantRoleRequest => pb::AuthUserGrantRoleResponse,
        "/etcdserverpb.Auth/UserGrantRole", write;
    pb::AuthUserRevokeRoleRequest => pb::AuthUserRevokeRoleResponse,
        "/etcdserverpb.Auth/UserRevokeRole", write;
    pb::AuthRoleAddRequest => pb::AuthRoleAddResponse, "/etcdserverpb.Auth/RoleAdd", write;
    pb::AuthRoleGetRequest => pb::AuthRoleGetResponse, "/etcdserverpb.Auth/RoleGet", read;
    pb::AuthRoleListRequest => pb::AuthRoleListResponse, "/etcdserverpb.Auth/RoleList", read;
    pb::AuthRoleDeleteRequest => pb::AuthRoleDeleteResponse, "/etcdserverpb.Auth/RoleDelete", write;
    pb::AuthRoleGrantPermissionRequest => pb::AuthRoleGrantPermissionResponse,
        "/etcdserverpb.Auth/RoleGrantPermission", write;
    pb::AuthRoleRevokePermissionRequest => pb::AuthRoleRevokePermissionResponse,
        "/etcdserverpb.Auth/RoleRevokePermission", write;
    v3lockpb::LockRequest => v3lockpb::LockResponse, "/v3lockpb.Lock/Lock", steps;
    v3lockpb::UnlockRequest => v3lockpb::UnlockResponse, "/v3lockpb.Lock/Unlock", write;
    v3electionpb::CampaignRequest => v3electionpb::CampaignResponse,
        "/v3electionpb.Election/Campaign", steps;
    v3electionpb::ProclaimRequest => v3electionpb::ProclaimResponse,
        "/v3electionpb.Election/Proclaim", write;
    v3electionpb::LeaderRequest => v3electionpb::LeaderResponse,
        "/v3electionpb.Election/Leader", read;
    v3electionpb::ResignRequest => v3electionpb::ResignResponse,
        "/v3electionpb.Election/Resign", again;
}

/// A lease with a number of the caller's is there after the first grant: the second is refused,
/// which would tell the caller that somebody else has it.
fn grant(request: &pb::LeaseGrantRequest) -> Effect {
    if request.id == 0 {
        Effect::Repeatable
    } else {
        Effect::Write
    }
}

fn alarm(request: &pb::AlarmRequest) -> Effect {
    match request.action() {
        pb::alarm_request::AlarmAction::Get => Effect::Read,
        _ => Effect::Repeatable,
    }
}

fn txn(request: &pb::TxnRequest) -> Effect {
    let mut ops = request.success.iter().chain(&request.failure);
    if ops.all(is_read) {
        Effect::Read
    } else {
        Effect::Write
    }
}

fn is_read(op: &pb::RequestOp) -> bool {
    match &op.request {
        Some(pb::request_op::Request::RequestRange(_)) | None => true,
        Some(pb::request_op::Request::RequestTxn(nested)) => txn(nested) == Effect::Read,
        Some(
            pb::request_op::Request::RequestPut(_) | pb::request_op::Request::RequestDeleteRange(_),
        ) => false,
    }
}
