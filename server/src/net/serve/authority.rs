//! Rewrites the one thing that old etcd clients get wrong in HTTP/2.
//!
//! Clients of etcd 3.4 send, in some of their calls, `:authority: http://127.0.0.1:2379`: the endpoint
//! as the user wrote it. Go's servers never look at it; h2 takes the scheme for a malformed authority
//! and resets the stream. Here the scheme becomes a user name of the same length, `scheme@`, which is
//! as meaningless to us and well formed. The length must stay, because both ends of HPACK count it.
//!
//! Sans-IO: bytes after the connection's preface go in, bytes come out. The first call of a connection
//! decides: if its authority is fine, nothing is looked at any more.

use bytes::{Buf, BytesMut};

/// Length of a frame's header: length, type, flags, stream.
const HEAD_BYTES: usize = 9;
/// The type and the flags of HEADERS.
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;
/// A header block is not looked at beyond this, which is also what we allow a frame to have.
const BLOCK_BYTES_MAX: usize = 16 << 10;
/// `:authority` in HPACK's static table.
const AUTHORITY: u64 = 1;

const SCHEME: &[u8] = b"http://";
const USER: &[u8] = b"scheme@";

const _: () = assert!(SCHEME.len() == USER.len(), "HPACK counts the length");

/// What a host can be written with, in HPACK's Huffman code (RFC 7541, appendix B).
const HUFFMAN: &[(u8, &str)] = &[
    (b'0', "00000"),
    (b'1', "00001"),
    (b'2', "00010"),
    (b'a', "00011"),
    (b'c', "00100"),
    (b'e', "00101"),
    (b'i', "00110"),
    (b'o', "00111"),
    (b's', "01000"),
    (b't', "01001"),
    (b'-', "010110"),
    (b'.', "010111"),
    (b'/', "011000"),
    (b'3', "011001"),
    (b'4', "011010"),
    (b'5', "011011"),
    (b'6', "011100"),
    (b'7', "011101"),
    (b'8', "011110"),
    (b'9', "011111"),
    (b'_', "100010"),
    (b'b', "100011"),
    (b'd', "100100"),
    (b'f', "100101"),
    (b'g', "100110"),
    (b'h', "100111"),
    (b'l', "101000"),
    (b'm', "101001"),
    (b'n', "101010"),
    (b'p', "101011"),
    (b'r', "101100"),
    (b'u', "101101"),
    (b':', "1011100"),
    (b'j', "1110100"),
    (b'k', "1110101"),
    (b'q', "1110110"),
    (b'v', "1110111"),
    (b'w', "1111000"),
    (b'x', "1111001"),
    (b'y', "1111010"),
    (b'z', "1111011"),
    (b'[', "1111111111011"),
    (b']', "1111111111100"),
];

/// What is known of a connection's authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Authorities {
    /// No call has been seen.
    Unknown,
    /// The first call's was well formed.
    Fine,
    /// The first call's had a scheme.
    Rewritten,
}

/// Follows what a client sends, and rewrites it.
#[derive(Debug)]
pub(super) struct AuthorityRewriter {
    authorities: Authorities,
    /// The beginning of a frame that is not complete, or not known yet.
    held: BytesMut,
    /// Bytes of the current frame that pass as they are.
    passing: usize,
}

impl AuthorityRewriter {
    pub(super) fn new() -> Self {
        Self {
            authorities: Authorities::Unknown,
            held: BytesMut::new(),
            passing: 0,
        }
    }

    /// Whether everything passes as it is from now on.
    pub(super) fn is_done(&self) -> bool {
        self.authorities == Authorities::Fine && self.held.is_empty()
    }

    /// Takes what was received and appends to `out` what is to be read.
    pub(super) fn pass(&mut self, mut received: &[u8], out: &mut BytesMut) {
        while !received.is_empty() {
            if self.authorities == Authorities::Fine {
                out.extend_from_slice(received);
                return;
            }
            if self.passing > 0 {
                let now = self.passing.min(received.len());
                let (passed, rest) = received.split_at(now);
                out.extend_from_slice(passed);
                self.passing -= now;
                received = rest;
                continue;
            }
            let wanted = self.frame_bytes().unwrap_or(HEAD_BYTES) - self.held.len();
            let (taken, rest) = received.split_at(wanted.min(received.len()));
            self.held.extend_from_slice(taken);
            received = rest;
            self.decide(out);
        }
    }

