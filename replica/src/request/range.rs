//! A range read, parsed.

use std::num::NonZeroUsize;

use cairn_index::{KeyRange, Revision};
use cairn_mvcc::{RangeQuery, ReadAt, RevisionFilter, SortOrder, SortTarget};
use cairn_proto::etcdserverpb::RangeRequest;
use cairn_proto::etcdserverpb::range_request;

use super::RequestError;

/// Reads the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// What is read.
    pub query: RangeQuery,
    /// Whether this member's own state will do, be it behind the cluster's.
    pub serializable: bool,
    /// The request names a revision below zero.
    pub negative: Option<NegativeRevision>,
}

/// A revision below zero. A read takes all of them for the latest. A transaction takes them for
/// compacted; but to etcd a store that was never compacted is so at −1, and can be read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NegativeRevision {
    /// The first below zero.
    MinusOne,
    /// Those below that.
    Lower,
}

impl Range {
    /// Parses a range read. Revisions and limits of zero and less mean none.
    ///
    /// # Errors
    ///
    /// [`RequestError`] for an empty key or an unknown way to sort.
    pub fn parse(request: RangeRequest) -> Result<Self, RequestError> {
        if request.key.is_empty() {
            return Err(RequestError::EmptyKey);
        }
        let order = match range_request::SortOrder::try_from(request.sort_order) {
            Ok(range_request::SortOrder::None) => SortOrder::None,
            Ok(range_request::SortOrder::Ascend) => SortOrder::Ascend,
            Ok(range_request::SortOrder::Descend) => SortOrder::Descend,
            Err(_) => return Err(RequestError::InvalidSortOption),
        };
        let target = match range_request::SortTarget::try_from(request.sort_target) {
            Ok(range_request::SortTarget::Key) => SortTarget::Key,
            Ok(range_request::SortTarget::Version) => SortTarget::Version,
            Ok(range_request::SortTarget::Create) => SortTarget::Create,
            Ok(range_request::SortTarget::Mod) => SortTarget::Modify,
            Ok(range_request::SortTarget::Value) => SortTarget::Value,
            Err(_) => return Err(RequestError::InvalidSortOption),
        };
        let at = Revision::from_wire(request.revision).map_or(ReadAt::Latest, ReadAt::Revision);
        let query = RangeQuery {
            range: KeyRange::from_wire(request.key, request.range_end),
            at,
            limit: usize::try_from(request.limit)
                .ok()
                .and_then(NonZeroUsize::new),
            target,
            order,
            keys_only: request.keys_only,
            count_only: request.count_only,
            modified: filter(request.min_mod_revision, request.max_mod_revision),
            created: filter(request.min_create_revision, request.max_create_revision),
        };
        let negative = match request.revision {
            0.. => None,
            -1 => Some(NegativeRevision::MinusOne),
            _ => Some(NegativeRevision::Lower),
        };
        Ok(Self {
            query,
            serializable: request.serializable,
            negative,
        })
    }
}

fn filter(min: i64, max: i64) -> RevisionFilter {
    let given = |bound: i64| (bound != 0).then_some(bound);
    RevisionFilter {
        min: given(min),
        max: given(max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn request() -> RangeRequest {
        RangeRequest {
            key: Bytes::from_static(b"k"),
            ..RangeRequest::default()
        }
    }

    #[test]
    fn revisions_and_limits_of_zero_and_less_mean_none() {
        let cases = [
            (0, None),
            (-1, Some(NegativeRevision::MinusOne)),
            (-2, Some(NegativeRevision::Lower)),
            (i64::MIN, Some(NegativeRevision::Lower)),
        ];
        for (number, negative) in cases {
            let request = RangeRequest {
                revision: number,
                limit: number,
                ..request()
            };
            let range = Range::parse(request).unwrap();
            assert_eq!((range.query.at, range.query.limit), (ReadAt::Latest, None));
            assert_eq!(range.negative, negative);
        }
    }

    #[test]
    fn unknown_ways_to_sort_are_refused() {
        let order = RangeRequest {
            sort_order: 3,
            ..request()
        };
        assert_eq!(Range::parse(order), Err(RequestError::InvalidSortOption));
        let target = RangeRequest {
            sort_target: -1,
            ..request()
        };
        assert_eq!(Range::parse(target), Err(RequestError::InvalidSortOption));
    }
}
