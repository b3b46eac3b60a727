//! Watches against real servers that come and go.

use std::time::Duration;

use cairn_client::{Client, Error, Event, Keys, Revision, Update, Watch};
use tokio::time::timeout;

use crate::server::{PATIENCE, Program, Servers};

/// The next events.
async fn events(watch: &mut Watch) -> Vec<Event> {
    loop {
        let next = timeout(PATIENCE, watch.next())
            .await
            .expect("an update in time");
        match next.expect("the watch goes on").unwrap() {
            Update::Events { events, .. } => return events,
            Update::Progress(_) => {}
            Update::Compacted(revision) => panic!("compacted at {revision}"),
        }
    }
}

async fn many(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.extend(events(watch).await);
    }
    seen
}

/// Puts until it surely was applied; a put whose outcome is not known is read back.
async fn put(client: &Client, key: &str, value: &str) {
    while let Err(error) = client.put(key, value).await {
        assert!(error.is_ambiguous(), "{error:?}");
        let now = client.get(key).await.unwrap();
        if now.is_some_and(|kv| kv.text() == Some(value)) {
            return;
        }
    }
}

#[tokio::test]
async fn changes_are_told_with_what_was_before_on_every_server() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        let mut watch = client.watch(Keys::prefix("w/")).previous().await.unwrap();
        let first = client.put("w/a", "1").await.unwrap().header.revision;
        client.put("elsewhere", "1").await.unwrap();
        client.put("w/a", "2").await.unwrap();
        client.delete("w/a").await.unwrap();
        let seen = many(&mut watch, 3).await;
        assert!(
            seen[0].is_create() && seen[0].previous().is_none(),
            "{}",
            program.name
        );
        assert_eq!(seen[0].revision(), first);
        assert_eq!(seen[1].previous().unwrap().text(), Some("1"));
        assert!(matches!(&seen[2], Event::Delete { key, .. } if &key[..] == b"w/a"));
        assert_eq!(seen[2].previous().unwrap().text(), Some("2"));

        let again = client.watch(Keys::prefix("w/")).from(first).puts_only();
        let again = many(&mut again.await.unwrap(), 2).await;
        assert_eq!(again.len(), 2, "{}", program.name);
    }
}

#[tokio::test]
async fn a_compacted_past_is_an_item_that_says_where_to_go_on() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        for at in 0..5 {
            client.put("c", format!("{at}")).await.unwrap();
        }
        let at = Revision::new(4).unwrap();
        client.compact(at).await.unwrap();
        let mut watch = client.watch("c").from(Revision::FIRST).await.unwrap();
        let item = watch.next().await.unwrap().unwrap();
        assert_eq!(item, Update::Compacted(at), "{}", program.name);
        assert!(watch.next().await.is_none());
        let mut on = client.watch("c").from(at.next()).await.unwrap();
        assert_eq!(events(&mut on).await[0].revision(), at.next());
    }
}

#[tokio::test]
async fn progress_is_told_when_it_is_asked_for() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        let mut watch = client.watch("quiet").progress().await.unwrap();
        let now = client.put("other", "1").await.unwrap().header.revision;
        let told = async {
            loop {
                watch.request_progress();
                let next = timeout(Duration::from_secs(1), watch.next()).await;
                if let Ok(Some(Ok(Update::Progress(revision)))) = next
                    && revision >= now
                {
                    return;
                }
            }
        };
        timeout(PATIENCE, told).await.expect(&program.name);
    }
}

#[tokio::test]
async fn a_large_revision_comes_in_one_piece() {
    for program in Program::all() {
        let servers = Servers::start(&program, 1, &["--max-txn-ops", "512"]).await;
        let client = servers.client().await;
        let mut watch = client.watch(Keys::prefix("big/")).await.unwrap();
        // With what was before, more than a server puts in one message.
        let value = "v".repeat(3000);
        for round in 0..2 {
            let keys = (0..400).map(|at| cairn_client::Put::new(format!("big/{at}"), &value));
            let ops = keys.map(Into::into);
            client.txn().then_all(ops).await.unwrap();
            let seen = events(&mut watch).await;
            assert_eq!(seen.len(), 400, "{} round {round}", program.name);
        }
        let mut previous = client
            .watch(Keys::prefix("big/"))
            .previous()
            .from(Revision::FIRST)
            .await
            .unwrap();
        let seen = many(&mut previous, 800).await;
        assert_eq!(seen.len(), 800, "{}", program.name);
    }
}

#[tokio::test]
async fn a_slow_consumer_misses_nothing_and_holds_nobody_up() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        let mut slow = client
            .watch(Keys::prefix("s/"))
            .buffer_bytes(4096)
            .await
            .unwrap();
        let mut quick = client.watch(Keys::prefix("s/")).await.unwrap();
        for at in 0..200 {
            client
                .put(format!("s/{at}"), "x".repeat(500))
                .await
                .unwrap();
        }
        let seen = many(&mut quick, 200).await;
        assert_eq!(many(&mut slow, 200).await, seen, "{}", program.name);
    }
}

