//! The program at a server, in a pipe and on a terminal.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use cairn_client::proto::etcdserverpb::AuthenticateRequest;
use cairn_client::{Client, ConnectOptions, Keys};
use cairn_embed::Embedded;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::time::sleep;

use crate::{CAIRNCTL, completed};

fn command(server: &Embedded, arguments: &[&str]) -> Command {
    let mut command = Command::new(CAIRNCTL);
    command.args(["--endpoints", &server.endpoint()]);
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// Runs it without keeping the server, which is in this process, from its work.
async fn output(mut command: Command) -> Output {
    let ended = tokio::task::spawn_blocking(move || command.output());
    ended.await.unwrap().unwrap()
}

async fn said(server: &Embedded, arguments: &[&str]) -> String {
    let output = output(command(server, arguments)).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

async fn fill(client: &Client, count: usize) {
    for at in 0..count {
        client.put(format!("app/{at:04}"), "v").await.unwrap();
    }
}

/// What it writes where its output is a terminal, until it ends or has been cut off.
async fn on_terminal(mut command: Command, time: Duration) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = File::options()
        .read(true)
        .write(true)
        .open(Path::new(name.to_str().unwrap()));
    let theirs = OwnedFd::from(theirs.unwrap());
    command.stdout(theirs.try_clone().unwrap()).stderr(theirs);
    let mut child = command.env("TERM", "xterm").spawn().unwrap();
    // It holds the terminal's other end open.
    drop(command);
    let reading = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        // A terminal whose other end is closed is an error to read from.
        let _ = File::from(ours).read_to_end(&mut seen);
        seen
    });
    for _ in 0..time.as_millis() / 50 {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let _ = child.kill();
    child.wait().unwrap();
    String::from_utf8_lossy(&reading.await.unwrap()).into_owned()
}

#[tokio::test]
async fn a_streamed_read_is_the_same_in_every_format() {
    let server = Embedded::start().await.unwrap();
    let client = server.client().await.unwrap();
    fill(&client, 1200).await;
    for line in [
        &["get", "app/", "--prefix"][..],
        &["get", "app/", "--prefix", "--print-value-only"],
        &["get", "app/", "--prefix", "-w", "fields"],
        &["get", "app/", "--prefix", "--limit", "700", "-w", "json"],
    ] {
        let whole = said(&server, line).await;
        let streamed = said(&server, &[line, &["--stream"]].concat()).await;
        assert!(whole.len() > 1200, "{line:?}");
        assert!(whole == streamed, "{line:?}");
    }
}

#[tokio::test]
async fn top_looks_as_often_as_it_is_told() {
    let server = Embedded::start().await.unwrap();
    fill(&server.client().await.unwrap(), 30).await;
    let line = ["top", "--count", "2", "--interval", "200ms"];
    let told = said(&server, &line).await;
    assert!(told.contains("app/") && !told.contains('\x1b'), "{told}");
    assert_eq!(told.matches("default").count(), 2, "{told}");
    let seen = on_terminal(command(&server, &line), Duration::from_secs(60)).await;
    assert!(seen.contains("\x1b[2J") && seen.contains("app/"), "{seen}");
}

#[tokio::test]
async fn colours_are_for_people() {
    let server = Embedded::start().await.unwrap();
    let client = server.client().await.unwrap();
    let first = client.put("a", "{\"x\":1}").await.unwrap();
    client.put("a", "{\"x\":2}").await.unwrap();
    let revisions = ["1", "3"].map(str::to_owned);
    assert_eq!(first.header.revision.get(), 2);
    let line = ["diff", &revisions[0], &revisions[1]];
    let piped = said(&server, &line).await;
    assert!(piped.contains('a') && !piped.contains('\x1b'), "{piped}");
    let time = Duration::from_secs(60);
    let seen = on_terminal(command(&server, &line), time).await;
    assert!(seen.contains("\x1b[32m"), "{seen}");
    let mut plain = command(&server, &line);
    plain.env("NO_COLOR", "1");
    let seen = on_terminal(plain, time).await;
    assert!(seen.contains('a') && !seen.contains("\x1b[3"), "{seen}");
    // What a value was and is, as it changes.
    let tail = ["watch", "--tail", "a", "--rev", "3"];
    let seen = on_terminal(command(&server, &tail), Duration::from_secs(3)).await;
    assert!(seen.contains("\x1b["), "{seen}");
}