    /// What is held back, for when nothing more will come.
    pub(super) fn rest(&mut self) -> BytesMut {
        self.authorities = Authorities::Fine;
        self.held.split()
    }

    /// The length of the frame that is held, if it is one to look into.
    fn frame_bytes(&self) -> Option<usize> {
        let [a, b, c, kind, ..] = self.held.get(..HEAD_BYTES)? else {
            return None;
        };
        let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        (*kind == HEADERS && len <= BLOCK_BYTES_MAX).then_some(HEAD_BYTES + len)
    }

    fn decide(&mut self, out: &mut BytesMut) {
        let Some(&head) = self.held.first_chunk::<HEAD_BYTES>() else {
            return;
        };
        let [.., flags, _, _, _, _] = head;
        let Some(frame_bytes) = self.frame_bytes() else {
            let [a, b, c, ..] = head;
            self.passing = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            out.extend_from_slice(&self.held.split());
            return;
        };
        if self.held.len() < frame_bytes {
            return;
        }
        let mut frame = self.held.split();
        match rewrite(flags, frame.split_at(HEAD_BYTES).1) {
            Some(rewritten) => {
                self.authorities = Authorities::Rewritten;
                let [_, a, b, c] = u32::try_from(rewritten.len())
                    .unwrap_or_default()
                    .to_be_bytes();
                out.extend_from_slice(&[a, b, c]);
                frame.advance(3);
                out.extend_from_slice(frame.split_at(HEAD_BYTES - 3).0);
                out.extend_from_slice(&rewritten);
            }
            None => {
                if self.authorities == Authorities::Unknown {
                    self.authorities = Authorities::Fine;
                }
                out.extend_from_slice(&frame);
            }
        }
    }
}

/// The payload of a HEADERS frame with a rewritten authority; none if there is nothing to rewrite.
fn rewrite(flags: u8, payload: &[u8]) -> Option<Vec<u8>> {
    if flags & END_HEADERS == 0 || flags & PADDED != 0 {
        return None;
    }
    let mut rest = if flags & PRIORITY == 0 {
        payload
    } else {
        payload.get(5..)?
    };
    while let Some(&first) = rest.first() {
        let (prefix, has_value) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let name = integer(&mut rest, prefix)?;
        if !has_value {
            continue;
        }
        if name == 0 {
            string(&mut rest)?;
        }
        let before = payload.len() - rest.len();
        let (is_huffman, value) = string(&mut rest)?;
        if name == AUTHORITY {
            let value = if is_huffman {
                decode(value)?
            } else {
                value.to_vec()
            };
            let value = [USER, value.strip_prefix(SCHEME)?].concat();
            let mut rewritten = payload.get(..before)?.to_vec();
            put_string(&mut rewritten, &value)?;
            rewritten.extend_from_slice(rest);
            return Some(rewritten);
        }
    }
    None
}

/// Decodes a host in Huffman's code; none if something else is in it.
fn decode(value: &[u8]) -> Option<Vec<u8>> {
    let bits: String = value.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut bits = bits.as_str();
    let mut text = Vec::new();
    // What is left at the end is padding: ones, fewer than a byte.
    while bits.len() > 7 || bits.contains('0') {
        let (byte, rest) = HUFFMAN
            .iter()
            .find_map(|(byte, code)| Some((*byte, bits.strip_prefix(code)?)))?;
        text.push(byte);
        bits = rest;
    }
    Some(text)
}

