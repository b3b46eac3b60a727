//! Ranges: one key, or a page of keys from a starting key on.

use std::num::NonZeroU32;

use cairn_proto::etcdserverpb::RangeRequest;
use clap::ValueEnum;

use crate::connection::Method;
use crate::key_space::{KeySpace, Order};
use crate::scenario::Keyed;

/// What a read may miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Consistency {
    /// Nothing: it sees every write acknowledged before it.
    Linearizable,
    /// What this member has not applied yet.
    Serializable,
}

/// Reads of one key each.
#[must_use]
pub fn reads(keys: KeySpace, order: Order, consistency: Consistency) -> Keyed {
    let request = RangeRequest {
        key: keys.placeholder().into(),
        serializable: consistency == Consistency::Serializable,
        ..RangeRequest::default()
    };
    Keyed::new("range", Method::Range, keys, order, &request)
}

/// Reads of up to `page` keys from a key on.
#[must_use]
pub fn pages(keys: KeySpace, order: Order, consistency: Consistency, page: NonZeroU32) -> Keyed {
    let (_, range_end) = keys.range();
    let request = RangeRequest {
        key: keys.placeholder().into(),
        range_end,
        limit: i64::from(page.get()),
        serializable: consistency == Consistency::Serializable,
        ..RangeRequest::default()
    };
    Keyed::new("page", Method::Range, keys, order, &request)
}
