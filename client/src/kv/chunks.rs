//! `RangeStream` as it is on the wire.

use cairn_proto::etcdserverpb as pb;

use super::pages::RANGE_STREAM;
use crate::client::{Client, to_error};
use crate::error::Error;
use crate::transport::Replies;

/// The answer to a range in pieces, as the server sends them; see [`Client::range_chunks`].
pub struct RangeChunks {
    first: Option<pb::RangeStreamResponse>,
    replies: Replies,
    client: Client,
    is_ended: bool,
}

impl Client {
    /// Reads a range by `RangeStream` as it is on the wire, with no namespace, for programs that want
    /// the pieces of the answer. [`Range::stream`](crate::Range::stream) reads key-values one by one
    /// from any server, and goes on where this breaks off.
    ///
    /// # Errors
    ///
    /// [`Error`]; of etcd before 3.7, [`Code::Unimplemented`](crate::Code::Unimplemented).
    pub async fn range_chunks(&self, request: pb::RangeRequest) -> Result<RangeChunks, Error> {
        let (first, replies) = self.server_stream(RANGE_STREAM, &request).await?;
        Ok(RangeChunks {
            is_ended: first.is_none(),
            first,
            replies,
            client: self.clone(),
        })
    }
}

impl RangeChunks {
    /// The next piece; `None` after the last and after an error.
    pub async fn next(&mut self) -> Option<Result<pb::RangeResponse, Error>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first.range_response.unwrap_or_default()));
        }
        if self.is_ended {
            return None;
        }
        let next = self.replies.next::<pb::RangeStreamResponse>().await;
        match next {
            Ok(Some(chunk)) => return Some(Ok(chunk.range_response.unwrap_or_default())),
            Ok(None) => self.is_ended = true,
            Err(failure) => {
                self.is_ended = true;
                return Some(Err(to_error(failure, self.client.request_timeout())));
            }
        }
        None
    }
}

impl std::fmt::Debug for RangeChunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RangeChunks").finish_non_exhaustive()
    }
}
