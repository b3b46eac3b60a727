//! A wall clock that jumps while the server runs.
//!
//! libfaketime sets it, for the server alone; where that is not installed, the tests say so.

use std::path::{Path, PathBuf};

use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::{LeaseGrantRequest, LeaseTimeToLiveRequest};
use tempfile::TempDir;
use tonic::Code;

use crate::auth_calls::{Admin, with_token};
use crate::harness::{Place, Server, skipped, until};
use crate::requests::range;

/// A server whose wall clock can be set.
struct Clocked {
    server: Server,
    folder: TempDir,
}

impl Clocked {
    fn start(flags: &[&str]) -> Option<Self> {
        let Some(library) = faketime() else {
            skipped("libfaketime is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clock");
        std::fs::write(&file, "+0s\n").unwrap();
        let server = Place::new(flags)
            .with_variables(&[
                ("LD_PRELOAD", library.to_str().unwrap()),
                ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
                ("FAKETIME_NO_CACHE", "1"),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
                ("DONT_FAKE_MONOTONIC", "1"),
            ])
            .start();
        Some(Self { server, folder })
    }

    /// Sets the clock so many seconds after the time that it is, and waits until the server says so.
    async fn set(&self, seconds: i64, direction: &str) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, format!("{seconds:+}s\n")).unwrap();
        std::fs::rename(&next, self.folder.path().join("clock")).unwrap();
        let direction = format!(r#""direction":"{direction}""#);
        until("the server to tell of the jump", async || {
            let log = self.server.log();
            log.lines()
                .any(|line| line.contains("the wall clock has jumped") && line.contains(&direction))
        })
        .await;
    }
}

fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir(Path::new("/usr/lib")).ok()?;
    let folders = folders.filter_map(|folder| Some(folder.ok()?.path()));
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.is_file())
}

#[tokio::test]
async fn leases_do_not_end_when_the_wall_clock_jumps_and_the_log_tells_of_it() {
    let Some(clocked) = Clocked::start(&[]) else {
        return;
    };
    let mut leases = LeaseClient::new(clocked.server.clients().await.channel);
    let grant = LeaseGrantRequest { ttl: 1000, id: 7 };
    leases.lease_grant(grant).await.unwrap();
    for (seconds, direction) in [(3600, "forward"), (-3600, "back")] {
        clocked.set(seconds, direction).await;
        let ask = LeaseTimeToLiveRequest { id: 7, keys: false };
        let left = leases.lease_time_to_live(ask).await.unwrap().into_inner();
        // However slow this machine is, an hour has not passed.
        assert!((1..=1000).contains(&left.ttl), "{seconds}: {left:?}");
    }
}

#[tokio::test]
async fn signed_tokens_are_judged_by_the_wall_clock() {
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    std::fs::write(&key, [7; 64]).unwrap();
    let token = format!("jwt,sign-method=HS256,priv-key={},ttl=30m", key.display());
    let Some(clocked) = Clocked::start(&["--auth-token", &token]) else {
        return;
    };
    let clients = clocked.server.clients().await;
    let mut admin = Admin::new(&clients);
    admin.enable().await;
    let read = async || {
        let request = with_token(range("k", ""), admin.token.as_deref());
        clients.kv.clone().range(request).await
    };
    read().await.unwrap();
    clocked.set(3600, "forward").await;
    // What was found good a moment ago ends too.
    assert_eq!(read().await.unwrap_err().code(), Code::Unauthenticated);
    clocked.set(0, "back").await;
    read().await.unwrap();
}
