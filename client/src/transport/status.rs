//! gRPC's status in HTTP/2 headers.

use http::{HeaderMap, StatusCode};

use super::failure::CallFailure;
use crate::error::ServerError;
use crate::etcd_error::Code;

/// The status that headers or trailers carry, if they carry one.
pub(super) fn of_headers(headers: &HeaderMap) -> Option<Result<(), CallFailure>> {
    let number = headers.get("grpc-status")?;
    if number == "0" {
        return Some(Ok(()));
    }
    let number = number.to_str().ok().and_then(|it| it.parse().ok());
    // What cannot be read is no success.
    let code = number.map_or(Code::Unknown, Code::from_number);
    let message = headers
        .get("grpc-message")
        .map(|it| percent_decoded(it.as_bytes()))
        .unwrap_or_default();
    Some(Err(ServerError::new(code, message).into()))
}

/// What an HTTP status without a gRPC status means, by gRPC's table.
pub(crate) fn of_http(status: StatusCode) -> CallFailure {
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    ServerError::new(code, format!("HTTP status {status}")).into()
}

fn percent_decoded(text: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = tail.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, tail) {
            (Some(byte), [_, _, tail @ ..]) => {
                decoded.push(byte);
                rest = tail;
            }
            _ => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::etcd_error::EtcdError;

    fn headers(status: &'static str, message: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static(status));
        headers.insert("grpc-message", HeaderValue::from_static(message));
        headers
    }

    #[test]
    fn etcds_errors_are_known_by_their_text() {
        let found = of_headers(&headers("14", "etcdserver: no leader"));
        let Some(Err(CallFailure::Status(error))) = found else {
            panic!("{found:?}");
        };
        assert_eq!(error.code, Code::Unavailable);
        assert_eq!(error.etcd, Some(EtcdError::NoLeader));
    }

    #[test]
    fn a_status_that_cannot_be_read_is_no_success() {
        assert_eq!(of_headers(&headers("0", "")), Some(Ok(())));
        assert!(matches!(of_headers(&headers("ok", "")), Some(Err(_))));
        assert_eq!(of_headers(&HeaderMap::new()), None);
    }

    #[test]
    fn messages_are_percent_decoded() {
        assert_eq!(percent_decoded(b"a%20b%C3%A9"), "a b\u{e9}");
        assert_eq!(percent_decoded(b"100%"), "100%");
        assert_eq!(percent_decoded(b"%zz%4"), "%zz%4");
    }
}
