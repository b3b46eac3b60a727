//! Who calls at the peer service, and who is turned away there.
//!
//! Every call carries its caller's cluster, member and version as headers, and whom it is meant for.
//! A member that was given a wrong address, or another cluster's, finds out before a message of
//! raft's is read.

use cairn_consensus::{ClusterId, Identity, Incarnation, MemberId};
use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};

use crate::settings::ETCD_VERSION;

const CLUSTER: &str = "cairn-cluster-id";
const FROM: &str = "cairn-member-id";
const TO: &str = "cairn-to-member-id";
const VERSION: &str = "cairn-version";
const PEER_URLS: &str = "cairn-peer-urls";
const INCARNATION: &str = "cairn-incarnation";

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Who it is.
    pub member: MemberId,
    /// Whom it means to call, if it knows.
    pub to: Option<MemberId>,
    /// The version of etcd that it stands in for.
    pub version: String,
    /// Where it can be reached.
    pub peer_urls: Vec<String>,
    /// Which start of its directory it is; older versions do not say.
    pub incarnation: Option<Incarnation>,
}

/// Why a call is turned away. The caller knows the reason by its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not say who it is.
    #[error("peer call without the caller's cluster, member and version")]
    Unidentified,
    /// It is of another cluster.
    #[error("cluster ID mismatch")]
    Cluster,
    /// It is for another member.
    #[error("member ID mismatch: the call is for another member")]
    NotForUs,
    /// It was a member once.
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    /// Its version and ours do not work together.
    #[error("server version is incompatible")]
    Version,
    /// Its present incarnation has not been met: it must introduce itself first.
    #[error("the member has not shown what its data directory has been")]
    Unmet,
    /// It has been met with an incarnation, and shows none now.
    #[error("the member shows no incarnation of its data directory, and has had one before")]
    NoIncarnation,
    /// Its directory lacks an incarnation that was met.
    #[error(
        "the member's data directory lacks what it was met as: it has forgotten what it promised"
    )]
    Forgotten,
    /// What was met cannot be kept in mind, so it cannot be let in.
    #[error("what the member's data directory has been cannot be kept in mind here")]
    NotKept,
}

impl Refusal {
    const ALL: [Self; 9] = [
        Self::Unidentified,
        Self::Cluster,
        Self::NotForUs,
        Self::Removed,
        Self::Version,
        Self::Unmet,
        Self::NoIncarnation,
        Self::Forgotten,
        Self::NotKept,
    ];

    /// The reason in an answer, if it is one of these.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|refusal| refusal.to_string() == status.message())
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(Code::FailedPrecondition, refusal.to_string())
    }
}

impl Caller {
    /// Reads who calls.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unidentified`] if anything is missing or malformed.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name| text(name).and_then(|text| u64::from_str_radix(text, 16).ok());
        let member = |name| number(name).and_then(MemberId::from_wire);
        let urls = match headers.get(PEER_URLS) {
            None => "",
            Some(_) => text(PEER_URLS).ok_or(Refusal::Unidentified)?,
        };
        let incarnation = match headers.get(INCARNATION) {
            None => None,
            Some(_) => {
                let shown = text(INCARNATION).and_then(Incarnation::parse);
                Some(shown.ok_or(Refusal::Unidentified)?)
            }
        };
        Ok(Self {
            incarnation,
            cluster: number(CLUSTER)
                .map(ClusterId::new)
                .ok_or(Refusal::Unidentified)?,
            member: member(FROM).ok_or(Refusal::Unidentified)?,
            to: member(TO),
            version: text(VERSION).ok_or(Refusal::Unidentified)?.to_owned(),
            peer_urls: urls
                .split(',')
                .filter(|url| !url.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }

    /// Checks everything that does not depend on who the members are.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub(super) fn check(&self, us: Identity) -> Result<(), Refusal> {
        if self.cluster != us.cluster {
            return Err(Refusal::Cluster);
        }
        if self.to.is_some_and(|to| to != us.member) {
            return Err(Refusal::NotForUs);
        }
        if !is_compatible(&self.version, ETCD_VERSION) {
            return Err(Refusal::Version);
        }
        Ok(())
    }

    /// The headers of calls to `to`.
    #[must_use]
    pub(super) fn headers(
        us: Identity,
        incarnation: Incarnation,
        to: MemberId,
        peer_urls: &[String],
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, text) in [
            (CLUSTER, us.cluster.to_string()),
            (FROM, us.member.to_string()),
            (TO, to.to_string()),
            (VERSION, ETCD_VERSION.to_owned()),
            (PEER_URLS, peer_urls.join(",")),
            (INCARNATION, incarnation.to_string()),
        ] {
            // Numbers and URLs are all visible characters.
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

/// Minor versions next to each other work together: that is what a rolling upgrade needs.
fn is_compatible(theirs: &str, ours: &str) -> bool {
    let parts = |version: &str| {
        let mut numbers = version.split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    match (parts(theirs), parts(ours)) {
        (Some((major, minor)), Some((our_major, our_minor))) => {
            major == our_major && minor.abs_diff(our_minor) <= 1
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(cluster: u64, member: u64) -> Identity {
        Identity {
            cluster: ClusterId::new(cluster),
            member: MemberId::from_wire(member).unwrap(),
        }
    }

    #[test]
    fn a_caller_is_read_as_it_was_written() {
        let us = identity(0xa, 0xb);
        let to = MemberId::from_wire(0xc).unwrap();
        let urls = ["http://a:1".to_owned(), "http://b:2".to_owned()];
        let incarnation = Incarnation { number: 3, id: 9 };
        let headers = Caller::headers(us, incarnation, to, &urls);
        let caller = Caller::read(&headers).unwrap();
        assert_eq!(caller.incarnation, Some(incarnation));
        assert_eq!(caller.cluster, us.cluster);
        assert_eq!(caller.member, us.member);
        assert_eq!(caller.to, Some(to));
        assert_eq!(caller.peer_urls, urls);
        assert_eq!(Caller::read(&HeaderMap::new()), Err(Refusal::Unidentified));
    }

    #[test]
    fn strangers_are_turned_away_each_with_its_reason() {
        let caller = |cluster, to: u64, version: &str| Caller {
            cluster: ClusterId::new(cluster),
            member: MemberId::from_wire(9).unwrap(),
            to: MemberId::from_wire(to),
            version: version.to_owned(),
            peer_urls: Vec::new(),
            incarnation: None,
        };
        for (caller, expected) in [
            (caller(1, 2, ETCD_VERSION), Ok(())),
            (caller(1, 0, ETCD_VERSION), Ok(())),
            (caller(3, 2, ETCD_VERSION), Err(Refusal::Cluster)),
            (caller(1, 3, ETCD_VERSION), Err(Refusal::NotForUs)),
            (caller(1, 2, "3.4.0"), Err(Refusal::Version)),
            (caller(1, 2, "4.7.0"), Err(Refusal::Version)),
            (caller(1, 2, "x"), Err(Refusal::Version)),
        ] {
            assert_eq!(caller.check(identity(1, 2)), expected, "{caller:?}");
        }
    }

    #[test]
    fn a_refusal_is_known_again_by_its_text() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::of(&Status::from(refusal)), Some(refusal));
        }
        assert_eq!(Refusal::of(&Status::internal("x")), None);
    }
}
