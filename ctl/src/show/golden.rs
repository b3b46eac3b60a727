//! What etcdctl 3.7.1 printed for answers of etcd 3.7.1, and that we print the same.

use cairn_proto::authpb::Permission;
use cairn_proto::etcdserverpb::response_op::Response;
use cairn_proto::etcdserverpb::*;
use cairn_proto::mvccpb::event::EventType;
use cairn_proto::mvccpb::{Event, KeyValue};
use prost::Message as _;

use super::*;

const PLAIN: Style = Style {
    hex: false,
    value_only: false,
};
const HEX: Style = Style {
    hex: true,
    value_only: false,
};

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: 324_952_591_200_643_719,
        member_id: 3_319_814_642_761_637_952,
        revision,
        raft_term: 2,
    })
}

fn pair(key: &'static str, value: &'static str, revisions: [i64; 3]) -> KeyValue {
    let [create_revision, mod_revision, version] = revisions;
    KeyValue {
        key: key.into(),
        value: value.into(),
        create_revision,
        mod_revision,
        version,
        lease: 0,
    }
}

fn shown(format: Format, style: Style, answer: &dyn Show) -> String {
    let bytes = format.render(answer, style).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn simple(answer: &dyn Show) -> String {
    shown(Format::Simple, PLAIN, answer)
}

fn json(answer: &dyn Show) -> String {
    shown(Format::Json, PLAIN, answer)
}

fn fields(answer: &dyn Show) -> String {
    shown(Format::Fields, PLAIN, answer)
}

fn refused(format: Format, answer: &dyn Show) -> String {
    format.render(answer, PLAIN).unwrap_err().message
}

fn range() -> RangeResponse {
    RangeResponse {
        header: header(12),
        kvs: vec![pair("foo", "bar2", [10, 11, 2])],
        more: false,
        count: 1,
    }
}

#[test]
fn put_with_the_pair_before() {
    let put = PutResponse {
        header: header(11),
        prev_kv: Some(pair("foo", "a<b>&é\"x", [10, 10, 1])),
    };
    assert_eq!(simple(&put), "OK\nfoo\na<b>&é\"x\n");
    assert_eq!(
        json(&put),
        "{\"header\":{\"cluster_id\":324952591200643719,\"member_id\":3319814642761637952,\
         \"revision\":11,\"raft_term\":2},\"prev_kv\":{\"key\":\"Zm9v\",\"create_revision\":10,\
         \"mod_revision\":10,\"version\":1,\"value\":\"YTxiPibDqSJ4\"}}\n"
    );
    let expected = r#""ClusterID" : 324952591200643719
"MemberID" : 3319814642761637952
"Revision" : 11
"RaftTerm" : 2
"PrevKey" : "foo"
"PrevCreateRevision" : 10
"PrevModRevision" : 10
"PrevVersion" : 1
"PrevValue" : "a<b>&é\"x"
"PrevLease" : 0
"#;
    assert_eq!(fields(&put), expected);
    let table = refused(Format::Table, &put);
    assert_eq!(table, "table not supported as output format");
}

#[test]
fn get_in_hexadecimal() {
    assert_eq!(
        shown(Format::Simple, HEX, &range()),
        "\\x66\\x6f\\x6f\n\\x62\\x61\\x72\\x32\n"
    );
    let expected = r#""ClusterID" : 48276a8f75b6a87
"MemberID" : 2e1259d415f2a040
"Revision" : 12
"RaftTerm" : 2
"Key" : "foo"
"CreateRevision" : 10
"ModRevision" : 11
"Version" : 2
"Value" : "bar2"
"Lease" : 0000000000000000
"More" : false
"Count" : 1
"#;
    assert_eq!(shown(Format::Fields, HEX, &range()), expected);
    assert_eq!(shown(Format::Json, HEX, &range()), json(&range()));
    let bytes = Format::Protobuf.render(&range(), PLAIN).unwrap();
    assert_eq!(RangeResponse::decode(&*bytes).unwrap(), range());
}

#[test]
fn get_of_nothing_and_of_values_alone() {
    let nothing = RangeResponse {
        header: header(8),
        ..RangeResponse::default()
    };
    assert_eq!(simple(&nothing), "");
    assert_eq!(
        json(&nothing),
        "{\"header\":{\"cluster_id\":324952591200643719,\"member_id\":3319814642761637952,\
         \"revision\":8,\"raft_term\":2}}\n"
    );
    let values = Style {
        value_only: true,
        ..PLAIN
    };
    assert_eq!(shown(Format::Simple, values, &range()), "bar2\n");
}

#[test]
fn del_with_the_pairs_before() {
    let del = DeleteRangeResponse {
        header: header(9),
        deleted: 1,
        prev_kvs: vec![pair("foo", "bar2", [6, 7, 2])],
    };
    assert_eq!(simple(&del), "1\nfoo\nbar2\n");
    assert_eq!(
        json(&del),
        "{\"header\":{\"cluster_id\":324952591200643719,\"member_id\":3319814642761637952,\
         \"revision\":9,\"raft_term\":2},\"deleted\":1,\"prev_kvs\":[{\"key\":\"Zm9v\",\
         \"create_revision\":6,\"mod_revision\":7,\"version\":2,\"value\":\"YmFyMg==\"}]}\n"
    );
    assert!(fields(&del).contains("\"Deleted\" : 1\n\"PrevKey\" : \"foo\"\n"));
}

#[test]
fn txn_with_an_answer_of_each_kind() {
    let inner = Some(ResponseHeader {
        revision: 21,
        ..ResponseHeader::default()
    });
    let responses = [
        Response::ResponsePut(PutResponse {
            header: inner,
            prev_kv: None,
        }),
        Response::ResponseDeleteRange(DeleteRangeResponse {
            header: inner,
            deleted: 1,
            prev_kvs: vec![pair("w/a", "x", [2, 20, 3])],
        }),
        Response::ResponseRange(RangeResponse {
            header: inner,
            kvs: vec![pair("w/b", "x", [21, 21, 1])],
            more: false,
            count: 1,
        }),
    ];
    let op = |response| ResponseOp {
        response: Some(response),
    };
    let txn = TxnResponse {
        header: header(21),
        succeeded: true,
        responses: responses.into_iter().map(op).collect(),
    };
    assert_eq!(simple(&txn), "SUCCESS\n\nOK\n\n1\nw/a\nx\n\nw/b\nx\n");
    assert_eq!(
        json(&txn),
        "{\"header\":{\"cluster_id\":324952591200643719,\"member_id\":3319814642761637952,\
         \"revision\":21,\"raft_term\":2},\"succeeded\":true,\"responses\":[{\"Response\":\
         {\"response_put\":{\"header\":{\"revision\":21}}}},{\"Response\":\
         {\"response_delete_range\":{\"header\":{\"revision\":21},\"deleted\":1,\"prev_kvs\":\
         [{\"key\":\"dy9h\",\"create_revision\":2,\"mod_revision\":20,\"version\":3,\"value\":\
         \"eA==\"}]}}},{\"Response\":{\"response_range\":{\"header\":{\"revision\":21},\"kvs\":\
         [{\"key\":\"dy9i\",\"create_revision\":21,\"mod_revision\":21,\"version\":1,\"value\":\
         \"eA==\"}],\"count\":1}}}]}\n"
    );
    let expected = "\"RaftTerm\" : 2\n\"Succeeded\" : true\n\"ClusterID\" : 0\n\"MemberID\" : 0\n\
                    \"Revision\" : 21\n\"RaftTerm\" : 0\n\"ClusterID\" : 0\n";
    assert!(fields(&txn).contains(expected));
}

#[test]
fn watch_with_events_and_at_its_end() {
    let event = |r#type: EventType, kv, prev_kv| Event {
        r#type: r#type.into(),
        kv: Some(kv),
        prev_kv,
    };
    let put = pair("w/b", "3", [24, 24, 1]);
    let deleted = pair("w/b", "", [0, 25, 0]);
    let events = vec![
        event(EventType::Put, put.clone(), None),
        event(EventType::Delete, deleted, Some(put)),
    ];
    let watch = WatchShown(WatchResponse {
        header: header(25),
        events,
        ..WatchResponse::default()
    });
    assert_eq!(simple(&watch), "PUT\nw/b\n3\nDELETE\nw/b\n3\nw/b\n\n");
    assert_eq!(
        json(&watch),
        "{\"Header\":{\"cluster_id\":324952591200643719,\"member_id\":3319814642761637952,\
         \"revision\":25,\"raft_term\":2},\"Events\":[{\"kv\":{\"key\":\"dy9i\",\
         \"create_revision\":24,\"mod_revision\":24,\"version\":1,\"value\":\"Mw==\"}},\
         {\"type\":1,\"kv\":{\"key\":\"dy9i\",\"mod_revision\":25},\"prev_kv\":{\"key\":\"dy9i\",\
         \"create_revision\":24,\"mod_revision\":24,\"version\":1,\"value\":\"Mw==\"}}],\
         \"CompactRevision\":0,\"Canceled\":false,\"Created\":false,\"CancelReason\":\"\"}\n"
    );
    let expected = r#""Type" : DELETE
"PrevKey" : "w/b"
"PrevCreateRevision" : 24
"PrevModRevision" : 24
"PrevVersion" : 1
"PrevValue" : "3"
"PrevLease" : 0
"Key" : "w/b"
"CreateRevision" : 0
"ModRevision" : 25
"Version" : 0
"Value" : ""
"Lease" : 0
"#;
    assert!(fields(&watch).ends_with(expected));
    let compacted = WatchShown(WatchResponse {
        header: header(0),
        compact_revision: 3,
        canceled: true,
        ..WatchResponse::default()
    });
    assert_eq!(
        json(&compacted),
        "{\"Header\":{\"cluster_id\":324952591200643719,\"member_id\":3319814642761637952,\
         \"raft_term\":2},\"Events\":null,\"CompactRevision\":3,\"Canceled\":true,\
         \"Created\":false,\"CancelReason\":\"\"}\n"
    );
}

