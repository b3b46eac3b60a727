//! One member: its name, directory and addresses, which it keeps when it is started again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::endpoint::Endpoint;
use crate::running_server::RunningServer;
use crate::server_command::ServerCommand;

/// Where a server's certificate and its key are made, for clients that speak TLS.
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
/// Space for data: more than any scenario writes.
const QUOTA_BYTES: u64 = 16 << 30;

/// A server and its place in a cluster: all that it takes to start it, and to start it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    command: ServerCommand,
    name: String,
    home: PathBuf,
    client: Endpoint,
    peer: Endpoint,
    initial_cluster: String,
}

impl Member {
    /// The only member of a cluster, with its data under `home`.
    ///
    /// # Errors
    ///
    /// If no port is free, or the directory cannot be made.
    pub fn alone(command: &ServerCommand, home: &Path) -> Result<Self> {
        let all = Self::place(command, &[home.to_owned()])?;
        all.into_iter().next().context("no member")
    }

    /// The members of a new cluster, each with its data in a directory of its own under `home`.
    ///
    /// # Errors
    ///
    /// As [`Member::alone`].
    pub fn several(command: &ServerCommand, home: &Path, count: usize) -> Result<Vec<Self>> {
        let homes: Vec<_> = (0..count)
            .map(|number| home.join(format!("member-{number}")))
            .collect();
        Self::place(command, &homes)
    }

    fn place(command: &ServerCommand, homes: &[PathBuf]) -> Result<Vec<Self>> {
        let clients = Endpoint::free(2 * homes.len()).context("looking for free ports")?;
        let (clients, peers) = clients.split_at(homes.len());
        let name = |number| format!("bench-{number}");
        let pairs = peers.iter().enumerate();
        let initial_cluster: Vec<String> = pairs
            .map(|(number, peer)| format!("{}={}", name(number), peer.url()))
            .collect();
        let initial_cluster = initial_cluster.join(",");
        let addresses = clients.iter().zip(peers);
        let members = homes.iter().zip(addresses).enumerate();
        members
            .map(|(number, (home, (client, peer)))| {
                std::fs::create_dir_all(home)
                    .with_context(|| format!("making {}", home.display()))?;
                if command.is_tls() {
                    certify(home).context("making a certificate")?;
                }
                Ok(Self {
                    command: command.clone(),
                    name: name(number),
                    home: home.clone(),
                    client: client.with_tls(command.is_tls()),
                    peer: *peer,
                    initial_cluster: initial_cluster.clone(),
                })
            })
            .collect()
    }

    /// Where its clients connect.
    #[must_use]
    pub fn client(&self) -> Endpoint {
        self.client
    }

    /// The directory of its data and log.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The file of its output.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    /// Starts it, and waits until it answers a linearizable read.
    ///
    /// # Errors
    ///
    /// As [`Member::spawn`], and if it does not answer; the error names the log.
    pub fn start(&self) -> Result<RunningServer> {
        let mut server = self.spawn()?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts it, and does not wait for anything.
    ///
    /// # Errors
    ///
    /// If the program cannot be started, or its log cannot be opened.
    pub fn spawn(&self) -> Result<RunningServer> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let started = Instant::now();
        let child = self
            .command
            .command()?
            .args(self.flags())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.command.line()))?;
        Ok(RunningServer::new(child, self.clone(), started))
    }

    /// The flags that etcd and Cairn both take.
    fn flags(&self) -> Vec<String> {
        let (client, peer) = (self.client.url(), self.peer.url());
        let mut flags = vec![
            format!("--name={}", self.name),
            format!("--data-dir={}", self.home.join("data").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", self.initial_cluster),
            "--log-level=warn".to_owned(),
            format!("--quota-backend-bytes={QUOTA_BYTES}"),
        ];
        if self.client.is_tls() {
            let at = |name| self.home.join(name);
            flags.push(format!("--cert-file={}", at(CERTIFICATE).display()));
            flags.push(format!("--key-file={}", at(KEY).display()));
        }
        flags
    }
}

/// Makes a certificate in `home`, unless there is one. What servers make for themselves differs in its
/// cost, and etcd's is on a curve that not every client knows.
fn certify(home: &Path) -> Result<()> {
    let (certificate, key) = (home.join(CERTIFICATE), home.join(KEY));
    if certificate.exists() {
        return Ok(());
    }
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    std::fs::write(key, made.signing_key.serialize_pem())?;
    std::fs::write(certificate, made.cert.pem())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize) -> (tempfile::TempDir, Vec<Member>) {
        let home = tempfile::tempdir().unwrap();
        let command = ServerCommand::parse("etcd").unwrap();
        let members = Member::several(&command, home.path(), count).unwrap();
        (home, members)
    }

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_its_log() {
        let home = tempfile::tempdir().unwrap();
        let command = ServerCommand::parse("false").unwrap();
        let error = Member::alone(&command, home.path())
            .unwrap()
            .start()
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("exit status: 1") && text.contains("log"),
            "{text}"
        );
    }

    #[test]
    fn flags_name_only_loopback_addresses() {
        let (_home, members) = members(1);
        let flags = members[0].flags();
        let urls = flags.iter().filter(|flag| flag.contains("://"));
        assert!(urls.clone().all(|flag| flag.contains("http://127.0.0.1:")));
        assert_eq!(urls.count(), 5);
    }

    #[test]
    fn members_share_the_cluster_and_nothing_else() {
        let (_home, members) = members(3);
        for member in &members {
            let own = format!("{}={}", member.name, member.peer.url());
            assert!(member.initial_cluster.split(',').any(|entry| entry == own));
            assert_eq!(member.initial_cluster, members[0].initial_cluster);
        }
        let mut addresses: Vec<_> = members
            .iter()
            .flat_map(|member| [member.client.url(), member.peer.url()])
            .collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 6);
    }
}
