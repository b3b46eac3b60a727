//! What the log carries about leases.
//!
//! A grant and a revocation are etcd's requests under etcd's numbers. What the leader does by itself is
//! ours, under numbers that etcd will not use: a checkpoint, a renewal and an expiry carry the term in
//! which they were decided, and hold only there (`cairn_lease` says why).

use bytes::{Bytes, BytesMut};
use cairn_lease::{Checkpoint, Expired, Expiry, LeaseId, Renewal, Term, Ttl};
use cairn_proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use prost::encoding::{DecodeContext, WireType, message};
use prost::{DecodeError, Message};

/// A request about leases.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseRequest {
    /// Grant a lease. Its id is not zero and its time to live not below the member's shortest: both
    /// were seen to by the API.
    Grant(LeaseGrantRequest),
    /// End a lease.
    Revoke(LeaseRevokeRequest),
    /// Note what is left of leases, if `term` has not ended.
    Checkpoint {
        /// The term in which the leader decided this.
        term: Term,
        /// What is left.
        leases: Vec<Checkpoint>,
    },
    /// Renew a lease of which it was noted what is left, or may be, if `term` has not ended.
    Renew {
        /// The term in which the leader decided this.
        term: Term,
        /// The lease.
        lease: LeaseId,
    },
    /// End leases that have expired, if the term has not ended.
    Expire(Expiry),
}

/// Field numbers of `InternalRaftRequest`: stored, never to be changed.
mod field {
    pub(super) const GRANT: u32 = 8;
    pub(super) const REVOKE: u32 = 9;
    pub(super) const CHECKPOINT: u32 = 20_000;
    pub(super) const EXPIRE: u32 = 20_001;
    pub(super) const RENEW: u32 = 20_002;
}

/// Leases as decided in a term: the wire form of checkpoints, renewals and expiries.
#[derive(Clone, PartialEq, Message)]
struct InTerm {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(message, repeated, tag = "2")]
    leases: Vec<Seen>,
}

/// A lease as the leader saw it, as far as the request needs that.
#[derive(Clone, Copy, PartialEq, Message)]
struct Seen {
    #[prost(int64, tag = "1")]
    id: i64,
    /// The index of its renewal.
    #[prost(uint64, tag = "2")]
    renewal: u64,
    /// The seconds left.
    #[prost(uint64, tag = "3")]
    remaining: u64,
}

impl LeaseRequest {
    /// Adds those requests whose field stands before the header's.
    pub(crate) fn encode_before_header(&self, data: &mut BytesMut) {
        match self {
            Self::Grant(request) => message::encode(field::GRANT, request, data),
            Self::Revoke(request) => message::encode(field::REVOKE, request, data),
            Self::Checkpoint { .. } | Self::Renew { .. } | Self::Expire(_) => {}
        }
    }

    /// Adds those requests whose field stands after the header's.
    pub(crate) fn encode_after_header(&self, data: &mut BytesMut) {
        match self {
            Self::Grant(_) | Self::Revoke(_) => {}
            Self::Checkpoint { term, leases } => {
                message::encode(field::CHECKPOINT, &checkpoint_to_wire(*term, leases), data);
            }
            Self::Renew { term, lease } => {
                message::encode(field::RENEW, &renewal_to_wire(*term, *lease), data);
            }
            Self::Expire(expiry) => message::encode(field::EXPIRE, &expiry_to_wire(expiry), data),
        }
    }

    pub(crate) fn encoded_len(&self) -> usize {
        match self {
            Self::Grant(request) => message::encoded_len(field::GRANT, request),
            Self::Revoke(request) => message::encoded_len(field::REVOKE, request),
            Self::Checkpoint { term, leases } => {
                message::encoded_len(field::CHECKPOINT, &checkpoint_to_wire(*term, leases))
            }
            Self::Renew { term, lease } => {
                message::encoded_len(field::RENEW, &renewal_to_wire(*term, *lease))
            }
            Self::Expire(expiry) => message::encoded_len(field::EXPIRE, &expiry_to_wire(expiry)),
        }
    }

    /// Reads a field, if it is one of these. `None` leaves `data` as it was.
    pub(crate) fn decode(
        tag: u32,
        wire_type: WireType,
        data: &mut Bytes,
    ) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match tag {
            field::GRANT => Self::Grant(read(wire_type, data)?),
            field::REVOKE => Self::Revoke(read(wire_type, data)?),
            field::CHECKPOINT => {
                let wire: InTerm = read(wire_type, data)?;
                Self::Checkpoint {
                    term: Term(wire.term),
                    leases: wire
                        .leases
                        .iter()
                        .map(checkpoint)
                        .collect::<Result<_, _>>()?,
                }
            }
            field::RENEW => {
                let wire: InTerm = read(wire_type, data)?;
                let [lease] = wire.leases.as_slice() else {
                    return Err(not_a_lease());
                };
                Self::Renew {
                    term: Term(wire.term),
                    lease: LeaseId::from_wire(lease.id).ok_or_else(not_a_lease)?,
                }
            }
            field::EXPIRE => {
                let wire: InTerm = read(wire_type, data)?;
                Self::Expire(Expiry {
                    term: Term(wire.term),
                    leases: wire.leases.iter().map(expired).collect::<Result<_, _>>()?,
                })
            }
            _ => return Ok(None),
        }))
    }
}

fn checkpoint_to_wire(term: Term, leases: &[Checkpoint]) -> InTerm {
    let seen = |it: &Checkpoint| Seen {
        id: it.id.to_wire(),
        renewal: it.renewal.0,
        remaining: it.remaining.duration().as_secs(),
    };
    InTerm {
        term: term.0,
        leases: leases.iter().map(seen).collect(),
    }
}

