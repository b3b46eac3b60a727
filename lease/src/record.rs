//! A stored lease: a row of the table of leases.
//!
//! ```text
//! key    id, 8 bytes big-endian
//! value  leasepb.Lease { int64 ID = 1, int64 TTL = 2, int64 RemainingTTL = 3 }, and of our own
//!        uint64 renewal = 20000: index of the log entry that last granted or renewed it
//! ```
//!
//! etcd's library passes over the field that is ours. It is stored because whether an expiry is
//! carried out depends on it, which a member that was restored must decide as all others do.

use bytes::Bytes;
use cairn_mvcc::LeaseId;
use prost::Message;

use crate::lease::Lease;
use crate::renewal::Renewal;
use crate::ttl::Ttl;

/// How a lease is encoded.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
    #[prost(int64, tag = "3")]
    remaining: i64,
    #[prost(uint64, tag = "20000")]
    renewal: u64,
}

/// The key of a lease.
pub(crate) const fn key(id: LeaseId) -> [u8; 8] {
    id.to_wire().to_be_bytes()
}

/// The value of a lease.
pub(crate) fn encode(id: LeaseId, lease: &Lease) -> Bytes {
    let record = Record {
        id: id.to_wire(),
        ttl: lease.ttl.to_wire(),
        remaining: lease.remaining.map_or(0, Ttl::to_wire),
        renewal: lease.renewal.0,
    };
    record.encode_to_vec().into()
}

/// Reads a lease back; `None` if it is damaged.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<(LeaseId, Lease)> {
    let record = Record::decode(value).ok()?;
    let id = LeaseId::from_wire(record.id)?;
    if key != id.to_wire().to_be_bytes() || record.ttl < 1 || record.remaining < 0 {
        return None;
    }
    let mut lease = Lease::new(Ttl::from_wire(record.ttl).ok()?, Renewal(record.renewal));
    if record.remaining > 0 {
        lease.remaining = Some(Ttl::from_wire(record.remaining).ok()?);
    }
    Some((id, lease))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_proto::leasepb;

    fn lease(remaining: Option<i64>) -> Lease {
        let mut lease = Lease::new(Ttl::from_wire(600).unwrap(), Renewal(7));
        lease.remaining = remaining.map(|secs| Ttl::from_wire(secs).unwrap());
        lease
    }

    #[test]
    fn a_lease_is_stored_as_etcd_stores_it_and_a_field_of_ours() {
        for (id, remaining) in [(5, None), (-5, Some(30))] {
            let id = LeaseId::from_wire(id).unwrap();
            let lease = lease(remaining);
            let mut expected = leasepb::Lease {
                id: id.to_wire(),
                ttl: 600,
                remaining_ttl: remaining.unwrap_or_default(),
            }
            .encode_to_vec();
            expected.extend([0x80, 0xe2, 0x09, 7]);
            let stored = encode(id, &lease);
            assert_eq!(stored, expected);
            assert_eq!(leasepb::Lease::decode(stored.clone()).unwrap().ttl, 600);
            assert_eq!(decode(&key(id), &stored), Some((id, lease)));
        }
        assert_eq!(
            key(LeaseId::from_wire(258).unwrap()),
            [0, 0, 0, 0, 0, 0, 1, 2]
        );
    }

    #[test]
    fn damaged_records_are_refused() {
        let id = LeaseId::from_wire(5).unwrap();
        let stored = encode(id, &lease(None));
        let other = LeaseId::from_wire(6).unwrap();
        assert_eq!(decode(&key(other), &stored), None, "under another key");
        assert_eq!(decode(&key(id), &stored[..stored.len() - 1]), None, "cut");
        assert_eq!(decode(&key(id), &[]), None, "empty");
        let no_ttl = leasepb::Lease {
            id: 5,
            ..Default::default()
        };
        assert_eq!(decode(&key(id), &no_ttl.encode_to_vec()), None, "no time");
    }
}