#[test]
fn leases() {
    let id = 0x2040_a226_82df_62d5;
    let granted = Granted(LeaseGrantResponse {
        header: header(9),
        id,
        ttl: 100,
        error: String::new(),
    });
    assert_eq!(
        simple(&granted),
        "lease 2040a22682df62d5 granted with TTL(100s)\n"
    );
    assert_eq!(
        json(&granted),
        "{\"cluster_id\":324952591200643719,\"member_id\":3319814642761637952,\"revision\":9,\
         \"raft_term\":2,\"ID\":2324035694011310805,\"TTL\":100,\"Error\":\"\"}\n"
    );
    assert!(
        shown(Format::Fields, HEX, &granted)
            .ends_with("\"ID\" : 2040a22682df62d5\n\"TTL\" : 100\n")
    );
    let bytes = Format::Protobuf.render(&granted, PLAIN).unwrap();
    assert_eq!(ResponseHeader::decode(&*bytes).ok(), header(9));
    let kept = KeptAlive(LeaseKeepAliveResponse {
        header: header(25),
        id,
        ttl: 1000,
    });
    assert_eq!(
        simple(&kept),
        "lease 2040a22682df62d5 keepalived with TTL(1000)\n"
    );
    assert_eq!(
        json(&kept),
        "{\"cluster_id\":324952591200643719,\"member_id\":3319814642761637952,\"revision\":25,\
         \"raft_term\":2,\"ID\":2324035694011310805,\"TTL\":1000}\n"
    );
    let list = LeaseList(LeaseLeasesResponse {
        header: header(9),
        leases: vec![LeaseStatus { id }],
    });
    assert_eq!(simple(&list), "found 1 leases\n2040a22682df62d5\n");
    assert!(json(&list).ends_with(",\"leases\":[{\"id\":2324035694011310805}]}\n"));
}

