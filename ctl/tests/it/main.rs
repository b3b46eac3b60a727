//! The program as scripts call it, where no server is needed; `live.rs` has one.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and programs take their time"
)]

mod live;

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const CAIRNCTL: &str = env!("CARGO_BIN_EXE_cairnctl");

fn command(program: &Path, line: &str) -> Command {
    let mut command = Command::new(program);
    command.args(line.split_whitespace()).env_clear();
    command
}

fn call(line: &str) -> Output {
    command(Path::new(CAIRNCTL), line).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A link to the program by etcdctl's name.
fn etcdctl(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let link = folder.join("etcdctl");
    let _ = std::fs::remove_file(&link);
    symlink(CAIRNCTL, &link).unwrap();
    link
}

#[test]
fn lines_that_make_no_sense_end_with_etcdctl_s_codes_and_words() {
    let cases = [
        (
            "nonsense",
            1,
            "unknown command \"nonsense\" for \"cairnctl\"",
        ),
        ("get --bogus a", 1, "unknown flag: --bogus"),
        ("get -x a", 1, "unknown shorthand flag: 'x' in -x"),
        ("get a --rev", 1, "flag needs an argument: --rev"),
        ("get a -w", 1, "flag needs an argument: 'w' in -w"),
        (
            "get a --rev z",
            1,
            "invalid argument \"z\" for \"--rev\" flag: strconv.ParseInt: parsing \"z\": invalid syntax",
        ),
        (
            "get a --prefix=maybe",
            1,
            "invalid argument \"maybe\" for \"--prefix\" flag: strconv.ParseBool: parsing \"maybe\": \
             invalid syntax",
        ),
        (
            "get a --command-timeout 5",
            1,
            "invalid argument \"5\" for \"--command-timeout\" flag: time: missing unit in duration \"5\"",
        ),
        ("-w yaml get a", 4, "unsupported output format"),
        ("get a --consistency=x", 4, "unknown consistency flag \"x\""),
        (
            "lock",
            128,
            "lock takes a lock name argument and an optional command to execute",
        ),
        (
            "snapshot save",
            128,
            "snapshot save expects one argument <filename>",
        ),
    ];
    for (line, code, message) in cases {
        let output = call(line);
        let said = stderr(&output);
        assert_eq!(
            said.lines().next(),
            Some(&*format!("Error: {message}")),
            "{line}"
        );
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn close_commands_are_suggested() {
    let said = stderr(&call("pit"));
    assert!(
        said.contains("Did you mean this?\n\tget\n\tput\n"),
        "{said}"
    );
}

#[test]
fn variables_stand_in_for_flags_and_not_beside_them() {
    let with = |name: &str, value: &str, line: &str| {
        command(Path::new(CAIRNCTL), line)
            .env(name, value)
            .output()
            .unwrap()
    };
    let output = with("ETCDCTL_WRITE_OUT", "yaml", "get a");
    assert_eq!(stderr(&output), "Error: unsupported output format\n");
    let output = with("ETCDCTL_ENDPOINTS", "a:1", "get a --endpoints b:1");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("ETCDCTL_ENDPOINTS and --endpoints are both set"));
    let output = with("ETCDCTL_COMMAND_TIMEOUT", "x", "get a");
    assert!(stderr(&output).contains("invalid value \"x\" for ETCDCTL_COMMAND_TIMEOUT"));
    for variable in ["ETCDCTL_NONSENSE", "ETCDCTL_PREFIX"] {
        let line = "get a --endpoints=127.0.0.1:1 --command-timeout=10ms";
        let warning = format!("Warning: {variable} is set and is no setting\n");
        assert!(stderr(&with(variable, "x", line)).starts_with(&warning));
    }
}

#[test]
fn nobody_there_is_told_in_time() {
    let output = call("get a --endpoints=127.0.0.1:1 --command-timeout=300ms");
    assert_eq!(stderr(&output), "Error: context deadline exceeded\n");
    assert_eq!(output.status.code(), Some(1));
    let output = call("user list --user=a:b --endpoints=127.0.0.1:1 --command-timeout=300ms");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn by_etcdctl_s_name_it_calls_itself_so() {
    let link = etcdctl("names");
    let output = command(&link, "nonsense").output().unwrap();
    assert!(stderr(&output).starts_with("Error: unknown command \"nonsense\" for \"etcdctl\"\n"));
    let output = command(&link, "version").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "etcdctl version: 3.7.1\nAPI version: 3.7\n");
}

#[test]
fn help_and_groups_are_answers() {
    for line in [
        "--help",
        "help",
        "",
        "lease",
        "lease nonsense",
        "get --help",
        "options",
    ] {
        let output = call(line);
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{line}"
        );
    }
}

#[test]
fn every_command_of_the_help_runs() {
    let help = call("--help").stdout;
    let help = String::from_utf8_lossy(&help).into_owned();
    let names = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for name in names.filter(|name| !name.is_empty()) {
        let line = format!("{name} --endpoints=127.0.0.1:1 --command-timeout=10ms");
        let output = command(Path::new(CAIRNCTL), &line)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!stderr(&output).contains("there is no command"), "{name}");
    }
}

