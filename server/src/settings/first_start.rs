//! What a member that has no data yet starts with.
//!
//! These flags come again on every restart and are then ignored, so that they are judged only
//! when a data directory is empty.

use cairn_consensus::{ClusterId, MemberId};

use super::error::SettingsError;
use super::flag_table::GivenFlags;
use super::flag_value::{ClusterState, parse_urls};
use super::url::{Place, Url};
use cairn_replica::identity::{cluster_of_members, member_at_bootstrap};

/// The members of `--initial-cluster`, by name, and what goes with them.
#[derive(Clone, Debug)]
pub(super) struct Bootstrap {
    state: ClusterState,
    token: String,
    /// Empty: this member alone, under its advertised addresses.
    initial_cluster: String,
}

/// A new cluster, as this member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstStart {
    /// The token the identities were made with.
    pub token: String,
    /// This member.
    pub member: InitialMember,
    /// The cluster.
    pub cluster_id: ClusterId,
}

/// A member of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its number.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Where other members reach it, sorted.
    pub peer_urls: Vec<Url>,
}

impl Bootstrap {
    pub(super) fn new(given: &GivenFlags) -> Result<Self, SettingsError> {
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
            initial_cluster: given.initial_cluster.clone(),
        })
    }

    pub(super) fn first_start(
        &self,
        name: &str,
        advertised: &[Url],
    ) -> Result<FirstStart, SettingsError> {
        if self.state == ClusterState::Existing {
            return Err(SettingsError::NotYet {
                name: "initial-cluster-state",
                feature: "way to join an existing cluster",
            });
        }
        if name.is_empty() {
            return Err(SettingsError::unfit(
                "--name must not be empty when a cluster starts",
            ));
        }
        let peer_urls = if self.initial_cluster.is_empty() {
            advertised.to_vec()
        } else {
            self.own_peer_urls(name, advertised)?
        };
        let id = member_at_bootstrap(&peer_urls, &self.token);
        Ok(FirstStart {
            token: self.token.clone(),
            member: InitialMember {
                id,
                name: name.to_owned(),
                peer_urls,
            },
            cluster_id: cluster_of_members(&[id]),
        })
    }

    /// This member's addresses in `--initial-cluster`, which must hold no other member.
    fn own_peer_urls(&self, name: &str, advertised: &[Url]) -> Result<Vec<Url>, SettingsError> {
        let mut own = Vec::new();
        let mut others = 0_usize;
        for entry in self
            .initial_cluster
            .split(',')
            .filter(|entry| !entry.is_empty())
        {
            match entry.split_once('=') {
                Some((member, url)) if member == name => own.push(url),
                _ => others += 1,
            }
        }
        if own.is_empty() {
            return Err(SettingsError::unfit(format!(
                "couldn't find local name {name:?} in the initial cluster configuration; \
                 --initial-cluster must hold {name}=<one of --initial-advertise-peer-urls>"
            )));
        }
        let given_count = own.len();
        let own = parse_urls(own.into_iter())
            .map_err(|error| SettingsError::unfit(format!("--initial-cluster: {error}")))?;
        if own.len() != given_count {
            return Err(SettingsError::unfit(format!(
                "initial cluster {} has duplicate url",
                self.initial_cluster
            )));
        }
        if others > 0 {
            return Err(SettingsError::NotYet {
                name: "initial-cluster",
                feature: "cluster of several members",
            });
        }
        let is_same = own.len() == advertised.len()
            && own
                .iter()
                .all(|url| advertised.iter().any(|other| may_be_same(url, other)));
        if !is_same {
            let joined = |urls: &[Url]| urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",");
            return Err(SettingsError::unfit(format!(
                "--initial-cluster has {name}={} but --initial-advertise-peer-urls is {}; \
                 give both the same addresses",
                joined(&own),
                joined(advertised)
            )));
        }
        Ok(own)
    }
}

/// Whether two URLs may be one address; a host name may stand for any.
fn may_be_same(left: &Url, right: &Url) -> bool {
    if left == right {
        return true;
    }
    let address = |host: &str| -> Option<std::net::IpAddr> {
        if host == "localhost" {
            Some([127, 0, 0, 1].into())
        } else {
            host.parse().ok()
        }
    };
    match (left.place(), right.place()) {
        (
            Place::Tcp { host: left, port },
            Place::Tcp {
                host: right,
                port: other_port,
            },
        ) => {
            let hosts = (address(left), address(right));
            port == other_port && !matches!(hosts, (Some(left), Some(right)) if left != right)
        }
        _ => false,
    }
}
