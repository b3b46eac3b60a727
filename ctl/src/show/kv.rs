//! Pairs, and answers about them.

use cairn_proto::etcdserverpb::response_op::Response;
use cairn_proto::etcdserverpb::{
    DeleteRangeResponse, PutResponse, RangeResponse, ResponseOp, TxnResponse, WatchResponse,
};
use cairn_proto::mvccpb::event::EventType;
use cairn_proto::mvccpb::{Event, KeyValue};
use prost::Message as _;

use super::header::{header_object, with_header};
use super::{Show, Style, Text};
use crate::golang::{Json, Object};

fn pair_json(kv: &KeyValue) -> Json {
    Object::default()
        .bytes("key", &kv.key)
        .number("create_revision", kv.create_revision)
        .number("mod_revision", kv.mod_revision)
        .number("version", kv.version)
        .bytes("value", &kv.value)
        .number("lease", kv.lease)
        .end()
}

impl Show for PutResponse {
    fn simple(&self, style: Style, text: &mut Text) {
        text.line("OK");
        if let Some(kv) = &self.prev_kv {
            text.pair(kv, style);
        }
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.header.as_ref(), style);
        if let Some(kv) = &self.prev_kv {
            text.pair_fields("Prev", kv, style);
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.header.as_ref())
            .optional("prev_kv", self.prev_kv.as_ref().map(pair_json))
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl Show for RangeResponse {
    fn simple(&self, style: Style, text: &mut Text) {
        self.kvs.iter().for_each(|kv| text.pair(kv, style));
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.header.as_ref(), style);
        for kv in &self.kvs {
            text.pair_fields("", kv, style);
        }
        text.field("More", self.more);
        text.field("Count", self.count);
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.header.as_ref())
            .list("kvs", &self.kvs, pair_json)
            .truth("more", self.more)
            .number("count", self.count)
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl Show for DeleteRangeResponse {
    fn simple(&self, style: Style, text: &mut Text) {
        text.line(self.deleted);
        self.prev_kvs.iter().for_each(|kv| text.pair(kv, style));
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.header.as_ref(), style);
        text.field("Deleted", self.deleted);
        for kv in &self.prev_kvs {
            text.pair_fields("Prev", kv, style);
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.header.as_ref())
            .number("deleted", self.deleted)
            .list("prev_kvs", &self.prev_kvs, pair_json)
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

/// One answer of a transaction as an answer of its own.
fn op_shown(op: &ResponseOp) -> Option<&dyn Show> {
    match op.response.as_ref()? {
        Response::ResponseRange(range) => Some(range),
        Response::ResponsePut(put) => Some(put),
        Response::ResponseDeleteRange(delete) => Some(delete),
        Response::ResponseTxn(txn) => Some(txn),
    }
}

fn op_json(op: &ResponseOp) -> Json {
    let name = op.response.as_ref().map(|response| match response {
        Response::ResponseRange(_) => "response_range",
        Response::ResponsePut(_) => "response_put",
        Response::ResponseDeleteRange(_) => "response_delete_range",
        Response::ResponseTxn(_) => "response_txn",
    });
    let inner = match (name, op_shown(op)) {
        (Some(name), Some(shown)) => Object::default().always(name, &shown.json(Style::default())),
        _ => Object::default(),
    };
    Object::default().always("Response", &inner.end()).end()
}

impl Show for TxnResponse {
    fn simple(&self, style: Style, text: &mut Text) {
        text.line(if self.succeeded { "SUCCESS" } else { "FAILURE" });
        for shown in self.responses.iter().filter_map(op_shown) {
            text.line("");
            shown.simple(style, text);
        }
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.header.as_ref(), style);
        text.field("Succeeded", self.succeeded);
        for shown in self.responses.iter().filter_map(op_shown) {
            text.push(&shown.fields(style)?.into_bytes());
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.header.as_ref())
            .truth("succeeded", self.succeeded)
            .list("responses", &self.responses, op_json)
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

/// Events of a watch, or what else its stream says.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchShown(pub(crate) WatchResponse);

/// What a kind of event is called.
pub(crate) fn event_name(event: &Event) -> &'static str {
    match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    }
}

fn event_json(event: &Event) -> Json {
    Object::default()
        .number("type", event.r#type)
        .optional("kv", event.kv.as_ref().map(pair_json))
        .optional("prev_kv", event.prev_kv.as_ref().map(pair_json))
        .end()
}

impl Show for WatchShown {
    fn simple(&self, style: Style, text: &mut Text) {
        for event in &self.0.events {
            text.line(event_name(event));
            if let Some(kv) = &event.prev_kv {
                text.pair(kv, style);
            }
            text.pair(&event.kv.clone().unwrap_or_default(), style);
        }
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.0.header.as_ref(), style);
        for event in &self.0.events {
            text.field("Type", event_name(event));
            if let Some(kv) = &event.prev_kv {
                text.pair_fields("Prev", kv, style);
            }
            text.pair_fields("", &event.kv.clone().unwrap_or_default(), style);
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        let response = &self.0;
        // A watch that ended has no list of events, one that goes on has, if an empty one.
        let events = if response.canceled {
            Json::null()
        } else {
            Json::list(response.events.iter().map(event_json))
        };
        Object::default()
            .always("Header", &header_object(response.header.as_ref()).end())
            .always("Events", &events)
            .always("CompactRevision", &Json::raw(response.compact_revision))
            .always("Canceled", &Json::raw(response.canceled))
            .always("Created", &Json::raw(response.created))
            .always("CancelReason", &Json::string(&response.cancel_reason))
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        // What concerns the stream rather than the watch is not shown.
        let message = WatchResponse {
            watch_id: 0,
            cancel_reason: String::new(),
            fragment: false,
            ..self.0.clone()
        };
        Some(message.encode_to_vec())
    }
}
