//! Which keys are attached to which lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_mvcc::LeaseId;

/// Keys and their leases, in both directions.
///
/// Invariant: both directions hold the same pairs, and a key has at most one lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attachments {
    /// Sorted by lease, then by key: a lease without keys costs nothing here.
    by_lease: BTreeSet<(LeaseId, Arc<[u8]>)>,
    by_key: BTreeMap<Arc<[u8]>, LeaseId>,
}

impl Attachments {
    /// Whether no key is attached to anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Attaches a key to a lease, and to no other.
    pub(crate) fn attach(&mut self, key: &[u8], lease: LeaseId) {
        if self.by_key.get(key) == Some(&lease) {
            return;
        }
        self.detach(key);
        let key: Arc<[u8]> = key.into();
        self.by_lease.insert((lease, Arc::clone(&key)));
        self.by_key.insert(key, lease);
    }

    /// Attaches a key to no lease.
    pub(crate) fn detach(&mut self, key: &[u8]) {
        if let Some((key, lease)) = self.by_key.remove_entry(key) {
            let was_there = self.by_lease.remove(&(lease, key));
            assert!(was_there, "both directions hold the same pairs");
        }
    }

    /// Detaches all keys of a lease, and says which they were, sorted.
    pub(crate) fn detach_all(&mut self, lease: LeaseId) -> Vec<Arc<[u8]>> {
        let keys: Vec<_> = self.keys(lease).cloned().collect();
        for key in &keys {
            self.by_key.remove(key);
            self.by_lease.remove(&(lease, Arc::clone(key)));
        }
        keys
    }

    /// The keys of a lease, sorted.
    pub(crate) fn keys(&self, lease: LeaseId) -> impl Iterator<Item = &Arc<[u8]>> {
        let first: (LeaseId, Arc<[u8]>) = (lease, Arc::default());
        self.by_lease
            .range(first..)
            .take_while(move |(holder, _)| *holder == lease)
            .map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(attachments: &Attachments, lease: LeaseId) -> Vec<&[u8]> {
        attachments.keys(lease).map(|key| &**key).collect()
    }

    #[test]
    fn a_key_moves_from_lease_to_lease_and_keys_are_sorted() {
        let [one, two, below] = [1, 2, -1].map(|id| LeaseId::from_wire(id).unwrap());
        let mut attachments = Attachments::default();
        for key in [b"c", b"a", b"b"] {
            attachments.attach(key, one);
        }
        attachments.attach(b"z", below);
        attachments.attach(b"a", two);
        attachments.attach(b"b", one);
        assert_eq!(keys(&attachments, one), [b"b", b"c"]);
        assert_eq!(keys(&attachments, two), [b"a"]);
        attachments.detach(b"a");
        attachments.detach(b"unknown");
        assert_eq!(keys(&attachments, two), <[&[u8]; 0]>::default());
        let all = attachments.detach_all(one);
        assert_eq!(all, [b"b", b"c"].map(|key| Arc::from(&key[..])));
        assert!(!attachments.is_empty());
        attachments.detach(b"z");
        assert_eq!(attachments, Attachments::default());
    }
}
