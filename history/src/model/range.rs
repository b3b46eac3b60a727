//! What a read of one state answers.

use std::cmp::Ordering;

use super::State;
use crate::{Data, KeyValue, RangeRequest, RangeResponse, SortTarget};

/// The answer to a read of this state. The count is of the whole range, whatever the limit and the
/// bounds on revisions.
pub(super) fn answer(state: &State, request: &RangeRequest) -> RangeResponse {
    let found = || state.scan(&request.range);
    let count = i64::try_from(found().count()).unwrap_or(i64::MAX);
    if request.count_only {
        return RangeResponse {
            kvs: Vec::new(),
            more: false,
            count,
        };
    }
    let mut kvs: Vec<&KeyValue> = found()
        .filter(|kv| request.mod_bounds.contains(kv.mod_revision))
        .filter(|kv| request.create_bounds.contains(kv.create_revision))
        .collect();
    if let Some(sort) = request.sort {
        kvs.sort_by(|one, other| {
            let order = compare(sort.by, one, other);
            if sort.descending {
                order.reverse()
            } else {
                order
            }
        });
    }
    let limit = request.limit.unwrap_or(usize::MAX);
    let more = kvs.len() > limit;
    kvs.truncate(limit);
    let shown = |kv: &KeyValue| {
        let mut kv = kv.clone();
        if request.keys_only {
            kv.value = Data::default();
        }
        kv
    };
    RangeResponse {
        kvs: kvs.into_iter().map(shown).collect(),
        more,
        count,
    }
}

/// How two key-values stand in an order. Equal ones may come in any order.
pub(crate) fn compare(by: SortTarget, one: &KeyValue, other: &KeyValue) -> Ordering {
    match by {
        SortTarget::Key => one.key.cmp(&other.key),
        SortTarget::Version => one.version.cmp(&other.version),
        SortTarget::Create => one.create_revision.cmp(&other.create_revision),
        SortTarget::Mod => one.mod_revision.cmp(&other.mod_revision),
        SortTarget::Value => one.value.cmp(&other.value),
    }
}
