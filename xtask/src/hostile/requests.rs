//! Requests that nobody should make.

use std::time::Duration;

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use prost::Message;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::caller::{Caller, framed};
use super::port::Port;
use super::tally::Tally;

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const USER_ADD: &str = "/etcdserverpb.Auth/UserAdd";
const ROLE_ADD: &str = "/etcdserverpb.Auth/RoleAdd";

const WATCHES: u32 = 20_000;
/// Watches that are created and canceled at once.
const CHURN: i64 = 500;
const READERS: u32 = 8;
const LARGE_BYTES: usize = 100 << 20;
const NESTING: usize = 1000;
const OPERATIONS: usize = 10_000;
const NOISE_BYTES_MAX: usize = 4096;
/// Between two connections, and between two calls of a client.
const PAUSE: Duration = Duration::from_millis(5);

/// What is read by readers who do not read: a hundred values of a megabyte.
pub(super) const LARGE_KEYS: u32 = 100;
pub(super) const LARGE_VALUE_BYTES: usize = 1 << 20;
pub(super) const LARGE_PREFIX: &str = "large/";

pub(super) async fn watches(port: Port, tally: Tally) {
    let Ok(caller) = Caller::connect(&port).await else {
        return tally.add("not connected");
    };
    let Ok((response, mut stream)) = caller.begin(WATCH).await else {
        return tally.add("not begun");
    };
    for number in 0..WATCHES {
        let create = pb::WatchCreateRequest {
            key: format!("watched/{number}").into(),
            ..pb::WatchCreateRequest::default()
        };
        drop(stream.send_data(watch(RequestUnion::CreateRequest(create)), false));
    }
    read_watches(response, &tally).await;
}

