//! What a process shows: its version, flags, exit codes, log lines, and what is there after a restart.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cairn_proto::etcdserverpb as pb;
use cairn_testbed::ports::free_address;
use rustix::process::{Pid, Signal, kill_process};

use super::context::Context;
use super::expect::same;
use super::page;
use super::rule::rules;

rules!("process", true;
    V3_4 {
        a_version_is_four_lines,
        an_unknown_flag_ends_with_code_two_and_its_name,
        a_malformed_value_ends_with_code_two,
        of_a_flag_given_twice_the_last_counts,
        one_dash_is_as_good_as_two,
        a_setting_by_flag_and_by_variable_is_fatal,
        a_variable_is_a_setting,
        an_unknown_variable_is_passed_over,
        a_configuration_file_replaces_flags,
        a_fresh_store_is_at_revision_one,
        the_first_write_is_revision_two,
        a_termination_signal_ends_it,
        what_was_acknowledged_is_there_after_a_kill,
        bootstrap_flags_are_passed_over_on_a_restart,
        identifiers_follow_from_urls_and_token,
    }
    V3_5 {
        log_lines_are_json_with_four_fields,
        it_says_when_it_is_ready,
        a_start_logs_no_error,
    }
);

fn output(c: &Context, arguments: &[&str]) -> Result<(ExitStatus, String)> {
    let output = c.server()?.command().args(arguments).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status, String::from_utf8_lossy(&text).into_owned()))
}

async fn a_version_is_four_lines(c: Context) -> Result<()> {
    let (status, text) = output(&c, &["--version"])?;
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|it| it.0)
        .collect();
    same(
        "names",
        &names,
        &vec!["etcd Version", "Git SHA", "Go Version", "Go OS/Arch"],
    )?;
    same("code", &status.code(), &Some(0))
}

async fn an_unknown_flag_ends_with_code_two_and_its_name(c: Context) -> Result<()> {
    let (status, text) = output(&c, &["--no-such-flag=1"])?;
    ensure!(
        status.code() == Some(2) && text.contains("no-such-flag"),
        "{status}: {text}"
    );
    Ok(())
}

async fn a_malformed_value_ends_with_code_two(c: Context) -> Result<()> {
    let (status, text) = output(&c, &["--snapshot-count=many"])?;
    ensure!(
        status.code() == Some(2) && text.contains("many"),
        "{status}: {text}"
    );
    Ok(())
}

/// A process on a folder of its own, whose log is in a file there.
struct Process {
    child: Child,
    authority: String,
    log: std::path::PathBuf,
}

impl Process {
    /// Starts it with further flags and variables, and waits until it serves.
    async fn start(
        c: &Context,
        folder: &Path,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let client = free_address()?;
        let peer = free_address()?;
        let mut command = c.server()?.command();
        command.args([
            format!("--data-dir={}", folder.join("data").display()),
            format!("--listen-client-urls=http://{client}"),
            format!("--advertise-client-urls=http://{client}"),
            format!("--listen-peer-urls=http://{peer}"),
        ]);
        if !flags.iter().any(|flag| flag.contains("initial-cluster=")) {
            command.arg(format!("--initial-advertise-peer-urls=http://{peer}"));
            command.arg(format!("--initial-cluster=default=http://{peer}"));
        }
        command.args(flags).envs(variables.iter().copied());
        Self::spawn(command, client.to_string(), folder).await
    }

    async fn spawn(mut command: Command, authority: String, folder: &Path) -> Result<Self> {
        let log = folder.join("log");
        let file = std::fs::File::create(&log)?;
        let child = command.stdout(Stdio::null()).stderr(file).spawn()?;
        let mut process = Self {
            child,
            authority,
            log,
        };
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            if let Ok(page) = page::get(&process.authority, "/health").await
                && page.status == 200
            {
                return Ok(process);
            }
            if process.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("not there: {}", process.text());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn context(&self) -> Result<Context> {
        Context::of_endpoint(&format!("http://{}", self.authority)).await
    }

    async fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?).context("no process")?;
        kill_process(id, signal)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "it goes on after {signal:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn name(process: &Process) -> Result<String> {
    let c = process.context().await?;
    let request = pb::MemberListRequest {
        linearizable: false,
    };
    let members = c.cluster().member_list(request).await?.into_inner().members;
    Ok(members
        .first()
        .map(|member| member.name.clone())
        .unwrap_or_default())
}

