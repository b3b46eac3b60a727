//! Where members live: ports of the loopback, or a network namespace each, with an address of its own.
//!
//! Namespaces hang on one bridge, and a member is cut off from another by a route that leads nowhere:
//! only what it sends is lost, so a cut has a direction. They need root and Linux's `ip`; without,
//! members live on the loopback and nobody is cut off.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};
use cairn_testbed::ports::free_address;

use crate::server_process::ServerCommand;

/// Ports within a namespace, where nobody else lives.
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// A network for one cluster; what it made is gone when it is dropped.
#[derive(Debug)]
pub(crate) enum Network {
    /// All on the loopback.
    Loopback,
    /// A namespace for each.
    Namespaces(Namespaces),
}

/// A bridge and the namespaces on it.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// Begins all names, so that runs side by side have their own.
    prefix: String,
    /// Three of the four numbers of all addresses.
    subnet: [u8; 3],
    places: u8,
}

/// Where a member lives.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where clients find it.
    pub(crate) client: SocketAddr,
    /// Where the other members find it.
    pub(crate) peer: SocketAddr,
    /// Its namespace, if it has one.
    namespace: Option<String>,
}

impl Network {
    /// Namespaces if they can be had, else the loopback, and why.
    pub(crate) fn new(wanted: bool) -> (Self, Option<String>) {
        if !wanted {
            return (Self::Loopback, None);
        }
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let [_, _, high, low] = id.wrapping_mul(257).wrapping_add(made).to_be_bytes();
        let mut namespaces = Namespaces {
            // What is gone may still be on its way out: no two have the same names.
            prefix: format!("ct{:x}.{made}", id % 0x1_0000),
            // The range for tests of networks: 198.18.0.0/15.
            subnet: [198, 18 + high % 2, low],
            places: 0,
        };
        match namespaces.raise() {
            Ok(()) => (Self::Namespaces(namespaces), None),
            Err(why) => (Self::Loopback, Some(format!("{why:#}"))),
        }
    }

    /// Whether members can be cut off.
    pub(crate) fn can_cut(&self) -> bool {
        matches!(self, Self::Namespaces(_))
    }

    /// A place for one more member.
    pub(crate) fn place(&mut self) -> Result<Place> {
        match self {
            Self::Loopback => Ok(Place {
                client: free_address()?,
                peer: free_address()?,
                namespace: None,
            }),
            Self::Namespaces(namespaces) => namespaces.place(),
        }
    }

    /// Loses what one place sends to another from now on.
    pub(crate) fn cut(&self, from: &Place, to: &Place) -> Result<()> {
        Self::route("replace", from, to)
    }

    /// Lets it through again.
    pub(crate) fn heal(&self, from: &Place, to: &Place) -> Result<()> {
        Self::route("del", from, to)
    }

    fn route(verb: &str, from: &Place, to: &Place) -> Result<()> {
        let Some(namespace) = &from.namespace else {
            bail!("on the loopback nobody can be cut off");
        };
        let to = to.peer.ip();
        ip(&format!("-n {namespace} route {verb} blackhole {to}/32"))
    }
}

impl Namespaces {
    fn bridge(&self) -> String {
        format!("{}b", self.prefix)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [one, two, three] = self.subnet;
        Ipv4Addr::new(one, two, three, last)
    }

    fn raise(&mut self) -> Result<()> {
        let bridge = self.bridge();
        ip(&format!("link add {bridge} type bridge"))?;
        let ours = self.address(254);
        ip(&format!("addr add {ours}/24 dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))?;
        // Whether namespaces can be had at all is only known when one was.
        self.place().map(drop)
    }

    fn place(&mut self) -> Result<Place> {
        self.places += 1;
        let (number, bridge) = (self.places, self.bridge());
        let namespace = format!("{}-{number}", self.prefix);
        let outside = format!("{}v{number}", self.prefix);
        let address = self.address(number);
        for command in [
            format!("netns add {namespace}"),
            format!("link add {outside} type veth peer name eth0 netns {namespace}"),
            format!("link set {outside} master {bridge}"),
            format!("link set {outside} up"),
            format!("-n {namespace} addr add {address}/24 dev eth0"),
            format!("-n {namespace} link set eth0 up"),
            format!("-n {namespace} link set lo up"),
        ] {
            ip(&command)?;
        }
        Ok(Place {
            client: (address, CLIENT_PORT).into(),
            peer: (address, PEER_PORT).into(),
            namespace: Some(namespace),
        })
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for number in 1..=self.places {
            // Connections on their way out keep a namespace for a while, and with it its cable.
            drop(ip(&format!("link del {}v{number}", self.prefix)));
            drop(ip(&format!("netns del {}-{number}", self.prefix)));
        }
        drop(ip(&format!("link del {}", self.bridge())));
    }
}

impl Place {
    /// A command that runs a server here.
    pub(crate) fn command(&self, server: &ServerCommand) -> Command {
        let Some(namespace) = &self.namespace else {
            return server.command();
        };
        let mut wrapper = Command::new("ip");
        wrapper.args(["netns", "exec", namespace]);
        server.command_through(wrapper)
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("ip {arguments}: {}", error.trim())
        }
        Err(error) => bail!("ip: {error}"),
    }
}
