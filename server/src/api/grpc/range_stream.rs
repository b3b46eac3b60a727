//! `KV/RangeStream`: a range in chunks of about one message each, all of one revision.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;

use cairn_mvcc::{RangeScan, RevisionFilter, ScanProgress, SortOrder, SortTarget};
use cairn_proto::stored::{EncodedKvsBuilder, RangeResponse, RangeStreamResponse};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::member::Member;
use crate::member::auth::Permit;
use crate::member::error::Error;
use cairn_replica::request::Range;

/// Keys of the first chunk. Later ones double or halve towards the size of a message.
const FIRST_CHUNK_KEYS: NonZeroUsize = NonZeroUsize::new(10).expect("10 is not zero");
/// Chunks that may wait for a slow client.
const CHUNKS_AHEAD: usize = 2;

/// Refuses what a stream cannot do.
///
/// # Errors
///
/// Etcd's statuses for orders and filters.
pub(super) fn check(range: &Range) -> Result<(), Status> {
    let query = &range.query;
    let in_order = query.order == SortOrder::None
        || (query.order == SortOrder::Ascend && query.target == SortTarget::Key);
    if !in_order {
        return Err(Status::unimplemented(
            "RangeStream does not support custom sort orders",
        ));
    }
    let unfiltered = RevisionFilter::default();
    if query.created != unfiltered || query.modified != unfiltered {
        return Err(Status::unimplemented(
            "RangeStream does not support revision filters",
        ));
    }
    Ok(())
}

/// The stream that answers `range`, which was allowed. With a target and without an order all of the
/// answer ascends, as a range's does; etcd sorts each chunk by itself, and breaks off after the first in
/// which the last key is not the greatest. If the rules change meanwhile, it ends with that.
pub(super) fn answer(
    member: Arc<Member>,
    range: Range,
    permit: Permit,
) -> impl Stream<Item = Result<RangeStreamResponse, Status>> + Send {
    let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
    tokio::spawn(async move {
        if let Err(error) = send(&member, &range, permit, &chunks).await {
            let _ = chunks.send(Err(Status::from(error))).await;
        }
    });
    ReceiverStream::new(stream)
}

async fn send(
    member: &Member,
    range: &Range,
    permit: Permit,
    chunks: &mpsc::Sender<Result<RangeStreamResponse, Status>>,
) -> Result<(), Error> {
    let mut scan = member.scan(range, &permit)?;
    let target_bytes = member.limits().request_bytes_max;
    let mut keys = FIRST_CHUNK_KEYS;
    loop {
        let (kvs, progress) = read_chunk(&mut scan, keys)?;
        keys = next_chunk_keys(keys, kvs.framed_len(), target_bytes);
        let mut response = RangeResponse {
            kvs: kvs.finish(),
            ..RangeResponse::default()
        };
        let done = if let ScanProgress::Done(summary) = progress {
            response.header = Some(member.header(Some(summary.revision)));
            response.more = summary.more;
            response.count = i64::try_from(summary.count).unwrap_or(i64::MAX);
            true
        } else {
            false
        };
        let chunk = RangeStreamResponse {
            range_response: Some(response),
        };
        if chunks.send(Ok(chunk)).await.is_err() {
            return Ok(());
        }
        if done {
            return member.confirm(permit);
        }
    }
}

fn read_chunk(
    scan: &mut RangeScan,
    keys: NonZeroUsize,
) -> Result<(EncodedKvsBuilder, ScanProgress), Error> {
    let mut kvs = EncodedKvsBuilder::new();
    let progress = scan.next_chunk(keys, &mut |kv| {
        kvs.push(kv.encoded);
        ControlFlow::Continue(())
    })?;
    Ok((kvs, progress))
}

/// Twice as many keys after a chunk of less than half the target, half as many after one of more
/// than twice it.
fn next_chunk_keys(keys: NonZeroUsize, bytes: usize, target_bytes: usize) -> NonZeroUsize {
    if bytes < target_bytes / 2 {
        keys.saturating_mul(NonZeroUsize::MIN.saturating_add(1))
    } else if bytes > target_bytes.saturating_mul(2) {
        NonZeroUsize::new(keys.get() / 2).unwrap_or(NonZeroUsize::MIN)
    } else {
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_and_shrink_towards_the_target() {
        let keys = |number| NonZeroUsize::new(number).unwrap();
        assert_eq!(next_chunk_keys(keys(10), 100, 1000), keys(20));
        assert_eq!(next_chunk_keys(keys(10), 900, 1000), keys(10));
        assert_eq!(next_chunk_keys(keys(10), 2001, 1000), keys(5));
        assert_eq!(next_chunk_keys(keys(1), 2001, 1000), keys(1));
    }
}
