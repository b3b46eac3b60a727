//! Watching.

use cairn_proto::{
    etcdserverpb::{
        WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
        watch_create_request::FilterType, watch_request::RequestUnion,
    },
    mvccpb::{Event, KeyValue, event::EventType},
};

use super::{bytes, check, header, kv};

#[test]
fn watch_requests() {
    let create = WatchCreateRequest {
        key: bytes("p/"),
        range_end: bytes("p0"),
        start_revision: 12,
        progress_notify: true,
        filters: vec![FilterType::Noput.into(), FilterType::Nodelete.into()],
        prev_kv: true,
        watch_id: 77,
        fragment: true,
    };
    let request = |union| WatchRequest {
        request_union: Some(union),
    };
    check(
        "watch_create",
        &request(RequestUnion::CreateRequest(create)),
    );
    let cancel = WatchCancelRequest { watch_id: 77 };
    check(
        "watch_cancel",
        &request(RequestUnion::CancelRequest(cancel)),
    );
    check(
        "watch_progress",
        &request(RequestUnion::ProgressRequest(WatchProgressRequest {})),
    );
}

#[test]
fn watch_responses() {
    let put = Event {
        r#type: 0,
        kv: Some(kv("p/1")),
        prev_kv: Some(kv("p/1")),
    };
    let deleted = KeyValue {
        key: bytes("p/2"),
        mod_revision: 43,
        ..KeyValue::default()
    };
    let delete = Event {
        r#type: EventType::Delete.into(),
        kv: Some(deleted),
        prev_kv: None,
    };
    check(
        "watch_response_events",
        &WatchResponse {
            header: header(),
            watch_id: 1,
            fragment: true,
            events: vec![put, delete],
            ..WatchResponse::default()
        },
    );
    check(
        "watch_response_canceled",
        &WatchResponse {
            header: header(),
            watch_id: -1,
            created: true,
            canceled: true,
            compact_revision: 8,
            cancel_reason: "mvcc: watcher range is empty".into(),
            ..WatchResponse::default()
        },
    );
}
