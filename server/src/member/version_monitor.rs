//! The version that all members speak: the leader looks at everybody's and moves the cluster's.

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::cairnpb::VersionRequest;
use cairn_proto::membershippb::ClusterVersionSetRequest;
use cairn_replica::log_request::LogRequest;

use super::{Member, MinorVersion};
use crate::member::auth::Caller;
use crate::settings::ETCD_VERSION;

/// Time between two looks; etcd's.
const LOOK_INTERVAL: Duration = Duration::from_secs(4);

impl Member {
    /// Keeps the cluster's version for as long as the process runs; only a leader moves it.
    pub(crate) async fn keep_cluster_version(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if !self.progress.role().leads() {
                continue;
            }
            let (present, target) = {
                let membership = self.membership();
                let parse = |text: Option<&str>| text.and_then(MinorVersion::parse);
                (parse(membership.version()), parse(membership.downgrade()))
            };
            let lowest = match target {
                Some(_) => None,
                None => self.lowest_version().await,
            };
            let Some(wanted) = decide(present, target, lowest) else {
                continue;
            };
            let from = present.map(|it| it.to_string()).unwrap_or_default();
            tracing::info!(from, to = %wanted, "updating cluster version");
            let request = ClusterVersionSetRequest {
                ver: wanted.to_string(),
            };
            let set = self.propose(LogRequest::ClusterVersionSet(request), &Caller::MEMBER);
            if let Err(error) = set.await {
                tracing::warn!(%error, "failed to update cluster version");
            }
        }
    }

    /// The lowest version that a member runs, if all can be asked.
    async fn lowest_version(&self) -> Option<MinorVersion> {
        let mut lowest = MinorVersion::parse(ETCD_VERSION)?;
        for id in self.other_members() {
            let mut client = self.peers.client(id).ok()?;
            let asked = client.version(VersionRequest::default());
            let answer = tokio::time::timeout(self.limits.request_timeout, asked).await;
            let answer = answer.ok()?.ok()?.into_inner();
            lowest = lowest.min(MinorVersion::parse(&answer.server_version)?);
        }
        Some(lowest)
    }
}

/// Where the cluster's version is to go, if it is to move: down to a downgrade's target, or up to the
/// lowest version that all members run.
fn decide(
    present: Option<MinorVersion>,
    target: Option<MinorVersion>,
    lowest: Option<MinorVersion>,
) -> Option<MinorVersion> {
    match (target, present) {
        (Some(target), Some(present)) => (target != present).then_some(target),
        (Some(_), None) => None,
        (None, _) => lowest.filter(|lowest| present.is_none_or(|present| present < *lowest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_follows_the_members_up_and_a_downgrade_down() {
        let version = MinorVersion::parse;
        for (present, target, lowest, wanted) in [
            ("", "", "3.7", "3.7"),
            ("", "", "", ""),
            ("3.6", "", "3.7", "3.7"),
            ("3.7", "", "3.7", ""),
            ("3.7", "", "3.6", ""),
            ("3.7", "3.6", "", "3.6"),
            ("3.6", "3.6", "", ""),
        ] {
            let decided = decide(version(present), version(target), version(lowest));
            assert_eq!(decided, version(wanted), "{present} {target} {lowest}");
        }
    }
}
