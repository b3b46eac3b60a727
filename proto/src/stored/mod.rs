//! Servers, and the responses that carry stored bytes.
//!
//! The store keeps the encoding of a [`crate::mvccpb::KeyValue`]. Here the messages in which a
//! key-value or an event occurs are generated once more with [`EncodedKeyValue`] and
//! [`EncodedEvent`] in its place, and [`RangeResponse`], the hot one, is written by hand around
//! one buffer of framed records. On the wire they equal the plain messages byte for byte.
//!
//! etcd's main API is at the top of this module (`stored::kv_server::KvServer`,
//! `stored::PutResponse`), the smaller services in modules named as at the top of the crate.
//!
//! To serve, implement a trait ([`kv_server::Kv`]), wrap it ([`kv_server::KvServer::new`]) and add
//! it to tonic's router. tonic refuses requests over 4 MiB unless told otherwise with
//! `max_decoding_message_size`; responses have no limit.

mod event;
mod fields;
mod key_value;
mod kvs;
mod range_response;

pub use self::{
    etcdserverpb::*,
    event::EncodedEvent,
    key_value::EncodedKeyValue,
    kvs::{EncodedKvs, EncodedKvsBuilder},
    range_response::RangeResponse,
};

generated!(etcdserverpb = "/stored/etcdserverpb.rs");
generated!(
    /// Server of the health check.
    pub health = "/stored/grpc.health.v1.rs"
);
generated!(
    /// Server of elections.
    pub v3electionpb = "/stored/v3electionpb.rs"
);
generated!(
    /// Server of what members say to each other.
    pub cairnpb = "/stored/cairnpb.rs"
);
generated!(
    /// Server of locks.
    pub v3lockpb = "/stored/v3lockpb.rs"
);
