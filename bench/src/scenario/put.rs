//! Puts: the write path, one key and one value each.

use cairn_proto::etcdserverpb::PutRequest;

use crate::connection::Method;
use crate::key_space::{KeySpace, Order, value};
use crate::scenario::Keyed;

/// Seed of the value's bytes.
const VALUE_SEED: u64 = 1;

/// Puts of one value of `value_len` bytes under many keys.
#[must_use]
pub fn puts(keys: KeySpace, order: Order, value_len: usize) -> Keyed {
    let request = PutRequest {
        key: keys.placeholder().into(),
        value: value(value_len, VALUE_SEED),
        ..PutRequest::default()
    };
    Keyed::new("put", Method::Put, keys, order, &request)
}
