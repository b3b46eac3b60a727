//! A plain client talks to a stored server, with no network between them.

use bytes::Bytes;
use cairn_proto::{
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, PutRequest, RangeRequest,
        RangeStreamResponse, TxnRequest, kv_client::KvClient,
    },
    mvccpb::KeyValue,
    stored::{
        self, EncodedKeyValue, EncodedKvsBuilder,
        kv_server::{Kv, KvServer},
    },
};
use prost::Message;
use tokio_stream::{Iter, StreamExt};
use tonic::{Code, Request, Response, Status};

const KEYS: usize = 1000;

fn kv(number: usize) -> KeyValue {
    KeyValue {
        key: format!("key-{number}").into(),
        mod_revision: 2,
        value: Bytes::from(vec![b'v'; 300]),
        ..KeyValue::default()
    }
}

/// Answers every range with the same keys.
struct FixedKeys;

impl FixedKeys {
    fn range() -> stored::RangeResponse {
        let mut kvs = EncodedKvsBuilder::new();
        (0..KEYS).for_each(|number| kvs.push(&kv(number).encode_to_vec()));
        stored::RangeResponse {
            kvs: kvs.finish(),
            count: 7,
            ..Default::default()
        }
    }
}

#[tonic::async_trait]
impl Kv for FixedKeys {
    async fn range(
        &self,
        _: Request<RangeRequest>,
    ) -> Result<Response<stored::RangeResponse>, Status> {
        Ok(Response::new(Self::range()))
    }

    type RangeStreamStream = Iter<std::vec::IntoIter<Result<stored::RangeStreamResponse, Status>>>;

    async fn range_stream(
        &self,
        _: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let chunk = stored::RangeStreamResponse {
            range_response: Some(Self::range()),
        };
        Ok(Response::new(tokio_stream::iter(vec![
            Ok(chunk.clone()),
            Ok(chunk),
        ])))
    }

    async fn put(&self, _: Request<PutRequest>) -> Result<Response<stored::PutResponse>, Status> {
        let prev_kv = Some(EncodedKeyValue::from(&kv(0)));
        Ok(Response::new(stored::PutResponse {
            header: None,
            prev_kv,
        }))
    }

    async fn delete_range(
        &self,
        _: Request<DeleteRangeRequest>,
    ) -> Result<Response<stored::DeleteRangeResponse>, Status> {
        Err(Status::out_of_range("not here"))
    }

    async fn txn(&self, _: Request<TxnRequest>) -> Result<Response<stored::TxnResponse>, Status> {
        Err(Status::out_of_range("not here"))
    }

    async fn compact(
        &self,
        _: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        Err(Status::out_of_range("not here"))
    }
}

fn client() -> KvClient<KvServer<FixedKeys>> {
    KvClient::new(KvServer::new(FixedKeys))
}

#[tokio::test]
async fn a_client_sees_plain_key_values() {
    let range = client()
        .range(RangeRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(range.kvs, (0..KEYS).map(kv).collect::<Vec<_>>());
    assert_eq!(range.count, 7);
    let put = client()
        .put(PutRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(put.prev_kv, Some(kv(0)));
}

#[tokio::test]
async fn a_stream_carries_each_chunk_whole() {
    let stream = client()
        .range_stream(RangeRequest::default())
        .await
        .unwrap()
        .into_inner();
    let chunks: Vec<Result<RangeStreamResponse, Status>> = stream.collect().await;
    assert_eq!(chunks.len(), 2);
    for chunk in chunks {
        assert_eq!(chunk.unwrap().range_response.unwrap().kvs.len(), KEYS);
    }
}

#[tokio::test]
async fn an_error_arrives_with_its_code_and_text() {
    let status = client()
        .compact(CompactionRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::OutOfRange, "not here")
    );
}
