//! What the server says is words: nothing shows how a value is written in Rust. Every test of this
//! crate checks that of every log and of every error that a client is told; here the mistakes are made
//! that no other test makes.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{PATIENCE, Place, Server, binary, skipped};

/// What only Rust writes.
const RUST: [&str; 7] = [
    "Some(", "Ok(", "Err(", "Os {", "Custom {", "kind: ", "(Io, ",
];

/// Panics if a line of a log or of a message shows how Rust writes a value.
pub(crate) fn assert_plain(log: &str) {
    for line in log.lines() {
        let shown = RUST.iter().find(|text| line.contains(**text));
        assert!(shown.is_none(), "{line} has {shown:?}");
        assert!(!has_struct(line), "{line} shows a structure");
    }
}

/// Whether there is a name, an opening brace and a field, as in `Url { text: `.
fn has_struct(line: &str) -> bool {
    line.split(" { ")
        .collect::<Vec<_>>()
        .windows(2)
        .any(|parts| {
            let is_name = parts[0].ends_with(|it: char| it.is_ascii_alphanumeric());
            let field = parts[1].split(": ").next().unwrap_or_default();
            let is_field = field.chars().all(|it| it.is_ascii_lowercase() || it == '_');
            is_name && is_field && field.len() < parts[1].len()
        })
}

#[test]
fn what_rust_writes_is_known_again() {
    for line in [
        "[Url { text: \"http://a\" }]",
        "hyper::Error(Io, Custom { kind: Other })",
    ] {
        assert!(has_struct(line), "{line}");
    }
    for line in [
        "{\"level\":\"info\"}",
        "a { b",
        "set { a, b }: no",
        "x: { y: z }",
    ] {
        assert!(!has_struct(line), "{line}");
    }
}

/// Each is refused with the name of what is wrong with it.
#[test]
fn mistakes_in_flags_are_told_in_words() {
    let missing = tempfile::tempdir().unwrap().path().join("missing.pem");
    let missing = missing.to_str().unwrap();
    let with_key = ["--cert-file", missing, "--key-file", missing];
    let cases: [(&[&str], &str); 13] = [
        (&["--initial-cluster", ""], "initial cluster"),
        (
            &["--initial-cluster", "other=http://127.0.0.1:1"],
            "local name",
        ),
        (&["--initial-cluster", "default=127.0.0.1:1"], "URL"),
        (
            &["--listen-client-urls", "http://nowhere.invalid:1"],
            "nowhere.invalid",
        ),
        (&["--listen-client-urls", "ftp://127.0.0.1:1"], "ftp"),
        (&["--config-file", missing], missing),
        (&["--auth-token", "jwt,pub-key=/missing"], "jwt"),
        (&["--quota-backend-bytes", "much"], "much"),
        (&["--election-timeout", "1"], "election"),
        (&["--snapshot-count", "-1"], "-1"),
        (&["--log-outputs", "/missing/log"], "/missing/log"),
        (&with_key, missing),
        (&["--discovery-token", "t"], "discovery"),
    ];
    for (flags, named) in cases {
        let refusal = Place::new(flags).refusal();
        assert!(!refusal.status.success(), "{flags:?}");
        assert!(refusal.log.contains(named), "{flags:?}: {}", refusal.log);
    }
}

/// etcd 3.7 begins a new log there, and a member that has forgotten with it.
#[test]
fn a_forgotten_wal_dir_is_told_with_what_to_do() {
    let log = tempfile::tempdir().unwrap();
    let wal_dir = format!("--wal-dir={}", log.path().display());
    let server = Server::start(&[&wal_dir]);
    server.signal(Signal::TERM);
    let (_, mut place) = server.ended();
    place.add_flags(&["--wal-dir="]);
    let refusal = place.refusal();
    for text in ["there is no log", "--wal-dir"] {
        assert!(refusal.log.contains(text), "{}", refusal.log);
    }
    place.add_flags(&[&wal_dir]);
    place.start();
}

/// Runs a command that needs rights; `None` if they are not here.
fn unshared(arguments: &[&str]) -> Option<Command> {
    let mut tried = Command::new("unshare");
    tried.args(arguments).arg("true").stderr(Stdio::null());
    if !tried.status().is_ok_and(|status| status.success()) {
        skipped(&format!(
            "`unshare {}` is not allowed here",
            arguments.join(" ")
        ));
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(arguments);
    Some(command)
}

#[test]
fn a_file_system_that_cannot_be_written_to_is_named() {
    let Some(mut command) = unshared(&["--mount"]) else {
        return;
    };
    let place = Server::start(&[]).kill();
    let data_dir = place.data_dir();
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && exec \"$2\" \
                  --data-dir \"$1\" --listen-client-urls http://127.0.0.1:0 \
                  --advertise-client-urls http://127.0.0.1:0 --listen-peer-urls http://127.0.0.1:0";
    let output = command
        .args(["sh", "-c", script, "sh"])
        .args([&data_dir, &binary()])
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    if log.contains("mount:") {
        skipped(&log);
        return;
    }
    assert_plain(&log);
    assert!(!output.status.success(), "{log}");
    for text in [
        "Read-only file system",
        data_dir.to_str().unwrap(),
        "--data-dir",
    ] {
        assert!(log.contains(text), "{log}");
    }
}

/// The first process of a container: etcd ends with 0 there, since no signal can end it.
#[test]
fn the_first_process_of_a_container_ends_with_zero() {
    let Some(mut command) = unshared(&["--pid", "--fork", "--kill-child"]) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut parent = command
        .arg(binary())
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .args(["--listen-client-urls", "http://127.0.0.1:0"])
        .args(["--advertise-client-urls", "http://127.0.0.1:0"])
        .args(["--listen-peer-urls", "http://127.0.0.1:0"])
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_to_string(&log)
        .unwrap()
        .contains("ready to serve client requests")
    {
        assert!(Instant::now() < deadline && parent.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let child = fs::read_to_string(children).unwrap();
    let killed = Command::new("kill").arg("-TERM").arg(child.trim()).status();
    assert!(killed.unwrap().success());
    let status = parent.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}
