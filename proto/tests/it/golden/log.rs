//! What the replicated log carries.

use cairn_proto::{
    etcdserverpb::{InternalAuthenticateRequest, InternalRaftRequest, PutRequest, RequestHeader},
    membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest},
};

use super::{bytes, check, kv::txn};

#[test]
fn entries_of_the_log() {
    let with_id = |id| InternalRaftRequest {
        header: Some(RequestHeader {
            id,
            ..RequestHeader::default()
        }),
        ..InternalRaftRequest::default()
    };
    let put = PutRequest {
        key: bytes("k"),
        value: bytes("v"),
        ..PutRequest::default()
    };
    let id = 7_587_848_390_000_000_001;
    check(
        "raft_put",
        &InternalRaftRequest {
            header: Some(RequestHeader {
                id,
                username: "alice".into(),
                auth_revision: 3,
            }),
            put: Some(put),
            ..InternalRaftRequest::default()
        },
    );
    check(
        "raft_txn",
        &InternalRaftRequest {
            txn: Some(txn()),
            ..with_id(8)
        },
    );
    let authenticate = InternalAuthenticateRequest {
        name: "alice".into(),
        password: String::new(),
        simple_token: "t".into(),
    };
    let authenticate = Some(authenticate);
    check(
        "raft_authenticate",
        &InternalRaftRequest {
            authenticate,
            ..with_id(9)
        },
    );
    let client_urls = vec!["http://localhost:2379".into()];
    let attributes = ClusterMemberAttrSetRequest {
        member_id: 5,
        member_attributes: Some(Attributes {
            name: "default".into(),
            client_urls,
        }),
    };
    let cluster_member_attr_set = Some(attributes);
    check(
        "raft_member_attributes",
        &InternalRaftRequest {
            cluster_member_attr_set,
            ..with_id(10)
        },
    );
    let cluster_version_set = Some(ClusterVersionSetRequest {
        ver: "3.7.0".into(),
    });
    let version = InternalRaftRequest {
        id: 11,
        cluster_version_set,
        ..InternalRaftRequest::default()
    };
    check("raft_cluster_version", &version);
}
