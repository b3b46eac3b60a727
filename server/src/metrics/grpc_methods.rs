//! Every gRPC method that etcd's server counts, whether or not this one answers it yet: rules on
//! rates need the series to exist.

use super::{GrpcKind, GrpcMethod};
use GrpcKind::{BidiStream, ServerStream, Unary};

const fn method(service: &'static str, method: &'static str, kind: GrpcKind) -> GrpcMethod {
    GrpcMethod {
        service,
        method,
        kind,
    }
}

const AUTH: &str = "etcdserverpb.Auth";
const CLUSTER: &str = "etcdserverpb.Cluster";
const ELECTION: &str = "v3electionpb.Election";
const HEALTH: &str = "grpc.health.v1.Health";
const KV: &str = "etcdserverpb.KV";
const LEASE: &str = "etcdserverpb.Lease";
const LOCK: &str = "v3lockpb.Lock";
const MAINTENANCE: &str = "etcdserverpb.Maintenance";
const WATCH: &str = "etcdserverpb.Watch";

/// The methods, by service and name.
pub(crate) const GRPC_METHODS: &[GrpcMethod] = &[
    method(AUTH, "AuthDisable", Unary),
    method(AUTH, "AuthEnable", Unary),
    method(AUTH, "AuthStatus", Unary),
    method(AUTH, "Authenticate", Unary),
    method(AUTH, "RoleAdd", Unary),
    method(AUTH, "RoleDelete", Unary),
    method(AUTH, "RoleGet", Unary),
    method(AUTH, "RoleGrantPermission", Unary),
    method(AUTH, "RoleList", Unary),
    method(AUTH, "RoleRevokePermission", Unary),
    method(AUTH, "UserAdd", Unary),
    method(AUTH, "UserChangePassword", Unary),
    method(AUTH, "UserDelete", Unary),
    method(AUTH, "UserGet", Unary),
    method(AUTH, "UserGrantRole", Unary),
    method(AUTH, "UserList", Unary),
    method(AUTH, "UserRevokeRole", Unary),
    method(CLUSTER, "MemberAdd", Unary),
    method(CLUSTER, "MemberList", Unary),
    method(CLUSTER, "MemberPromote", Unary),
    method(CLUSTER, "MemberRemove", Unary),
    method(CLUSTER, "MemberUpdate", Unary),
    method(KV, "Compact", Unary),
    method(KV, "DeleteRange", Unary),
    method(KV, "Put", Unary),
    method(KV, "Range", Unary),
    method(KV, "RangeStream", ServerStream),
    method(KV, "Txn", Unary),
    method(LEASE, "LeaseGrant", Unary),
    method(LEASE, "LeaseKeepAlive", BidiStream),
    method(LEASE, "LeaseLeases", Unary),
    method(LEASE, "LeaseRevoke", Unary),
    method(LEASE, "LeaseTimeToLive", Unary),
    method(MAINTENANCE, "Alarm", Unary),
    method(MAINTENANCE, "Defragment", Unary),
    method(MAINTENANCE, "Downgrade", Unary),
    method(MAINTENANCE, "Hash", Unary),
    method(MAINTENANCE, "HashKV", Unary),
    method(MAINTENANCE, "MoveLeader", Unary),
    method(MAINTENANCE, "Snapshot", ServerStream),
    method(MAINTENANCE, "Status", Unary),
    method(WATCH, "Watch", BidiStream),
    method(ELECTION, "Campaign", Unary),
    method(ELECTION, "Leader", Unary),
    method(ELECTION, "Observe", ServerStream),
    method(ELECTION, "Proclaim", Unary),
    method(ELECTION, "Resign", Unary),
    method(LOCK, "Lock", Unary),
    method(LOCK, "Unlock", Unary),
    method(HEALTH, "Check", Unary),
    method(HEALTH, "List", Unary),
    method(HEALTH, "Watch", ServerStream),
];
