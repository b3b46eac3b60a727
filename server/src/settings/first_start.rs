//! What a member that has no data yet starts with.
//!
//! These flags come again on every restart and are then ignored, so that they are judged only
//! when a data directory is empty.

use std::collections::{BTreeMap, BTreeSet};

use cairn_consensus::{ClusterId, MemberId};

use super::assembly::span;
use super::discovery::{Discovery, RegistrySettings, SrvSettings};
use super::error::SettingsError;
use super::flag_table::GivenFlags;
use super::flag_value::{ClusterState, parse_urls};
use super::tls::discovery_tls;
use super::url::{LOCALHOST, Place, Url};
use cairn_replica::identity::{cluster_of_members, member_at_bootstrap};

/// The members of `--initial-cluster`, by name, and what goes with them.
#[derive(Clone, Debug)]
pub(super) struct Bootstrap {
    state: ClusterState,
    token: String,
    /// Empty: this member alone, under its advertised addresses.
    /// None if the user names none.
    initial_cluster: Option<String>,
    discovery: Discovery,
}

/// How a member without data begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FirstStart {
    /// With a cluster that begins with it.
    New(NewCluster),
    /// In a cluster that is there, and has been told of it.
    Join(JoinedCluster),
}

/// A new cluster, as each of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewCluster {
    /// The token the identities were made with.
    pub token: String,
    /// This member.
    pub me: MemberId,
    /// All members, this one too, by number.
    pub members: Vec<InitialMember>,
    /// The cluster.
    pub cluster_id: ClusterId,
}

/// A member of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InitialMember {
    /// Its number.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Where other members reach it, sorted.
    pub peer_urls: Vec<Url>,
}

/// A cluster to join, as it is after this member has been added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinedCluster {
    /// This member's addresses.
    pub own_urls: Vec<Url>,
    /// The addresses of each other member.
    pub others: Vec<Vec<Url>>,
}

impl Bootstrap {
    /// `named` are the flags that the user set: an empty `--initial-cluster` is one that lacks this
    /// member, and none is one of this member alone.
    pub(super) fn new(
        given: &GivenFlags,
        named: &BTreeSet<&'static str>,
    ) -> Result<Self, SettingsError> {
        let has_discovery =
            !given.discovery_srv.is_empty() || !given.discovery_endpoints.0.is_empty();
        if has_discovery && !given.initial_cluster.is_empty() {
            return Err(SettingsError::unfit(
                "multiple discovery or bootstrap flags are set. Choose one of \
                 \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\"",
            ));
        }
        if given.discovery_token.is_empty() != given.discovery_endpoints.0.is_empty() {
            return Err(SettingsError::unfit(
                "both --discovery-token and --discovery-endpoints must be set",
            ));
        }
        Ok(Self {
            state: given.initial_cluster_state,
            token: given.initial_cluster_token.clone(),
            initial_cluster: named
                .contains("initial-cluster")
                .then(|| given.initial_cluster.clone()),
            discovery: discovery(given)?,
        })
    }

    /// Whom to ask for the members.
    pub(super) const fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// The same with the members that were found. A discovery service's token is the cluster's too, as
    /// in etcd.
    pub(super) fn with_members(&self, initial_cluster: String) -> Self {
        let token = match &self.discovery {
            Discovery::Registry(registry) => registry.token.clone(),
            Discovery::None | Discovery::Srv(_) => self.token.clone(),
        };
        Self {
            initial_cluster: Some(initial_cluster),
            token,
            ..self.clone()
        }
    }

    pub(super) fn first_start(
        &self,
        name: &str,
        advertised: &[Url],
    ) -> Result<FirstStart, SettingsError> {
        if name.is_empty() {
            return Err(SettingsError::unfit(
                "--name must not be empty when a cluster starts",
            ));
        }
        let mut cluster = match &self.initial_cluster {
            None => BTreeMap::from([(name.to_owned(), advertised.to_vec())]),
            Some(initial_cluster) => named_urls(initial_cluster, name)?,
        };
        let own_urls = cluster.get(name).cloned().unwrap_or_default();
        match self.state {
            ClusterState::Existing => {
                cluster.remove(name);
                let others = cluster.into_values().collect();
                Ok(FirstStart::Join(JoinedCluster { own_urls, others }))
            }
            ClusterState::New => {
                check_advertised(name, &own_urls, advertised)?;
                let me = member_at_bootstrap(&own_urls, &self.token);
                Ok(FirstStart::New(self.new_cluster(me, cluster)))
            }
        }
    }

    fn new_cluster(&self, me: MemberId, cluster: BTreeMap<String, Vec<Url>>) -> NewCluster {
        let mut members: Vec<_> = cluster
            .into_iter()
            .map(|(name, peer_urls)| InitialMember {
                id: member_at_bootstrap(&peer_urls, &self.token),
                name,
                peer_urls,
            })
            .collect();
        members.sort_unstable_by_key(|member| member.id);
        let ids: Vec<_> = members.iter().map(|member| member.id).collect();
        NewCluster {
            token: self.token.clone(),
            me,
            cluster_id: cluster_of_members(&ids),
            members,
        }
    }
}

