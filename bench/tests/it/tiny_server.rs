//! A server that answers every call with a message of its choice, and counts calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cairn_bench::endpoint::Endpoint;
use cairn_bench::framing::frame;
use cairn_proto::etcdserverpb::RangeResponse;
use http::{HeaderMap, HeaderValue, Response};

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With a message and status 0.
    Well,
    /// With a message for each that comes, for as long as the call is open.
    Each,
    /// Without a message, with this gRPC status.
    Error(&'static str),
}

/// A running server; it ends with the process of the test.
pub(crate) struct TinyServer {
    pub(crate) endpoint: Endpoint,
    calls: Arc<AtomicU64>,
}

impl TinyServer {
    pub(crate) fn start(answer: Answer) -> Self {
        let calls = Arc::new(AtomicU64::new(0));
        let (send_address, address) = std::sync::mpsc::channel();
        let counted = Arc::clone(&calls);
        std::thread::Builder::new()
            .name("tiny-server".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(serve(answer, &counted, |bound| {
                    send_address.send(bound).unwrap();
                }));
            })
            .unwrap();
        let address = address.recv().unwrap();
        Self {
            endpoint: address.to_string().parse().unwrap(),
            calls,
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

async fn serve(answer: Answer, calls: &Arc<AtomicU64>, bound: impl FnOnce(SocketAddr)) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    bound(listener.local_addr().unwrap());
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let calls = Arc::clone(calls);
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(answer_one(answer, request.into_body(), respond));
            }
        });
    }
}

async fn answer_one(
    answer: Answer,
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
) {
    let message = || {
        frame(&RangeResponse {
            more: true,
            count: 7,
            ..RangeResponse::default()
        })
    };
    if answer == Answer::Each {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(chunk)) = body.data().await {
            body.flow_control().release_capacity(chunk.len()).unwrap();
            stream.send_data(message(), false).unwrap();
        }
        return;
    }
    while let Some(Ok(chunk)) = body.data().await {
        body.flow_control().release_capacity(chunk.len()).unwrap();
    }
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    let status = match answer {
        Answer::Well | Answer::Each => {
            stream.send_data(message(), false).unwrap();
            "0"
        }
        Answer::Error(status) => status,
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    trailers.insert("grpc-message", HeaderValue::from_static("as told"));
    stream.send_trailers(trailers).unwrap();
}
