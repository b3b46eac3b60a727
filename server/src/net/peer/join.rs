//! What a member that has no data asks those of the cluster that it is to join.

use cairn_consensus::{ClusterId, MemberId};
use cairn_proto::cairnpb::MembersRequest;
use cairn_proto::etcdserverpb;
use http::HeaderMap;
use tokio::task::JoinSet;

use super::connection::Connector;
use super::peers::PeerClient;
use crate::logging::Chain;
use crate::settings::{Protection, Url};

/// A cluster, as one of its members knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteCluster {
    /// The cluster.
    pub id: ClusterId,
    /// Its members.
    pub members: Vec<MemberInfo>,
}

/// One of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberInfo {
    /// Its number.
    pub id: MemberId,
    /// Its name; empty until it has started.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<Url>,
    /// Whether it has been started.
    pub is_started: bool,
}

/// Why a member cannot join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JoinError {
    /// Nobody answers.
    #[error(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the \
         given URLs. They are to be those at which members listen for one another \
         (--listen-peer-urls), and one of those members must run"
    )]
    NoAnswer,
    /// The cluster and `--initial-cluster` have different numbers of members.
    #[error(
        "error validating peerURLs: member count is unequal: the cluster has {theirs} members, \
         --initial-cluster has {ours}. Add this member first (`etcdctl member add`), and give the \
         --initial-cluster that this prints"
    )]
    Count {
        /// Of the cluster.
        theirs: usize,
        /// Of the flag.
        ours: usize,
    },
    /// The cluster knows this member as one that has run, and there is no data of it here.
    #[error(
        "member {member} of this cluster has run before, and there is nothing of it in this data \
         directory: what it acknowledged and voted for is lost, so it must not take part again. Put \
         the directory back as it was when the member ran last; or remove the member (`etcdctl member \
         remove {member}`) and add it anew (`etcdctl member add`), with an empty data directory"
    )]
    HasRun {
        /// This member.
        member: MemberId,
    },
    /// A member of the cluster is not in `--initial-cluster`.
    #[error(
        "error validating peerURLs: PeerURLs: no match found for existing member ({member}, {urls:?})"
    )]
    NoMatch {
        /// The member.
        member: MemberId,
        /// Its addresses.
        urls: Vec<Url>,
    },
}

/// Asks at `urls`, in order, who the members are; the first that answers is believed.
pub(crate) async fn ask_for_members(connector: &Connector, urls: &[Url]) -> Option<RemoteCluster> {
    for url in urls {
        match ask(connector, url).await {
            Ok(cluster) if !cluster.members.is_empty() => return Some(cluster),
            Ok(_) => tracing::warn!(address = %url, "a member does not know the cluster yet"),
            Err(error) => {
                tracing::warn!(address = %url, error, "failed to get cluster response");
            }
        }
    }
    None
}

/// Asks at all of `urls` at once who the members are; what those say that answer.
pub(crate) async fn ask_all_for_members(connector: &Connector, urls: &[Url]) -> Vec<RemoteCluster> {
    let mut asking = JoinSet::new();
    for url in urls {
        let (connector, url) = (connector.clone(), url.clone());
        asking.spawn(async move { ask(&connector, &url).await.ok() });
    }
    let answers = asking.join_all().await;
    answers.into_iter().flatten().collect()
}

impl RemoteCluster {
    /// Finds who has `own_urls` and has never run; every other member must be one of `others`.
    ///
    /// # Errors
    ///
    /// [`JoinError`].
    pub(crate) fn find(
        &self,
        own_urls: &[Url],
        others: &[Vec<Url>],
    ) -> Result<MemberId, JoinError> {
        let (theirs, ours) = (self.members.len(), others.len() + 1);
        if theirs != ours {
            return Err(JoinError::Count { theirs, ours });
        }
        let mut found = None;
        for member in &self.members {
            let is = |urls: &[Url]| is_same(&member.peer_urls, urls);
            if is(own_urls) {
                found = Some(member);
            } else if !others.iter().any(|urls| is(urls)) {
                return Err(JoinError::NoMatch {
                    member: member.id,
                    urls: member.peer_urls.clone(),
                });
            }
        }
        // As many members as addresses, each of which is somebody's.
        let MemberInfo { id, is_started, .. } = found.ok_or(JoinError::Count { theirs, ours })?;
        if *is_started {
            return Err(JoinError::HasRun { member: *id });
        }
        Ok(*id)
    }
}

/// Whether two lists are the same places, as etcd compares them: names are resolved where the texts
/// differ.
fn is_same(left: &[Url], right: &[Url]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .all(|url| right.iter().any(|other| url.is_same_place(other)))
}

async fn ask(connector: &Connector, url: &Url) -> Result<RemoteCluster, String> {
    let urls = std::slice::from_ref(url);
    let connection = connector.connect(urls, HeaderMap::new()).await;
    let connection = connection.map_err(|error| error.to_string())?;
    let request = MembersRequest {
        linearizable: false,
    };
    let mut client = PeerClient::new(connection);
    let asked = tokio::time::timeout(connector.timeout, client.members(request)).await;
    let answer = asked
        .map_err(|_| "no answer in time".to_owned())?
        .map_err(|status| refused(url, &status))?
        .into_inner();
    let members = answer.members.into_iter().map(member_info);
    Ok(RemoteCluster {
        id: ClusterId::new(answer.cluster_id),
        members: members.collect::<Result<_, _>>()?,
    })
}

/// What an answer says that is none.
fn refused(url: &Url, status: &tonic::Status) -> String {
    let said = Chain(status).to_string();
    // Members do not answer so: a connection that was gone before it could be asked is "unknown" and without
    // a source.
    let is_lost =
        std::error::Error::source(status).is_some() || status.code() == tonic::Code::Unknown;
    if is_lost && url.protection() == Protection::Plain {
        return format!("the connection was closed: does who listens there want https? ({said})");
    }
    if status.code() == tonic::Code::Unimplemented {
        return format!(
            "who listens there is no member of ours for members: is it for clients? ({said})"
        );
    }
    said
}

/// A member of whom it cannot be told who or where it is must not be left out of a cluster.
fn member_info(member: etcdserverpb::Member) -> Result<MemberInfo, String> {
    let urls = member.peer_urls.iter().map(|url| Url::parse(url));
    Ok(MemberInfo {
        id: MemberId::from_wire(member.id).ok_or("a member has ID 0")?,
        is_started: !member.client_urls.is_empty(),
        name: member.name,
        peer_urls: urls
            .collect::<Result<_, _>>()
            .map_err(|error| format!("a peer URL of member {:x}: {error}", member.id))?,
    })
}
