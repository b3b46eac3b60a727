//! Mirrors, and the client without a runtime.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cairn_client::{Client, Keys, blocking};
use tokio::time::{sleep, timeout};

use crate::server::{PATIENCE, Program, Servers};

async fn content(client: &Client, prefix: &str) -> BTreeMap<Bytes, Bytes> {
    let client = client.namespace(prefix);
    let kvs = client.range(Keys::all()).await.unwrap().kvs;
    kvs.into_iter().map(|kv| (kv.key, kv.value)).collect()
}

#[tokio::test]
async fn a_mirror_is_a_copy_that_follows() {
    let (here, there) = (
        Servers::one(&Program::cairn()).await,
        Servers::one(&Program::cairn()).await,
    );
    let (here, there) = (here.client().await, there.client().await);
    for at in 0..250 {
        here.put(format!("m/{at:03}"), "1").await.unwrap();
    }
    there.put("copy/stale", "from before").await.unwrap();
    there.put("other", "not the mirror's").await.unwrap();
    let mirror = here.mirror("m/", &there, "copy/");
    let task = tokio::spawn({
        let mirror = mirror.clone();
        async move { mirror.run().await }
    });
    let same = async |what: &str| {
        let same = async {
            while content(&here, "m/").await != content(&there, "copy/").await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, same).await.expect(what);
    };
    same("first").await;
    here.put("m/001", "2").await.unwrap();
    here.delete(Keys::prefix("m/1")).await.unwrap();
    same("later").await;
    assert!(mirror.copied() > 250);
    assert!(there.get("other").await.unwrap().is_some());
    assert!(!task.is_finished());
    task.abort();
}

#[test]
fn without_a_runtime_calls_are_waited_for() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let servers = runtime.block_on(Servers::one(&Program::cairn()));
    let client = blocking::Client::connect(servers.urls()).unwrap();
    client.wait(client.put("b/1", "1")).unwrap();
    let mut watch = client.iter(client.wait(client.watch(Keys::prefix("b/"))).unwrap());
    client.wait(client.put("b/2", "2")).unwrap();
    watch.next().unwrap().unwrap();
    let keys = client.iter(client.range(Keys::prefix("b/")).stream());
    assert_eq!(
        keys.map(|kv| kv.unwrap().key).collect::<Vec<_>>(),
        ["b/1", "b/2"]
    );
    // A lease is kept although nobody waits for anything.
    let lease = client
        .wait(client.leases().keep(Duration::from_secs(2)))
        .unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert!(
        client
            .wait(client.leases().time_to_live(lease.id()))
            .unwrap()
            .is_some()
    );
}
