//! Every call that has one answer, against every server that there is.

use std::time::Duration;

use cairn_client::{
    AlarmType, Client, Code, Compare, ConnectOptions, Delete, Error, EtcdError, Get, KeyValue,
    Keys, LeaseId, OpResponse, Order, Put, Range, Right, SortBy, Txn,
};
use tokio_stream::{Stream, StreamExt as _};

use crate::server::{PATIENCE, Program, Servers};

async fn collected<S, T>(mut stream: S) -> Vec<T>
where
    S: Stream<Item = Result<T, Error>> + Unpin,
{
    let mut items = Vec::new();
    while let Some(item) = stream.next().await {
        items.push(item.unwrap());
    }
    items
}

fn keys(kvs: &[KeyValue]) -> Vec<&str> {
    kvs.iter()
        .map(|kv| std::str::from_utf8(&kv.key).unwrap())
        .collect()
}

#[tokio::test]
async fn keys_are_written_read_and_deleted_on_every_server() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        assert_eq!(client.get("a").await.unwrap(), None, "{}", program.name);

        let first = client.put("a", "1").previous().await.unwrap();
        assert_eq!(first.previous, None);
        let second = client.put("a", "2").previous().await.unwrap();
        assert_eq!(second.previous.unwrap().text(), Some("1"));
        assert_eq!(second.header.revision, first.header.revision.next());

        let now = client.get("a").await.unwrap().unwrap();
        assert_eq!((now.text(), now.version), (Some("2"), 2));
        assert_eq!(now.create_revision, first.header.revision);
        let past = client
            .get("a")
            .at(first.header.revision)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(past.text(), Some("1"));

        let deleted = client.delete("a").previous().await.unwrap();
        assert_eq!((deleted.deleted, deleted.previous.len()), (1, 1));
        let none = client.delete(Keys::prefix("a")).await.unwrap();
        assert_eq!(
            (none.deleted, none.header.revision),
            (0, deleted.header.revision)
        );

        client
            .compact(second.header.revision)
            .physical()
            .await
            .unwrap();
        let gone = client.get("a").at(first.header.revision).await.unwrap_err();
        assert_eq!(gone.etcd(), Some(EtcdError::Compacted));
        assert_eq!(gone.code(), Some(Code::OutOfRange));
        let empty = client.put("", "1").await.unwrap_err();
        assert_eq!(empty.etcd(), Some(EtcdError::EmptyKey));
    }
}

#[tokio::test]
async fn ranges_are_the_same_at_once_in_pages_and_as_a_stream() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        for first in (0..1200).step_by(100) {
            let put = |at: i32| Put::new(format!("k/{at:04}"), format!("{at}")).into();
            let puts = (first..first + 100).map(put);
            client.txn().then_all(puts).await.unwrap();
        }
        client.put("l", "after them").await.unwrap();
        let all = client.range(Keys::prefix("k/")).await.unwrap();
        assert_eq!((all.count, all.kvs.len(), all.more), (1200, 1200, false));

        let mut pages = client.range(Keys::prefix("k/")).pages(500);
        let first = pages.next().await.unwrap().unwrap();
        // What is written meanwhile is not in the pages after.
        client.put("k/1199", "new").await.unwrap();
        let mut paged = first.kvs;
        for page in collected(pages).await {
            paged.extend(page.kvs);
        }
        assert_eq!(paged, all.kvs, "{}", program.name);

        let past = client.range(Keys::prefix("k/")).at(all.header.revision);
        assert_eq!(collected(past.stream()).await, all.kvs, "{}", program.name);
        let some = client.range(Keys::prefix("k/")).limit(700).stream();
        assert_eq!(collected(some).await, all.kvs[..700], "{}", program.name);
        let one = client.range("k/0007").stream();
        assert_eq!(collected(one).await, all.kvs[7..8], "{}", program.name);

        let last = client
            .range(Keys::prefix("k/"))
            .sort(SortBy::Key, Order::Descending)
            .keys_only()
            .limit(2)
            .await
            .unwrap();
        assert_eq!(keys(&last.kvs), ["k/1199", "k/1198"]);
        assert!(last.more && last.kvs[0].value.is_empty());
        let count = client
            .range(Keys::from_key("k/1000"))
            .count_only()
            .await
            .unwrap();
        assert_eq!((count.count, count.kvs.len()), (201, 0));
    }
}