async fn of_a_flag_given_twice_the_last_counts(c: Context) -> Result<()> {
    let flags = ["--max-txn-ops=1", "--max-txn-ops=2"];
    let process = Process::start(&c, &c.folder(), &flags, &[]).await?;
    let c = process.context().await?;
    let range = || pb::RequestOp {
        request: Some(pb::request_op::Request::RequestRange(c.one("a"))),
    };
    let success = vec![range(), range()];
    c.ask_txn(pb::TxnRequest {
        success,
        ..Default::default()
    })
    .await?;
    Ok(())
}

async fn one_dash_is_as_good_as_two(c: Context) -> Result<()> {
    let process =
        Process::start(&c, &c.folder(), &["-max-txn-ops", "200", "-pre-vote"], &[]).await?;
    same("name", &name(&process).await?.as_str(), &"default")
}

async fn a_setting_by_flag_and_by_variable_is_fatal(c: Context) -> Result<()> {
    let folder = c.folder();
    let flags = ["--max-txn-ops=1"];
    let started = Process::start(&c, &folder, &flags, &[("ETCD_MAX_TXN_OPS", "2")]).await;
    ensure!(started.is_err(), "it starts");
    Ok(())
}

async fn a_variable_is_a_setting(c: Context) -> Result<()> {
    let variables = [("ETCD_MAX_TXN_OPS", "1")];
    let process = Process::start(&c, &c.folder(), &[], &variables).await?;
    let c = process.context().await?;
    let range = || pb::RequestOp {
        request: Some(pb::request_op::Request::RequestRange(c.one("a"))),
    };
    let success = vec![range(), range()];
    let answer = c
        .ask_txn(pb::TxnRequest {
            success,
            ..Default::default()
        })
        .await;
    ensure!(answer.is_err(), "two operations are let through");
    Ok(())
}

async fn an_unknown_variable_is_passed_over(c: Context) -> Result<()> {
    let variables = [("ETCD_NO_SUCH_FLAG", "1")];
    Process::start(&c, &c.folder(), &[], &variables)
        .await
        .map(drop)
}

async fn a_configuration_file_replaces_flags(c: Context) -> Result<()> {
    let folder = c.folder();
    std::fs::create_dir_all(&folder)?;
    let (client, peer) = (free_address()?, free_address()?);
    let file = folder.join("etcd.yaml");
    let text = format!(
        "name: filed\ndata-dir: {}\nlisten-client-urls: http://{client}\nadvertise-client-urls: http://{client}\n\
         listen-peer-urls: http://{peer}\ninitial-advertise-peer-urls: http://{peer}\n\
         initial-cluster: filed=http://{peer}\n",
        folder.join("data").display()
    );
    std::fs::write(&file, text)?;
    let mut command = c.server()?.command();
    command
        .arg("--name=flagged")
        .arg(format!("--config-file={}", file.display()));
    let process = Process::spawn(command, client.to_string(), &folder).await?;
    same("name", &name(&process).await?.as_str(), &"filed")
}

async fn a_fresh_store_is_at_revision_one(c: Context) -> Result<()> {
    let (_server, fresh) = c.fresh(&[]).await?;
    same("revision", &fresh.current().await?, &1)
}

async fn the_first_write_is_revision_two(c: Context) -> Result<()> {
    let (_server, fresh) = c.fresh(&[]).await?;
    same("revision", &fresh.put("a", "x").await?, &2)
}

