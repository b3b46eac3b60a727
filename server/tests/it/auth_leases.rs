//! Leases of users: who may keep, see and end the keys of others.

use cairn_proto::etcdserverpb::request_op::Request as Operation;
use cairn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest,
};

use crate::auth::{nested, rules};
use crate::auth_calls::{Call, Verdict};
use crate::harness::Server;
use crate::requests::put;

fn keep(id: i64) -> Call {
    let keep = LeaseKeepAliveRequest { id };
    Call::new("/etcdserverpb.Lease/LeaseKeepAlive", &keep)
}

fn look(id: i64, keys: bool) -> Call {
    let look = LeaseTimeToLiveRequest { id, keys };
    Call::new("/etcdserverpb.Lease/LeaseTimeToLive", &look)
}

fn attach(lease: i64) -> PutRequest {
    PutRequest {
        lease,
        ..put("bb", "1")
    }
}

fn attach_in_txn(lease: i64) -> Call {
    let txn = nested(Operation::RequestPut(attach(lease)));
    Call::new("/etcdserverpb.KV/Txn", &txn)
}

/// Who ends a lease deletes its keys, who keeps it keeps them, and who adds a key may be deleting others
/// some day.
#[tokio::test]
async fn a_lease_is_as_its_keys_are() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    let clients = server.clients().await;
    let tokens = rules(&clients).await;
    let root = tokens[5].as_deref();
    for (id, key) in [(70, "k"), (71, "j"), (72, "none")] {
        let grant = LeaseGrantRequest { ttl: 600, id };
        let grant = Call::new("/etcdserverpb.Lease/LeaseGrant", &grant);
        grant.by(&clients, root).await.unwrap();
        if key != "none" {
            let attach = PutRequest {
                lease: id,
                ..put(key, "1")
            };
            let attach = Call::new("/etcdserverpb.KV/Put", &attach);
            attach.by(&clients, root).await.unwrap();
        }
    }
    let list = Call::new("/etcdserverpb.Lease/LeaseLeases", &LeaseLeasesRequest {});
    let end = |id| {
        Call::new(
            "/etcdserverpb.Lease/LeaseRevoke",
            &LeaseRevokeRequest { id },
        )
    };
    // Nobody, then as in the other tables; what takes a lease away comes last.
    let table = [
        (keep(70), "edd+++"),
        (keep(71), "edddd+"),
        (keep(72), "e+++++"),
        (look(70, true), "ed+d++"),
        (look(71, true), "edddd+"),
        (look(71, false), "e+++++"),
        (Call::new("/etcdserverpb.KV/Put", &attach(72)), "edd+++"),
        (Call::new("/etcdserverpb.KV/Put", &attach(71)), "edddd+"),
        (attach_in_txn(71), "edddd+"),
        (list, "edddd+"),
        (end(71), "edddd+"),
    ];
    for (call, expected) in table {
        let mut verdicts = String::new();
        for token in &tokens {
            verdicts.push(call.verdict(&clients, token.as_deref()).await.letter());
        }
        assert_eq!(verdicts, expected, "{call:?}");
    }
    let [reader, writer] = [tokens[2].as_deref(), tokens[3].as_deref()];
    assert_eq!(end(70).verdict(&clients, reader).await, Verdict::Denied);
    end(70).by(&clients, writer).await.unwrap();
}