#[tokio::test]
async fn a_refused_watch_is_an_error_that_names_the_reason() {
    let servers = Servers::one(&Program::cairn()).await;
    let root = servers.client().await;
    let auth = root.auth();
    auth.user_add("root", "secret").await.unwrap();
    auth.role_add("root").await.unwrap();
    auth.user_grant_role("root", "root").await.unwrap();
    auth.user_add("alice", "a").await.unwrap();
    auth.enable().await.unwrap();
    let alice = servers
        .options()
        .user("alice", "a")
        .connect()
        .await
        .unwrap();
    let refused = alice.watch("secret").await.unwrap_err();
    assert_eq!(
        refused.etcd(),
        Some(cairn_client::EtcdError::PermissionDenied)
    );
}

#[tokio::test]
async fn a_watch_tells_every_change_once_while_members_are_killed() {
    let mut servers = Servers::start(&Program::cairn(), 3, &[]).await;
    let client = servers.client().await;
    let mut watch = client.watch(Keys::prefix("k/")).await.unwrap();
    let mut written = 0;
    for at in 0..3 {
        servers.members[at].kill();
        for _ in 0..10 {
            put(&client, &format!("k/{written:03}"), "1").await;
            written += 1;
        }
        servers.members[at].start();
        servers.wait_until_serving().await;
    }
    let seen = many(&mut watch, written).await;
    let revisions: Vec<_> = seen.iter().map(Event::revision).collect();
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    let mut keys: Vec<_> = seen.iter().map(|event| event.key().clone()).collect();
    keys.dedup();
    assert_eq!(keys.len(), written);
}

#[tokio::test]
async fn a_watch_leaves_a_member_that_is_paused() {
    let servers = Servers::start(&Program::cairn(), 3, &[]).await;
    let client = servers.client().await;
    let mut watches = Vec::new();
    // Streams of their own, so that whichever member is paused has some of them.
    for _ in 0..3 {
        let own = servers.client().await;
        watches.push(own.watch(Keys::prefix("p/")).await.unwrap());
    }
    servers.members[1].pause();
    put(&client, "p/1", "1").await;
    for watch in &mut watches {
        assert_eq!(many(watch, 1).await.len(), 1);
    }
    servers.members[1].go_on();
    put(&client, "p/2", "1").await;
    for watch in &mut watches {
        assert_eq!(many(watch, 1).await.len(), 1);
    }
}

#[tokio::test]
async fn calls_and_watches_leave_a_member_that_a_black_hole_swallowed() {
    let servers = Servers::start(&Program::cairn(), 3, &[]).await;
    let (gate, connector) = crate::gate::gate();
    let (swallowed, others) = (servers.urls()[0].clone(), servers.client().await);
    // The gate is before one member, the way to the others is free.
    let (_free, direct) = crate::gate::gate();
    let connector = move |endpoint: cairn_client::Endpoint| {
        if endpoint.to_string() == swallowed {
            connector(endpoint)
        } else {
            direct(endpoint)
        }
    };
    let options = servers.options().connector(connector);
    let mut watches = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let options = options.clone();
        let client = options.keepalive(Duration::from_secs(1), Duration::from_secs(1));
        let client = client.connect().await.unwrap();
        watches.push(client.watch(Keys::prefix("h/")).await.unwrap());
        clients.push(client);
    }
    gate.swallow();
    put(&others, "h/1", "1").await;
    for (watch, client) in watches.iter_mut().zip(&clients) {
        assert_eq!(many(watch, 1).await.len(), 1);
        for _ in 0..6 {
            client.get("h/1").await.unwrap();
        }
    }
    gate.open();
}

#[test]
fn a_watch_ends_with_its_runtime_and_the_next_begins_in_another() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (first, second) = (runtime(), runtime());
    let servers = second.block_on(Servers::one(&Program::cairn()));
    let (client, mut watch) = first.block_on(async {
        let client = servers.client().await;
        let watch = client.watch("key").await.unwrap();
        (client, watch)
    });
    drop(first);
    second.block_on(async {
        let ended = timeout(PATIENCE, watch.next()).await.unwrap();
        assert!(
            matches!(ended, Some(Err(Error::Unavailable { .. }))),
            "{ended:?}"
        );
        let mut watch = client.watch("key").await.unwrap();
        client.put("key", "value").await.unwrap();
        let told = timeout(PATIENCE, watch.next()).await.unwrap();
        assert!(matches!(told, Some(Ok(Update::Events { .. }))), "{told:?}");
    });
}
