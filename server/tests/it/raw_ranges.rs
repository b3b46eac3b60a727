//! Ranges byte for byte: what is spliced from stored bytes is what an encoder would write; and the
//! memory that a large one takes.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use cairn_proto::etcdserverpb::{CompactionRequest, RangeRequest, RangeResponse};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use crate::harness::{Clients, Server};
use crate::requests::*;

/// Encodes requests, and leaves answers as they came.
#[derive(Default)]
struct RawAnswers;

impl Codec for RawAnswers {
    type Encode = RangeRequest;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawAnswers {
    type Item = RangeRequest;
    type Error = Status;

    fn encode(&mut self, request: RangeRequest, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&request.encode_to_vec());
        Ok(())
    }
}

impl Decoder for RawAnswers {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

async fn raw(clients: &Clients, request: RangeRequest) -> Result<Bytes, Status> {
    let mut grpc =
        tonic::client::Grpc::new(clients.channel.clone()).max_decoding_message_size(usize::MAX);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Range");
    let answer = grpc.unary(Request::new(request), path, RawAnswers).await;
    answer.map(tonic::Response::into_inner)
}

/// Asserts that an encoder would write `answer`, and returns it decoded.
fn decoded(answer: &Bytes) -> RangeResponse {
    let response = RangeResponse::decode(answer.clone()).unwrap();
    assert!(response.encode_to_vec() == *answer, "not as encoded");
    response
}

async fn fill(clients: &Clients, keys: usize, value_bytes: usize) {
    let mut kv = clients.kv.clone();
    let in_a_txn = (1_500_000 / (value_bytes + 100)).clamp(1, 100);
    let names: Vec<String> = (0..keys).map(|n| format!("k{n:06}")).collect();
    for names in names.chunks(in_a_txn) {
        // Values that differ, in length too.
        let value = |name: &str| name.repeat(value_bytes / name.len() + name.len() % 3);
        let puts = names.iter().map(|name| put_op(name, &value(name)));
        kv.txn(then(puts.collect())).await.unwrap();
    }
}

#[tokio::test]
async fn spliced_answers_are_what_an_encoder_writes() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    fill(&clients, 5000, 400).await;
    clients
        .kv
        .clone()
        .delete_range(delete("k0020", "k0021"))
        .await
        .unwrap();
    let with = |change: fn(&mut RangeRequest)| {
        let mut request = all();
        change(&mut request);
        request
    };
    let cases = [
        ("one key", range("k000001", ""), 1),
        ("no key", range("x", ""), 0),
        ("a handful, in one frame", range("k000010", "k000020"), 10),
        ("in several frames", range("k0010", "k0013"), 300),
        ("of several chunks", all(), 4900),
        ("with a limit", with(|it| it.limit = 2345), 2345),
        ("of the past", with(|it| it.revision = 30), 2900),
        ("keys only", with(|it| it.keys_only = true), 4900),
        ("count only", with(|it| it.count_only = true), 0),
        ("sorted", with(|it| it.sort_order = 2), 4900),
    ];
    for (case, request, kvs) in cases {
        let answer = raw(&clients, request).await.unwrap();
        assert_eq!(decoded(&answer).kvs.len(), kvs, "{case}");
    }
}

#[tokio::test]
async fn an_answer_larger_than_what_is_held_is_whole_and_takes_bounded_memory() {
    const KEYS: usize = 1900;
    const ANSWER_BYTES_MIN: usize = 256 << 20;
    /// What the server holds of one answer (64 MiB), as much again for growing it, and buffers.
    const MEMORY_MAX: u64 = 160 << 20;

    let server = Server::start(&["--quota-backend-bytes=-1"]);
    let clients = server.clients().await;
    fill(&clients, KEYS, 149_000).await;
    let before = server.memory_bytes();
    let mut peak = before;
    let mut answer = std::pin::pin!(raw(&clients, all()));
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(2)) => {
                peak = peak.max(server.memory_bytes());
            }
        }
    };
    assert!(answer.len() > ANSWER_BYTES_MIN, "{} bytes", answer.len());
    let response = decoded(&answer);
    assert_eq!(
        (response.kvs.len(), response.count, response.more),
        (KEYS, i64::try_from(KEYS).unwrap(), false)
    );
    let extra = peak - before;
    assert!(
        extra < MEMORY_MAX,
        "{extra} bytes for {} bytes",
        answer.len()
    );

    // Writes in between do not show, and a compaction either ends the answer or does not.
    let mut kv = clients.kv.clone();
    let writer = tokio::spawn(async move {
        for round in 0..30 {
            let done = kv.put(put("k000500", &round.to_string())).await.unwrap();
            if round == 15 {
                let revision = done.into_inner().header.unwrap().revision;
                let request = CompactionRequest {
                    revision,
                    physical: false,
                };
                kv.compact(request).await.unwrap();
            }
        }
    });
    let pinned = response.header.unwrap().revision;
    for _ in 0..3 {
        match raw(&clients, all()).await {
            Ok(answer) => {
                let response = decoded(&answer);
                let revision = response.header.unwrap().revision;
                assert!(revision >= pinned && response.kvs.len() == KEYS);
                assert!(response.kvs.iter().all(|kv| kv.mod_revision <= revision));
            }
            // An answer that has begun has a length to keep: all that is left is to break it off.
            Err(status) if status.code() == Code::Internal => {}
            Err(status) => assert_eq!(error(&status), COMPACTED),
        }
    }
    writer.await.unwrap();
}
