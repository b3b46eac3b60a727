//! Scans: a whole key space in one call.

use anyhow::{Result, ensure};
use bytes::Bytes;
use cairn_proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};
use clap::ValueEnum;
use prost::Message;

use crate::connection::Method;
use crate::endpoint::Endpoint;
use crate::framing::frame;
use crate::key_space::KeySpace;
use crate::load::{Call, Payload, Workload};
use crate::probe;

/// How a scan's answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transfer {
    /// In one message.
    Unary,
    /// In a stream of messages (RangeStream: etcd 3.7 and later).
    Stream,
}

/// Scans of all keys of a key space.
#[derive(Clone, Debug)]
pub struct Scans {
    keys: KeySpace,
    framed: Bytes,
    method: Method,
}

impl Scans {
    /// Linearizable scans of `keys`.
    #[must_use]
    pub fn new(keys: KeySpace, transfer: Transfer) -> Self {
        let (key, range_end) = keys.range();
        let request = RangeRequest {
            key,
            range_end,
            ..RangeRequest::default()
        };
        let method = match transfer {
            Transfer::Unary => Method::Range,
            Transfer::Stream => Method::RangeStream,
        };
        Self {
            keys,
            framed: frame(&request),
            method,
        }
    }

    /// Scans once and looks whether every key is there: afterwards only bytes are counted.
    ///
    /// # Errors
    ///
    /// If keys are missing, or the server does not answer.
    pub fn verify(&self, endpoint: Endpoint) -> Result<()> {
        let mut seen = 0;
        for message in probe::ask_all(endpoint, self.method, self.framed.clone())? {
            seen += if self.method == Method::Range {
                RangeResponse::decode(message)?.kvs.len()
            } else {
                let part = RangeStreamResponse::decode(message)?.range_response;
                part.map_or(0, |response| response.kvs.len())
            };
        }
        let expected = self.keys.count();
        ensure!(
            seen as u64 == expected,
            "a scan returned {seen} keys of {expected}"
        );
        Ok(())
    }
}

impl Workload for Scans {
    fn kinds(&self) -> &[&'static str] {
        &["scan"]
    }

    fn client(&self, _index: usize) -> Box<dyn FnMut(u64) -> Call> {
        let call = Call {
            payload: Payload::Grpc {
                method: self.method,
                framed: self.framed.clone(),
            },
            kind: 0,
        };
        Box::new(move |_| call.clone())
    }
}
