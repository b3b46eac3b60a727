//! Hostile clients of the JSON gateway: an error each, bounded memory, and nobody else disturbed.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::absurd_clients::raise_descriptor_limit;
use crate::harness::{PATIENCE, Server};
use crate::http_client::{post, read_head, request};

const MIB: u64 = 1 << 20;

/// An ordinary client's put.
fn assert_serves(server: &Server) {
    let put = r#"{"key":"b3JkaW5hcnk=","value":"MQ=="}"#;
    assert_eq!(post(server.address(), "/v3/kv/put", put).0, 200);
}

#[test]
fn noise_in_a_body_is_refused() {
    let server = Server::start(&[]);
    // Numbers that look random and are the same each time.
    let mut state = 0x9e37_79b9_u32;
    for size in [1, 2, 7, 64, 1000, 100_000] {
        for path in [
            "/v3/kv/put",
            "/v3/kv/txn",
            "/v3/watch",
            "/v3/lease/keepalive",
        ] {
            let noise: Vec<u8> = (0..size)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Not blank, which would be no value at all, and no object.
                    (state >> 24) as u8 | 0x80
                })
                .collect();
            let answer = request(server.address(), "POST", path, &[], &noise);
            assert_eq!(answer.status, 400, "{size} bytes to {path}");
        }
    }
    assert_serves(&server);
}

#[test]
fn json_that_is_nested_deeply_is_refused_in_every_place() {
    let server = Server::start(&[]);
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000));
    let txn = r#"{"success":[{"request_txn":"#;
    for body in [
        deep("[", "]"),
        deep(r#"{"a":"#, "}"),
        deep(txn, "}]}"),
        "[".repeat(1_000_000),
        r#"{"key":"#.repeat(10_000),
    ] {
        for path in ["/v3/kv/txn", "/v3/kv/range", "/v3/watch"] {
            let answer = request(server.address(), "POST", path, &[], body.as_bytes());
            assert_eq!(answer.status, 400, "{path}");
        }
    }
    // What is unknown is passed over, however deep.
    let unknown = format!(r#"{{"key":"YQ==","nope":{}}}"#, deep("[", "]"));
    let (status, _) = post(server.address(), "/v3/kv/range", &unknown);
    assert!(status == 200 || status == 400, "{status}");
    assert_serves(&server);
}

#[test]
fn bodies_of_a_hundred_megabytes_are_refused_unread() {
    let server = Server::start(&[]);
    assert_serves(&server);
    let before = server.memory_bytes();
    for path in ["/v3/kv/put", "/v3/watch"] {
        for is_announced in [true, false] {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let framing = if is_announced {
                "Content-Length: 104857600"
            } else {
                "Transfer-Encoding: chunked"
            };
            write!(
                stream,
                "POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"
            )
            .unwrap();
            let megabyte = vec![b' '; 1 << 20];
            let mut sender = stream.try_clone().unwrap();
            let sending = std::thread::spawn(move || {
                for number in 0..100 {
                    let head = if is_announced {
                        String::new()
                    } else {
                        format!("{:x}\r\n", megabyte.len())
                    };
                    let tail: &[u8] = if is_announced { b"" } else { b"\r\n" };
                    let begun = if number == 0 { &b"{"[..] } else { b" " };
                    let piece = [head.as_bytes(), begun, &megabyte[1..], tail].concat();
                    if sender.write_all(&piece).is_err() {
                        return;
                    }
                }
            });
            let answer = read_head(stream);
            assert_eq!(answer.status, 429, "{path}");
            answer.leave();
            sending.join().unwrap();
        }
    }
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
    assert_serves(&server);
}

#[test]
fn slow_bodies_and_half_open_websockets_disturb_nobody() {
    raise_descriptor_limit();
    let server = Server::start(&[]);
    assert_serves(&server);
    let before = server.memory_bytes();
    let mut waiting = Vec::new();
    for number in 0..5000 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let head: &[u8] = if number % 2 == 0 {
            b"GET /v3/watch HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        } else {
            b"POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{\"key\":"
        };
        stream.write_all(head).unwrap();
        if number % 2 == 0 {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(start, *b"HTTP/1.1 101");
            // The first two bytes of a frame, and no more.
            stream.write_all(&[0x81, 0xfe]).unwrap();
        }
        waiting.push(stream);
    }
    assert_serves(&server);
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(
        grown < 512 * MIB,
        "{grown} bytes for {} clients",
        waiting.len()
    );
    drop(waiting);
    assert_serves(&server);
}

#[test]
fn frames_that_are_none_end_their_websocket() {
    let server = Server::start(&[]);
    for frame in [
        // Not masked, of a reserved kind, longer than anything may be, and a continuation of nothing.
        &[0x81, 0x01, b'x'][..],
        &[0x83, 0x80, 0, 0, 0, 0],
        &[
            0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        ],
        &[0x80, 0x80, 0, 0, 0, 0],
    ] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(
                b"GET /v3/watch HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .unwrap();
        stream.write_all(frame).unwrap();
        let mut rest = Vec::new();
        // The server closes; a reset is as good.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.starts_with(b"HTTP/1.1 101"));
    }
    assert_serves(&server);
    assert_eq!(
        post(server.address(), "/v3/kv/range", r#"{"key":"YQ=="}"#)
            .1
            .get("kvs"),
        None
    );
}