#[test]
fn time_to_live_of_leases() {
    let mut lives = TimeToLive {
        response: LeaseTimeToLiveResponse {
            header: header(25),
            id: 0x2040_a226_82df_62d5,
            ttl: 995,
            granted_ttl: 1000,
            keys: vec!["w/a".into(), "w/b".into()],
        },
        with_keys: true,
    };
    assert_eq!(
        simple(&lives),
        "lease 2040a22682df62d5 granted with TTL(1000s), remaining(995s), attached keys([w/a w/b])\n"
    );
    assert!(json(&lives).ends_with(
        "\"id\":2324035694011310805,\"ttl\":995,\"granted-ttl\":1000,\"keys\":[\"dy9h\",\"dy9i\"]}\n"
    ));
    assert!(
        fields(&lives).ends_with("\"GrantedTTL\" : 1000\n\"Key\" : \"w/a\"\n\"Key\" : \"w/b\"\n")
    );
    lives.response.ttl = -1;
    lives.response.granted_ttl = 0;
    lives.response.keys.clear();
    assert_eq!(simple(&lives), "lease 2040a22682df62d5 already expired\n");
    assert!(json(&lives).ends_with("\"ttl\":-1,\"granted-ttl\":0,\"keys\":null}\n"));
}

fn member() -> Member {
    Member {
        id: 0x3e2_3cd9_b067_7cdc,
        name: String::new(),
        peer_urls: vec!["http://127.0.0.1:9999".to_owned()],
        client_urls: vec![],
        is_learner: true,
    }
}

