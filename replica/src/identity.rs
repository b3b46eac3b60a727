//! Member and cluster identity, derived from the addresses a cluster starts with.
//!
//! Both numbers are what etcd would choose for the same addresses and token, so that a member
//! list, a metric or a log line reads the same. Nothing here is stored: the caller keeps what
//! it computed at first start.

use std::num::NonZeroU64;

use cairn_consensus::{ClusterId, MemberId};
use sha1::{Digest, Sha1};

/// A member present when the cluster starts: its peer URLs and the cluster's token.
#[must_use]
pub fn member_at_bootstrap<S: AsRef<str>>(peer_urls: &[S], cluster_token: &str) -> MemberId {
    member_id(&digest_of_urls(peer_urls, cluster_token))
}

/// A member added to a running cluster; the second it was added tells it from one that had the same
/// address before.
#[must_use]
pub fn member_added_at<S: AsRef<str>>(
    peer_urls: &[S],
    cluster_token: &str,
    unix_secs: u64,
) -> MemberId {
    let seconds = unix_secs.to_string();
    member_id(&digest_of_urls(peer_urls, cluster_token).chain_update(seconds))
}

/// The cluster that starts with `members`, in any order.
#[must_use]
pub fn cluster_of_members(members: &[MemberId]) -> ClusterId {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    let digest = sorted.iter().fold(Sha1::new(), |digest, member| {
        digest.chain_update(member.get().to_be_bytes())
    });
    ClusterId::new(first_eight_bytes(&digest))
}

/// Zero is no member: a hash that begins with eight zero bytes, which nobody has seen, becomes one.
fn member_id(digest: &Sha1) -> MemberId {
    NonZeroU64::new(first_eight_bytes(digest))
        .unwrap_or(NonZeroU64::MIN)
        .into()
}

fn digest_of_urls<S: AsRef<str>>(peer_urls: &[S], cluster_token: &str) -> Sha1 {
    let mut sorted: Vec<&str> = peer_urls.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    sorted
        .iter()
        .fold(Sha1::new(), Digest::chain_update)
        .chain_update(cluster_token)
}

fn first_eight_bytes(digest: &Sha1) -> u64 {
    let hash: [u8; 20] = digest.clone().finalize().into();
    hash.iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_of_an_https_member_is_etcds() {
        let member = member_at_bootstrap(&["https://localhost:20001"], "new");
        assert_eq!(member.get(), 0x00a8_f345_8387_986d);
        assert_eq!(cluster_of_members(&[member]).get(), 0x34c2_1a2d_427d_b393);
    }

    #[test]
    fn identity_with_default_flags_is_etcds() {
        let member = member_at_bootstrap(&["http://localhost:2380"], "etcd-cluster");
        assert_eq!(member.to_string(), "8e9e05c52164694d");
        assert_eq!(
            cluster_of_members(&[member]).to_string(),
            "cdf818194e3a8c32"
        );
    }

    #[test]
    fn order_of_urls_and_members_does_not_matter() {
        let forward = member_at_bootstrap(&["http://a:1", "http://b:2"], "t");
        let backward = member_at_bootstrap(&["http://b:2", "http://a:1"], "t");
        assert_eq!(forward, backward);
        let other = MemberId::from_wire(7).unwrap();
        assert_eq!(
            cluster_of_members(&[forward, other]),
            cluster_of_members(&[other, forward])
        );
    }

    #[test]
    fn a_member_added_later_has_another_number() {
        let urls = ["http://a:1"];
        let first = member_at_bootstrap(&urls, "t");
        let later = member_added_at(&urls, "t", 1_700_000_000);
        assert_ne!(first, later);
        assert_ne!(later, member_added_at(&urls, "t", 1_700_000_001));
    }
}
