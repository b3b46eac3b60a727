//! A server that serves watches alone, and tells each the same: so many messages of so many events, one
//! message at a time. Clients that are compared by their events get the same bytes in the same pieces,
//! as no real server would give them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::{BufMut as _, Bytes, BytesMut};
use cairn_client::proto::{etcdserverpb as pb, mvccpb};
use prost::Message as _;

use crate::work::{KEYS, VALUE, key};

/// So long a client waits for each message, so that each costs it a wake-up.
const PACE: Duration = Duration::from_micros(500);
/// For a client to say that it is ready.
const READY: Duration = Duration::from_millis(300);

/// Serves until it is killed.
pub async fn run(address: &str, a_message: usize, count: usize) -> Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(socket).await?;
            while let Some(accepted) = connection.accept().await {
                let (request, respond) = accepted?;
                tokio::spawn(serve(request, respond, a_message, count));
            }
            anyhow::Ok(())
        });
    }
}

async fn serve(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    a_message: usize,
    count: usize,
) -> Result<()> {
    let asked = watch_id(request.into_body()).await?;
    let response = http::Response::builder()
        .header("content-type", "application/grpc")
        .body(())?;
    let mut stream = respond.send_response(response, false)?;
    let header = |revision: usize| {
        Some(pb::ResponseHeader {
            cluster_id: 1,
            member_id: 1,
            revision: i64::try_from(revision).unwrap_or(i64::MAX),
            raft_term: 2,
        })
    };
    let created = pb::WatchResponse {
        header: header(1),
        watch_id: asked,
        created: true,
        ..pb::WatchResponse::default()
    };
    stream.send_data(framed(&created), false)?;
    tokio::time::sleep(READY).await;
    for first in (0..count).step_by(a_message) {
        let last = count.min(first + a_message);
        let answer = pb::WatchResponse {
            header: header(last + 1),
            watch_id: asked,
            events: (first..last).map(event).collect(),
            ..pb::WatchResponse::default()
        };
        let message = framed(&answer);
        stream.reserve_capacity(message.len());
        while stream.capacity() < message.len() {
            let more = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
            more.context("the client is gone")??;
        }
        stream.send_data(message, false)?;
        tokio::time::sleep(PACE).await;
    }
    std::future::pending().await
}

/// Reads the request for a watch; returns the number that the client wants it to have.
async fn watch_id(mut body: h2::RecvStream) -> Result<i64> {
    let mut read = BytesMut::new();
    loop {
        if let Some(len) = read.get(1..5) {
            let len = u32::from_be_bytes(len.try_into()?);
            if let Some(message) = read.get(5..5 + usize::try_from(len)?) {
                let request = pb::WatchRequest::decode(message)?;
                return Ok(match request.request_union {
                    Some(pb::watch_request::RequestUnion::CreateRequest(create)) => create.watch_id,
                    _ => 0,
                });
            }
        }
        let chunk = body.data().await.context("no request")??;
        body.flow_control().release_capacity(chunk.len())?;
        read.extend_from_slice(&chunk);
    }
}

fn event(at: usize) -> mvccpb::Event {
    let revision = i64::try_from(at + 2).unwrap_or(i64::MAX);
    mvccpb::Event {
        r#type: 0,
        kv: Some(mvccpb::KeyValue {
            key: key(at).into(),
            create_revision: i64::try_from(at % KEYS + 2).unwrap_or(i64::MAX),
            mod_revision: revision,
            version: i64::try_from(at / KEYS + 1).unwrap_or(i64::MAX),
            value: Bytes::from_static(&VALUE),
            lease: 0,
        }),
        prev_kv: None,
    }
}

fn framed(message: &pb::WatchResponse) -> Bytes {
    let len = message.encoded_len();
    let mut framed = BytesMut::with_capacity(5 + len);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    message.encode_raw(&mut framed);
    framed.freeze()
}
