//! Starts over a database in which rows were damaged or taken away while the member was down.

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, LmdbEngine, LmdbOptions, Table};
use cairn_proto::etcdserverpb::auth_client::AuthClient;
use cairn_proto::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
};

use rustix::process::Signal;

use crate::cluster_harness::{Cluster, get, put, status};
use crate::harness::{Place, Server};
use crate::requests::*;

/// Changes rows of the database of a member that is down: `None` takes one away.
fn change_rows(
    place: &Place,
    table: Table,
    change: impl Fn(&[u8], &[u8]) -> Option<Option<Vec<u8>>>,
) -> usize {
    let backend = open(place);
    let mut changed = Vec::new();
    let view = backend.read().unwrap();
    view.read_table(table, |key, value| {
        changed.extend(change(key, value).map(|value| (key.to_vec(), value)));
        Ok::<_, String>(())
    })
    .unwrap();
    let mut tx = backend.write();
    for (key, value) in &changed {
        match value {
            Some(value) => tx.put(table, key, Bytes::copy_from_slice(value)),
            None => tx.delete(table, key),
        }
    }
    tx.end().unwrap();
    backend.force_commit().unwrap();
    changed.len()
}

/// Three members; the rows of two of them are scribbled over, or gone, in the database of the first.
/// etcd 3.7 panics over the first ("couldn't read members from backend"). A member that passes over
/// them elects itself alone, and answers linearizable reads with what the others do not know.
#[tokio::test]
async fn a_member_that_cannot_read_the_others_does_not_start_and_they_go_on() {
    for scribble in [true, false] {
        let mut cluster = Cluster::start(3, &[]);
        let mut clients = cluster.clients(0).await;
        put(&mut clients, "k", "before").await.unwrap();
        cluster.settle().await;
        let header = status(&mut clients).await.unwrap().header.unwrap();
        let own = format!("{:016x}", header.member_id);
        for number in 0..3 {
            cluster.kill(number);
        }
        let changed = change_rows(cluster.place(0), Table::Members, |key, value| {
            let other = key != own.as_bytes();
            let scribbled = [&b"\xff\xff\xff\xff"[..], &value[4..]].concat();
            other.then(|| scribble.then_some(scribbled))
        });
        assert_eq!(changed, 2);
        let refusal = cluster.refusal(0);
        assert_eq!(refusal.status.code(), Some(1), "{}", refusal.log);
        for text in ["table members, key ", cairn_backend::DAMAGED_ADVICE] {
            assert!(refusal.log.contains(text), "{}", refusal.log);
        }
        cluster.start_these(&[1, 2]);
        cluster.leader(&[1, 2]).await;
        let mut clients = cluster.clients(1).await;
        let value = get(&mut clients, "k").await.unwrap();
        assert_eq!(value.as_deref(), Some("before"));
    }
}

/// etcd 3.7 takes whatever is not the byte 1 for authentication being off, and passes over users that
/// it cannot read.
#[tokio::test]
async fn a_member_that_cannot_read_the_rules_does_not_start_without_them() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut auth = AuthClient::new(clients.channel.clone());
    let user = AuthUserAddRequest {
        name: "root".to_owned(),
        password: "p".to_owned(),
        ..AuthUserAddRequest::default()
    };
    auth.user_add(user).await.unwrap();
    let role = AuthRoleAddRequest {
        name: "root".to_owned(),
    };
    auth.role_add(role).await.unwrap();
    let grant = AuthUserGrantRoleRequest {
        user: "root".to_owned(),
        role: "root".to_owned(),
    };
    auth.user_grant_role(grant).await.unwrap();
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    server.signal(Signal::TERM);
    let place = server.ended().1;
    for (damaged, text) in [
        (Some(&[7_u8][..]), "authEnabled"),
        (
            Some(&[0]),
            "table auth, key (all): 2 rows were stored and 1 are there",
        ),
        (
            None,
            "table auth, key (all): 2 rows were stored and 1 are there",
        ),
    ] {
        let damage = |key: &[u8], _: &[u8]| {
            let is_switch = key == b"authEnabled";
            is_switch.then(|| damaged.map(<[u8]>::to_vec))
        };
        assert_eq!(change_rows(&place, Table::Auth, damage), 1);
        let refusal = place.refusal();
        assert!(refusal.log.contains(text), "{}", refusal.log);
        write_row(&place, Table::Auth, b"authEnabled", &[1]);
    }
    let server = place.start();
    let mut kv = server.clients().await.kv;
    let refusal = kv.range(all()).await.unwrap_err();
    assert_eq!(refusal.message(), "etcdserver: user name is empty");
}

fn open(place: &Place) -> Backend {
    let directory = place.data_dir().join("member/snap");
    let engine = LmdbEngine::open(&directory, LmdbOptions::default()).unwrap();
    Backend::open(engine, BackendOptions::default()).unwrap()
}

fn write_row(place: &Place, table: Table, key: &[u8], value: &'static [u8]) {
    let backend = open(place);
    let mut tx = backend.write();
    tx.put(table, key, Bytes::from_static(value));
    tx.end().unwrap();
    backend.force_commit().unwrap();
}
