//! Stored responses equal the plain ones, byte for byte.

use bytes::Bytes;
use cairn_proto::{
    etcdserverpb::{self as plain, ResponseHeader, response_op::Response},
    mvccpb::{Event, KeyValue},
    stored::{self, EncodedEvent, EncodedKeyValue, EncodedKvs, EncodedKvsBuilder, RangeResponse},
    v3electionpb,
};
use proptest::{collection::vec, option, prelude::*};
use prost::Message;

prop_compose! {
    fn key_values()(
        key in vec(any::<u8>(), 0..20),
        numbers in any::<[i64; 4]>(),
        value in vec(any::<u8>(), 0..300),
    ) -> KeyValue {
        let [create_revision, mod_revision, version, lease] = numbers;
        KeyValue {
            key: key.into(), create_revision, mod_revision, version, value: value.into(), lease,
        }
    }
}

prop_compose! {
    fn headers()(cluster_id: u64, member_id: u64, revision: i64, raft_term: u64)
        -> ResponseHeader {
        ResponseHeader { cluster_id, member_id, revision, raft_term }
    }
}

prop_compose! {
    fn ranges()(
        header in option::of(headers()),
        kvs in vec(key_values(), 0..6),
        more: bool,
        count in prop_oneof![Just(0), any::<i64>()],
    ) -> plain::RangeResponse {
        plain::RangeResponse { header, kvs, more, count }
    }
}

prop_compose! {
    fn puts()(header in option::of(headers()), prev_kv in option::of(key_values()))
        -> plain::PutResponse {
        plain::PutResponse { header, prev_kv }
    }
}

prop_compose! {
    fn deletes()(
        header in option::of(headers()),
        deleted: i64,
        prev_kvs in vec(key_values(), 0..4),
    ) -> plain::DeleteRangeResponse {
        plain::DeleteRangeResponse { header, deleted, prev_kvs }
    }
}

