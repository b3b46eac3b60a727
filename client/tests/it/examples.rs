//! The examples, run as their users run them.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::server::{PATIENCE, Program, Servers};

/// Where the examples are, built if need be.
fn folder() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = std::process::Command::new(cargo);
        command.args(["build", "--quiet", "-p", "cairn-client", "--examples"]);
        assert!(
            command.status().unwrap().success(),
            "the examples do not build"
        );
        let test = std::env::current_exe().unwrap();
        test.ancestors().nth(3).unwrap().join("debug/examples")
    };
    FOLDER.get_or_init(build).clone()
}

/// An example that runs.
struct Example {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Example {
    fn start(name: &str, arguments: &[String]) -> Self {
        let mut process = Command::new(folder().join(name))
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, said }
    }

    /// Reads on until it says this.
    async fn says(&mut self, wanted: &str) {
        let mut heard = Vec::new();
        let hears = async {
            while let Some(line) = self.said.next_line().await.unwrap() {
                let is_wanted = line.contains(wanted);
                heard.push(line);
                if is_wanted {
                    return true;
                }
            }
            false
        };
        let is_said = timeout(PATIENCE, hears).await.unwrap_or_default();
        assert!(is_said, "{wanted:?} was not among {heard:#?}");
    }

    /// Stops it as Ctrl-C does.
    fn interrupt(&self) {
        let id = i32::try_from(self.process.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
    }

    async fn ends_well(mut self) {
        let status = timeout(PATIENCE, self.process.wait()).await.unwrap();
        assert!(status.unwrap().success());
    }
}

#[tokio::test]
async fn those_that_end_say_what_they_did() {
    let servers = Servers::one(&Program::cairn()).await;
    let expected: [(&str, &[&str]); 6] = [
        (
            "keys",
            &["apple: Some(\"red\")", "Some(\"green\")", "deleted 2"],
        ),
        ("many_keys", &["10000 keys", "a page of 1000 keys"]),
        ("compare_and_swap", &["created: true", "moved 10"]),
        ("errors", &["not yet", "written at"]),
        (
            "queue",
            &["first", "second", "third", "at once", "can wait"],
        ),
        ("members", &["bytes in use"]),
    ];
    for (name, lines) in expected {
        let mut example = Example::start(name, &servers.urls());
        for line in lines {
            example.says(line).await;
        }
        example.ends_well().await;
    }
    for (name, lines) in [
        ("lock", ["holds \"mine\"", "still held: true"]),
        // Who leads is heard by the leader and by an observer, in either order.
        ("election", ["mine", "mine"]),
    ] {
        let arguments = [vec!["mine".to_owned()], servers.urls()].concat();
        let mut example = Example::start(name, &arguments);
        for line in lines {
            example.says(line).await;
        }
        example.ends_well().await;
    }
}

#[tokio::test]
async fn those_that_go_on_follow_changes_until_they_are_interrupted() {
    let servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    let mut watch = Example::start("watch", &servers.urls());
    watch.says("every change after revision").await;
    let mut lease = Example::start("lease", &servers.urls());
    lease.says("the key goes with this program").await;
    watch.says("services/example").await;
    lease.interrupt();
    lease.says("revoked").await;
    lease.ends_well().await;
    watch.says("is gone").await;
    assert!(client.get("services/example").await.unwrap().is_none());
}

#[tokio::test]
async fn the_cache_hears_every_change_while_each_member_is_killed_in_turn() {
    let mut servers = Servers::start(&Program::cairn(), 3, &[]).await;
    let client = servers.client().await;
    let mut cache = Example::start("cache", &servers.urls());
    // It says nothing until something changes, and is to be there before that.
    let mut at = 0_u32;
    let begins = async {
        loop {
            client.put("begun", at.to_string()).await.unwrap();
            at += 1;
            if timeout(
                std::time::Duration::from_millis(200),
                cache.said.next_line(),
            )
            .await
            .is_ok()
            {
                return;
            }
        }
    };
    timeout(PATIENCE, begins).await.unwrap();
    for at in 0..3 {
        servers.members[at].kill();
        let key = format!("of-{at}");
        while client.put(&key, "1").await.is_err() {}
        cache.says(&format!("+ b\"{key}\"")).await;
        while client.delete(key.clone()).await.is_err() {}
        cache.says(&format!("- b\"{key}\"")).await;
        servers.members[at].start();
        servers.wait_until_serving().await;
    }
    cache.interrupt();
    cache.ends_well().await;
}