fn renewal_to_wire(term: Term, lease: LeaseId) -> InTerm {
    let seen = Seen {
        id: lease.to_wire(),
        ..Seen::default()
    };
    InTerm {
        term: term.0,
        leases: vec![seen],
    }
}

fn expiry_to_wire(expiry: &Expiry) -> InTerm {
    let seen = |expired: &Expired| Seen {
        id: expired.id.to_wire(),
        renewal: expired.renewal.0,
        remaining: 0,
    };
    InTerm {
        term: expiry.term.0,
        leases: expiry.leases.iter().map(seen).collect(),
    }
}

fn checkpoint(seen: &Seen) -> Result<Checkpoint, DecodeError> {
    let secs = i64::try_from(seen.remaining).map_err(|_| not_a_lease())?;
    if secs == 0 {
        return Err(not_a_lease());
    }
    Ok(Checkpoint {
        id: LeaseId::from_wire(seen.id).ok_or_else(not_a_lease)?,
        renewal: Renewal(seen.renewal),
        remaining: Ttl::from_wire(secs).map_err(|_| not_a_lease())?,
    })
}

fn expired(seen: &Seen) -> Result<Expired, DecodeError> {
    Ok(Expired {
        id: LeaseId::from_wire(seen.id).ok_or_else(not_a_lease)?,
        renewal: Renewal(seen.renewal),
    })
}

#[expect(deprecated, reason = "prost has no other way to make one")]
fn not_a_lease() -> DecodeError {
    DecodeError::new("not a lease as a leader sees it")
}

fn read<M: Message + Default>(wire_type: WireType, data: &mut Bytes) -> Result<M, DecodeError> {
    let mut request = M::default();
    message::merge(wire_type, &mut request, data, DecodeContext::default())?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_request::{LogEntry, LogRequest};
    use crate::request_ids::RequestId;
    use cairn_proto::etcdserverpb::{InternalRaftRequest, RequestHeader};

    fn after_header(request: &LeaseRequest) -> Bytes {
        let mut data = BytesMut::new();
        request.encode_before_header(&mut data);
        assert!(data.is_empty());
        request.encode_after_header(&mut data);
        assert_eq!(data.len(), request.encoded_len());
        data.freeze()
    }

    fn one_of_each() -> [(LeaseRequest, Vec<u8>); 3] {
        let [a, b] = [3, -1].map(|id| LeaseId::from_wire(id).unwrap());
        let term = Term(7);
        let checkpoint = LeaseRequest::Checkpoint {
            term,
            leases: vec![Checkpoint {
                id: a,
                renewal: Renewal(9),
                remaining: Ttl::from_wire(300).unwrap(),
            }],
        };
        let renew = LeaseRequest::Renew { term, lease: b };
        let expire = LeaseRequest::Expire(Expiry {
            term,
            leases: vec![Expired {
                id: a,
                renewal: Renewal(9),
            }],
        });
        let checkpoint_bytes = vec![
            0x82, 0xe2, 0x09, 11, 8, 7, 0x12, 7, 8, 3, 16, 9, 24, 0xac, 2,
        ];
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        let mut renew_bytes = vec![0x92, 0xe2, 0x09, 15, 8, 7, 0x12, 11, 8];
        renew_bytes.extend(minus_one);
        let expire_bytes = vec![0x8a, 0xe2, 0x09, 8, 8, 7, 0x12, 4, 8, 3, 16, 9];
        [
            (checkpoint, checkpoint_bytes),
            (renew, renew_bytes),
            (expire, expire_bytes),
        ]
    }

    #[test]
    fn what_is_ours_has_these_bytes_and_comes_back() {
        for (request, bytes) in one_of_each() {
            let mut data = after_header(&request);
            assert_eq!(data, bytes);
            let (tag, wire_type) = prost::encoding::decode_key(&mut data).unwrap();
            let read = LeaseRequest::decode(tag, wire_type, &mut data).unwrap();
            assert_eq!(read, Some(request));
        }
    }

    #[test]
    fn grants_and_revocations_have_the_bytes_of_etcds_message_and_come_back() {
        let id = RequestId::from_wire(77).unwrap();
        let grant = LeaseGrantRequest { ttl: 5, id: 6 };
        let revoke = LeaseRevokeRequest { id: 6 };
        let wire = InternalRaftRequest {
            header: Some(RequestHeader {
                id: 77,
                ..RequestHeader::default()
            }),
            ..InternalRaftRequest::default()
        };
        let granting = InternalRaftRequest {
            lease_grant: Some(grant),
            ..wire.clone()
        };
        let revoking = InternalRaftRequest {
            lease_revoke: Some(revoke),
            ..wire
        };
        for (request, wire) in [
            (LeaseRequest::Grant(grant), granting),
            (LeaseRequest::Revoke(revoke), revoking),
        ] {
            let request = LogRequest::Lease(request);
            let data = request.encode(id, None);
            assert_eq!(data, wire.encode_to_vec());
            assert_eq!(LogEntry::decode(data).unwrap().request, Some(request));
        }
    }

    #[test]
    fn other_fields_are_left_alone_and_torn_ones_are_an_error() {
        let mut data = Bytes::from_static(&[1, 2]);
        let read = LeaseRequest::decode(11, WireType::LengthDelimited, &mut data);
        assert_eq!((read.unwrap(), data.len()), (None, 2));
        for (request, _) in one_of_each() {
            let mut data = after_header(&request);
            data.truncate(data.len() - 1);
            let (tag, wire_type) = prost::encoding::decode_key(&mut data).unwrap();
            assert!(LeaseRequest::decode(tag, wire_type, &mut data).is_err());
        }
    }
}
