//! HTTP/2 as bytes, which no library would send like this.

use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_HEADERS: u8 = 4;

/// Names of error codes (RFC 9113, 7).
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let [_, a, b, c] = length.to_be_bytes();
    let mut frame = vec![a, b, c, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What a connection begins with: the preface and empty settings.
pub(super) fn opening() -> Vec<u8> {
    [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
}

/// The header block of a gRPC call, in HPACK without its tables.
pub(super) fn call_block(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |head: &[u8], value: &str| {
        block.extend(head);
        block.push(u8::try_from(value.len()).unwrap_or(0x7e).min(0x7e));
        block.extend(value.bytes().take(0x7e));
    };
    literal(&[0x04], path);
    literal(&[0x01], "hostile");
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    block
}

/// Reads until the other side ends a stream or the connection; how it did.
pub(super) async fn end_of(socket: &mut (impl AsyncRead + Unpin)) -> String {
    loop {
        let mut head = [0; 9];
        match socket.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return "closed".to_owned();
            }
            Err(_) => return "connection reset".to_owned(),
        }
        let [a, b, c, kind, ..] = head;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        if socket.read_exact(&mut payload).await.is_err() {
            return "connection reset".to_owned();
        }
        let code = |at: usize| {
            let code = payload.get(at..at + 4)?.try_into().ok()?;
            CODES.get(usize::try_from(u32::from_be_bytes(code)).ok()?)
        };
        match kind {
            RST_STREAM => return format!("RST_STREAM {}", code(0).unwrap_or(&"?")),
            GOAWAY => {
                let words = String::from_utf8_lossy(payload.get(8..).unwrap_or_default());
                return format!("GOAWAY {} {words}", code(4).unwrap_or(&"?"));
            }
            _ => {}
        }
    }
}
