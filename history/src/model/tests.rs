//! The model by hand: what etcd does, rule by rule.

use super::*;
use crate::{Compare, Comparison, Operand, Request, Response, Sort, SortTarget, TxnOp};

/// Does one request after the other; the answers.
fn run(requests: &[Request]) -> (States, Vec<Result<Option<Response>, Refusal>>) {
    let mut states = States::fresh();
    let mut answers = Vec::new();
    for request in requests {
        let done = perform(&states, states.last(), request);
        answers.push(done.map(|(writing, answer)| {
            if let Some((state, _)) = writing.end() {
                states.push(state);
            }
            answer
        }));
    }
    (states, answers)
}

fn kv(states: &States, key: &str) -> Option<(i64, i64, i64)> {
    let kv = states.last().key(&key.into())?;
    Some((kv.create_revision.0, kv.mod_revision.0, kv.version))
}

#[test]
fn a_write_counts_versions_and_a_deletion_begins_a_new_life() {
    let (states, _) = run(&[
        Request::put("a", "1"),
        Request::put("a", "2"),
        Request::delete("a"),
        Request::put("a", "3"),
    ]);
    assert_eq!(kv(&states, "a"), Some((5, 5, 1)));
    assert_eq!(
        states
            .at(Revision(3))
            .unwrap()
            .key(&"a".into())
            .unwrap()
            .version,
        2
    );
    assert_eq!(states.at(Revision(6)).map(State::revision), None);
    assert_eq!(states.at(Revision(0)).map(State::revision), None);
}

#[test]
fn a_deletion_of_nothing_makes_no_revision() {
    let (states, answers) = run(&[Request::delete("a")]);
    assert_eq!(states.last().revision(), Revision::FRESH);
    let nothing = Response::DeleteRange(DeleteResponse::default());
    assert_eq!(answers, [Ok(Some(nothing))]);
}

#[test]
fn a_key_is_attached_to_the_lease_of_its_last_write() {
    let under = |key: &str, lease| {
        let mut put = PutRequest::new(key, "1");
        put.lease = lease;
        Request::Put(put)
    };
    let (one, two) = (Some(LeaseId(1)), Some(LeaseId(2)));
    let (states, _) = run(&[
        under("a", one),
        under("b", one),
        under("a", two),
        under("c", two),
        under("c", None),
        Request::LeaseRevoke(LeaseId(2)),
    ]);
    assert_eq!(kv(&states, "a"), None);
    assert_eq!(kv(&states, "b"), Some((3, 3, 1)));
    assert_eq!(kv(&states, "c"), Some((5, 6, 2)));
    assert_eq!(states.last().leases().collect::<Vec<_>>(), [LeaseId(1)]);
}

#[test]
fn a_transaction_compares_the_state_before_and_reads_its_own_writes() {
    let compare = |operand| Compare {
        range: KeyRange::One("a".into()),
        is: Comparison::Equal,
        operand,
    };
    let inner = TxnRequest {
        compares: vec![compare(Operand::Version(0))],
        success: vec![TxnOp::Range(RangeRequest::new(KeyRange::all()))],
        failure: Vec::new(),
    };
    let txn = TxnRequest {
        compares: vec![compare(Operand::Mod(0))],
        success: vec![TxnOp::Put(PutRequest::new("a", "1")), TxnOp::Txn(inner)],
        failure: Vec::new(),
    };
    let (states, answers) = run(&[Request::Txn(txn)]);
    assert_eq!(states.last().revision(), Revision(2));
    let Ok(Some(Response::Txn(outer))) = &answers[0] else {
        panic!("{answers:?}");
    };
    let crate::TxnOpResponse::Txn(inner) = &outer.responses[1] else {
        panic!("{outer:?}");
    };
    assert!(inner.succeeded);
    let crate::TxnOpResponse::Range(range) = &inner.responses[0] else {
        panic!("{inner:?}");
    };
    assert_eq!(range.kvs[0].mod_revision, Revision(2));
}

#[test]
fn no_condition_on_the_value_of_an_absent_key_holds() {
    for is in [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::Greater,
    ] {
        let txn = TxnRequest {
            compares: vec![Compare {
                range: KeyRange::all(),
                is,
                operand: Operand::Value("".into()),
            }],
            ..TxnRequest::default()
        };
        let (_, answers) = run(&[Request::Txn(txn)]);
        let Ok(Some(Response::Txn(txn))) = &answers[0] else {
            panic!("{answers:?}");
        };
        assert!(!txn.succeeded, "{is:?}");
    }
}

#[test]
fn a_read_counts_all_and_returns_what_limit_order_and_bounds_leave() {
    let mut range = RangeRequest::new(KeyRange::all());
    range.limit = Some(1);
    range.sort = Some(Sort {
        by: SortTarget::Mod,
        descending: true,
    });
    range.mod_bounds.max = Some(Revision(3));
    let (_, answers) = run(&[
        Request::put("a", "1"),
        Request::put("b", "2"),
        Request::put("c", "3"),
        Request::Range(range),
    ]);
    let Ok(Some(Response::Range(range))) = &answers[3] else {
        panic!("{answers:?}");
    };
    let keys: Vec<_> = range.kvs.iter().map(|kv| kv.key.to_string()).collect();
    assert_eq!(keys, ["b"]);
    assert_eq!((range.count, range.more), (3, true));
}

#[test]
fn the_past_is_as_it_was_and_the_future_is_refused() {
    let at = |revision| {
        let mut range = RangeRequest::new(KeyRange::One("a".into()));
        range.revision = Some(Revision(revision));
        Request::Range(range)
    };
    let (_, answers) = run(&[Request::put("a", "1"), Request::put("a", "2"), at(2), at(4)]);
    let Ok(Some(Response::Range(range))) = &answers[2] else {
        panic!("{answers:?}");
    };
    assert_eq!(range.kvs[0].value, "1".into());
    assert_eq!(answers[3], Err(Refusal::FutureRevision));
}

#[test]
fn what_is_not_there_cannot_be_kept() {
    let mut put = PutRequest::new("a", "");
    put.ignore_value = true;
    let (_, answers) = run(&[Request::Put(put)]);
    assert_eq!(answers, [Err(Refusal::KeyNotFound)]);
}
