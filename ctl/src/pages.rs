//! All pairs of a range at one revision, read page by page.

use bytes::Bytes;
use cairn_proto::etcdserverpb::RangeRequest;
use cairn_proto::mvccpb::KeyValue;

use crate::failure::Failure;
use crate::key_range::prefix_end;
use crate::session::Session;

/// Pairs that are read at once.
const PAGE_PAIRS: i64 = 500;

/// A reading under way.
#[derive(Debug)]
pub(crate) struct Pages {
    next: Bytes,
    range_end: Bytes,
    /// Zero until the first page says it, if it is to be the current one.
    pub(crate) revision: i64,
    /// How many pairs there are in all, once the first page has said it.
    pub(crate) total: u64,
    is_over: bool,
}

impl Pages {
    /// Of all keys with a prefix; revision zero is the current one.
    pub(crate) fn of_prefix(prefix: &[u8], revision: i64) -> Self {
        let next = if prefix.is_empty() { &[0] } else { prefix };
        Self {
            next: Bytes::copy_from_slice(next),
            range_end: prefix_end(prefix).into(),
            revision,
            total: 0,
            is_over: false,
        }
    }

    /// The next pairs, in the order of their keys; `None` behind the last.
    pub(crate) async fn next(
        &mut self,
        session: &Session,
    ) -> Result<Option<Vec<KeyValue>>, Failure> {
        if self.is_over {
            return Ok(None);
        }
        let request = RangeRequest {
            key: self.next.clone(),
            range_end: self.range_end.clone(),
            revision: self.revision,
            limit: PAGE_PAIRS,
            ..RangeRequest::default()
        };
        let response = session.call(request).await?;
        if self.total == 0 {
            self.total = response.count.unsigned_abs();
        }
        if self.revision == 0 {
            self.revision = response.header.map_or(0, |header| header.revision);
        }
        self.is_over = !response.more;
        if let Some(last) = response.kvs.last() {
            // The first key behind it.
            self.next = [&last.key[..], &[0]].concat().into();
        }
        Ok(Some(response.kvs))
    }
}
