//! Who knows the members of a new cluster, if the flags do not.

use std::time::Duration;

use super::tls::ServiceTls;

/// Who knows the members of a new cluster, if the settings do not.
#[derive(Clone, Debug)]
pub(crate) enum Discovery {
    /// Nobody: the settings do.
    None,
    /// The DNS.
    Srv(SrvSettings),
    /// A discovery service.
    Registry(RegistrySettings),
}

/// Where the members' records are, and which of them is this member.
#[derive(Clone, Debug)]
pub(crate) struct SrvSettings {
    /// `--discovery-srv`.
    pub domain: String,
    /// `--discovery-srv-name`: what follows the service's name.
    pub service_name: String,
}

/// How to reach the service.
#[derive(Clone, Debug)]
pub(crate) struct RegistrySettings {
    /// Its addresses.
    pub endpoints: Vec<String>,
    /// The cluster that is to be.
    pub token: String,
    /// How to speak with it, unless it is in plain text.
    pub tls: Option<ServiceTls>,
    /// Time to connect.
    pub dial_timeout: Duration,
    /// Time for one request.
    pub request_timeout: Duration,
    /// Time between pings.
    pub keepalive_time: Duration,
    /// Time that a ping may stay unanswered.
    pub keepalive_timeout: Duration,
    /// A user's name and password, if the service asks for one.
    pub user: Option<(String, String)>,
}