#[test]
fn transactions_are_read_before_anybody_is_called() {
    let mut child = command(Path::new(CAIRNCTL), "txn --endpoints=127.0.0.1:1")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"foo(\"a\") > \"0\"\n\n\n\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        stderr(&output),
        "Error: malformed comparison: foo(\"a\") > \"0\" (unknown target foo)\n"
    );
    assert_eq!(output.status.code(), Some(3));
}

/// What a shell is told could stand in the place of the last word.
fn completed(line: &str, endpoints: &str) -> Output {
    let words: Vec<&str> = line.split(' ').collect();
    Command::new(CAIRNCTL)
        .env_clear()
        .env("CAIRNCTL_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
        .env("_CLAP_IFS", "\n")
        .env("ETCDCTL_ENDPOINTS", endpoints)
        .arg("--")
        .args(words)
        .output()
        .unwrap()
}

#[test]
fn shells_are_told_what_could_stand_next() {
    let told = |line| String::from_utf8_lossy(&completed(line, "127.0.0.1:1").stdout).into_owned();
    assert!(told("cairnctl le").contains("lease"));
    assert!(told("cairnctl get --count").contains("--count-only"));
    assert!(told("cairnctl get --order=").contains("DESCEND"));
    // Without a server there are no keys, and no complaint in the middle of a line.
    let output = completed("cairnctl get ke", "127.0.0.1:1");
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn shells_and_manuals_get_their_files() {
    for shell in ["bash", "zsh", "fish"] {
        let script = call(&format!("completion {shell}")).stdout;
        assert!(
            String::from_utf8_lossy(&script).contains("CAIRNCTL_COMPLETE"),
            "{shell}"
        );
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("man");
    let output = call(&format!("man {}", folder.display()));
    assert_eq!(output.status.code(), Some(0));
    let page = std::fs::read_to_string(folder.join("cairnctl-get.1")).unwrap();
    assert!(page.contains("count\\-only"), "{page}");
}

#[test]
fn data_at_rest_are_the_server_s_program_s() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("at-rest");
    std::fs::create_dir_all(&folder).unwrap();
    let server = folder.join("server");
    std::fs::write(&server, "#!/bin/sh\necho \"$@\"\nexit 7\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&server, executable).unwrap();
    let line = "snapshot restore a.db --data-dir d --bump-revision 5";
    let called = |program: &Path, server: &Path| {
        let mut command = command(program, line);
        command.env("CAIRN_SERVER", server).output().unwrap()
    };
    let done = called(Path::new(CAIRNCTL), &server);
    assert_eq!(done.status.code(), Some(7));
    assert_eq!(String::from_utf8_lossy(&done.stdout), format!("{line}\n"));
    let missing = called(Path::new(CAIRNCTL), &folder.join("nobody"));
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("put `cairn` beside this program"));
    // etcdctl 3.7 has no such command, and shows which there are.
    let shown = called(&etcdctl("at-rest-link"), &server);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("Usage: etcdctl snapshot <command>"),
        "{shown}"
    );
}
