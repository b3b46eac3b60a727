//! Calls `etcdctl` on one cluster.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cairn_proto::etcdserverpb::AlarmRequest;
use cairn_proto::etcdserverpb::alarm_request::AlarmAction;
use cairn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::Endpoint;

use super::mask::mask;
use super::script::Call;
use crate::certificates::Certificates;

/// The longest that a call may take.
const CALL_MAX: Duration = Duration::from_secs(20);
/// How long lines are awaited after which nothing more should come.
const LINES_MAX: Duration = Duration::from_secs(3);
/// A snapshot is a database of whole sectors, and a hash.
const SECTOR_BYTES: u64 = 512;
const HASH_BYTES: u64 = 32;
/// What a cluster says while its members have not known each other long enough to be changed.
const TOO_YOUNG: &str = "etcdserver: unhealthy cluster";
const YOUNG_POLL: Duration = Duration::from_millis(200);
/// Who calls unless a call says who.
pub(super) const VISITOR: &str = "visitor";

/// Calls on one cluster, and what the calls so far have told. These words of a call stand for
/// something else in each session:
///
/// - `SNAPSHOT`: a file of its own;
/// - `LEASE`, `ADDED`: the lease granted last, the member added last;
/// - `FOLLOWER`: a member that does not lead;
/// - `AS:name`: by the certificate of this name.
///
/// `RAISE` and the number of an alarm is no call of etcdctl, which raises none; in plain text only.
pub(super) struct Session<'a> {
    program: PathBuf,
    endpoints: String,
    certificates: Option<&'a Certificates>,
    snapshot: PathBuf,
    told: RefCell<Told>,
}

