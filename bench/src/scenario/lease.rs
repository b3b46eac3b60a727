//! Leases: granting many, and keeping them alive.

use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use cairn_proto::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest};

use crate::connection::Method;
use crate::framing::frame;
use crate::load::{Call, Workload};

/// Grants of leases numbered from one on, one a request.
#[derive(Clone, Copy, Debug)]
pub struct Grants {
    /// Seconds that each lives.
    pub ttl: i64,
}

/// Renewals of leases that were granted: a request is a stream of so many.
#[derive(Clone, Copy, Debug)]
pub struct Renewals {
    /// Leases that there are.
    pub leases: u64,
    /// Renewals in one stream.
    pub batch: NonZeroU16,
}

/// The id of a lease.
fn id(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX - 1) + 1
}

impl Workload for Grants {
    fn kinds(&self) -> &[&'static str] {
        &["grant"]
    }

    fn client(&self, _: usize) -> Box<dyn FnMut(u64) -> Call> {
        let ttl = self.ttl;
        Box::new(move |ticket| Call {
            method: Method::LeaseGrant,
            framed: frame(&LeaseGrantRequest {
                ttl,
                id: id(ticket),
            }),
            kind: 0,
        })
    }
}

impl Renewals {
    /// The renewals of one request, framed one after the other.
    fn stream(self, ticket: u64) -> Bytes {
        let batch = u64::from(self.batch.get());
        let first = ticket.wrapping_mul(batch);
        let mut framed = BytesMut::new();
        for number in (0..batch).map(|nth| first.wrapping_add(nth) % self.leases.max(1)) {
            framed.extend_from_slice(&frame(&LeaseKeepAliveRequest { id: id(number) }));
        }
        framed.freeze()
    }
}

impl Workload for Renewals {
    fn kinds(&self) -> &[&'static str] {
        &["keep-alive"]
    }

    fn client(&self, _: usize) -> Box<dyn FnMut(u64) -> Call> {
        let renewals = *self;
        Box::new(move |ticket| Call {
            method: Method::LeaseKeepAlive,
            framed: renewals.stream(ticket),
            kind: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::Frames;
    use prost::Message;

    #[test]
    fn streams_renew_all_leases_in_turn() {
        let renewals = Renewals {
            leases: 5,
            batch: NonZeroU16::new(3).unwrap(),
        };
        let mut frames = Frames::default();
        let mut client = renewals.client(0);
        (0..3).for_each(|ticket| frames.push(client(ticket).framed));
        let mut ids = Vec::new();
        while let Some(message) = frames.next_message().unwrap() {
            ids.push(LeaseKeepAliveRequest::decode(message).unwrap().id);
        }
        assert_eq!(ids, [1, 2, 3, 4, 5, 1, 2, 3, 4]);
    }
}
