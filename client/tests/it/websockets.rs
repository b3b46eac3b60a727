//! Watches over WebSocket, at the gateways of every server.

use std::io;
use std::time::Duration;

use cairn_client::{
    Client, Connecting, Endpoint, EtcdError, Event, Keys, Revision, Right, Socket, Update, Watch,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{PATIENCE, Program, Servers};

/// A proxy that HTTP/2 does not get through.
fn http_only(endpoint: Endpoint) -> Connecting {
    Box::pin(async move {
        let text = endpoint.to_string();
        let mut server = TcpStream::connect(text.trim_start_matches("http://")).await?;
        let (client, mut inside) = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            let mut begin = [0; 3];
            inside.read_exact(&mut begin).await?;
            if &begin == b"PRI" {
                return Ok(());
            }
            server.write_all(&begin).await?;
            copy_bidirectional(&mut inside, &mut server).await?;
            io::Result::Ok(())
        });
        let client: Box<dyn Socket> = Box::new(client);
        Ok(client)
    })
}

fn client(servers: &Servers) -> Client {
    let options = servers.options().connector(http_only);
    options.watches_over_websocket().connect_lazy()
}

async fn events(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let next = timeout(PATIENCE, watch.next()).await.unwrap();
        match next.unwrap().unwrap() {
            Update::Events { events, .. } => seen.extend(events),
            Update::Progress(_) => {}
            Update::Compacted(revision) => panic!("compacted at {revision}"),
        }
    }
    seen
}

#[tokio::test]
async fn changes_are_told_over_websocket_where_only_http_passes() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let writer = servers.client().await;
        let watching = client(&servers);
        let watch = watching.watch(Keys::prefix("w/")).previous().progress();
        let mut watch = watch.await.unwrap();
        let mut all = watching.watch(Keys::all()).puts_only().await.unwrap();
        writer.put("w/a", "1").await.unwrap();
        writer.put("w/a", "2").await.unwrap();
        writer.delete("w/a").await.unwrap();
        let last = writer.put("x", "1").await.unwrap().header.revision;
        let seen = events(&mut watch, 3).await;
        assert!(seen[0].is_create(), "{}", program.name);
        assert_eq!(seen[1].previous().unwrap().text(), Some("1"));
        assert!(matches!(&seen[2], Event::Delete { key, .. } if &key[..] == b"w/a"));
        let seen = events(&mut all, 3).await;
        assert_eq!(seen[2].revision(), last);
        // Both go over one, and no other connection came about.
        let counters = watching.counters();
        assert_eq!((counters.watch_streams, counters.connections), (1, 0));

        watch.request_progress();
        let told = timeout(PATIENCE, watch.next()).await.unwrap();
        assert_eq!(told.unwrap().unwrap(), Update::Progress(last));
        writer.compact(last).await.unwrap();
        let mut late = watching.watch("x").from(Revision::FIRST).await.unwrap();
        let told = timeout(PATIENCE, late.next()).await.unwrap();
        assert_eq!(told.unwrap().unwrap(), Update::Compacted(last));
    }
}

#[tokio::test]
async fn a_watch_over_websocket_goes_on_at_other_members() {
    let mut servers = Servers::start(&Program::cairn(), 3, &[]).await;
    let writer = servers.client().await;
    let watching = client(&servers);
    let mut watch = watching.watch(Keys::prefix("k/")).await.unwrap();
    let large = "v".repeat(100_000);
    for at in 0..3 {
        servers.members[at].kill();
        let key = format!("k/{at}");
        while writer.put(&key, &large).await.is_err() {}
        let mut seen = events(&mut watch, 1).await;
        // An attempt whose outcome was not known may have been applied, too.
        assert_eq!(seen.remove(0).key(), &key);
        while let Ok(Some(Ok(more))) = timeout(Duration::from_millis(100), watch.next()).await {
            assert!(matches!(more, Update::Events { .. }), "{more:?}");
        }
        servers.members[at].start();
        servers.wait_until_serving().await;
    }
    assert!(watching.counters().watch_streams > 1);
}

#[tokio::test]
async fn users_are_let_in_over_websocket_by_their_tokens() {
    // Older ones take the word before the token for a part of it.
    let is_older = |it: &Program| it.is_etcd("3.4") || it.is_etcd("3.5") || it.is_etcd("3.6");
    for program in Program::all().into_iter().filter(|it| !is_older(it)) {
        let servers = Servers::one(&program).await;
        let root = servers.client().await;
        let auth = root.auth();
        for name in ["root", "alice"] {
            auth.user_add(name, "secret").await.unwrap();
            auth.role_add(name).await.unwrap();
            auth.user_grant_role(name, name).await.unwrap();
        }
        let public = Keys::prefix("public/");
        auth.role_grant("alice", Right::ReadWrite, public.clone())
            .await
            .unwrap();
        auth.enable().await.unwrap();
        let options = servers.options().user("alice", "secret");
        let alice = options.watches_over_websocket().connect().await.unwrap();
        let mut watch = alice.watch(public).await.expect(&program.name);
        alice.put("public/a", "1").await.unwrap();
        assert_eq!(events(&mut watch, 1).await.len(), 1, "{}", program.name);
        let refused = alice.watch("private").await.unwrap_err();
        assert_eq!(refused.etcd(), Some(EtcdError::PermissionDenied));
    }
}