prop_compose! {
    fn events()(
        kind in 0..2,
        kv in option::of(key_values()),
        prev_kv in option::of(key_values()),
    ) -> Event {
        Event { r#type: kind, kv, prev_kv }
    }
}

fn txns() -> impl Strategy<Value = plain::TxnResponse> {
    let leaf = prop_oneof![
        ranges().prop_map(Response::ResponseRange),
        puts().prop_map(Response::ResponsePut),
        deletes().prop_map(Response::ResponseDeleteRange),
    ];
    let ops = leaf.prop_recursive(3, 12, 3, |inner| {
        txn_of(inner).prop_map(Response::ResponseTxn)
    });
    txn_of(ops)
}

fn txn_of(
    ops: impl Strategy<Value = Response> + 'static,
) -> impl Strategy<Value = plain::TxnResponse> {
    let responses = vec(option::of(ops), 0..4);
    (option::of(headers()), any::<bool>(), responses).prop_map(|(header, succeeded, responses)| {
        let responses = responses
            .into_iter()
            .map(|response| plain::ResponseOp { response })
            .collect();
        plain::TxnResponse {
            header,
            succeeded,
            responses,
        }
    })
}

/// Checks that the plain message, read as a stored one, writes the same bytes.
fn check<Stored: Message + Default>(plain: &impl Message) -> Result<Stored, TestCaseError> {
    let bytes = plain.encode_to_vec();
    let stored = Stored::decode(bytes.as_slice())?;
    prop_assert_eq!(stored.encoded_len(), bytes.len());
    prop_assert_eq!(stored.encode_to_vec(), bytes);
    Ok(stored)
}

proptest! {
    #[test]
    fn ranges_spliced_from_stored_bytes_equal_encoded_ones(range in ranges()) {
        let mut kvs = EncodedKvsBuilder::new();
        for kv in &range.kvs {
            kvs.push(&kv.encode_to_vec());
        }
        prop_assert_eq!(kvs.len(), range.kvs.len());
        let framed_len = kvs.framed_len();
        let kvs = kvs.finish();
        prop_assert_eq!(kvs.framed().len(), framed_len);
        let spliced = RangeResponse { header: range.header, kvs, more: range.more, count: range.count };
        prop_assert_eq!(spliced.encoded_len(), range.encoded_len());
        prop_assert_eq!(spliced.encode_to_vec(), range.encode_to_vec());
        prop_assert_eq!(check::<RangeResponse>(&range)?, spliced);
        let stream = plain::RangeStreamResponse { range_response: Some(range) };
        check::<stored::RangeStreamResponse>(&stream)?;
    }

    #[test]
    fn key_values_come_out_of_a_range_as_they_went_in(kvs in vec(key_values(), 0..6)) {
        let encoded: Vec<Bytes> = kvs.iter().map(|kv| kv.encode_to_vec().into()).collect();
        let framed: EncodedKvs = encoded.iter().cloned().collect();
        prop_assert_eq!(framed.is_empty(), kvs.is_empty());
        prop_assert_eq!(framed.iter().collect::<Vec<_>>(), encoded);
        let mut pushed_decoded = EncodedKvsBuilder::with_capacity(framed.framed().len());
        kvs.iter().for_each(|kv| pushed_decoded.push_decoded(kv));
        prop_assert_eq!(pushed_decoded.finish(), framed);
    }

    #[test]
    fn write_responses_equal_plain_ones(put in puts(), delete in deletes()) {
        check::<stored::PutResponse>(&put)?;
        let delete_stored: stored::DeleteRangeResponse = check(&delete)?;
        let previous: Vec<_> = delete.prev_kvs.iter().map(EncodedKeyValue::from).collect();
        prop_assert_eq!(delete_stored.prev_kvs, previous);
    }

    #[test]
    fn nested_transactions_equal_plain_ones(txn in txns()) {
        check::<stored::TxnResponse>(&txn)?;
    }

    #[test]
    fn watch_responses_equal_plain_ones(events in vec(events(), 0..4), watch_id: i64) {
        let response = plain::WatchResponse {
            watch_id,
            cancel_reason: "reason".into(),
            events,
            ..plain::WatchResponse::default()
        };
        let stored: stored::WatchResponse = check(&response)?;
        let encoded: Vec<_> = response.events.iter().map(EncodedEvent::from).collect();
        prop_assert_eq!(stored.events, encoded);
    }

    #[test]
    fn spliced_events_equal_encoded_ones(kv in key_values(), mut event in events()) {
        let prev = event.prev_kv.as_ref().map(KeyValue::encode_to_vec);
        let spliced = EncodedEvent::splice(event.r#type(), &kv.encode_to_vec(), prev.as_deref());
        event.kv = Some(kv);
        prop_assert_eq!(spliced, EncodedEvent::from(&event));
    }

    #[test]
    fn election_leaders_equal_plain_ones(kv in option::of(key_values()), header in headers()) {
        let leader = v3electionpb::LeaderResponse { header: Some(header), kv };
        check::<stored::v3electionpb::LeaderResponse>(&leader)?;
    }

    #[test]
    fn damaged_ranges_are_errors_or_messages_never_panics(
        range in ranges(),
        cut in any::<prop::sample::Index>(),
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut bytes = range.encode_to_vec();
        bytes.push(0);
        let at = flip.0.index(bytes.len());
        bytes[at] ^= flip.1;
        bytes.truncate(cut.index(bytes.len()));
        if let Ok(stored) = RangeResponse::decode(bytes.as_slice()) {
            prop_assert_eq!(stored.kvs.iter().count(), stored.kvs.len());
        }
    }
}

#[test]
fn a_key_value_may_come_after_the_count() {
    let count_first = plain::RangeResponse {
        count: 1,
        ..plain::RangeResponse::default()
    };
    let kv = KeyValue {
        key: Bytes::from_static(b"k"),
        ..KeyValue::default()
    };
    let kvs = plain::RangeResponse {
        kvs: vec![kv],
        ..plain::RangeResponse::default()
    };
    let bytes = [count_first.encode_to_vec(), kvs.encode_to_vec()].concat();
    let stored = RangeResponse::decode(bytes.as_slice()).unwrap();
    assert_eq!((stored.count, stored.kvs.len()), (1, 1));
    let plain = plain::RangeResponse::decode(bytes.as_slice()).unwrap();
    assert_eq!(stored.encode_to_vec(), plain.encode_to_vec());
}

#[test]
fn a_key_value_of_another_wire_type_is_an_error() {
    assert!(RangeResponse::decode([0x10, 1].as_slice()).is_err());
}

#[test]
fn a_key_value_longer_than_its_message_is_an_error() {
    assert!(RangeResponse::decode([0x12, 5, 0x0a].as_slice()).is_err());
}

#[test]
fn cleared_messages_are_empty() {
    let kv = KeyValue {
        key: Bytes::from_static(b"k"),
        ..KeyValue::default()
    };
    let mut encoded = EncodedKeyValue::from(&kv);
    encoded.clear();
    assert_eq!(encoded, EncodedKeyValue::default());
    let kvs = EncodedKvs::from_iter([Bytes::from(kv.encode_to_vec())]);
    let mut range = RangeResponse {
        header: None,
        kvs,
        more: true,
        count: 1,
    };
    range.clear();
    assert_eq!(range, RangeResponse::default());
}
