//! Pages over HTTP/1.1, read as they come.

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Page {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{self:?} is no JSON"))
    }
}

/// Gets a page.
pub(super) async fn get(authority: &str, path: &str) -> Result<Page> {
    ask(authority, "GET", path, &[], "").await
}

/// Posts JSON.
pub(super) async fn post(authority: &str, path: &str, body: &str) -> Result<Page> {
    ask(authority, "POST", path, &[], body).await
}

/// Asks with any method, and headers as `Name: value`.
pub(super) async fn ask(
    authority: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Result<Page> {
    let mut stream = TcpStream::connect(authority).await?;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("no end of the head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    Ok(Page {
        status,
        body: if chunked {
            joined(body)
        } else {
            body.to_owned()
        },
        head: head.to_owned(),
    })
}

/// A body in chunks, as one.
fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|_| size > 0) else {
            break;
        };
        whole.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}
