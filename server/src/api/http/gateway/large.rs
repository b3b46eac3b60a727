//! An answer too large to be held: its JSON is written field by field, as its message comes.
//!
//! A message is a row of fields, and those that are long are lists of many elements. Each stretch of one
//! field is a message by itself, whose JSON goes into that of the whole between the right commas.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame};
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::Status;

use super::messages::Messages;
use super::schema::{Method, Show};

/// Bytes of a message that are made JSON in one go, but for a single field that is longer.
const STRETCH_BYTES: usize = 64 << 10;

/// A message's JSON.
pub(super) struct LargeAnswer {
    method: Method,
    messages: Messages,
    show: Show,
    /// What has come of the message and is not written.
    buffer: BytesMut,
    state: State,
}

/// How far the JSON is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of it.
    Begin,
    /// Behind a field that is no list, or before any.
    Between { is_first: bool },
    /// In the list of this field, behind an element.
    InList(u32),
    /// To its end.
    End,
}

impl LargeAnswer {
    /// The message that `messages` has begun.
    pub(super) fn new(method: Method, messages: Messages, show: Show) -> Self {
        Self {
            method,
            messages,
            show,
            buffer: BytesMut::new(),
            state: State::Begin,
        }
    }

    /// Takes the next stretch of one field, if it has come whole.
    fn stretch(&mut self) -> Result<Option<(u32, Bytes)>, Status> {
        let mut len = 0;
        let mut field = None;
        while len < STRETCH_BYTES {
            let rest = self.buffer.get(len..).unwrap_or_default();
            let Some((number, bytes)) = field_at(rest)? else {
                break;
            };
            if field.is_some_and(|it| it != number) {
                break;
            }
            field = Some(number);
            len += bytes;
        }
        Ok(field.map(|number| (number, self.buffer.split_to(len).freeze())))
    }

    /// Writes a stretch of a field.
    fn write(&mut self, number: u32, stretch: Bytes) -> Result<Bytes, Status> {
        let json = self.method.answer(stretch, self.show)?;
        // `{"field":…}`, or `{}` of a field that is not known or is zero.
        let inner = json
            .get(1..json.len().saturating_sub(1))
            .unwrap_or_default();
        if inner.is_empty() {
            return Ok(Bytes::new());
        }
        let is_list = self
            .method
            .output
            .get_field(number)
            .is_some_and(|it| it.is_list());
        let mut out = Vec::with_capacity(inner.len() + 2);
        match self.state {
            State::Begin | State::Between { is_first: true } => {}
            State::InList(of) if of == number => {
                // Only the elements: what is between the brackets.
                let begin = inner
                    .iter()
                    .position(|byte| *byte == b'[')
                    .map_or(0, |at| at + 1);
                out.push(b',');
                out.extend_from_slice(inner.get(begin..inner.len() - 1).unwrap_or_default());
                return Ok(out.into());
            }
            State::InList(_) => out.extend_from_slice(b"],"),
            State::Between { is_first: false } | State::End => out.push(b','),
        }
        let end = inner.len() - usize::from(is_list);
        out.extend_from_slice(inner.get(..end).unwrap_or_default());
        self.state = if is_list {
            State::InList(number)
        } else {
            State::Between { is_first: false }
        };
        Ok(out.into())
    }

    fn finish(&mut self) -> Result<Bytes, Status> {
        if !self.buffer.is_empty() {
            return Err(Status::internal("a field of the answer is torn"));
        }
        let ends_list = matches!(self.state, State::InList(_));
        self.state = State::End;
        Ok(Bytes::from_static(if ends_list { b"]}" } else { b"}" }))
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        match self.state {
            State::End => return Poll::Ready(None),
            State::Begin => {
                self.state = State::Between { is_first: true };
                return Poll::Ready(Some(Ok(Bytes::from_static(b"{"))));
            }
            State::Between { .. } | State::InList(_) => {}
        }
        loop {
            if let Some((number, stretch)) = self.stretch()? {
                let written = self.write(number, stretch)?;
                if written.is_empty() {
                    continue;
                }
                return Poll::Ready(Some(Ok(written)));
            }
            match self.messages.poll_part(context)? {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Some(self.finish())),
                Poll::Ready(Some(part)) => self.buffer.extend_from_slice(&part),
            }
        }
    }
}

