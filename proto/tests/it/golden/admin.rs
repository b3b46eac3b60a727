//! Leases, members, maintenance and authentication.

use bytes::Bytes;
use cairn_proto::{
    authpb::{
        Permission, Role, User, UserAddOptions,
        permission::{
            self,
            Type::{Read, Readwrite, Write},
        },
    },
    etcdserverpb::{downgrade_request::DowngradeAction, *},
};

use super::{bytes, check, header};

#[test]
fn leases() {
    check("lease_grant", &LeaseGrantRequest { ttl: 60, id: -2 });
    let granted = LeaseGrantResponse {
        header: header(),
        id: 3,
        ttl: 60,
        error: "e".into(),
    };
    check("lease_grant_response", &granted);
    let keys = vec![bytes("a"), Bytes::new()];
    check(
        "lease_time_to_live_response",
        &LeaseTimeToLiveResponse {
            header: header(),
            id: 3,
            ttl: -1,
            granted_ttl: 60,
            keys,
        },
    );
    let checkpoints = vec![LeaseCheckpoint {
        id: 3,
        remaining_ttl: 30,
    }];
    check("lease_checkpoint", &LeaseCheckpointRequest { checkpoints });
    let leases = vec![LeaseStatus { id: 3 }, LeaseStatus { id: 0 }];
    check(
        "lease_leases_response",
        &LeaseLeasesResponse {
            header: header(),
            leases,
        },
    );
}

#[test]
fn cluster_and_maintenance() {
    let member = Member {
        id: 10_276_657_743_932_975_437,
        name: "default".into(),
        peer_urls: vec!["http://localhost:2380".into()],
        client_urls: vec!["http://localhost:2379".into(), "unix://x".into()],
        is_learner: true,
    };
    let members = MemberListResponse {
        header: header(),
        members: vec![member],
    };
    check("member_list_response", &members);
    check(
        "status_response",
        &StatusResponse {
            header: header(),
            version: "3.7.1".into(),
            db_size: 20_480,
            leader: 5,
            raft_index: 6,
            raft_term: 7,
            raft_applied_index: 6,
            errors: vec!["memberID:5 alarm:NOSPACE ".into()],
            db_size_in_use: 16_384,
            is_learner: true,
            storage_version: "3.7.0".into(),
            db_size_quota: 2_147_483_648,
            downgrade_info: Some(DowngradeInfo {
                enabled: true,
                target_version: "3.6.0".into(),
            }),
        },
    );
    let hash = HashKvResponse {
        header: header(),
        hash: u32::MAX,
        compact_revision: 1,
        hash_revision: 42,
    };
    check("hash_kv_response", &hash);
    let blob = bytes("\0\u{1}");
    let version = "3.7.0".into();
    check(
        "snapshot_response",
        &SnapshotResponse {
            header: header(),
            remaining_bytes: 32_768,
            blob,
            version,
        },
    );
    let corrupt = AlarmMember {
        member_id: 5,
        alarm: AlarmType::Corrupt.into(),
    };
    check(
        "alarm_response",
        &AlarmResponse {
            header: header(),
            alarms: vec![corrupt],
        },
    );
    let cancel = DowngradeRequest {
        action: DowngradeAction::Cancel.into(),
        version: "3.6".into(),
    };
    check("downgrade", &cancel);
}

#[test]
fn auth_requests_and_stored_rows() {
    let permission = |kind: permission::Type, key, range_end| Permission {
        perm_type: kind.into(),
        key: bytes(key),
        range_end: bytes(range_end),
    };
    check(
        "auth_user_add",
        &AuthUserAddRequest {
            name: "alice".into(),
            password: "p".into(),
            options: Some(UserAddOptions { no_password: true }),
            hashed_password: "h".into(),
        },
    );
    let perm = Some(permission(Readwrite, "a", "b"));
    let grant = AuthRoleGrantPermissionRequest {
        name: "r".into(),
        perm,
    };
    check("auth_role_grant_permission", &grant);
    let perm = vec![permission(Read, "a", ""), permission(Write, "b", "")];
    check(
        "auth_role_get_response",
        &AuthRoleGetResponse {
            header: header(),
            perm,
        },
    );
    check(
        "auth_stored_user",
        &User {
            name: bytes("root"),
            password: bytes("$2a$10$"),
            roles: vec!["root".into(), "r".into()],
            options: Some(UserAddOptions { no_password: false }),
        },
    );
    let role = Role {
        name: bytes("r"),
        key_permission: vec![permission(Read, "k", "")],
    };
    check("auth_stored_role", &role);
}
