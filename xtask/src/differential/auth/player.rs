//! Plays a script of users on one server.

use std::collections::HashMap;

use anyhow::{Context, Error, Result, ensure};
use bytes::{Buf, BufMut, Bytes};
use cairn_proto::etcdserverpb::ResponseHeader;
use cairn_proto::etcdserverpb::auth_client::AuthClient;
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;

use super::script::{AuthStep, Call};
use crate::differential::gateway::{Channels, NO_ANSWER};

/// The answer to each step, as text.
pub(super) async fn play(channel: Channels, script: &[AuthStep]) -> Result<Vec<String>> {
    let mut player = Player {
        channel,
        tokens: HashMap::new(),
    };
    let mut answers = Vec::with_capacity(script.len());
    for step in script {
        answers.push(player.step(step).await.with_context(|| step.show())?);
    }
    Ok(answers)
}

struct Player {
    channel: Channels,
    /// The last token that each user was given.
    tokens: HashMap<&'static str, String>,
}

impl Player {
    async fn step(&mut self, step: &AuthStep) -> Result<String> {
        match &step.call {
            Call::LogIn(login) => {
                let mut client = AuthClient::new(self.channel.clone());
                Ok(match client.authenticate(login.clone()).await {
                    Ok(answer) => {
                        let answer = answer.into_inner();
                        let revision = answer.header.map(|header| header.revision);
                        if let Some(user) = step.user {
                            self.tokens.insert(user, answer.token);
                        }
                        format!("logged in at {revision:?}")
                    }
                    Err(status) => refusal(&status)?,
                })
            }
            Call::Method { path, message } => {
                let mut request = tonic::Request::new(message.clone());
                if let Some(token) = step.user.and_then(|user| self.tokens.get(user)) {
                    let token = MetadataValue::try_from(token.as_str())?;
                    request.metadata_mut().insert("token", token);
                }
                let mut grpc = tonic::client::Grpc::new(self.channel.clone());
                grpc.ready().await.map_err(Error::from_boxed)?;
                let path = PathAndQuery::from_static(path);
                Ok(match grpc.unary(request, path, Raw).await {
                    Ok(answer) => answered(answer.into_inner())?,
                    Err(status) => refusal(&status)?,
                })
            }
        }
    }
}

fn refusal(status: &Status) -> Result<String> {
    // Two servers could agree in it.
    ensure!(!status.message().starts_with(NO_ANSWER), "{status}");
    Ok(format!("{:?}: {}", status.code(), status.message()))
}

/// An answer's bytes, but for who answers, which its header says.
fn answered(mut answer: Bytes) -> Result<String, DecodeError> {
    let mut header = None;
    let mut rest = Vec::new();
    while answer.has_remaining() {
        let before = answer.clone();
        let (tag, wire_type) = decode_key(&mut answer)?;
        if tag == 1 && wire_type == WireType::LengthDelimited {
            let mut read = ResponseHeader::default();
            let context = DecodeContext::default();
            prost::encoding::message::merge(wire_type, &mut read, &mut answer, context)?;
            header = Some((read.revision, read.member_id != 0));
        } else {
            skip_field(wire_type, tag, &mut answer, DecodeContext::default())?;
            rest.push(before.slice(..before.len() - answer.len()));
        }
    }
    Ok(format!("revision and id {header:?}, {rest:?}"))
}

/// Messages as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_proto::etcdserverpb::AuthUserListResponse;
    use prost::Message;

    #[test]
    fn an_answer_is_told_without_who_answers() {
        let answer = |member_id, revision| {
            let header = Some(ResponseHeader {
                member_id,
                revision,
                ..ResponseHeader::default()
            });
            let users = vec!["u".to_owned()];
            let answer = AuthUserListResponse { header, users };
            answered(answer.encode_to_vec().into()).unwrap()
        };
        assert_eq!(answer(1, 5), answer(2, 5));
        assert_ne!(answer(1, 5), answer(1, 6));
        assert!(answer(1, 5).contains('u'));
    }
}