/// The number and the length of the field that begins here, if all of it is here.
fn field_at(bytes: &[u8]) -> Result<Option<(u32, usize)>, Status> {
    let mut rest = bytes;
    // A key is at most five bytes, a length ten: fewer may be the beginning of one.
    let torn =
        |rest: &[u8], max: usize| rest.len() < max && rest.iter().all(|byte| byte & 0x80 != 0);
    if torn(rest, 5) {
        return Ok(None);
    }
    let malformed = |error: prost::DecodeError| Status::internal(error.to_string());
    let (number, wire_type) = decode_key(&mut rest).map_err(malformed)?;
    let len = match wire_type {
        WireType::Varint => {
            if torn(rest, 10) {
                return Ok(None);
            }
            decode_varint(&mut rest).map_err(malformed)?;
            0
        }
        WireType::LengthDelimited => {
            if torn(rest, 10) {
                return Ok(None);
            }
            usize::try_from(decode_varint(&mut rest).map_err(malformed)?).unwrap_or(usize::MAX)
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::StartGroup | WireType::EndGroup => {
            return Err(Status::internal("an answer with groups"));
        }
    };
    Ok((rest.remaining() >= len).then(|| (number, bytes.len() - rest.len() + len)))
}

impl Body for LargeAnswer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.get_mut()
            .next(context)
            .map(|next| next.map(|it| it.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body as AxumBody;
    use cairn_proto::etcdserverpb::{RangeResponse, ResponseHeader};
    use cairn_proto::mvccpb::KeyValue;
    use http::Response;
    use http_body_util::{BodyExt, StreamBody};
    use prost::Message;

    use super::*;
    use crate::api::http::gateway::messages::One;
    use crate::api::http::gateway::schema;
    use crate::metrics::Counted;

    /// The JSON of `message`, of which `step` bytes come at a time.
    async fn written(method: &Method, message: &[u8], step: usize) -> String {
        let len = u32::try_from(message.len()).unwrap().to_be_bytes();
        let frame = [&[0], &len[..], message].concat();
        let pieces: Vec<_> = frame.chunks(step).map(Bytes::copy_from_slice).collect();
        let pieces = pieces
            .into_iter()
            .map(|it| Ok::<_, Status>(Frame::data(it)));
        let body = AxumBody::new(StreamBody::new(tokio_stream::iter(pieces)));
        let mut messages = Messages::new(Response::new(Counted::uncounted(body)), None);
        assert!(matches!(messages.one(0).await, Ok(One::InParts)));
        let answer = LargeAnswer::new(method.clone(), messages, Show::Base64);
        let json = answer.collect().await.unwrap().to_bytes();
        String::from_utf8(json.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn what_is_written_field_by_field_is_what_is_written_at_once() {
        let method = &schema::methods().unwrap()["kv/range"];
        let kv = |key: usize| KeyValue {
            key: vec![b'k'; key].into(),
            value: "[}],".into(),
            ..KeyValue::default()
        };
        let header = Some(ResponseHeader {
            revision: 7,
            ..ResponseHeader::default()
        });
        let lists = [vec![], vec![kv(0)], vec![kv(1), kv(200), kv(70_000), kv(3)]];
        for (kvs, count) in lists
            .into_iter()
            .flat_map(|it| [(it.clone(), 0), (it, 300)])
        {
            let response = RangeResponse {
                header: header.filter(|_| count > 0),
                kvs,
                more: false,
                count,
            };
            let message = response.encode_to_vec();
            if message.is_empty() {
                continue;
            }
            let whole = method.answer(message.clone().into(), Show::Base64).unwrap();
            let whole = String::from_utf8(whole).unwrap();
            for step in [1, 3, 1000, usize::MAX] {
                if step > 1 || message.len() < 10_000 {
                    assert_eq!(written(method, &message, step).await, whole, "{step}");
                }
            }
        }
    }
}
