//! Keys under a prefix that clients do not see.

use axum::body::Body;
use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::request_op::Request as Operation;
use cairn_proto::etcdserverpb::response_op::Response as Answer;
use cairn_proto::mvccpb::KeyValue;
use http::{Request, Response};
use tonic::Status;

use crate::grpc;
use crate::relay::Relay;

/// What stands before all keys upstream.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    prefix: Bytes,
    /// Whether reads that would be content with what one member knows ask the cluster all the same.
    orders_reads: bool,
}

impl Namespace {
    pub(crate) const fn new(prefix: Bytes, orders_reads: bool) -> Self {
        Self {
            prefix,
            orders_reads,
        }
    }

    /// Passes a call on, its keys under the prefix. What cannot be brought under it is refused, since it
    /// would reach beyond.
    pub(crate) async fn pass_on(&self, relay: &Relay, call: Request<Body>) -> Response<Body> {
        if self.prefix.is_empty() && !self.orders_reads {
            return relay.call(call).await;
        }
        let own = self.clone();
        let back = self.clone();
        match call.uri().path() {
            "/etcdserverpb.KV/Range" => {
                let ask = move |range| own.range(range);
                grpc::changed(relay, call, ask, move |answer| back.ranged(answer)).await
            }
            "/etcdserverpb.KV/Put" => {
                let ask = move |put| own.put(put);
                grpc::changed(relay, call, ask, move |answer| back.was_put(answer)).await
            }
            "/etcdserverpb.KV/DeleteRange" => {
                let ask = move |delete| own.delete(delete);
                grpc::changed(relay, call, ask, move |answer| back.deleted(answer)).await
            }
            "/etcdserverpb.KV/Txn" => {
                let ask = move |txn| own.txn(txn);
                grpc::changed(relay, call, ask, move |answer| back.txn_done(answer)).await
            }
            "/etcdserverpb.Lease/LeaseTimeToLive" => {
                let show = move |answer| back.time_to_live(answer);
                grpc::changed::<pb::LeaseTimeToLiveRequest, _>(relay, call, Ok, show).await
            }
            _ if self.prefix.is_empty() => relay.call(call).await,
            path if path.starts_with("/v3lockpb.")
                || path.starts_with("/v3electionpb.")
                || path == "/etcdserverpb.KV/RangeStream"
                || !path.starts_with("/etcdserverpb.") =>
            {
                Status::unimplemented("not served under a namespace").into_http()
            }
            _ => relay.call(call).await,
        }
    }

    /// A key and its end, upstream.
    pub(crate) fn keys(&self, key: &[u8], end: &[u8]) -> (Bytes, Bytes) {
        if self.prefix.is_empty() {
            return (Bytes::copy_from_slice(key), Bytes::copy_from_slice(end));
        }
        let end = match end {
            [] => Bytes::new(),
            [0] => after_all_under(&self.prefix),
            end => [&self.prefix, end].concat().into(),
        };
        ([&self.prefix, key].concat().into(), end)
    }

    /// A pair as clients see it.
    pub(crate) fn shown(&self, kv: &mut KeyValue) {
        if kv.key.starts_with(&self.prefix) {
            kv.key = kv.key.slice(self.prefix.len()..);
        }
    }

    fn under(&self, key: &Bytes, end: &Bytes) -> Result<(Bytes, Bytes), Status> {
        if key.is_empty() {
            return Err(Status::invalid_argument("etcdserver: key is not provided"));
        }
        Ok(self.keys(key, end))
    }

    fn range(&self, mut range: pb::RangeRequest) -> Result<pb::RangeRequest, Status> {
        (range.key, range.range_end) = self.under(&range.key, &range.range_end)?;
        range.serializable &= !self.orders_reads;
        Ok(range)
    }

    fn put(&self, mut put: pb::PutRequest) -> Result<pb::PutRequest, Status> {
        (put.key, _) = self.under(&put.key, &Bytes::new())?;
        Ok(put)
    }

