//! Caches against real servers that come and go.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use cairn_client::{Cache, Change, Client, Keys};
use tokio::time::{sleep, timeout};

use crate::server::{PATIENCE, Program, Servers};

type Content = BTreeMap<Bytes, Bytes>;

/// What a cache has, and what the server has at the same revision.
async fn both(cache: &Cache, client: &Client, prefix: &str) -> (Content, Content) {
    let snapshot = cache.linearizable().await.unwrap();
    let cached = snapshot
        .iter()
        .map(|it| (it.kv().key.clone(), it.kv().value.clone()));
    let at = snapshot.revision();
    let there = client.range(Keys::prefix(prefix)).at(at).await.unwrap().kvs;
    let there = there.into_iter().map(|kv| (kv.key, kv.value));
    (cached.collect(), there.collect())
}

/// What a follower of changes comes to know.
fn follow(known: &mut Content, change: &Change<Bytes>) {
    let before = known.get(change.key());
    assert_eq!(before, change.old_entry().map(|old| &old.kv().value));
    match change.new_entry() {
        Some(new) => known.insert(new.kv().key.clone(), new.kv().value.clone()),
        None => known.remove(change.key()),
    };
}

#[tokio::test]
async fn a_cache_is_what_the_server_has_and_callbacks_hear_every_change() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        for at in 0..50 {
            client.put(format!("c/{at}"), "first").await.unwrap();
        }
        let cache = client.cache(Keys::prefix("c/")).await.unwrap();
        assert_eq!(cache.len(), 50, "{}", program.name);
        let (sender, heard) = mpsc::channel();
        let callback = cache.on_change(move |change| sender.send(change.clone()).unwrap());
        // Seldom, since each writes a backtrace.
        let panics = cache.on_change(|change| {
            assert!(change.key() != "c/7", "a callback that panics hurts nobody");
        });
        let slow = cache.on_change(|_| std::thread::sleep(Duration::from_millis(200)));
        let mut stream = cache.changes();
        for at in 0..30 {
            client.put(format!("c/{at}"), "second").await.unwrap();
        }
        let deleted = client.delete(Keys::prefix("c/1")).await.unwrap();
        let snapshot = cache.wait_for(deleted.header.revision).await.unwrap();
        assert!(snapshot.get("c/1").is_none() && cache.get("c/2").is_some());
        let (cached, there) = both(&cache, &client, "c/").await;
        assert_eq!(cached, there, "{}", program.name);

        let mut known = Content::new();
        for _ in 0..50 + 30 + deleted.deleted {
            let change = heard.recv_timeout(PATIENCE).unwrap();
            follow(&mut known, &change);
        }
        assert_eq!(known, there, "{}", program.name);
        for _ in 0..30 {
            let change = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
            assert!(matches!(change, Change::Update { .. }), "{change:?}");
        }
        drop((callback, panics, slow));
    }
}

#[tokio::test]
async fn what_is_compacted_while_away_becomes_a_difference_with_deletions() {
    let mut servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    for key in ["d/stays", "d/goes", "d/changes"] {
        client.put(key, "1").await.unwrap();
    }
    // The cache's own way to the server is cut, and comes back after history is gone.
    let (gate, connector) = crate::gate::gate();
    let options = servers.options().connector(connector);
    let away = options.connect().await.unwrap();
    let cache = away.cache(Keys::prefix("d/")).await.unwrap();
    let mut known: Content = Content::new();
    let mut changes = cache.changes();
    for entry in cache.snapshot().iter() {
        known.insert(entry.kv().key.clone(), entry.kv().value.clone());
    }
    gate.close();
    client.delete("d/goes").await.unwrap();
    client.put("d/changes", "2").await.unwrap();
    let last = client.put("d/comes", "1").await.unwrap().header.revision;
    client.compact(last).await.unwrap();
    servers.wait_until_serving().await;
    gate.open();
    timeout(PATIENCE, cache.wait_for(last))
        .await
        .unwrap()
        .unwrap();
    for _ in 0..3 {
        let change = timeout(PATIENCE, changes.next()).await.unwrap().unwrap();
        follow(&mut known, &change);
    }
    let (cached, there) = both(&cache, &client, "d/").await;
    assert_eq!(cached, there);
    assert_eq!(known, there);
    assert_eq!(cache.health().relists, 1);
    servers.members[0].kill();
}

#[tokio::test]
async fn a_cache_survives_the_kill_of_every_member_in_turn() {
    let mut servers = Servers::start(&Program::cairn(), 3, &[]).await;
    let client = servers.client().await;
    let cache = client.cache(Keys::prefix("k/")).await.unwrap();
    let (sender, heard) = mpsc::channel();
    let _callback = cache.on_change(move |change| sender.send(change.clone()).unwrap());
    for at in 0..3 {
        servers.members[at].kill();
        for key in 0..10 {
            let key = format!("k/{at}/{key}");
            while client.put(&key, "1").await.is_err() {}
        }
        while client.delete(format!("k/{at}/0")).await.is_err() {}
        servers.members[at].start();
        servers.wait_until_serving().await;
    }
    let (cached, there) = both(&cache, &client, "k/").await;
    assert_eq!(cached, there);
    assert_eq!(cached.len(), 27);
    let mut known = Content::new();
    while known != there {
        let change = heard.recv_timeout(PATIENCE).unwrap();
        follow(&mut known, &change);
    }
}

#[tokio::test]
async fn values_are_decoded_and_what_cannot_be_is_reported() {
    let servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    client.put("j/good", "[1,2]").await.unwrap();
    client.put("j/bad", "[1,").await.unwrap();
    let cache = client
        .cache(Keys::prefix("j/"))
        .json::<Vec<u32>>()
        .await
        .unwrap();
    assert_eq!(cache.get("j/good").unwrap().value(), Some(&vec![1, 2]));
    let bad = cache.get("j/bad").unwrap();
    assert!(bad.value().is_none() && bad.decode_error().is_some());
    assert_eq!(cache.health().undecodable, 1);
}

#[tokio::test]
async fn a_cache_says_whether_it_is_connected() {
    let mut servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    let cache = client
        .cache("h")
        .confirm_every(Duration::from_millis(100))
        .await
        .unwrap();
    let before = cache.health();
    assert!(before.is_connected);
    // A server has nothing to say of a watch that begins with a revision yet to come.
    client.put("elsewhere", "1").await.unwrap();
    let confirmed = async {
        while cache.health().confirmed == before.confirmed {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, confirmed).await.unwrap();
    servers.members[0].kill();
    let told = async {
        while cache.health().is_connected {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, told).await.unwrap();
}