fn members() -> Vec<Member> {
    let default = Member {
        id: 0x2e12_59d4_15f2_a040,
        name: "default".to_owned(),
        peer_urls: vec!["http://127.0.0.1:23800".to_owned()],
        client_urls: vec!["http://127.0.0.1:23790".to_owned()],
        is_learner: false,
    };
    vec![member(), default]
}

#[test]
fn member_list() {
    let list = MemberList(MemberListResponse {
        header: header(0),
        members: members(),
    });
    assert_eq!(
        simple(&list),
        "3e23cd9b0677cdc, unstarted, , http://127.0.0.1:9999, , true\n2e1259d415f2a040, started, \
         default, http://127.0.0.1:23800, http://127.0.0.1:23790, false\n"
    );
    assert!(json(&list).ends_with(
        "\"raft_term\":2},\"members\":[{\"ID\":279853032515534044,\"peerURLs\":\
         [\"http://127.0.0.1:9999\"],\"isLearner\":true},{\"ID\":3319814642761637952,\"name\":\
         \"default\",\"peerURLs\":[\"http://127.0.0.1:23800\"],\"clientURLs\":\
         [\"http://127.0.0.1:23790\"]}]}\n"
    ));
    assert!(shown(Format::Json, HEX, &list).starts_with(
        "{\"header\":{\"cluster_id\":\"48276a8f75b6a87\",\"member_id\":\"2e1259d415f2a040\",\
         \"raft_term\":2},\"members\":[{\"ID\":\"3e23cd9b0677cdc\",\"peerURLs\""
    ));
    let expected = "\"ID\" : 279853032515534044\n\"Name\" : \"\"\n\"PeerURL\" : \
                    \"http://127.0.0.1:9999\"\n\"IsLearner\" : true\n\n";
    assert!(fields(&list).contains(expected));
    assert!(
        shown(Format::Table, PLAIN, &list)
            .contains("│  3e23cd9b0677cdc │ unstarted │         │  http://127.0.0.1:9999 │")
    );
}

#[test]
fn member_added_and_changed() {
    let added = MemberAdded {
        response: MemberAddResponse {
            header: header(0),
            member: Some(member()),
            members: members(),
        },
        name: "a".to_owned(),
        peer_urls: "http://127.0.0.1:9999".to_owned(),
    };
    let expected = r#"Member  3e23cd9b0677cdc added as learner to cluster  48276a8f75b6a87

ETCD_NAME="a"
ETCD_INITIAL_CLUSTER="a=http://127.0.0.1:9999,default=http://127.0.0.1:23800"
ETCD_INITIAL_ADVERTISE_PEER_URLS="http://127.0.0.1:9999"
ETCD_INITIAL_CLUSTER_STATE="existing"
"#;
    assert_eq!(simple(&added), expected);
    assert!(json(&added).contains("\"raft_term\":2},\"member\":{\"ID\":279853032515534044,"));
    let refusal = "fields not supported as output format";
    assert_eq!(refused(Format::Fields, &added), refusal);
    let removed = MembersChanged {
        words: "Member  3e23cd9b0677cdc removed from cluster  48276a8f75b6a87".to_owned(),
        response: MemberRemoveResponse {
            header: header(0),
            members: vec![member()],
        },
    };
    assert_eq!(simple(&removed), format!("{}\n", removed.words));
    assert!(json(&removed).contains("\"members\":[{\"ID\":279853032515534044,"));
}