/// Ids as etcdctl prints them.
#[derive(Debug, Default)]
struct Told {
    lease: String,
    added: String,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        program: &Path,
        endpoints: &str,
        certificates: Option<&'a Certificates>,
        home: &Path,
    ) -> Self {
        Self {
            program: program.to_path_buf(),
            // As etcdctl's own default has it, without a scheme.
            endpoints: endpoints.replace("http://", ""),
            certificates,
            snapshot: home.join("snapshot.db"),
            told: RefCell::default(),
        }
    }

    /// What a call prints, with its exit status, without what may differ.
    pub(super) async fn call(&self, call: &Call) -> Result<String> {
        let ended = tokio::time::timeout(CALL_MAX, self.run_when_settled(call)).await;
        let printed = ended.unwrap_or_else(|_| bail!("no end after {CALL_MAX:?}"));
        let printed = printed.with_context(|| format!("etcdctl {}", call.line))?;
        self.note(&printed);
        let printed = printed.replace(&*self.snapshot.to_string_lossy(), "SNAPSHOT");
        let mut masked = mask(&printed, call.sameness);
        if call.line.contains("SNAPSHOT") {
            masked.push_str(&self.snapshot_form());
        }
        Ok(masked)
    }

    async fn run_when_settled(&self, call: &Call) -> Result<String> {
        loop {
            let printed = self.run(call).await?;
            if !printed.contains(TOO_YOUNG) {
                return Ok(printed);
            }
            tokio::time::sleep(YOUNG_POLL).await;
        }
    }

    async fn run(&self, call: &Call) -> Result<String> {
        if let Some(alarm) = call.line.strip_prefix("RAISE ") {
            return self.raise(alarm.parse()?).await;
        }
        let mut arguments = Vec::new();
        for word in call.line.split(' ') {
            self.expand(word, &mut arguments).await?;
        }
        let mut child = self.spawn(&arguments)?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        // Whoever refuses a call at once does not read.
        drop(stdin.write_all(call.stdin.as_bytes()).await);
        drop(stdin);
        if let Some(lines) = call.lines {
            return first_lines(child, lines).await;
        }
        let output = child.wait_with_output().await?;
        Ok(format!(
            "{}{}\n[{}]",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            output.status
        ))
    }

    /// Says that some member has this alarm.
    async fn raise(&self, alarm: i32) -> Result<String> {
        let first = self.endpoints.split(',').next().unwrap_or_default();
        let channel = Endpoint::from_shared(format!("http://{first}"))?;
        let raise = AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id: 1234,
            alarm,
        };
        let mut client = MaintenanceClient::new(channel.connect_lazy());
        let raised = client.alarm(raise).await?.into_inner();
        Ok(format!("{:?}", raised.alarms))
    }

    /// The arguments that a word of a call stands for.
    async fn expand(&self, word: &str, arguments: &mut Vec<String>) -> Result<()> {
        if let Some(user) = word.strip_prefix("AS:") {
            arguments.extend(self.identity(user));
            return Ok(());
        }
        let mut word = word.to_owned();
        if word == "FOLLOWER" {
            word = self.follower().await?;
        }
        let told = self.told.borrow();
        let word = word.replace("LEASE", &told.lease);
        let word = word.replace("ADDED", &told.added);
        arguments.push(word.replace("SNAPSHOT", &self.snapshot.to_string_lossy()));
        Ok(())
    }

    fn identity(&self, user: &str) -> Vec<String> {
        let certificates = self.certificates.iter();
        let flags = certificates.flat_map(|certificates| {
            [
                format!("--cacert={}", certificates.authority().display()),
                format!("--cert={}", certificates.certificate(user).display()),
                format!("--key={}", certificates.key(user).display()),
            ]
        });
        flags.collect()
    }

    fn spawn(&self, arguments: &[String]) -> Result<Child> {
        Command::new(&self.program)
            .arg(format!("--endpoints={}", self.endpoints))
            .args(self.identity(VISITOR))
            .args(arguments)
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))
    }

    /// Keeps what later calls are about.
    fn note(&self, printed: &str) {
        let mut told = self.told.borrow_mut();
        let mut words = printed.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("lease"), Some(lease), Some("granted")) => lease.clone_into(&mut told.lease),
            (Some("Member"), Some(added), Some("added")) => added.clone_into(&mut told.added),
            _ => {}
        }
    }

    /// The id of a member that says it does not lead, as soon as another one does.
    async fn follower(&self) -> Result<String> {
        let deadline = Instant::now() + CALL_MAX;
        loop {
            let arguments = ["endpoint", "status"].map(str::to_owned);
            let output = self.spawn(&arguments)?.wait_with_output().await?;
            let output = String::from_utf8_lossy(&output.stdout).into_owned();
            let members = output.lines().map(|line| line.split(", "));
            // Of its columns the first is the endpoint, the second the id, and the first of truth
            // values says who leads.
            let leads = |columns: &str| columns == "true";
            let members: Vec<(Option<&str>, bool)> = members
                .map(|columns| {
                    let id = columns.clone().nth(1);
                    let mut truths = columns.filter(|it| ["true", "false"].contains(it));
                    (id, truths.next().is_some_and(leads))
                })
                .collect();
            let follower = members.iter().find(|(_, leads)| !leads);
            if let (true, Some((Some(id), _))) = (members.iter().any(|(_, leads)| *leads), follower)
            {
                return Ok((*id).to_owned());
            }
            if Instant::now() > deadline {
                bail!("nobody follows anybody: {output}");
            }
            tokio::time::sleep(YOUNG_POLL).await;
        }
    }

    fn snapshot_form(&self) -> String {
        match fs::metadata(&self.snapshot) {
            Ok(file) if file.len() % SECTOR_BYTES == HASH_BYTES => {
                "\nsnapshot: sectors and a hash".to_owned()
            }
            Ok(file) => format!("\nsnapshot: {} bytes", file.len()),
            Err(error) => format!("\nsnapshot: {error}"),
        }
    }
}

/// The first lines that a program prints, and whatever comes with them; then it is killed.
async fn first_lines(mut child: Child, lines: usize) -> Result<String> {
    let stdout = child.stdout.take().context("no standard output")?;
    let mut printed = String::new();
    let mut reader = BufReader::new(stdout).lines();
    for _ in 0..lines {
        match tokio::time::timeout(LINES_MAX, reader.next_line()).await {
            Ok(line) => match line? {
                Some(line) => {
                    printed.push_str(&line);
                    printed.push('\n');
                }
                None => break,
            },
            Err(_) => break,
        }
    }
    child.start_kill()?;
    let mut errors = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut errors).await?;
    }
    child.wait().await?;
    Ok(printed + &errors)
}