#[tokio::test]
async fn bars_are_for_people() {
    let server = Embedded::start().await.unwrap();
    fill(&server.client().await.unwrap(), 200).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("snapshot.db").display().to_string();
    let line = ["snapshot", "save", &file];
    let piped = output(command(&server, &line)).await;
    let errors = String::from_utf8_lossy(&piped.stderr);
    assert!(
        piped.status.success() && !errors.contains('\x1b'),
        "{errors}"
    );
    std::fs::remove_file(&file).unwrap();
    let seen = on_terminal(command(&server, &line), Duration::from_secs(60)).await;
    assert!(seen.contains("\x1b["), "{seen}");
}

#[tokio::test]
async fn keys_complete_themselves() {
    let server = Embedded::start().await.unwrap();
    fill(&server.client().await.unwrap(), 3).await;
    let endpoint = server.endpoint();
    let told = tokio::task::spawn_blocking(move || completed("cairnctl get app/00", &endpoint));
    let told = String::from_utf8(told.await.unwrap().stdout).unwrap();
    assert!(
        told.contains("app/0000") && told.contains("app/0002"),
        "{told}"
    );
}

#[tokio::test]
async fn a_mirror_copies_and_follows_and_leaves_others_alone() {
    let here = Embedded::start().await.unwrap();
    let there = Embedded::start().await.unwrap();
    let (from, to) = (here.client().await.unwrap(), there.client().await.unwrap());
    fill(&from, 300).await;
    to.put("others", "own").await.unwrap();
    let line = ["make-mirror", "--prefix", "app/", "--dest-prefix", "copy/"];
    let mut copying = command(&here, &[&line[..], &[&there.endpoint()]].concat());
    let mut child = copying.stdout(Stdio::null()).spawn().unwrap();
    let count = async |wanted| {
        for _ in 0..1200 {
            if to.range(Keys::prefix("copy/")).await.unwrap().count == wanted {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("there are no {wanted} copies");
    };
    count(300).await;
    from.delete("app/0007").await.unwrap();
    count(299).await;
    assert!(to.get("others").await.unwrap().is_some());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_signed_token_stands_in_for_a_user() {
    let home = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let file = |name: &str| home.path().join(name).display().to_string();
    std::fs::write(file("private"), key.serialize_pem()).unwrap();
    std::fs::write(file("public"), key.public_key_pem()).unwrap();
    let (public, private) = (file("public"), file("private"));
    let tokens = format!("jwt,pub-key={public},priv-key={private},sign-method=ES256,ttl=10m");
    let server = Embedded::start_with(["--auth-token", &tokens])
        .await
        .unwrap();
    let client = server.client().await.unwrap();
    let auth = client.auth();
    auth.user_add("root", "secret").await.unwrap();
    auth.role_add("root").await.unwrap();
    auth.user_grant_role("root", "root").await.unwrap();
    auth.enable().await.unwrap();
    let login = AuthenticateRequest {
        name: "root".to_owned(),
        password: "secret".to_owned(),
    };
    let token = client.call(login).await.unwrap().token;
    assert_eq!(
        said(&server, &["--auth-jwt-token", &token, "put", "a", "1"]).await,
        "OK\n"
    );
    let told = said(&server, &["--auth-jwt-token", &token, "user", "list"]).await;
    assert_eq!(told, "root\n");
    let refused = output(command(&server, &["--auth-jwt-token", "none", "get", "a"])).await;
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(errors.contains("invalid auth token"), "{errors}");
    let options = ConnectOptions::new([server.endpoint()]).unwrap();
    let given = options.token(token).connect().await.unwrap();
    assert!(given.get("a").await.unwrap().is_some());
}
