//! Many clients that do little.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::frames::{DATA, END_HEADERS, HEADERS, PREFACE, call_block, end_of, frame, opening};
use super::port::{Port, Stream};
use super::tally::Tally;

const SLOW: usize = 1000;
const HANDSHAKES: usize = 10_000;
const IDLE: usize = 10_000;
/// Connections that are being made at once.
const CONNECTING_MAX: usize = 64;
/// Between two bytes of a preface: the whole takes two minutes.
const PREFACE_PAUSE: Duration = Duration::from_secs(5);
/// Before another client comes for one that has gone.
const PAUSE: Duration = Duration::from_millis(10);
const BODY_PAUSE: Duration = Duration::from_secs(1);
/// The most that a handshake's beginning is.
const HELLO_BYTES_MAX: usize = 2048;

pub(super) async fn slow_preface(port: Port, tally: Tally) {
    crowd(SLOW, port, tally, |mut socket: Stream, _| async move {
        for byte in PREFACE {
            if socket.write_all(&[*byte]).await.is_err() {
                break;
            }
            let mut end = [0];
            let read = tokio::time::timeout(PREFACE_PAUSE, socket.read(&mut end)).await;
            match read {
                Ok(Ok(1)) | Err(_) => {}
                Ok(_) => break,
            }
        }
        "closed".to_owned()
    })
    .await;
}

/// Half of them in HTTP/1.1, half of them gRPC.
pub(super) async fn slow_bodies(port: Port, tally: Tally) {
    crowd(SLOW, port, tally, |socket: Stream, number| async move {
        let is_grpc = number % 2 == 0;
        let head = if is_grpc {
            let call = frame(HEADERS, END_HEADERS, 1, &call_block("/etcdserverpb.KV/Put"));
            [opening(), call].concat()
        } else {
            b"POST /v3/kv/put HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000\r\n\r\n{".to_vec()
        };
        let byte = if is_grpc {
            frame(DATA, 0, 1, &[0])
        } else {
            vec![b' ']
        };
        let (mut reader, mut writer) = tokio::io::split(socket);
        let sending = async {
            let mut is_sent = writer.write_all(&head).await.is_ok();
            while is_sent {
                tokio::time::sleep(BODY_PAUSE).await;
                is_sent = writer.write_all(&byte).await.is_ok();
            }
            std::future::pending::<()>().await;
        };
        let ended = async {
            if is_grpc {
                return end_of(&mut reader).await;
            }
            let mut first = [0; 12];
            match reader.read_exact(&mut first).await {
                Ok(_) => String::from_utf8_lossy(&first).into_owned(),
                Err(_) => "closed".to_owned(),
            }
        };
        tokio::select! {
            end = ended => end,
            () = sending => String::new(),
        }
    })
    .await;
}

/// Half of them stop within their first record, half of them after it: the server then has said
/// hello, and waits.
pub(super) async fn half_open_handshakes(port: Port, tally: Tally) {
    let Ok(hello) = client_hello().await else {
        return tally.add("no hello");
    };
    let clear = Port::plain(port.address);
    crowd(
        HANDSHAKES,
        clear,
        tally,
        move |mut socket: Stream, number| {
            let part = if number % 2 == 0 { 7 } else { hello.len() };
            let hello = hello.get(..part).map(<[u8]>::to_vec).unwrap_or_default();
            async move {
                if socket.write_all(&hello).await.is_err() {
                    return "closed".to_owned();
                }
                let mut answer = Vec::new();
                match socket.read_to_end(&mut answer).await {
                    Ok(_) => "closed".to_owned(),
                    Err(_) => "connection reset".to_owned(),
                }
            }
        },
    )
    .await;
}

/// What a client says first.
async fn client_hello() -> std::io::Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let (near, mut far) = tokio::io::duplex(HELLO_BYTES_MAX);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
    let mut hello = vec![0; HELLO_BYTES_MAX];
    let shaking = connector.connect(name, near);
    let read = tokio::select! {
        read = far.read(&mut hello) => read?,
        _ = shaking => 0,
    };
    hello.truncate(read);
    Ok(hello)
}

/// A third says nothing, a third begins HTTP/1.1, a third is HTTP/2 without a call.
pub(super) async fn idle(port: Port, tally: Tally) {
    let opened = tally.clone();
    crowd(IDLE, port, tally, move |mut socket: Stream, number| {
        let opened = opened.clone();
        let begun = match number % 3 {
            0 => Vec::new(),
            1 => b"GET /version HTTP/1.1\r\nx-slow: ".to_vec(),
            _ => opening(),
        };
        async move {
            if socket.write_all(&begun).await.is_err() {
                return "closed".to_owned();
            }
            opened.add("open");
            let mut scrap = [0; 256];
            while matches!(socket.read(&mut scrap).await, Ok(1..)) {}
            "closed".to_owned()
        }
    })
    .await;
}

/// Keeps so many clients alive, each of them for as long as `live` has it; it returns how it ended.
async fn crowd<L, F>(size: usize, port: Port, tally: Tally, live: L)
where
    L: Fn(Stream, usize) -> F + Send + Sync + 'static,
    F: Future<Output = String> + Send + 'static,
{
    let (port, live) = (Arc::new(port), Arc::new(live));
    let connecting = Arc::new(Semaphore::new(CONNECTING_MAX));
    let mut clients = JoinSet::new();
    for number in 0.. {
        if clients.len() >= size {
            clients.join_next().await;
            tokio::time::sleep(PAUSE).await;
        }
        let (port, live, tally) = (Arc::clone(&port), Arc::clone(&live), tally.clone());
        let Ok(turn) = Arc::clone(&connecting).acquire_owned().await else {
            return;
        };
        clients.spawn(async move {
            let socket = port.connect().await;
            drop(turn);
            match socket {
                Ok(socket) => tally.add(live(socket, number).await),
                Err(error) => tally.add(format!("not connected: {error}")),
            }
        });
    }
}