#[tokio::test]
async fn transactions_compare_and_nest() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        let create = || {
            client
                .txn()
                .when(Compare::missing("t"))
                .then(Put::new("t", "1"))
                .then(Txn::new().then(Put::new("u", "1")).then(Get::new("t")))
                .otherwise(Range::new(Keys::range("t", "v")))
        };
        let created = create().await.unwrap();
        assert!(created.succeeded, "{}", program.name);
        let [OpResponse::Put(_), OpResponse::Txn(nested)] = &created.responses[..] else {
            panic!("{created:?}");
        };
        assert_eq!(nested.responses.len(), 2);
        assert_eq!(nested.header.revision, created.header.revision);
        let seen = create().await.unwrap();
        assert!(!seen.succeeded);
        assert_eq!(seen.kvs().count(), 2);

        let revision = created.header.revision;
        let all = [
            Compare::value("t").equals("1"),
            Compare::value("t").less("2"),
            Compare::version("t").equals(1),
            Compare::create_revision("t").equals(revision),
            Compare::mod_revision(Keys::prefix("t")).greater(revision.get() - 1),
            Compare::lease("t").equals(0),
            Compare::exists("u"),
        ];
        let swapped = client
            .txn()
            .when_all(all)
            .then(Delete::new("t"))
            .await
            .unwrap();
        assert!(swapped.succeeded, "{}", program.name);
        let twice = client
            .txn()
            .then(Put::new("x", "1"))
            .then(Put::new("x", "2"))
            .await;
        assert_eq!(twice.unwrap_err().etcd(), Some(EtcdError::DuplicateKey));
    }
}

#[tokio::test]
async fn leases_are_granted_renewed_and_revoked() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        let leases = client.leases();
        let lease = leases.grant(Duration::from_secs(60)).await.unwrap();
        assert_eq!(lease.ttl, Duration::from_secs(60));
        client.put("leased", "1").lease(lease.id).await.unwrap();
        let kept = leases.keep_alive_once(lease.id).await.unwrap();
        assert_eq!(kept, Some(Duration::from_secs(60)), "{}", program.name);
        let left = leases
            .time_to_live_with_keys(lease.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (left.granted, left.keys),
            (lease.ttl, vec!["leased".into()])
        );
        assert_eq!(leases.list().await.unwrap(), [lease.id]);

        let named = LeaseId::new(77).unwrap();
        leases
            .grant_as(named, Duration::from_secs(9))
            .await
            .unwrap();
        let twice = leases
            .grant_as(named, Duration::from_secs(9))
            .await
            .unwrap_err();
        assert_eq!(twice.etcd(), Some(EtcdError::LeaseExists));

        leases.revoke(lease.id).await.unwrap();
        assert_eq!(client.get("leased").await.unwrap(), None);
        assert_eq!(leases.keep_alive_once(lease.id).await.unwrap(), None);
        assert_eq!(leases.time_to_live(lease.id).await.unwrap(), None);
        let again = leases.revoke(lease.id).await.unwrap_err();
        assert_eq!(again.etcd(), Some(EtcdError::LeaseNotFound));
    }
}

#[tokio::test]
async fn a_namespace_hides_itself_and_all_that_is_outside() {
    let servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    client.put("b", "outside").await.unwrap();
    let inside = client.namespace("app/");
    inside.put("b", "inside").await.unwrap();
    inside.put("c", "inside").await.unwrap();
    assert_eq!(
        keys(&inside.range(Keys::all()).await.unwrap().kvs),
        ["b", "c"]
    );
    assert_eq!(
        keys(&inside.range(Keys::from_key("c")).await.unwrap().kvs),
        ["c"]
    );
    assert_eq!(
        keys(&collected(inside.range(Keys::all()).stream()).await),
        ["b", "c"]
    );
    let swapped = inside
        .txn()
        .when(Compare::value("b").equals("inside"))
        .then(Get::new("b"))
        .await
        .unwrap();
    assert_eq!(&swapped.kvs().next().unwrap().key[..], b"b");
    let outer = client.get("app/b").await.unwrap().unwrap();
    assert_eq!(outer.text(), Some("inside"));
    assert_eq!(inside.delete(Keys::all()).await.unwrap().deleted, 2);
    assert!(client.get("b").await.unwrap().is_some());
}

