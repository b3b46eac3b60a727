//! A client that speaks HTTP/1.1 over a plain socket, and says what it gets as it comes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use tonic::{Code, Status};

use crate::harness::PATIENCE;
use crate::plain_words::assert_plain;

/// An answer, of which the body is still to be read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
}

/// Sends a request and reads the head of its answer.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).unwrap();
    // A server that has refused a body does not read it to its end.
    let _ = stream.write_all(body);
    read_head(stream)
}

/// Reads the head of an answer.
pub(crate) fn read_head(stream: TcpStream) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    Answer {
        status,
        headers,
        reader,
    }
}

/// What a POST of `body` gets: a status, and JSON.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> (u16, Value) {
    post_with(address, path, &[], body)
}

/// The same with further headers.
pub(crate) fn post_with(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Value) {
    let answer = request(address, "POST", path, headers, body.as_bytes());
    (answer.status, answer.json())
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// The whole body, which has a length. An error's is plain words.
    pub(crate) fn text(self) -> String {
        let is_error = self.status >= 400;
        let text = self.body();
        if is_error {
            assert_plain(&text);
        }
        text
    }

    fn body(mut self) -> String {
        if self.header("transfer-encoding") == Some("chunked") {
            let mut text = String::new();
            while let Some(chunk) = self.chunk() {
                text.push_str(&chunk);
            }
            return text;
        }
        let length = self.header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }

    pub(crate) fn json(self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    /// The next chunk of a body that comes in chunks; none at its end.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.reader.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        (size > 0).then(|| String::from_utf8(chunk).unwrap())
    }

    /// The next chunk, which is one line of JSON.
    pub(crate) fn line(&mut self) -> Value {
        let chunk = self.chunk().expect("the stream goes on");
        assert!(chunk.ends_with('\n'), "{chunk:?}");
        serde_json::from_str(&chunk).unwrap()
    }

    /// Goes away.
    pub(crate) fn leave(self) {
        // The server may have gone first.
        let _ = self.reader.get_ref().shutdown(Shutdown::Both);
    }
}

/// Calls of gRPC's methods by their paths in JSON, as the server's own document names them.
#[derive(Clone)]
pub(crate) struct Gateway {
    address: SocketAddr,
    pool: DescriptorPool,
    /// By the path in gRPC.
    paths: BTreeMap<String, String>,
}

impl Gateway {
    pub(crate) fn of(address: SocketAddr) -> Self {
        let document = request(address, "GET", "/openapi.json", &[], b"").json();
        let paths = document["paths"].as_object().unwrap().iter();
        let paths = paths.map(|(path, operations)| {
            let description = operations["post"]["description"].as_str().unwrap();
            (description.replace("gRPC: ", ""), path.clone())
        });
        Self {
            address,
            pool: DescriptorPool::decode(cairn_proto::DESCRIPTORS).unwrap(),
            paths: paths.collect(),
        }
    }

    /// The first thing that a call is told; none if it has no path in JSON, null if it is told nothing.
    pub(crate) fn answer(&self, grpc: &str, message: &[u8], token: Option<&str>) -> Option<Value> {
        let path = self.paths.get(grpc)?;
        let (service, method) = grpc.trim_start_matches('/').split_once('/').unwrap();
        let service = self.pool.get_service_by_name(service).unwrap();
        let method = service.methods().find(|it| it.name() == method).unwrap();
        let message = DynamicMessage::decode(method.input(), message).unwrap();
        let body = serde_json::to_string(&message).unwrap();
        let headers: Vec<_> = token.map(|it| ("Authorization", it)).into_iter().collect();
        let mut answer = request(self.address, "POST", path, &headers, body.as_bytes());
        let text = if answer.header("transfer-encoding") == Some("chunked") {
            answer.chunk().unwrap_or_default()
        } else {
            answer.text()
        };
        Some(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A call, as gRPC's clients see it: whether there was an answer.
    pub(crate) fn call(
        &self,
        grpc: &str,
        message: &[u8],
        token: Option<&str>,
    ) -> Option<Result<bool, Status>> {
        let answer = self.answer(grpc, message, token)?;
        let error = answer.get("error").unwrap_or(&answer);
        Some(match (error["code"].as_i64(), error["message"].as_str()) {
            (Some(code), Some(message)) => {
                let code = Code::from_i32(i32::try_from(code).unwrap());
                Err(Status::new(code, message))
            }
            _ => Ok(!answer.is_null()),
        })
    }
}