/// HPACK's integers (RFC 7541, 5.1), as far as a header block needs them.
fn integer(rest: &mut &[u8], prefix_bits: u32) -> Option<u64> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    let max = (1_u64 << prefix_bits) - 1;
    let mut value = u64::from(first) & max;
    if value < max {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// HPACK's strings (RFC 7541, 5.2): whether it is in Huffman's code, and its bytes.
fn string<'a>(rest: &mut &'a [u8]) -> Option<(bool, &'a [u8])> {
    let is_huffman = rest.first()? & 0x80 != 0;
    let len = usize::try_from(integer(rest, 7)?).ok()?;
    let (value, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some((is_huffman, value))
}

/// Writes a plain string, if its length fits one byte, as that of every sensible host does.
fn put_string(block: &mut Vec<u8>, value: &[u8]) -> Option<()> {
    let len = u8::try_from(value.len()).ok().filter(|len| *len < 0x7f)?;
    block.push(len);
    block.extend_from_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn huffman(text: &str) -> Vec<u8> {
        let code = |byte| HUFFMAN.iter().find(|(known, _)| *known == byte).unwrap().1;
        let mut bits: String = text.bytes().map(code).collect();
        bits.push_str(&"1".repeat(bits.len().next_multiple_of(8) - bits.len()));
        let bytes = bits.as_bytes().chunks(8);
        bytes
            .map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap())
            .collect()
    }

    /// `:method POST`, the authority, and a literal header of a new name.
    fn headers(is_huffman: bool, authority: &[u8]) -> Vec<u8> {
        let mut block = vec![0x83, 0x41];
        let at = block.len();
        put_string(&mut block, authority).unwrap();
        block[at] |= if is_huffman { 0x80 } else { 0 };
        block.extend_from_slice(b"\x40\x01a\x01b");
        frame(HEADERS, END_HEADERS, &block)
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    /// Passes `sent` through a rewriter in pieces of `piece` bytes.
    fn pass(sent: &[u8], piece: usize) -> (Vec<u8>, AuthorityRewriter) {
        let mut rewriter = AuthorityRewriter::new();
        let mut out = BytesMut::new();
        for piece in sent.chunks(piece) {
            rewriter.pass(piece, &mut out);
        }
        (out.to_vec(), rewriter)
    }

    #[test]
    fn a_scheme_becomes_a_user_of_the_same_length_however_it_is_cut() {
        for host in [
            "127.0.0.1:2379",
            "1.2.3.7:9",
            "etcd-0.etcd:2379",
            "[::1]:999",
            "h:1",
        ] {
            let (wrong, right) = (format!("http://{host}"), format!("scheme@{host}"));
            let settings = frame(4, 0, &[0; 6]);
            let data = frame(0, 1, b"\x01\x02http://");
            let around = |headers| [settings.clone(), headers, data.clone()].concat();
            let rewritten = around(headers(false, right.as_bytes()));
            let plain = around(headers(false, wrong.as_bytes()));
            let coded = around(headers(true, &huffman(&wrong)));
            for piece in 1..coded.len() {
                assert_eq!(
                    pass(&plain, piece).0,
                    rewritten,
                    "{host} in pieces of {piece}"
                );
                assert_eq!(
                    pass(&coded, piece).0,
                    rewritten,
                    "{host} in pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn a_connection_whose_first_authority_is_fine_is_left_alone() {
        let first = headers(true, &huffman("127.0.0.1:2379"));
        let later = headers(false, b"http://127.0.0.1:2379");
        let sent = [first, later].concat();
        for piece in 1..sent.len() {
            let (out, rewriter) = pass(&sent, piece);
            assert_eq!(out, sent);
            assert!(rewriter.is_done());
        }
    }

    #[test]
    fn later_calls_of_a_rewritten_connection_are_rewritten_too() {
        let wrong = headers(false, b"http://h:1");
        let indexed = frame(HEADERS, END_HEADERS, &[0x83, 0xbe]);
        let sent = [wrong.clone(), indexed.clone(), wrong].concat();
        let right = headers(false, b"scheme@h:1");
        assert_eq!(pass(&sent, 7).0, [right.clone(), indexed, right].concat());
    }

    #[test]
    fn huffmans_code_is_the_rfcs() {
        // RFC 7541, C.4.1 and C.6.1.
        let decoded = |bytes: &[u8]| decode(bytes).unwrap();
        let example = b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        assert_eq!(decoded(example), b"www.example.com");
        assert_eq!(decoded(b"\x64\x02"), b"302");
        assert_eq!(decode(b"\xff\xff"), None);
    }

    #[test]
    fn damaged_header_blocks_pass_as_they_are() {
        for block in [
            &b"\x41"[..],
            b"\x41\x7f",
            b"\x41\x05http",
            b"\xff\xff\xff\xff\xff\xff",
            b"",
        ] {
            let sent = frame(HEADERS, END_HEADERS, block);
            assert_eq!(pass(&sent, 3).0, sent);
        }
        let torn = &headers(false, b"http://h:1")[..20];
        let (out, mut rewriter) = pass(torn, 5);
        assert_eq!([out, rewriter.rest().to_vec()].concat(), torn);
    }
}
