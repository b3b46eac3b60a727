//! Downgrades: etcd's way to prepare a cluster for an earlier minor version.
//!
//! Cairn has no earlier version to go down to; what an operator's tools see of the procedure is
//! etcd's all the same. The cluster's version follows the target, and comes back when the downgrade
//! is cancelled: see `Server::publish`.

use std::fmt;

use cairn_proto::etcdserverpb::downgrade_request::DowngradeAction;
use cairn_proto::membershippb::DowngradeInfoSetRequest;
use cairn_replica::log_request::LogRequest;

use super::Member;
use crate::member::auth::Caller;
use crate::member::error::{DowngradeError, Error};

/// A version that members agree on: its patch is always zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MinorVersion {
    major: u64,
    minor: u64,
}

impl MinorVersion {
    /// Reads `major.minor` or `major.minor.patch`, of which the patch is forgotten.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| {
            // What a version's number looks like, which is less than what parses as one.
            let is_number = !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit());
            is_number.then(|| number.parse::<u64>().ok()).flatten()
        });
        let (major, minor) = (numbers.next()??, numbers.next()??);
        match (numbers.next(), numbers.next()) {
            (None | Some(Some(_)), None) => Some(Self { major, minor }),
            _ => None,
        }
    }

    /// The only version that this one can go down to.
    pub(crate) fn one_down(self) -> Option<Self> {
        let minor = self.minor.checked_sub(1)?;
        Some(Self { minor, ..self })
    }

    /// As clients see it: `major.minor`.
    pub(crate) fn short(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for MinorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.0", self.major, self.minor)
    }
}

impl Member {
    /// Asks whether a downgrade is possible, begins or ends one: the cluster's version as clients see
    /// it.
    ///
    /// # Errors
    ///
    /// [`DowngradeError`], or why nobody could be asked.
    pub(crate) async fn downgrade(
        &self,
        action: DowngradeAction,
        version: &str,
    ) -> Result<String, Error> {
        match action {
            DowngradeAction::Validate => self.check_downgrade(version).await?,
            DowngradeAction::Enable => {
                self.check_downgrade(version).await?;
                let target = MinorVersion::parse(version).ok_or(DowngradeError::WrongFormat)?;
                let request = DowngradeInfoSetRequest {
                    enabled: true,
                    ver: target.to_string(),
                };
                self.propose(LogRequest::DowngradeInfoSet(request), &Caller::MEMBER)
                    .await?;
            }
            DowngradeAction::Cancel => {
                self.linearizable().await?;
                // etcd answers the same whether one was under way or not.
                if self.membership().downgrade().is_some() {
                    let request = DowngradeInfoSetRequest::default();
                    self.propose(LogRequest::DowngradeInfoSet(request), &Caller::MEMBER)
                        .await?;
                }
            }
        }
        Ok(self.cluster_version()?.short())
    }

    fn cluster_version(&self) -> Result<MinorVersion, DowngradeError> {
        let membership = self.membership();
        let version = membership.version().and_then(MinorVersion::parse);
        version.ok_or(DowngradeError::NoClusterVersion)
    }

    async fn check_downgrade(&self, version: &str) -> Result<(), Error> {
        let target = MinorVersion::parse(version).ok_or(DowngradeError::WrongFormat)?;
        self.cluster_version()?;
        self.linearizable().await?;
        if self.cluster_version()?.one_down() != Some(target) {
            return Err(DowngradeError::InvalidTarget.into());
        }
        if self.membership().downgrade().is_some() {
            return Err(DowngradeError::InProgress.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_two_numbers_or_three() {
        let parsed = |text| MinorVersion::parse(text).map(|it| (it.to_string(), it.short()));
        for text in ["3.6", "3.6.0", "3.6.9"] {
            let expected = ("3.6.0".to_owned(), "3.6".to_owned());
            assert_eq!(parsed(text), Some(expected), "{text}");
        }
        for text in [
            "", "3", "3.", "3.6.", "3.6.1.2", "+3.6", "3.x", "v3.6", "3.6.x",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
        let down = |text| MinorVersion::parse(text).and_then(MinorVersion::one_down);
        assert_eq!(down("3.6"), MinorVersion::parse("3.5"));
        assert_eq!(down("3.0"), None);
    }
}