async fn a_termination_signal_ends_it(c: Context) -> Result<()> {
    use std::os::unix::process::ExitStatusExt as _;

    let mut process = Process::start(&c, &c.folder(), &[], &[]).await?;
    let status = process.end(Signal::TERM).await?;
    same("signal", &status.signal(), &Some(15))
}

async fn what_was_acknowledged_is_there_after_a_kill(c: Context) -> Result<()> {
    let (mut server, fresh) = c.fresh(&[]).await?;
    let mut last = 0;
    for number in 0..100 {
        last = fresh.put("a", &number.to_string()).await?;
    }
    let key = fresh.one("a");
    server.restart().await?;
    let again = Context::of_endpoint(&server.url()).await?;
    let kv = again.ask_range(key).await?.kvs.pop().unwrap_or_default();
    same(
        "pair",
        &(kv.value.as_ref(), kv.mod_revision),
        &(&b"99"[..], last),
    )
}

async fn bootstrap_flags_are_passed_over_on_a_restart(c: Context) -> Result<()> {
    let folder = c.folder();
    let mut process = Process::start(&c, &folder, &[], &[]).await?;
    let before = process
        .context()
        .await?
        .status()
        .await?
        .header
        .unwrap_or_default();
    process.end(Signal::TERM).await?;
    let flags = ["--initial-cluster-token=another"];
    let process = Process::start(&c, &folder, &flags, &[]).await?;
    let after = process
        .context()
        .await?
        .status()
        .await?
        .header
        .unwrap_or_default();
    same("cluster", &after.cluster_id, &before.cluster_id)
}

async fn identifiers_follow_from_urls_and_token(c: Context) -> Result<()> {
    let flags = [
        "--initial-cluster=default=http://localhost:20001",
        "--initial-advertise-peer-urls=http://localhost:20001",
        "--initial-cluster-token=new",
    ];
    let folder = c.folder();
    let process = Process::start(&c, &folder, &flags, &[]).await?;
    let one = process
        .context()
        .await?
        .status()
        .await?
        .header
        .unwrap_or_default();
    drop(process);
    let process = Process::start(&c, &folder.join("again"), &flags, &[]).await?;
    let two = process
        .context()
        .await?
        .status()
        .await?
        .header
        .unwrap_or_default();
    same(
        "identifiers",
        &(one.member_id, one.cluster_id),
        &(two.member_id, two.cluster_id),
    )?;
    same(
        "member",
        &format!("{:x}", one.member_id).as_str(),
        &"ca50e9357181d758",
    )
}

/// The log of a start and a stop in good order.
async fn logged(c: &Context) -> Result<Vec<serde_json::Value>> {
    let mut process = Process::start(c, &c.folder(), &[], &[]).await?;
    process.end(Signal::TERM).await?;
    let text = process.text();
    let line =
        |line: &str| serde_json::from_str(line).with_context(|| format!("{line:?} is no JSON"));
    text.lines().map(line).collect()
}

async fn log_lines_are_json_with_four_fields(c: Context) -> Result<()> {
    for line in logged(&c).await? {
        for field in ["level", "ts", "caller", "msg"] {
            let value = line.get(field).and_then(serde_json::Value::as_str);
            ensure!(
                value.is_some_and(|value| !value.is_empty()),
                "{field} in {line}"
            );
        }
    }
    Ok(())
}

async fn it_says_when_it_is_ready(c: Context) -> Result<()> {
    let ready = "ready to serve client requests";
    ensure!(
        logged(&c)
            .await?
            .iter()
            .any(|line| line.get("msg") == Some(&ready.into()))
    );
    Ok(())
}

async fn a_start_logs_no_error(c: Context) -> Result<()> {
    let lines = logged(&c).await?;
    let stop = lines.iter().position(|line| {
        let text = line.get("msg").and_then(serde_json::Value::as_str);
        text.is_some_and(|text| text.contains("signal"))
    });
    let started = lines.get(..stop.unwrap_or(lines.len())).unwrap_or_default();
    let bad = started
        .iter()
        .find(|line| line.get("level") == Some(&"error".into()));
    same("a line", &bad, &None)
}