#[tokio::test]
async fn users_log_in_and_tokens_are_renewed() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let root = servers.client().await;
        let auth = root.auth();
        auth.user_add("root", "secret").await.unwrap();
        auth.role_add("root").await.unwrap();
        auth.user_grant_role("root", "root").await.unwrap();
        auth.user_add("alice", "a").await.unwrap();
        auth.role_add("reader").await.unwrap();
        auth.role_grant("reader", Right::Read, Keys::prefix("public/"))
            .await
            .unwrap();
        auth.user_grant_role("alice", "reader").await.unwrap();
        auth.enable().await.unwrap();

        let root = servers
            .options()
            .user("root", "secret")
            .connect()
            .await
            .unwrap();
        root.put("public/a", "1").await.unwrap();
        assert_eq!(
            root.auth().users().await.unwrap(),
            ["alice", "root"],
            "{}",
            program.name
        );
        let granted = root.auth().role_permissions("reader").await.unwrap();
        assert_eq!(granted[0].keys, Keys::prefix("public/"));
        assert_eq!(root.auth().user_roles("alice").await.unwrap(), ["reader"]);

        let alice = servers
            .options()
            .user("alice", "a")
            .connect()
            .await
            .unwrap();
        assert!(alice.get("public/a").await.unwrap().is_some());
        let denied = alice.put("public/a", "2").await.unwrap_err();
        assert_eq!(denied.etcd(), Some(EtcdError::PermissionDenied));
        // Takes alice's token from her: the next call fetches another.
        root.auth()
            .user_change_password("alice", "a")
            .await
            .unwrap();
        assert!(
            alice.get("public/a").await.unwrap().is_some(),
            "{}",
            program.name
        );

        let wrong = servers
            .options()
            .user("alice", "b")
            .connect()
            .await
            .unwrap_err();
        assert_eq!(wrong.etcd(), Some(EtcdError::AuthFailed));
        root.auth().disable().await.unwrap();
        alice.put("public/a", "2").await.unwrap();
    }
}

#[tokio::test]
async fn members_and_their_work_are_shown() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        client.put("a", "1").await.unwrap();
        let member = client.only(&servers.members[0].url).unwrap();
        let status = member.maintenance().status().await.unwrap();
        let members = client.cluster().members().await.unwrap();
        assert_eq!(
            (members.len(), members[0].id),
            (1, status.leader),
            "{}",
            program.name
        );
        assert_eq!(client.sync_endpoints().await.unwrap(), servers.urls());
        assert_eq!(member.maintenance().alarms().await.unwrap().len(), 0);
        let raised = member
            .maintenance()
            .raise(AlarmType::Nospace, status.leader)
            .await
            .unwrap();
        assert_eq!(raised.len(), 1);
        let full = client.put("b", "1").await.unwrap_err();
        assert_eq!(full.etcd(), Some(EtcdError::NoSpace));
        member.maintenance().disarm_all().await.unwrap();
        client.put("b", "1").await.unwrap();
        member.maintenance().defragment().await.unwrap();
        let hash = member.maintenance().hash_kv(None).await.unwrap();
        assert_ne!(hash.hash, 0);
        let parts = collected(member.maintenance().snapshot().await.unwrap()).await;
        let bytes: usize = parts.iter().map(|part| part.blob.len()).sum();
        assert!(bytes > 32, "{}", program.name);
        assert_eq!(parts.last().unwrap().remaining_bytes, 0);
    }
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_an_error_that_names_it() {
    let options = ConnectOptions::new(["http://127.0.0.1:1"]).unwrap();
    let error = options
        .request_timeout(Duration::from_secs(1))
        .connect()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn calls_go_on_while_members_are_killed_in_turn() {
    let mut servers = Servers::start(&Program::cairn(), 3, &[]).await;
    let client: Client = servers.client().await;
    for (round, at) in [0, 1, 2].into_iter().enumerate() {
        servers.members[at].kill();
        for call in 0..20 {
            let key = format!("{round}/{call}");
            match client.put(&key, "1").await {
                Ok(_) => {}
                Err(error) => assert!(error.is_ambiguous(), "{error:?}"),
            }
            client.get(&key).await.unwrap();
        }
        servers.members[at].start();
        let back = client.only(&servers.members[at].url).unwrap();
        let deadline = std::time::Instant::now() + PATIENCE;
        while let Err(error) = back.get("x").await {
            assert!(std::time::Instant::now() < deadline, "{error}");
        }
    }
}
