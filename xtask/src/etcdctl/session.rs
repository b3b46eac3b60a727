//! Calls `etcdctl` on one server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::mask::mask;
use super::script::Call;

/// The longest that a call may take.
const CALL_MAX: Duration = Duration::from_secs(20);
/// How long lines are awaited after which nothing more should come.
const LINES_MAX: Duration = Duration::from_secs(3);
/// A snapshot is a database of whole sectors, and a hash.
const SECTOR_BYTES: u64 = 512;
const HASH_BYTES: u64 = 32;

pub(super) struct Session {
    program: PathBuf,
    /// As etcdctl's own default has it, without a scheme.
    endpoint: String,
    snapshot: PathBuf,
}

impl Session {
    pub(super) fn new(program: &Path, url: &str, home: &Path) -> Self {
        Self {
            program: program.to_path_buf(),
            endpoint: url.trim_start_matches("http://").to_owned(),
            snapshot: home.join("snapshot.db"),
        }
    }

    /// What a call prints, with its exit status, without what may differ.
    pub(super) async fn call(&self, call: &Call) -> Result<String> {
        let ended = tokio::time::timeout(CALL_MAX, self.run(call)).await;
        let printed = ended.unwrap_or_else(|_| bail!("no end after {CALL_MAX:?}"));
        let printed = printed.with_context(|| format!("etcdctl {}", call.line))?;
        let printed = printed.replace(&*self.snapshot.to_string_lossy(), "SNAPSHOT");
        let mut masked = mask(&printed, call.sameness);
        if call.line.contains("SNAPSHOT") {
            masked.push_str(&self.snapshot_form());
        }
        Ok(masked)
    }

    async fn run(&self, call: &Call) -> Result<String> {
        let mut child = self.spawn(call)?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        stdin.write_all(call.stdin.as_bytes()).await?;
        drop(stdin);
        if let Some(lines) = call.lines {
            return first_lines(child, lines).await;
        }
        let output = child.wait_with_output().await?;
        Ok(format!(
            "{}{}[{}]",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            output.status
        ))
    }

    fn spawn(&self, call: &Call) -> Result<Child> {
        let snapshot = self.snapshot.to_string_lossy();
        let arguments = call.line.split(' ').map(|word| match word {
            "SNAPSHOT" => &*snapshot,
            word => word,
        });
        Command::new(&self.program)
            .arg(format!("--endpoints={}", self.endpoint))
            .args(arguments)
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))
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