    fn delete(&self, mut delete: pb::DeleteRangeRequest) -> Result<pb::DeleteRangeRequest, Status> {
        (delete.key, delete.range_end) = self.under(&delete.key, &delete.range_end)?;
        Ok(delete)
    }

    fn txn(&self, mut txn: pb::TxnRequest) -> Result<pb::TxnRequest, Status> {
        for compare in &mut txn.compare {
            (compare.key, compare.range_end) = self.under(&compare.key, &compare.range_end)?;
        }
        for operation in txn.success.iter_mut().chain(&mut txn.failure) {
            operation.request = match operation.request.take() {
                Some(Operation::RequestRange(it)) => Some(Operation::RequestRange(self.range(it)?)),
                Some(Operation::RequestPut(it)) => Some(Operation::RequestPut(self.put(it)?)),
                Some(Operation::RequestDeleteRange(it)) => {
                    Some(Operation::RequestDeleteRange(self.delete(it)?))
                }
                Some(Operation::RequestTxn(it)) => Some(Operation::RequestTxn(self.txn(it)?)),
                None => None,
            };
        }
        Ok(txn)
    }

    fn all_shown(&self, kvs: &mut [KeyValue]) {
        for kv in kvs {
            self.shown(kv);
        }
    }

    fn ranged(&self, mut answer: pb::RangeResponse) -> pb::RangeResponse {
        self.all_shown(&mut answer.kvs);
        answer
    }

    fn was_put(&self, mut answer: pb::PutResponse) -> pb::PutResponse {
        if let Some(before) = &mut answer.prev_kv {
            self.shown(before);
        }
        answer
    }

    fn deleted(&self, mut answer: pb::DeleteRangeResponse) -> pb::DeleteRangeResponse {
        self.all_shown(&mut answer.prev_kvs);
        answer
    }

    fn txn_done(&self, mut answer: pb::TxnResponse) -> pb::TxnResponse {
        for operation in &mut answer.responses {
            operation.response = operation.response.take().map(|response| match response {
                Answer::ResponseRange(it) => Answer::ResponseRange(self.ranged(it)),
                Answer::ResponsePut(it) => Answer::ResponsePut(self.was_put(it)),
                Answer::ResponseDeleteRange(it) => Answer::ResponseDeleteRange(self.deleted(it)),
                Answer::ResponseTxn(it) => Answer::ResponseTxn(self.txn_done(it)),
            });
        }
        answer
    }

    fn time_to_live(&self, mut answer: pb::LeaseTimeToLiveResponse) -> pb::LeaseTimeToLiveResponse {
        answer.keys.retain(|key| key.starts_with(&self.prefix));
        for key in &mut answer.keys {
            *key = key.slice(self.prefix.len()..);
        }
        answer
    }
}

/// The first key after all that begin with `prefix`.
fn after_all_under(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    // All keys that begin with the greatest bytes are the last ones there are.
    Bytes::from_static(&[0])
}

/// A list of members that leads clients to proxies, as etcd's does; without proxies, the list itself.
pub(crate) fn shows_proxies(
    mut list: pb::MemberListResponse,
    proxies: Vec<pb::Member>,
) -> pb::MemberListResponse {
    if !proxies.is_empty() {
        list.members = proxies;
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_under_their_prefix() {
        let namespace = Namespace::new("p/".into(), false);
        for (key, end, expected) in [
            ("a", "", ("p/a", "")),
            ("a", "c", ("p/a", "p/c")),
            ("a", "\0", ("p/a", "p0")),
        ] {
            let (key, end) = namespace.keys(key.as_bytes(), end.as_bytes());
            assert_eq!(
                (key.as_ref(), end.as_ref()),
                (expected.0.as_bytes(), expected.1.as_bytes())
            );
        }
        assert_eq!(after_all_under(&[1, 255]).as_ref(), [2]);
        assert_eq!(after_all_under(&[255]).as_ref(), [0]);
    }
}