#[test]
fn endpoint_status() {
    let status = Status {
        endpoint: "127.0.0.1:23790".to_owned(),
        response: StatusResponse {
            header: header(9),
            version: "3.7.1".to_owned(),
            db_size: 24576,
            leader: 3_319_814_642_761_637_952,
            raft_index: 43,
            raft_term: 2,
            raft_applied_index: 43,
            errors: vec![],
            db_size_in_use: 16384,
            is_learner: false,
            storage_version: "3.7.0".to_owned(),
            db_size_quota: 2_147_483_648,
            downgrade_info: Some(DowngradeInfo::default()),
        },
    };
    let statuses = Statuses(vec![status]);
    assert_eq!(
        simple(&statuses),
        "127.0.0.1:23790, 2e1259d415f2a040, 3.7.1, 3.7.0, 25 kB, 16 kB, 34%, 2.1 GB, true, false, \
         2, 43, 43, , , false\n"
    );
    assert_eq!(
        json(&statuses),
        "[{\"Endpoint\":\"127.0.0.1:23790\",\"Status\":{\"header\":{\"cluster_id\":\
         324952591200643719,\"member_id\":3319814642761637952,\"revision\":9,\"raft_term\":2},\
         \"version\":\"3.7.1\",\"dbSize\":24576,\"leader\":3319814642761637952,\"raftIndex\":43,\
         \"raftTerm\":2,\"raftAppliedIndex\":43,\"dbSizeInUse\":16384,\"storageVersion\":\
         \"3.7.0\",\"dbSizeQuota\":2147483648,\"downgradeInfo\":{}}}]\n"
    );
    let expected = r#""Version" : "3.7.1"
"StorageVersion" : "3.7.0"
"DBSize" : 24576
"DBSizeInUse" : 16384
"DBSizeQuota" : 2147483648
"Leader" : 3319814642761637952
"IsLearner" : false
"RaftIndex" : 43
"RaftTerm" : 2
"RaftAppliedIndex" : 43
"Errors" : []
"Endpoint" : "127.0.0.1:23790"
"DowngradeTargetVersion" : ""
"DowngradeEnabled" : false

"#;
    assert!(fields(&statuses).ends_with(expected));
    assert_eq!(json(&Statuses(vec![])), "null\n");
    let refusal = "protobuf not supported as output format";
    assert_eq!(refused(Format::Protobuf, &statuses), refusal);
}

#[test]
fn endpoint_health_and_hash() {
    let health = |endpoint: &str, took: &str, error: Option<&str>| Health {
        endpoint: endpoint.to_owned(),
        took: took.to_owned(),
        error: error.map(str::to_owned),
    };
    let healths = Healths(vec![
        health("127.0.0.1:23790", "4.532243ms", None),
        health(
            "127.0.0.1:1",
            "1.000767034s",
            Some("context deadline exceeded"),
        ),
    ]);
    assert_eq!(
        simple(&healths),
        "127.0.0.1:23790 is healthy: successfully committed proposal: took = 4.532243ms\n"
    );
    assert_eq!(
        json(&healths),
        "[{\"endpoint\":\"127.0.0.1:23790\",\"health\":true,\"took\":\"4.532243ms\"},\
         {\"endpoint\":\"127.0.0.1:1\",\"health\":false,\"took\":\"1.000767034s\",\"error\":\
         \"context deadline exceeded\"}]\n"
    );
    assert_eq!(
        fields(&healths),
        "\"Endpoint\" : \"127.0.0.1:23790\"\n\"Health\" : true\n\"Took\" : 4.532243ms\n\
         \"Error\" : \n\n\"Endpoint\" : \"127.0.0.1:1\"\n\"Health\" : false\n\"Took\" : \
         1.000767034s\n\"Error\" : context deadline exceeded\n\n"
    );
    let hashes = Hashes(vec![Hash {
        endpoint: "127.0.0.1:23790".to_owned(),
        response: HashKvResponse {
            header: header(9),
            hash: 3_133_948_738,
            compact_revision: 1,
            hash_revision: 9,
        },
    }]);
    assert_eq!(simple(&hashes), "127.0.0.1:23790, 3133948738, 9\n");
    assert!(json(&hashes).ends_with(
        "\"raft_term\":2},\"hash\":3133948738,\"compact_revision\":1,\"hash_revision\":9}}]\n"
    ));
    assert!(shown(Format::Table, PLAIN, &hashes).contains("│    HASH    │ HASH REVISION │"));
}