/// Everybody's addresses in `--initial-cluster`, sorted; `name` must be among them.
fn named_urls(
    initial_cluster: &str,
    name: &str,
) -> Result<BTreeMap<String, Vec<Url>>, SettingsError> {
    let mut texts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for entry in initial_cluster.split(',').filter(|entry| !entry.is_empty()) {
        let (member, url) = entry.split_once('=').unwrap_or(("", entry));
        if member.is_empty() || url.is_empty() {
            return Err(SettingsError::unfit(format!(
                "error setting up initial cluster: --initial-cluster has {entry:?}; \
                 write NAME=URL"
            )));
        }
        texts.entry(member.to_owned()).or_default().push(url);
    }
    if !texts.contains_key(name) {
        return Err(SettingsError::unfit(format!(
            "couldn't find local name {name:?} in the initial cluster configuration; \
             --initial-cluster must hold {name}=<one of --initial-advertise-peer-urls>"
        )));
    }
    let mut cluster = BTreeMap::new();
    let (mut given, mut distinct) = (0_usize, BTreeSet::new());
    for (member, texts) in texts {
        given += texts.len();
        let urls = parse_urls(texts.into_iter())
            .map_err(|error| SettingsError::unfit(format!("--initial-cluster: {error}")))?;
        distinct.extend(urls.iter().cloned());
        cluster.insert(member, urls);
    }
    if distinct.len() != given {
        return Err(SettingsError::unfit(format!(
            "initial cluster {initial_cluster} has duplicate url; each member has addresses of its own"
        )));
    }
    Ok(cluster)
}

/// This member must advertise itself as `--initial-cluster` says.
fn check_advertised(name: &str, own: &[Url], advertised: &[Url]) -> Result<(), SettingsError> {
    let is_same = own.len() == advertised.len()
        && own
            .iter()
            .all(|url| advertised.iter().any(|other| may_be_same(url, other)));
    if is_same {
        return Ok(());
    }
    let joined = |urls: &[Url]| urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",");
    Err(SettingsError::unfit(format!(
        "--initial-cluster has {name}={} but missing from --initial-advertise-peer-urls={}; \
         give both the same addresses (localhost is not 127.0.0.1)",
        joined(own),
        joined(advertised)
    )))
}

fn discovery(given: &GivenFlags) -> Result<Discovery, SettingsError> {
    if !given.discovery_srv.is_empty() {
        return Ok(Discovery::Srv(SrvSettings {
            domain: given.discovery_srv.clone(),
            service_name: given.discovery_srv_name.clone(),
        }));
    }
    if given.discovery_endpoints.0.is_empty() {
        return Ok(Discovery::None);
    }
    // etcd takes both in one flag too.
    let (name, password) = match given.discovery_user.split_once(':') {
        Some((name, password)) if given.discovery_password.is_empty() => (name, password),
        _ => (
            given.discovery_user.as_str(),
            given.discovery_password.as_str(),
        ),
    };
    if !name.is_empty() && password.is_empty() {
        return Err(SettingsError::unfit(
            "--discovery-user has no password: give --discovery-password, or name:password",
        ));
    }
    Ok(Discovery::Registry(RegistrySettings {
        endpoints: given
            .discovery_endpoints
            .0
            .iter()
            .map(ToString::to_string)
            .collect(),
        token: given.discovery_token.clone(),
        tls: discovery_tls(given)?,
        dial_timeout: span("discovery-dial-timeout", given.discovery_dial_timeout)?,
        request_timeout: span("discovery-request-timeout", given.discovery_request_timeout)?,
        keepalive_time: span("discovery-keepalive-time", given.discovery_keepalive_time)?,
        keepalive_timeout: span(
            "discovery-keepalive-timeout",
            given.discovery_keepalive_timeout,
        )?,
        user: (!name.is_empty()).then(|| (name.to_owned(), password.to_owned())),
    }))
}

/// Whether two URLs may be one address. A host name may stand for any; but `localhost`, as in etcd, is
/// the same as itself alone.
fn may_be_same(left: &Url, right: &Url) -> bool {
    let address = |host: &str| host.parse::<std::net::IpAddr>().ok();
    match (left.place(), right.place()) {
        _ if left == right => true,
        (
            Place::Tcp { host: left, port },
            Place::Tcp {
                host: right,
                port: other_port,
            },
        ) => {
            let hosts = (address(left), address(right));
            let differ = matches!(hosts, (Some(left), Some(right)) if left != right);
            let is_local = left == LOCALHOST || right == LOCALHOST;
            port == other_port && !differ && (!is_local || left == right)
        }
        _ => false,
    }
}
