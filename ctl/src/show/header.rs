//! Headers of answers, and answers that say no more than that something is done.

use cairn_proto::etcdserverpb::{LeaseRevokeResponse, ResponseHeader};
use prost::Message as _;

use super::{Show, Style, Text};
use crate::golang::{Json, Object};

/// The fields of a header.
pub(super) fn header_object(header: Option<&ResponseHeader>) -> Object {
    let header = header.copied().unwrap_or_default();
    Object::default()
        .number("cluster_id", header.cluster_id)
        .number("member_id", header.member_id)
        .number("revision", header.revision)
        .number("raft_term", header.raft_term)
}

/// An object that begins with a header, if there is one.
pub(super) fn with_header(header: Option<&ResponseHeader>) -> Object {
    let json = header.map(|header| header_object(Some(header)).end());
    Object::default().optional("header", json)
}

/// An answer that has nothing but a header.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// What was done, in words.
    pub(crate) words: String,
    pub(crate) header: Option<ResponseHeader>,
}

impl Show for Done {
    fn simple(&self, _style: Style, text: &mut Text) {
        text.line(&self.words);
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.header.as_ref(), style);
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.header.as_ref()).end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        // All answers of this kind have the header as their first and only field.
        let message = LeaseRevokeResponse {
            header: self.header,
        };
        Some(message.encode_to_vec())
    }
}