#[test]
fn alarms_leaders_and_downgrades() {
    let alarms = Alarms(AlarmResponse {
        header: header(9),
        alarms: vec![AlarmMember {
            member_id: 1234,
            alarm: AlarmType::Nospace.into(),
        }],
    });
    assert_eq!(simple(&alarms), "memberID:1234 alarm:NOSPACE\n");
    assert!(fields(&alarms).ends_with("\"MemberID\" : 1234\n\"AlarmType\" : NOSPACE\n\n"));
    assert!(json(&alarms).ends_with("\"alarms\":[{\"memberID\":1234,\"alarm\":1}]}\n"));
    let none = Alarms(AlarmResponse::default());
    assert_eq!(json(&none), "{}\n");
    assert_eq!(
        fields(&none),
        "\"ClusterID\" : 0\n\"MemberID\" : 0\n\"RaftTerm\" : 0\n"
    );
    let moved = LeaderMoved {
        from: 0xb5,
        to: 0x45,
        response: MoveLeaderResponse { header: header(9) },
    };
    assert_eq!(simple(&moved), "Leadership transferred from b5 to 45\n");
    let downgraded = Downgraded {
        action: "validate",
        response: DowngradeResponse {
            header: header(9),
            version: "3.7".to_owned(),
        },
    };
    assert_eq!(
        simple(&downgraded),
        "Downgrade validate success, cluster version 3.7\n"
    );
    assert!(json(&downgraded).ends_with("\"raft_term\":2},\"version\":\"3.7\"}\n"));
    assert_eq!(
        refused(Format::Fields, &downgraded),
        "fields not supported as output format"
    );
}

#[test]
fn a_role_and_its_permissions() {
    let permission = |perm_type, key: &'static str, range_end: &'static str| Permission {
        perm_type,
        key: key.into(),
        range_end: range_end.into(),
    };
    let role = RoleShown {
        role: "r",
        response: AuthRoleGetResponse {
            header: header(9),
            perm: vec![
                permission(2, "k", ""),
                permission(0, "k1", "k9"),
                permission(1, "pp", "pq"),
                permission(1, "zz", "\0"),
            ],
        },
    };
    let expected = "Role r\nKV Read:\n\tk\n\t[k1, k9)\nKV Write:\n\tk\n\t[pp, pq) (prefix pp)\n\
                    \t[zz, <open ended>\n";
    assert_eq!(simple(&role), expected);
    assert!(json(&role).ends_with(
        "\"perm\":[{\"permType\":2,\"key\":\"aw==\"},{\"key\":\"azE=\",\"range_end\":\"azk=\"},\
         {\"permType\":1,\"key\":\"cHA=\",\"range_end\":\"cHE=\"},{\"permType\":1,\"key\":\
         \"eno=\",\"range_end\":\"AA==\"}]}\n"
    ));
    assert!(
        fields(&role)
            .ends_with("\"PermType\" :  WRITE\n\"Key\" : \"zz\"\n\"RangeEnd\" : \"\\x00\"\n")
    );
    let root = RoleShown {
        role: "root",
        response: AuthRoleGetResponse::default(),
    };
    assert_eq!(
        simple(&root),
        "Role root\nKV Read:\n\t[, <open ended>\nKV Write:\n\t[, <open ended>\n"
    );
}

#[test]
fn users_and_whether_they_are_checked() {
    let user = UserShown {
        user: "u",
        response: AuthUserGetResponse {
            header: header(9),
            roles: vec!["r".to_owned(), "s".to_owned()],
        },
    };
    assert_eq!(simple(&user), "User: u\nRoles: r s\n");
    assert!(json(&user).ends_with("\"raft_term\":2},\"roles\":[\"r\",\"s\"]}\n"));
    assert_eq!(
        refused(Format::Fields, &user),
        "fields not supported as output format"
    );
    let roles = RoleList(AuthRoleListResponse {
        header: header(9),
        roles: vec!["r".to_owned(), "s".to_owned()],
    });
    assert_eq!(simple(&roles), "r\ns\n");
    assert!(fields(&roles).ends_with("\"Roles\" : \"r\" \"s\"\n"));
    let users = UserList(AuthUserListResponse {
        header: header(9),
        users: vec!["u".to_owned()],
    });
    assert_eq!(simple(&users), "u\n");
    let status = AuthStatus(AuthStatusResponse {
        header: header(9),
        enabled: false,
        auth_revision: 13,
    });
    assert_eq!(
        simple(&status),
        "Authentication Status: false\nAuthRevision: 13\n"
    );
    assert!(json(&status).ends_with("\"raft_term\":2},\"authRevision\":13}\n"));
    let done = Done {
        words: "Role r created".to_owned(),
        header: header(9),
    };
    assert_eq!(simple(&done), "Role r created\n");
    assert!(json(&done).ends_with("\"revision\":9,\"raft_term\":2}}\n"));
    assert!(fields(&done).ends_with("\"Revision\" : 9\n\"RaftTerm\" : 2\n"));
}
