//! Finding the members of a new cluster where they are not named one by one.
//!
//! Both ways end in the text of `--initial-cluster`, `name=url,name=url`, so that what follows is the
//! same for all: [`srv`] asks the DNS, [`registry`] a cluster of etcd's at which members register.

pub(crate) mod registry;
pub(crate) mod srv;

use crate::net::tls::TlsError;

/// Why the members were not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    /// The DNS does not answer, or not with what is needed.
    #[error(
        "cannot find the members of --discovery-srv {domain} in the DNS: {reason}. There must be \
         SRV records _etcd-server._tcp.{domain} (or _etcd-server-ssl) for every member, this one \
         with the address of --initial-advertise-peer-urls"
    )]
    Dns {
        /// What was asked for.
        domain: String,
        /// What went wrong.
        reason: String,
    },
    /// The size of the cluster is not registered.
    #[error(
        "discovery: size key not found. Put the number of members under \
         /_etcd/registry/<token>/_config/size at the discovery service"
    )]
    SizeNotFound,
    /// The size of the cluster is no number above zero.
    #[error("discovery: size key is bad: it must be a number above zero, and is {text:?}")]
    BadSize {
        /// What it is.
        text: String,
    },
    /// All places are taken.
    #[error("discovery: cluster is full. Join it with --initial-cluster-state=existing instead")]
    Full,
    /// The service cannot be used like this.
    #[error("discovery: {0}")]
    Endpoints(String),
    /// The files of TLS towards the service cannot be used.
    #[error("discovery: {0}")]
    Tls(#[from] TlsError),
    /// The service refuses, for good.
    #[error("discovery: {0}")]
    Refused(String),
}
