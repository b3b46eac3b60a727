//! Locks, elections and services shared with Go's clientv3: with `etcdctl`, which is made of it, and with a program
//! of our own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cairn_client::{Client, Keys, ServiceEndpoint};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::server::{PATIENCE, Program, Servers};

/// Starts etcdctl; `None` if it is not installed.
fn etcdctl(
    servers: &Servers,
    arguments: &[&str],
) -> Option<(Child, Lines<BufReader<ChildStdout>>)> {
    let started = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &servers.urls().join(",")])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("skipped: etcdctl is not on the path");
        return None;
    };
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Some((child, lines))
}

#[tokio::test]
async fn a_lock_is_shared_with_go() {
    let servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    let session = client.session(Duration::from_secs(10)).await.unwrap();
    let ours = session.lock("shared").await.unwrap();
    // Go waits for us.
    let Some((mut go, mut said)) = etcdctl(&servers, &["lock", "shared"]) else {
        return;
    };
    let waits = async {
        while client.range(Keys::prefix("shared/")).await.unwrap().count < 2 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waits).await.unwrap();
    assert!(
        timeout(Duration::from_millis(300), said.next_line())
            .await
            .is_err()
    );
    ours.unlock().await.unwrap();
    let theirs = timeout(PATIENCE, said.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(theirs.starts_with("shared/"), "{theirs}");
    // And we for Go.
    assert!(session.try_lock("shared").await.unwrap().is_none());
    let waiting = session.lock("shared");
    tokio::pin!(waiting);
    assert!(
        timeout(Duration::from_millis(300), &mut waiting)
            .await
            .is_err()
    );
    // etcdctl lets go when it is interrupted.
    let id = rustix::process::Pid::from_raw(i32::try_from(go.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let _ours = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    go.wait().await.unwrap();
}

#[tokio::test]
async fn an_election_is_shared_with_go() {
    let servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    let session = client.session(Duration::from_secs(10)).await.unwrap();
    let ours = session.campaign("shared", "rust").await.unwrap();
    let Some((_listens, mut heard)) = etcdctl(&servers, &["elect", "--listen", "shared"]) else {
        return;
    };
    let Some((_runs, mut said)) = etcdctl(&servers, &["elect", "shared", "go"]) else {
        return;
    };
    let key = timeout(PATIENCE, heard.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(key.starts_with("shared/"), "{key}");
    let word = timeout(PATIENCE, heard.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(word, "rust");
    ours.resign().await.unwrap();
    let key = timeout(PATIENCE, said.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(key.starts_with("shared/"), "{key}");
    let leader = client.election("shared").leader().await.unwrap().unwrap();
    assert_eq!(leader.text(), Some("go"));
}

/// How often each holder adds one.
const ADDITIONS: u32 = 20;

/// Builds the program of `tests/go`; `None` if there is no Go, or what it imports cannot be had.
async fn go_program() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go");
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("beside-go");
    let go = async |arguments: &[&str]| {
        let mut command = Command::new("go");
        command.args(arguments).current_dir(&source);
        command.stdout(Stdio::null()).status().await
    };
    match go(&["mod", "download"]).await {
        Ok(status) if status.success() => {}
        _ => {
            eprintln!("skipped: there is no Go, or no clientv3 for it");
            return None;
        }
    }
    let output = built.to_str().unwrap();
    let status = go(&["build", "-mod=readonly", "-o", output, "."]).await;
    assert!(status.unwrap().success());
    Some(built)
}

async fn add(client: Client) {
    let session = client.session(Duration::from_secs(10)).await.unwrap();
    for _ in 0..ADDITIONS {
        let lock = session.lock("shared").await.unwrap();
        let kv = client.get("shared-counter").await.unwrap();
        let count: u32 = kv.map_or(0, |kv| kv.text().unwrap().parse().unwrap());
        let next = (count + 1).to_string();
        client.put("shared-counter", next).await.unwrap();
        lock.unlock().await.unwrap();
    }
}

#[tokio::test]
async fn no_addition_is_lost_under_a_lock_that_rust_and_go_share() {
    let Some(program) = go_program().await else {
        return;
    };
    let servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    let go = || {
        let mut command = Command::new(&program);
        let urls = servers.urls().join(",");
        command.args(["add", &urls, "shared", &ADDITIONS.to_string()]);
        command.kill_on_drop(true).spawn().unwrap()
    };
    let (mut one, mut other) = (go(), go());
    let all = async {
        tokio::join!(add(client.clone()), add(client.clone()));
        assert!(one.wait().await.unwrap().success());
        assert!(other.wait().await.unwrap().success());
    };
    timeout(PATIENCE, all).await.unwrap();
    let kv = client.get("shared-counter").await.unwrap().unwrap();
    assert_eq!(kv.text(), Some((4 * ADDITIONS).to_string().as_str()));
}

#[tokio::test]
async fn the_endpoints_of_a_service_are_those_of_go() {
    let Some(program) = go_program().await else {
        return;
    };
    let servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    let service = client.service("mail");
    let own = ServiceEndpoint {
        address: "10.0.0.1:25".to_owned(),
        metadata: "from Rust".into(),
    };
    let session = client.session(Duration::from_secs(10)).await.unwrap();
    let put = service.put("rust", &own).lease(session.lease());
    put.await.unwrap();
    let mut go = Command::new(&program);
    go.args(["serve", &servers.urls().join(","), "mail", "10.0.0.2:25"]);
    let said = go.output().await.unwrap();
    assert!(said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    let mut said: Vec<&str> = said.lines().collect();
    said.sort_unstable();
    assert_eq!(
        said,
        [
            "mail/go 10.0.0.2:25 from Go",
            "mail/rust 10.0.0.1:25 from Rust"
        ]
    );
    let cache = service.cache().await.unwrap();
    let theirs = cache.get("mail/go").unwrap();
    let expected = ServiceEndpoint {
        address: "10.0.0.2:25".to_owned(),
        metadata: "from Go".into(),
    };
    assert_eq!(theirs.value(), Some(&expected));
    let gone = service.delete("go").await.unwrap().header.revision;
    cache.wait_for(gone).await.unwrap();
    let left: Vec<_> = cache
        .snapshot()
        .iter()
        .map(|it| it.kv().key.clone())
        .collect();
    assert_eq!(left, ["mail/rust"]);
}