pub(super) async fn watch_churn(port: Port, tally: Tally) {
    loop {
        if let Ok(caller) = Caller::connect(&port).await
            && let Ok((response, mut stream)) = caller.begin(WATCH).await
        {
            let churning = async {
                for first in (0..).step_by(usize::try_from(CHURN).unwrap_or(1)) {
                    for watch_id in first..first + CHURN {
                        let create = pb::WatchCreateRequest {
                            key: "pulse".into(),
                            // An ID that is not 0 is the watch's.
                            watch_id: watch_id + 1,
                            ..pb::WatchCreateRequest::default()
                        };
                        let cancel = pb::WatchCancelRequest {
                            watch_id: watch_id + 1,
                        };
                        let create = watch(RequestUnion::CreateRequest(create));
                        let cancel = watch(RequestUnion::CancelRequest(cancel));
                        let both = [create, cancel].concat();
                        if stream.send_data(both.into(), false).is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                    // What is sent waits in this process until there is room.
                    while stream.capacity() == 0 {
                        stream.reserve_capacity(1);
                        let room = std::future::poll_fn(|context| stream.poll_capacity(context));
                        if !matches!(room.await, Some(Ok(_))) {
                            std::future::pending::<()>().await;
                        }
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                () = read_watches(response, &tally) => {}
                () = churning => {}
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn watch(request: RequestUnion) -> Bytes {
    let request = pb::WatchRequest {
        request_union: Some(request),
    };
    framed(&request.encode_to_vec())
}

/// Reads until the stream ends; answers are counted by what they say.
async fn read_watches(response: h2::client::ResponseFuture, tally: &Tally) {
    let Ok(response) = response.await else {
        return tally.add("stream ended");
    };
    let mut body = response.into_body();
    let mut buffer = bytes::BytesMut::new();
    while let Some(data) = body.data().await {
        let data = match data {
            Ok(data) => data,
            Err(error) => return tally.add(format!("stream ended: {error}")),
        };
        drop(body.flow_control().release_capacity(data.len()));
        buffer.extend_from_slice(&data);
        while let Some(length) = buffer.get(1..5) {
            let length = length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            if buffer.len() < 5 + length {
                break;
            }
            let message = buffer.split_to(5 + length).split_off(5);
            let Ok(answer) = pb::WatchResponse::decode(message) else {
                return tally.add("no answer");
            };
            if answer.canceled && !answer.created {
                tally.add("canceled");
            } else if answer.created {
                tally.add("created");
            }
        }
    }
    tally.add("stream ended");
}

pub(super) async fn unread_range(port: Port, tally: Tally) {
    let range = pb::RangeRequest {
        key: LARGE_PREFIX.into(),
        range_end: "large0".into(),
        ..pb::RangeRequest::default()
    };
    let range = framed(&range.encode_to_vec());
    let mut unread = Vec::new();
    for _ in 0..READERS {
        let Ok(caller) = Caller::connect(&port).await else {
            tally.add("not connected");
            continue;
        };
        if let Ok((response, mut stream)) = caller.begin(RANGE).await {
            drop(stream.send_data(range.clone(), true));
            if let Ok(response) = response.await {
                tally.add("unread");
                unread.push((response, caller));
            }
        }
    }
    std::future::pending::<()>().await;
}

pub(super) async fn large(port: Port, tally: Tally) {
    let put = pb::PutRequest {
        key: "large".into(),
        value: vec![0; LARGE_BYTES].into(),
        ..pb::PutRequest::default()
    };
    let put = framed(&put.encode_to_vec());
    calls(port, tally, move |_| (PUT, put.clone())).await;
}

pub(super) async fn nested_txns(port: Port, tally: Tally) {
    // A transaction of one operation, which is a transaction: fields 4 and 2, by hand, for a message
    // that is not there a thousand times over.
    let mut txn = Vec::new();
    for _ in 0..NESTING {
        let operation = field(4, &txn);
        txn = field(2, &operation);
    }
    let txn = framed(&txn);
    calls(port, tally, move |_| (TXN, txn.clone())).await;
}

/// A field of bytes in protobuf.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut field).unwrap_or_default();
    field.extend(bytes);
    field
}

pub(super) async fn long_txns(port: Port, tally: Tally) {
    let put = |number: usize| pb::RequestOp {
        request: Some(Request::RequestPut(pb::PutRequest {
            key: format!("long/{number}").into(),
            ..pb::PutRequest::default()
        })),
    };
    let txn = pb::TxnRequest {
        success: (0..OPERATIONS).map(put).collect(),
        ..pb::TxnRequest::default()
    };
    let txn = framed(&txn.encode_to_vec());
    calls(port, tally, move |_| (TXN, txn.clone())).await;
}

pub(super) async fn malformed(port: Port, tally: Tally) {
    let next = |number: u64| {
        let mut rng = SmallRng::seed_from_u64(number);
        let length = rng.random_range(1..NOISE_BYTES_MAX);
        let noise: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        let path = [PUT, RANGE, TXN, USER_ADD, "/etcdserverpb.Lease/LeaseGrant"];
        let path = path.get(rng.random_range(0..path.len())).unwrap_or(&PUT);
        let body = match number % 4 {
            // A message of noise, a prefix of noise, less than was promised, and a wrong wire type.
            0 => framed(&noise),
            1 => noise.into(),
            2 => framed(&noise).slice(..length / 2),
            _ => framed(&[0xff; 64]),
        };
        (*path, body)
    };
    calls(port, tally, next).await;
}

pub(super) async fn invalid_names(port: Port, tally: Tally) {
    let name = framed(&field(1, b"\xff\xfe\xc3\x28"));
    let next = move |number: u64| {
        let path = if number.is_multiple_of(2) {
            USER_ADD
        } else {
            ROLE_ADD
        };
        (path, name.clone())
    };
    calls(port, tally, next).await;
}

/// Calls without end, one after the other; a connection that ends is made anew.
async fn calls(port: Port, tally: Tally, next: impl Fn(u64) -> (&'static str, Bytes)) {
    let mut number = 0;
    loop {
        let Ok(caller) = Caller::connect(&port).await else {
            tally.add("not connected");
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        loop {
            let (path, body) = next(number);
            number += 1;
            match caller.call(path, body).await {
                Ok(ended) => tally.add(ended.to_string()),
                Err(error) => {
                    tally.add(format!("{error:#}"));
                    break;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
