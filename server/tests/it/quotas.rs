//! Limits: the database's quota and its alarm, the size of a request, the operations of a transaction.

use cairn_proto::etcdserverpb::alarm_request::AlarmAction;
use cairn_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, StatusRequest,
};
use tonic::Code;

use crate::harness::{Clients, Server, until};
use crate::requests::*;

const VALUE_BYTES: usize = 100_000;

fn alarm(action: AlarmAction, member_id: u64) -> AlarmRequest {
    AlarmRequest {
        action: action.into(),
        member_id,
        alarm: AlarmType::Nospace.into(),
    }
}

async fn alarms(clients: &Clients) -> Vec<AlarmMember> {
    let mut maintenance = clients.maintenance.clone();
    let answer = maintenance.alarm(alarm(AlarmAction::Get, 0)).await;
    answer.unwrap().into_inner().alarms
}

/// Writes until there is no room, and returns how many values there are.
async fn fill(clients: &Clients) -> usize {
    let mut kv = clients.kv.clone();
    let value = "v".repeat(VALUE_BYTES);
    for number in 0..1000 {
        if let Err(refusal) = kv.put(put(&format!("k{number:03}"), &value)).await {
            assert_eq!(error(&refusal), NO_SPACE);
            until("the alarm is raised", || async {
                !alarms(clients).await.is_empty()
            })
            .await;
            return number;
        }
    }
    panic!("1000 values of {VALUE_BYTES} bytes fit into the quota");
}

