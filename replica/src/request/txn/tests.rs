//! Transactions as clients send them.

use super::*;

fn put(key: &'static str) -> wire::RequestOp {
    let put = wire::PutRequest {
        key: Bytes::from_static(key.as_bytes()),
        ..Default::default()
    };
    wire::RequestOp {
        request: Some(request_op::Request::RequestPut(put)),
    }
}

fn delete(key: &'static str, range_end: &'static str) -> wire::RequestOp {
    let delete = wire::DeleteRangeRequest {
        key: Bytes::from_static(key.as_bytes()),
        range_end: Bytes::from_static(range_end.as_bytes()),
        ..Default::default()
    };
    wire::RequestOp {
        request: Some(request_op::Request::RequestDeleteRange(delete)),
    }
}

fn nested(success: Vec<wire::RequestOp>, failure: Vec<wire::RequestOp>) -> wire::RequestOp {
    let txn = wire::TxnRequest {
        success,
        failure,
        ..Default::default()
    };
    wire::RequestOp {
        request: Some(request_op::Request::RequestTxn(txn)),
    }
}

fn parse(success: Vec<wire::RequestOp>) -> Result<Txn, RequestError> {
    Txn::parse(
        wire::TxnRequest {
            success,
            ..Default::default()
        },
        128,
    )
}

#[test]
fn a_key_put_twice_in_a_branch_is_refused() {
    assert_eq!(
        parse(vec![put("a"), put("a")]),
        Err(RequestError::DuplicateKey)
    );
    assert_eq!(
        parse(vec![put("a"), nested(vec![put("a")], vec![])]),
        Err(RequestError::DuplicateKey)
    );
    let siblings = vec![
        nested(vec![put("a")], vec![]),
        nested(vec![], vec![put("a")]),
    ];
    assert_eq!(parse(siblings), Err(RequestError::DuplicateKey));
}

#[test]
fn a_put_inside_a_deleted_range_is_refused_in_either_order() {
    assert_eq!(
        parse(vec![put("b"), delete("a", "c")]),
        Err(RequestError::DuplicateKey)
    );
    assert_eq!(
        parse(vec![delete("b", ""), put("b")]),
        Err(RequestError::DuplicateKey)
    );
    let across = vec![nested(vec![put("b")], vec![]), delete("a", "c")];
    assert_eq!(parse(across), Err(RequestError::DuplicateKey));
}

#[test]
fn both_branches_of_one_nested_txn_may_write_a_key() {
    assert!(parse(vec![nested(vec![put("a")], vec![put("a")])]).is_ok());
}

#[test]
fn deletes_may_overlap() {
    assert!(parse(vec![delete("a", "c"), delete("b", "d"), put("d")]).is_ok());
}

#[test]
fn nested_levels_share_the_budget_of_operations() {
    let inner = nested(vec![put("a"), put("b")], vec![]);
    let txn = wire::TxnRequest {
        success: vec![inner],
        ..Default::default()
    };
    assert!(Txn::parse(txn.clone(), 3).is_ok());
    let refused = RequestError::TooManyOperations {
        operations: 2,
        operations_max: 1,
    };
    assert_eq!(Txn::parse(txn, 2), Err(refused));
}

#[test]
fn an_operation_of_no_kind_is_refused() {
    assert_eq!(
        parse(vec![wire::RequestOp { request: None }]),
        Err(RequestError::EmptyOperation)
    );
}
