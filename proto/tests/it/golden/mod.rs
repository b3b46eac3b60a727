//! Bytes that etcd's own Go packages write, against the values that they stand for.

mod admin;
mod kv;
mod log;
mod raft;
mod watch;

use bytes::Bytes;
use cairn_proto::{etcdserverpb::ResponseHeader, mvccpb::KeyValue};
use prost::Message;

const GOLDEN: &str = include_str!("../fixtures/golden.txt");

/// The bytes named so in the fixture.
pub(super) fn golden(name: &str) -> Vec<u8> {
    let hex = GOLDEN
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no golden bytes are named {name}"));
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// Checks that the golden bytes mean `value`, and that `value` encodes to them.
pub(super) fn check<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, value: &M) {
    let bytes = golden(name);
    assert_eq!(
        M::decode(bytes.as_slice()).unwrap(),
        *value,
        "{name} decodes"
    );
    assert_eq!(value.encode_to_vec(), bytes, "{name} encodes");
}

pub(super) fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(super) fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: 14_841_639_068_965_178_418,
        member_id: 10_276_657_743_932_975_437,
        revision: 42,
        raft_term: 7,
    })
}

pub(super) fn kv(key: &'static str) -> KeyValue {
    KeyValue {
        key: bytes(key),
        create_revision: 2,
        mod_revision: 300,
        version: 4,
        value: Bytes::from_static(b"v\x00\xff"),
        lease: 7_587_848_390_000_000_000,
    }
}
