//! The server's `grpc-proxy` in front of members.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cairn_testbed::ports::free_address;
use tokio::net::TcpStream;

use crate::certificates::{Certificates, NAMELESS};
use crate::server_process::ServerCommand;

/// How long a proxy may take until it listens.
const READY_MAX: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(20);

/// A running proxy; its process ends with this.
pub(crate) struct Proxy {
    child: Child,
    address: SocketAddr,
    scheme: &'static str,
}

impl Proxy {
    /// Starts one in front of the members at these URLs, with its log under `home`, and waits until it
    /// listens. With certificates, its clients must have one of the same authority.
    pub(crate) async fn start(
        command: &ServerCommand,
        home: &Path,
        members: &str,
        namespace: &str,
        certificates: Option<&Certificates>,
    ) -> Result<Self> {
        let address = free_address()?;
        let path = home.join("proxy.log");
        let log = File::create(&path)?;
        let mut process = command.command();
        process.args(["grpc-proxy", "start"]).args([
            format!("--listen-addr={address}"),
            format!("--advertise-client-url={address}"),
            format!("--endpoints={members}"),
            format!("--namespace={namespace}"),
        ]);
        if let Some(certificates) = certificates {
            let authority = certificates.authority();
            for (flag, file) in [
                ("cert-file", certificates.certificate("server")),
                ("key-file", certificates.key("server")),
                ("trusted-ca-file", authority.clone()),
                ("cert", certificates.certificate(NAMELESS)),
                ("key", certificates.key(NAMELESS)),
                ("cacert", authority),
            ] {
                process.arg(format!("--{flag}={}", file.display()));
            }
        }
        let child = process.stdout(log.try_clone()?).stderr(log).spawn();
        let mut proxy = Self {
            child: child.with_context(|| format!("starting {}", command.name()))?,
            address,
            scheme: if certificates.is_some() {
                "https"
            } else {
                "http"
            },
        };
        let deadline = Instant::now() + READY_MAX;
        while TcpStream::connect(address).await.is_err() {
            let ended = proxy.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                bail!("the proxy does not listen ({ended:?}):\n{log}");
            }
            tokio::time::sleep(READY_POLL).await;
        }
        Ok(proxy)
    }

    /// Where clients find it.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself; in any case nothing more can be done.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
