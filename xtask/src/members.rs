//! Members of one cluster that we started, in plain text or secured with certificates.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cairn_testbed::ports::free_address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::certificates::Certificates;
use crate::server_process::ServerCommand;

/// How long a cluster may take until every member answers.
const READY_MAX: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(20);
/// How long a member may take to say how it is.
const HEALTH_MAX: Duration = Duration::from_secs(5);
/// How much of the log an error shows.
const LOG_BYTES_SHOWN: usize = 2000;

/// Where a member serves HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpPlace {
    /// At the address that serves gRPC.
    WithGrpc,
    /// At an address of its own.
    Apart,
}

/// Running members; their processes end with this.
#[derive(Debug)]
pub(crate) struct Members {
    members: Vec<Member>,
    scheme: &'static str,
}

#[derive(Debug)]
struct Member {
    name: String,
    home: PathBuf,
    client: SocketAddr,
    peer: SocketAddr,
    /// Where HTTP is served, if not where gRPC is.
    http: Option<SocketAddr>,
    /// Serves health in plain text, whatever clients and peers speak.
    health: SocketAddr,
    child: Option<Child>,
}

impl Members {
    /// Starts so many members with their data under `home`, and waits until each answers. With
    /// certificates, clients and peers must have one of the same authority.
    pub(crate) async fn start(
        command: &ServerCommand,
        home: &Path,
        count: usize,
        certificates: Option<&Certificates>,
        http: HttpPlace,
    ) -> Result<Self> {
        let scheme = if certificates.is_some() {
            "https"
        } else {
            "http"
        };
        let mut members = Self {
            members: Vec::new(),
            scheme,
        };
        for number in 1..=count {
            let name = format!("m{number}");
            members.members.push(Member {
                home: home.join(&name),
                name,
                client: free_address()?,
                peer: free_address()?,
                http: match http {
                    HttpPlace::WithGrpc => None,
                    HttpPlace::Apart => Some(free_address()?),
                },
                health: free_address()?,
                child: None,
            });
        }
        // Lists of members are ordered by these.
        let mut peers: Vec<_> = members.members.iter().map(|member| member.peer).collect();
        peers.sort();
        for (member, peer) in members.members.iter_mut().zip(peers) {
            member.peer = peer;
        }
        let entries = members.members.iter();
        let entries = entries.map(|member| format!("{}={scheme}://{}", member.name, member.peer));
        let initial = entries.collect::<Vec<_>>().join(",");
        for member in &mut members.members {
            member.start(command, scheme, &initial, certificates)?;
        }
        for member in &mut members.members {
            member.wait_until_healthy().await?;
        }
        Ok(members)
    }

    /// Where clients find them, those of HTTP if it is served apart, with commas between.
    pub(crate) fn endpoints(&self) -> String {
        let urls = self.members.iter().map(|member| {
            let address = member.http.unwrap_or(member.client);
            format!("{}://{address}", self.scheme)
        });
        urls.collect::<Vec<_>>().join(",")
    }
}

impl Member {
    fn start(
        &mut self,
        command: &ServerCommand,
        scheme: &str,
        initial: &str,
        certificates: Option<&Certificates>,
    ) -> Result<()> {
        std::fs::create_dir_all(&self.home)?;
        let log = File::create(self.log_path())?;
        let (client, peer) = (self.client, self.peer);
        let mut flags = vec![
            format!("--name={}", self.name),
            format!("--data-dir={}", self.home.join("data").display()),
            format!("--listen-client-urls={scheme}://{client}"),
            format!("--advertise-client-urls={scheme}://{client}"),
            format!("--listen-peer-urls={scheme}://{peer}"),
            format!("--initial-advertise-peer-urls={scheme}://{peer}"),
            format!("--initial-cluster={initial}"),
            format!("--listen-metrics-urls=http://{}", self.health),
            "--bcrypt-cost=4".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        if let Some(http) = self.http {
            flags.push(format!("--listen-client-http-urls={scheme}://{http}"));
        }
        if let Some(certificates) = certificates {
            for prefix in ["", "peer-"] {
                let path =
                    |flag: &str, path: PathBuf| format!("--{prefix}{flag}={}", path.display());
                flags.push(path("cert-file", certificates.certificate("server")));
                flags.push(path("key-file", certificates.key("server")));
                flags.push(path("trusted-ca-file", certificates.authority()));
                flags.push(format!("--{prefix}client-cert-auth"));
            }
        }
        let child = command
            .command()
            .args(flags)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", command.name()))?;
        self.child = Some(child);
        Ok(())
    }

    async fn wait_until_healthy(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            let health = tokio::time::timeout(HEALTH_MAX, health(self.health)).await;
            if matches!(health, Ok(Ok(true))) {
                return Ok(());
            }
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?;
            if let Some(Some(status)) = ended {
                bail!("{} ended with {status}:\n{}", self.name, self.log_end());
            }
            if Instant::now() > deadline {
                bail!("{} is not healthy:\n{}", self.name, self.log_end());
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    fn log_path(&self) -> PathBuf {
        self.home.join("log")
    }

    fn log_end(&self) -> String {
        let text = std::fs::read(self.log_path()).unwrap_or_default();
        let from = text.len().saturating_sub(LOG_BYTES_SHOWN);
        String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; in any case nothing more can be done.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Whether a member says that it has a leader and reads.
async fn health(address: SocketAddr) -> Result<bool> {
    is_ok(address, "/health").await
}

/// Whether a server answers a GET of this path with 200.
pub(crate) async fn is_ok(address: SocketAddr, path: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1) == Some("200"))
}