#[tokio::test]
async fn a_full_database_refuses_what_needs_space_until_space_is_back() {
    let server = Server::start(&["--quota-backend-bytes=5000000", "--alarm-clear-delay=0s"]);
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    let values = fill(&clients).await;
    assert!(values > 20, "{values} values");
    let status = clients.maintenance.clone().status(StatusRequest {}).await;
    let status = status.unwrap().into_inner();
    let member = status.header.unwrap().member_id;
    assert_eq!(status.errors, [format!("memberID:{member} alarm:NOSPACE")]);
    assert_eq!(status.db_size_quota, 5_000_000);
    let raised = AlarmMember {
        member_id: member,
        alarm: AlarmType::Nospace.into(),
    };
    assert_eq!(alarms(&clients).await, [raised]);

    refused(kv.put(put("small", "")).await, NO_SPACE, "a small put");
    refused(
        kv.txn(then(vec![put_op("small", "")])).await,
        NO_SPACE,
        "a txn that puts",
    );
    kv.txn(then(vec![range_op("k", "l")]))
        .await
        .expect("a txn that reads");

    let server = server.kill().start();
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    assert_eq!(
        alarms(&clients).await,
        [raised],
        "a restart keeps the alarm"
    );
    refused(kv.put(put("small", "")).await, NO_SPACE, "after a restart");
    let deleted = kv
        .delete_range(delete("k", "l"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(deleted.deleted, i64::try_from(values).unwrap());
    let revision = deleted.header.unwrap().revision;
    kv.compact(CompactionRequest {
        revision,
        physical: true,
    })
    .await
    .unwrap();
    until("the alarm ends by itself", || async {
        alarms(&clients).await.is_empty()
    })
    .await;
    kv.put(put("small", "")).await.expect("space is back");
    assert!(
        fill(&clients).await > values / 2,
        "the space is back, not only the alarm gone"
    );
}

#[tokio::test]
async fn an_alarm_ends_by_hand_and_comes_back_where_nothing_was_done_about_it() {
    let server = Server::start(&["--quota-backend-bytes=2000000"]);
    let clients = server.clients().await;
    let mut maintenance = clients.maintenance.clone();
    fill(&clients).await;
    let raised = alarms(&clients).await;
    let member = raised[0].member_id;
    let other = maintenance
        .alarm(alarm(AlarmAction::Deactivate, member + 1))
        .await;
    assert_eq!(other.unwrap().into_inner().alarms, []);
    let revision = clients.kv.clone().range(all()).await.unwrap();
    let revision = revision.into_inner().header.unwrap().revision;
    let ended = maintenance
        .alarm(alarm(AlarmAction::Deactivate, member))
        .await;
    let ended = ended.unwrap().into_inner();
    assert_eq!(ended.alarms, raised);
    // As etcd's answers, they say of which revision they are.
    assert_eq!(ended.header.unwrap().revision, revision);
    let listed = maintenance.alarm(alarm(AlarmAction::Get, 0)).await;
    let listed = listed.unwrap().into_inner();
    assert_eq!(listed.header.unwrap().revision, revision);
    let again = maintenance
        .alarm(alarm(AlarmAction::Deactivate, member))
        .await;
    assert_eq!(again.unwrap().into_inner().alarms, []);
    let mut kv = clients.kv.clone();
    let value = "v".repeat(VALUE_BYTES);
    refused(
        kv.put(put("large", &value)).await,
        NO_SPACE,
        "there is still no room",
    );
    until("the alarm is back", || async {
        alarms(&clients).await == raised
    })
    .await;
}

#[tokio::test]
async fn requests_over_the_limits_are_refused_with_etcds_words() {
    let server = Server::start(&["--max-request-bytes=10000", "--max-txn-ops=3"]);
    let mut kv = server.clients().await.kv;
    let too_large = (Code::InvalidArgument, "etcdserver: request is too large");
    let value = |bytes| "v".repeat(bytes);
    kv.put(put("k", &value(9_900))).await.expect("just below");
    refused(kv.put(put("k", &value(10_001))).await, too_large, "a put");
    let halves = vec![put_op("k", &value(6_000)), put_op("l", &value(6_000))];
    refused(kv.txn(then(halves)).await, too_large, "a txn");
    // Beyond the limit and 512 KiB the message is not even read.
    let unread = kv
        .put(put("k", &value(10_000 + (513 << 10))))
        .await
        .unwrap_err();
    assert_eq!(unread.code(), Code::ResourceExhausted);
    let puts = |count: usize| (0..count).map(|n| put_op(&n.to_string(), "")).collect();
    kv.txn(then(puts(3))).await.expect("as many as allowed");
    let too_many = (
        Code::InvalidArgument,
        "etcdserver: too many operations in txn request",
    );
    refused(kv.txn(then(puts(4))).await, too_many, "one more");
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 4);
}

/// etcd 3.7 looks at the quota again when it applies: writes that were let in together and pass the limit
/// together raise the alarm, whether another one comes or not. And its alarm answers have a revision.
#[tokio::test]
async fn writes_under_way_that_pass_the_limit_raise_the_alarm() {
    let server = Server::start(&["--quota-backend-bytes=2000000"]);
    let clients = server.clients().await;
    let value = "v".repeat(VALUE_BYTES);
    let writing = (0..100).map(|number| {
        let mut kv = clients.kv.clone();
        let put = put(&format!("k{number}"), &value);
        tokio::spawn(async move { kv.put(put).await.is_ok() })
    });
    let mut written = 0;
    for done in writing.collect::<Vec<_>>() {
        written += usize::from(done.await.unwrap());
    }
    assert!(written > 0);
    until("the alarm is raised", || async {
        !alarms(&clients).await.is_empty()
    })
    .await;
    let mut maintenance = clients.maintenance.clone();
    let listed = maintenance.alarm(alarm(AlarmAction::Get, 0)).await.unwrap();
    let revision = listed.into_inner().header.unwrap().revision;
    assert_eq!(revision, 1 + i64::try_from(written).unwrap());
}

/// An alarm whose space is back stays until somebody has had time to see it; ended by hand it is gone at
/// once.
#[tokio::test]
async fn an_alarm_stays_listed_for_a_while_after_space_is_back() {
    let server = Server::start(&["--quota-backend-bytes=2000000"]);
    let clients = server.clients().await;
    fill(&clients).await;
    let mut kv = clients.kv.clone();
    let deleted = kv.delete_range(delete("k", "l")).await.unwrap();
    let compaction = CompactionRequest {
        revision: deleted.into_inner().header.unwrap().revision,
        physical: true,
    };
    kv.compact(compaction).await.unwrap();
    until("space is back", || async {
        server.log().contains("space is back: the alarm will end")
    })
    .await;
    let raised = alarms(&clients).await;
    assert_eq!(raised.len(), 1);
    let mut maintenance = clients.maintenance.clone();
    let disarm = alarm(AlarmAction::Deactivate, raised[0].member_id);
    maintenance.alarm(disarm).await.unwrap();
    assert_eq!(alarms(&clients).await, []);
    kv.put(put("k", "v")).await.unwrap();
}
