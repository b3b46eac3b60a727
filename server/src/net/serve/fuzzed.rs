//! What looks at HTTP/2 before HTTP/2 does, given any bytes.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::authority::AuthorityRewriter;
use super::ping_policy::PingPolicy;

/// What a client sends after its preface; the first byte says in what pieces it comes. How it is cut
/// makes no difference.
///
/// # Panics
///
/// If it does.
pub(crate) fn http2(bytes: &[u8]) {
    let Some((piece, sent)) = bytes.split_first() else {
        return;
    };
    let (piece, whole) = (usize::from(*piece).max(1), sent.len().max(1));
    assert_eq!(rewritten(sent, piece), rewritten(sent, whole));
    let now = Instant::now();
    let verdict = |piece| {
        let mut policy = PingPolicy::new(Duration::from_secs(5));
        let verdicts = sent
            .chunks(piece)
            .map(|piece| policy.receive(piece, || now));
        let last = verdicts.last();
        policy.send(sent);
        (last, policy.newest_stream(), policy.may_interject())
    };
    assert_eq!(verdict(piece), verdict(whole));
}

fn rewritten(sent: &[u8], piece: usize) -> BytesMut {
    let mut rewriter = AuthorityRewriter::new();
    let mut out = BytesMut::new();
    for piece in sent.chunks(piece) {
        rewriter.pass(piece, &mut out);
    }
    out.extend_from_slice(&rewriter.rest());
    out
}
