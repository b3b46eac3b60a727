//! Plays a script over HTTP, and tells answers in a form that can be compared.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::script::V2Step;
use crate::server_process::ServerProcess;

/// How long nothing more must come for a wait to have got all it gets.
const QUIET: Duration = Duration::from_millis(300);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Headers that differ from server to server.
const OF_THE_SERVER: [&str; 6] = [
    "date",
    "connection",
    "content-length",
    "x-raft-index",
    "x-raft-term",
    "x-etcd-cluster-id",
];

/// Plays a script: what each step was answered, and at the end what those got who waited.
pub(super) async fn play(server: &ServerProcess, script: &[V2Step]) -> Result<Vec<String>> {
    let address: SocketAddr = server.url().trim_start_matches("http://").parse()?;
    wait_for_version(address).await?;
    let first = ask(address, "GET", "/v2/keys", None).await?;
    let base = index_of(&first).context("an answer without an index")?;
    let mut answers = Vec::new();
    let mut waiting = Vec::new();
    for step in script {
        match step {
            V2Step::Ask { method, path, form } => {
                let answer = ask(address, method, path, form.as_deref()).await?;
                answers.push(told_whole(&answer, base));
            }
            V2Step::Wait { path, from } => {
                let path = match from {
                    Some(from) => format!("{path}&waitIndex={}", from + base),
                    None => path.clone(),
                };
                waiting.push((answers.len(), begin(address, &path).await?));
                answers.push(String::new());
            }
        }
    }
    for (place, mut waiting) in waiting {
        read_until_quiet(&mut waiting.stream, &mut waiting.answer).await?;
        if let Some(answer) = answers.get_mut(place) {
            *answer = told(&waiting.answer, base);
        }
    }
    Ok(answers)
}

/// Waits until the cluster has agreed on its version: etcd 3.4 keeps that in the tree, so its index
/// grows then.
async fn wait_for_version(address: SocketAddr) -> Result<()> {
    const POLL: Duration = Duration::from_millis(20);

    let agreed = async {
        loop {
            let answer = ask(address, "GET", "/version", None).await?;
            if !String::from_utf8_lossy(&answer).contains("not_decided") {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, agreed).await?
}

struct Waiting {
    stream: TcpStream,
    answer: Vec<u8>,
}

async fn begin(address: SocketAddr, path: &str) -> Result<Waiting> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // With the head it is known to wait.
    while !answer.windows(4).any(|it| it == b"\r\n\r\n") {
        let read = stream.read_buf(&mut answer);
        anyhow::ensure!(
            tokio::time::timeout(PATIENCE, read).await?? > 0,
            "no answer"
        );
    }
    Ok(Waiting { stream, answer })
}

async fn read_until_quiet(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    while let Ok(read) = tokio::time::timeout(QUIET, stream.read_buf(answer)).await {
        if read? == 0 {
            break;
        }
    }
    Ok(())
}

async fn ask(address: SocketAddr, method: &str, path: &str, form: Option<&str>) -> Result<Vec<u8>> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    if let Some(form) = form {
        let len = form.len();
        request += "Content-Type: application/x-www-form-urlencoded\r\n";
        request += &format!("Content-Length: {len}\r\n\r\n{form}");
    } else {
        request += "\r\n";
    }
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
    Ok(answer)
}

fn index_of(answer: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let line = text
        .lines()
        .find_map(|it| it.strip_prefix("x-etcd-index: "))?;
    line.trim().parse().ok()
}

/// An answer that comes whole. Whether it comes in chunks is left to HTTP: Go's server writes what is
/// longer than 2 KiB so.
fn told_whole(answer: &[u8], base: u64) -> String {
    let told = told(answer, base);
    told.replace("transfer-encoding: chunked\n", "")
        .replace("(end)", "")
}

/// An answer without what is the server's own.
fn told(answer: &[u8], base: u64) -> String {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default().to_owned();
    let mut headers: Vec<String> = Vec::new();
    let mut is_chunked = false;
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        let name = name.to_ascii_lowercase();
        is_chunked |= name == "transfer-encoding";
        if name == "x-etcd-index" {
            let index: u64 = value.parse().unwrap_or_default();
            headers.push(format!("{name}: {}", index.saturating_sub(base)));
        } else if !OF_THE_SERVER.contains(&name.as_str()) {
            headers.push(format!("{name}: {value}"));
        }
    }
    headers.sort_unstable();
    let body = if is_chunked {
        without_chunks(body)
    } else {
        body.to_owned()
    };
    format!(
        "{status}\n{}\n{}",
        headers.join("\n"),
        relative(&body, base)
    )
}

/// A chunked body as lines, and how it ends.
fn without_chunks(body: &str) -> String {
    let lines = body.split("\r\n").enumerate().map(|(place, line)| {
        if place % 2 == 0 && line == "0" {
            "(end)"
        } else if place % 2 == 0 {
            ""
        } else {
            line
        }
    });
    lines.collect()
}

/// A body with indexes counted from `base`, and without times.
fn relative(body: &str, base: u64) -> String {
    let mut out = String::new();
    let mut rest = body;
    let names = [
        "Index\":",
        "\"index\":",
        "\"expiration\":\"",
        "\"ttl\":",
        " != ",
    ];
    while let Some((at, name)) = names
        .iter()
        .filter_map(|name| rest.find(name).map(|at| (at, *name)))
        .min()
    {
        let (before, after) = rest.split_at(at + name.len());
        out += before;
        let end = if name.ends_with('"') {
            after.find('"')
        } else {
            after.find(|it: char| !it.is_ascii_digit())
        };
        let (value, after) = after.split_at(end.unwrap_or(after.len()));
        match value.parse::<u64>() {
            Ok(number) if name != "\"ttl\":" && number >= base => {
                out += &(number - base).to_string();
            }
            Ok(_) if name != "\"ttl\":" => out += value,
            _ if value.is_empty() => {}
            _ => out.push('*'),
        }
        rest = after;
    }
    out += rest;
    with_relative_names(&out, base)
}

/// Names of nodes in order are indexes too.
fn with_relative_names(text: &str, base: u64) -> String {
    let parts = text.split('/').map(|part| {
        let name = part.split_at_checked(20);
        let number = name.and_then(|(digits, rest)| Some((digits.parse::<u64>().ok()?, rest)));
        match number {
            Some((number, rest)) => format!("{:020}{rest}", number.saturating_sub(base)),
            None => part.to_owned(),
        }
    });
    parts.collect::<Vec<_>>().join("/")
}
