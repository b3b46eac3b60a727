//! Watch messages as etcd's gateway writes them: proto3's JSON with the fields' own names, numbers
//! of 64 bits and bytes (in base64) as texts, and nothing that has its default.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_proto::{etcdserverpb as pb, mvccpb};
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;
use serde_json::{Map, Value, json};

use crate::transport::CallFailure;

/// A request as JSON.
pub(super) fn request(request: &pb::WatchRequest) -> Result<Value, CallFailure> {
    match &request.request_union {
        Some(RequestUnion::CreateRequest(create)) => Ok(json!({"create_request": made(create)})),
        Some(RequestUnion::CancelRequest(cancel)) => {
            Ok(json!({"cancel_request": {"watch_id": cancel.watch_id.to_string()}}))
        }
        Some(RequestUnion::ProgressRequest(_)) => Ok(json!({"progress_request": {}})),
        None => Err(CallFailure::Protocol(
            "a watch request of nothing".to_owned(),
        )),
    }
}

fn made(create: &pb::WatchCreateRequest) -> Value {
    let filters = create.filters.iter().map(|&filter| {
        let is_noput = filter == i32::from(FilterType::Noput);
        if is_noput { "NOPUT" } else { "NODELETE" }
    });
    json!({
        "key": STANDARD.encode(&create.key),
        "range_end": STANDARD.encode(&create.range_end),
        "start_revision": create.start_revision.to_string(),
        "progress_notify": create.progress_notify,
        "filters": filters.collect::<Vec<_>>(),
        "prev_kv": create.prev_kv,
        "watch_id": create.watch_id.to_string(),
        "fragment": create.fragment,
    })
}

/// An answer from JSON; what it lacks has its default.
pub(super) fn response(value: &Value) -> Result<pb::WatchResponse, String> {
    let fields = Fields::of(value)?;
    let events = match fields.0.get("events") {
        None => Vec::new(),
        Some(Value::Array(events)) => events.iter().map(event).collect::<Result<_, _>>()?,
        Some(_) => return Err("events are no list".to_owned()),
    };
    Ok(pb::WatchResponse {
        header: fields.inner("header")?.as_ref().map(header).transpose()?,
        watch_id: fields.number("watch_id")?,
        created: fields.flag("created")?,
        canceled: fields.flag("canceled")?,
        compact_revision: fields.number("compact_revision")?,
        cancel_reason: fields.text("cancel_reason")?.to_owned(),
        fragment: fields.flag("fragment")?,
        events,
    })
}

fn header(fields: &Fields<'_>) -> Result<pb::ResponseHeader, String> {
    Ok(pb::ResponseHeader {
        cluster_id: fields.number("cluster_id")?,
        member_id: fields.number("member_id")?,
        revision: fields.number("revision")?,
        raft_term: fields.number("raft_term")?,
    })
}

fn event(value: &Value) -> Result<mvccpb::Event, String> {
    let fields = Fields::of(value)?;
    let kind = match fields.text("type")? {
        "" | "PUT" => mvccpb::event::EventType::Put,
        "DELETE" => mvccpb::event::EventType::Delete,
        other => return Err(format!("an event of the type {other}")),
    };
    Ok(mvccpb::Event {
        r#type: kind.into(),
        kv: fields.inner("kv")?.as_ref().map(key_value).transpose()?,
        prev_kv: fields
            .inner("prev_kv")?
            .as_ref()
            .map(key_value)
            .transpose()?,
    })
}

fn key_value(fields: &Fields<'_>) -> Result<mvccpb::KeyValue, String> {
    Ok(mvccpb::KeyValue {
        key: fields.bytes("key")?,
        create_revision: fields.number("create_revision")?,
        mod_revision: fields.number("mod_revision")?,
        version: fields.number("version")?,
        value: fields.bytes("value")?,
        lease: fields.number("lease")?,
    })
}

/// A message's fields.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn of(value: &'a Value) -> Result<Self, String> {
        value
            .as_object()
            .map(Self)
            .ok_or_else(|| format!("{value} is no message"))
    }

    fn inner(&self, name: &str) -> Result<Option<Self>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Self::of(value).map(Some),
        }
    }

    /// Of 64 bits: a text, though a number is one, too.
    fn number<T: std::str::FromStr + Default>(&self, name: &str) -> Result<T, String> {
        let text = match self.0.get(name) {
            None => return Ok(T::default()),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let read = text.parse();
        read.map_err(|_| format!("{name} is {text}, which is no number"))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match self.0.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(format!("{name} is {other}, and no flag")),
        }
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        match self.0.get(name) {
            None => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(format!("{name} is {other}, and no text")),
        }
    }

    fn bytes(&self, name: &str) -> Result<Bytes, String> {
        let decoded = STANDARD.decode(self.text(name)?);
        decoded
            .map(Bytes::from)
            .map_err(|error| format!("{name} is no base64: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_etcds_gateway_is_read() {
        let answer = json!({
            "header": {
                "cluster_id": "14841639068965178418",
                "member_id": "10276657743932975437",
                "revision": "3",
                "raft_term": "2",
            },
            "watch_id": "7",
            "fragment": true,
            "events": [
                {"kv": {"key": "YQ==", "create_revision": "2", "mod_revision": "2",
                    "version": "1", "value": "MQ=="}},
                {"type": "DELETE", "kv": {"key": "YQ==", "mod_revision": "3"},
                    "prev_kv": {"key": "YQ==", "create_revision": "2", "mod_revision": "2",
                    "version": "1", "value": "MQ=="}},
            ],
        });
        let read = response(&answer).unwrap();
        assert_eq!(read.header.unwrap().cluster_id, 14_841_639_068_965_178_418);
        assert_eq!((read.watch_id, read.fragment), (7, true));
        assert_eq!(read.events[0].kv.as_ref().unwrap().value, "1");
        assert_eq!(read.events[1].r#type, 1);
        assert_eq!(read.events[1].prev_kv.as_ref().unwrap().create_revision, 2);
    }

    #[test]
    fn what_is_no_answer_is_refused_with_its_place() {
        for (answer, place) in [
            (json!([]), "message"),
            (json!({"watch_id": "x"}), "watch_id"),
            (json!({"created": 1}), "created"),
            (json!({"events": [{"kv": {"key": "*"}}]}), "key"),
            (json!({"events": [{"type": "MOVE"}]}), "MOVE"),
        ] {
            let error = response(&answer).unwrap_err();
            assert!(error.contains(place), "{error}");
        }
    }
}
