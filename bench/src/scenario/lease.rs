//! Leases: granting many, and keeping them alive.

use bytes::Bytes;
use cairn_proto::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest};

use crate::connection::Method;
use crate::framing::frame;
use crate::load::{Call, Channel, Payload, Workload};

/// Grants of leases numbered from one on, one a request.
#[derive(Clone, Copy, Debug)]
pub struct Grants {
    /// Seconds that each lives.
    pub ttl: i64,
}

/// Renewals of leases that were granted: each client sends them on one stream, one by one.
#[derive(Clone, Copy, Debug)]
pub struct Renewals {
    /// Leases that there are.
    pub leases: u64,
}

/// The id of a lease.
fn id(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX - 1) + 1
}

fn call(method: Method, framed: Bytes) -> Call {
    Call {
        payload: Payload::Grpc { method, framed },
        kind: 0,
    }
}

impl Workload for Grants {
    fn kinds(&self) -> &[&'static str] {
        &["grant"]
    }

    fn client(&self, _: usize) -> Box<dyn FnMut(u64) -> Call> {
        let ttl = self.ttl;
        Box::new(move |ticket| {
            let id = id(ticket);
            call(Method::LeaseGrant, frame(&LeaseGrantRequest { ttl, id }))
        })
    }
}

impl Workload for Renewals {
    fn channel(&self) -> Channel {
        Channel::Stream
    }

    fn kinds(&self) -> &[&'static str] {
        &["keep-alive"]
    }

    fn client(&self, _: usize) -> Box<dyn FnMut(u64) -> Call> {
        let leases = self.leases.max(1);
        Box::new(move |ticket| {
            let id = id(ticket % leases);
            let framed = frame(&LeaseKeepAliveRequest { id });
            call(Method::LeaseKeepAlive, framed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::HEADER_LEN;
    use prost::Message;

    fn message(call: &Call) -> Bytes {
        let Payload::Grpc { framed, .. } = &call.payload else {
            panic!("not gRPC")
        };
        framed.slice(HEADER_LEN..)
    }

    #[test]
    fn every_lease_that_was_granted_is_renewed_in_turn() {
        let mut renew = Renewals { leases: 3 }.client(0);
        let mut grant = Grants { ttl: 1 }.client(0);
        let granted = [0, 1, 2].map(|ticket| {
            LeaseGrantRequest::decode(message(&grant(ticket)))
                .unwrap()
                .id
        });
        let renewed = [0, 1, 2, 3].map(|ticket| {
            LeaseKeepAliveRequest::decode(message(&renew(ticket)))
                .unwrap()
                .id
        });
        assert_eq!(granted, [1, 2, 3]);
        assert_eq!(renewed, [1, 2, 3, 1]);
    }
}
