//! Transactions: what is compared, what is refused, what is done.

use anyhow::{Result, ensure};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::response_op::Response;
use tonic::Code;

use super::context::{Context, revision};
use super::expect::{
    COMPACTED, DUPLICATE_KEY, EMPTY_KEY, FUTURE, KEY_NOT_FOUND, LEASE_NOT_FOUND, refused, same,
};
use super::rule::rules;

rules!("txn", false;
    V3_4 {
        an_empty_transaction_succeeds,
        the_branch_is_success_if_all_compares_hold,
        the_branch_is_failure_if_one_compare_does_not_hold,
        a_missing_key_has_version_zero,
        a_missing_key_has_mod_and_create_revision_zero,
        a_missing_key_has_lease_zero,
        a_value_compare_of_a_missing_key_never_holds,
        a_compare_of_a_range_must_hold_for_every_key,
        a_compare_of_an_empty_range_is_one_of_a_missing_key,
        compares_see_the_state_before_the_transaction,
        nested_compares_see_the_state_before_the_transaction_too,
        all_writes_are_one_revision,
        operations_see_earlier_writes_of_the_transaction,
        a_transaction_that_only_reads_keeps_the_revision,
        a_transaction_that_deletes_nothing_keeps_the_revision,
        nested_answers_carry_the_revision_alone,
        two_puts_of_one_key_are_refused,
        a_put_in_a_deleted_range_is_refused_in_either_order,
        a_key_put_in_both_branches_is_fine,
        a_key_put_twice_across_nested_transactions_is_refused,
        a_key_put_in_both_branches_of_a_nested_transaction_is_fine,
        two_deletions_of_one_key_are_fine,
        too_many_operations_are_refused,
        too_many_compares_are_refused,
        an_operation_without_a_request_is_refused,
        a_compare_without_a_key_is_refused,
        a_put_without_a_key_in_a_transaction_is_refused,
        a_field_is_checked_in_the_branch_not_taken_too,
        a_lease_is_checked_in_the_branch_taken_alone,
        a_bad_range_after_a_put_leaves_nothing_written,
        a_range_of_a_compacted_revision_refuses_the_transaction,
        a_negative_revision_in_a_transaction_is_compacted,
        a_kept_value_of_a_missing_key_refuses_the_transaction,
        previous_pairs_come_with_puts_and_deletions,
    }
);

fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request),
    }
}

fn put(c: &Context, name: &str, value: &str) -> pb::RequestOp {
    op(Request::RequestPut(pb::PutRequest {
        key: c.key(name).into(),
        value: value.to_owned().into(),
        ..pb::PutRequest::default()
    }))
}

fn range(c: &Context, name: &str) -> pb::RequestOp {
    op(Request::RequestRange(c.one(name)))
}

fn range_at(c: &Context, revision: i64) -> pb::RequestOp {
    op(Request::RequestRange(pb::RangeRequest {
        revision,
        ..c.one("a")
    }))
}

fn delete(c: &Context, name: &str) -> pb::RequestOp {
    op(Request::RequestDeleteRange(pb::DeleteRangeRequest {
        key: c.key(name).into(),
        ..pb::DeleteRangeRequest::default()
    }))
}

fn delete_all(c: &Context) -> pb::RequestOp {
    let all = c.all();
    op(Request::RequestDeleteRange(pb::DeleteRangeRequest {
        key: all.key,
        range_end: all.range_end,
        prev_kv: false,
    }))
}

fn nested(txn: pb::TxnRequest) -> pb::RequestOp {
    op(Request::RequestTxn(txn))
}

fn then(success: Vec<pb::RequestOp>) -> pb::TxnRequest {
    pb::TxnRequest {
        success,
        ..pb::TxnRequest::default()
    }
}

fn compare(c: &Context, name: &str, result: CompareResult, operand: TargetUnion) -> pb::Compare {
    let target = match operand {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
        TargetUnion::Lease(_) => CompareTarget::Lease,
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: c.key(name).into(),
        target_union: Some(operand),
        ..pb::Compare::default()
    }
}

fn is(c: &Context, name: &str, operand: TargetUnion) -> pb::Compare {
    compare(c, name, CompareResult::Equal, operand)
}

async fn holds(c: &Context, compare: Vec<pb::Compare>) -> Result<bool> {
    let txn = pb::TxnRequest {
        compare,
        ..pb::TxnRequest::default()
    };
    Ok(c.ask_txn(txn).await?.succeeded)
}

async fn value(c: &Context, name: &str) -> Result<Option<String>> {
    let kv = c.get(name).await?;
    Ok(kv.map(|kv| String::from_utf8_lossy(&kv.value).into_owned()))
}

async fn an_empty_transaction_succeeds(c: Context) -> Result<()> {
    same("succeeded", &holds(&c, vec![]).await?, &true)
}

async fn the_branch_is_success_if_all_compares_hold(c: Context) -> Result<()> {
    let at = c.put("a", "x").await?;
    let compares = vec![
        is(&c, "a", TargetUnion::Value("x".into())),
        is(&c, "a", TargetUnion::Version(1)),
        is(&c, "a", TargetUnion::CreateRevision(at)),
        is(&c, "a", TargetUnion::ModRevision(at)),
        compare(&c, "a", CompareResult::Less, TargetUnion::Version(2)),
        compare(
            &c,
            "a",
            CompareResult::Greater,
            TargetUnion::Value("w".into()),
        ),
        compare(&c, "a", CompareResult::NotEqual, TargetUnion::Lease(1)),
    ];
    same("succeeded", &holds(&c, compares).await?, &true)
}

async fn the_branch_is_failure_if_one_compare_does_not_hold(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    let txn = pb::TxnRequest {
        compare: vec![
            is(&c, "a", TargetUnion::Version(1)),
            is(&c, "a", TargetUnion::Version(2)),
        ],
        success: vec![put(&c, "b", "success")],
        failure: vec![put(&c, "b", "failure")],
    };
    same("succeeded", &c.ask_txn(txn).await?.succeeded, &false)?;
    same("value", &value(&c, "b").await?.as_deref(), &Some("failure"))
}

async fn a_missing_key_has_version_zero(c: Context) -> Result<()> {
    let zero = is(&c, "none", TargetUnion::Version(0));
    same("holds", &holds(&c, vec![zero]).await?, &true)
}

async fn a_missing_key_has_mod_and_create_revision_zero(c: Context) -> Result<()> {
    let zeros = vec![
        is(&c, "none", TargetUnion::ModRevision(0)),
        is(&c, "none", TargetUnion::CreateRevision(0)),
    ];
    same("holds", &holds(&c, zeros).await?, &true)
}

async fn a_missing_key_has_lease_zero(c: Context) -> Result<()> {
    let zero = is(&c, "none", TargetUnion::Lease(0));
    same("holds", &holds(&c, vec![zero]).await?, &true)
}

async fn a_value_compare_of_a_missing_key_never_holds(c: Context) -> Result<()> {
    for result in [
        CompareResult::Equal,
        CompareResult::NotEqual,
        CompareResult::Less,
        CompareResult::Greater,
    ] {
        let compare = compare(&c, "none", result, TargetUnion::Value("x".into()));
        same(
            result.as_str_name(),
            &holds(&c, vec![compare]).await?,
            &false,
        )?;
    }
    Ok(())
}

fn of_all(c: &Context, version: i64) -> pb::Compare {
    pb::Compare {
        key: c.all().key,
        range_end: c.all().range_end,
        ..is(c, "", TargetUnion::Version(version))
    }
}

async fn a_compare_of_a_range_must_hold_for_every_key(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    c.put("b", "x").await?;
    same(
        "both at version 1",
        &holds(&c, vec![of_all(&c, 1)]).await?,
        &true,
    )?;
    c.put("b", "x").await?;
    same(
        "one at version 2",
        &holds(&c, vec![of_all(&c, 1)]).await?,
        &false,
    )
}

async fn a_compare_of_an_empty_range_is_one_of_a_missing_key(c: Context) -> Result<()> {
    same("version 0", &holds(&c, vec![of_all(&c, 0)]).await?, &true)?;
    same("version 1", &holds(&c, vec![of_all(&c, 1)]).await?, &false)
}

async fn compares_see_the_state_before_the_transaction(c: Context) -> Result<()> {
    let txn = pb::TxnRequest {
        compare: vec![is(&c, "a", TargetUnion::Version(0))],
        success: vec![put(&c, "a", "x")],
        failure: vec![],
    };
    same("succeeded", &c.ask_txn(txn).await?.succeeded, &true)
}

async fn nested_compares_see_the_state_before_the_transaction_too(c: Context) -> Result<()> {
    let inner = pb::TxnRequest {
        compare: vec![is(&c, "a", TargetUnion::Version(0))],
        success: vec![put(&c, "b", "before")],
        failure: vec![put(&c, "b", "after")],
    };
    c.ask_txn(then(vec![put(&c, "a", "x"), nested(inner)]))
        .await?;
    same("value", &value(&c, "b").await?.as_deref(), &Some("before"))
}

async fn all_writes_are_one_revision(c: Context) -> Result<()> {
    let before = c.current().await?;
    let txn = then(vec![put(&c, "a", "x"), put(&c, "b", "x"), delete(&c, "c")]);
    let answer = c.ask_txn(txn).await?;
    same(
        "revision",
        &revision(answer.header.as_ref())?,
        &(before + 1),
    )?;
    let kvs = c.ask_range(c.all()).await?.kvs;
    ensure!(
        kvs.len() == 2 && kvs.iter().all(|kv| kv.mod_revision == before + 1),
        "{kvs:?}"
    );
    Ok(())
}

async fn operations_see_earlier_writes_of_the_transaction(c: Context) -> Result<()> {
    let answer = c
        .ask_txn(then(vec![put(&c, "a", "new"), range(&c, "a")]))
        .await?;
    let Some(Response::ResponseRange(read)) =
        answer.responses.get(1).and_then(|it| it.response.clone())
    else {
        anyhow::bail!("{answer:?}");
    };
    same(
        "value",
        &read.kvs.first().map(|kv| kv.value.as_ref()),
        &Some(&b"new"[..]),
    )
}

async fn a_transaction_that_only_reads_keeps_the_revision(c: Context) -> Result<()> {
    let before = c.put("a", "x").await?;
    let answer = c.ask_txn(then(vec![range(&c, "a")])).await?;
    same("revision", &revision(answer.header.as_ref())?, &before)
}

async fn a_transaction_that_deletes_nothing_keeps_the_revision(c: Context) -> Result<()> {
    let before = c.current().await?;
    let answer = c.ask_txn(then(vec![delete(&c, "none")])).await?;
    same("revision", &revision(answer.header.as_ref())?, &before)
}

async fn nested_answers_carry_the_revision_alone(c: Context) -> Result<()> {
    let answer = c.ask_txn(then(vec![put(&c, "a", "x")])).await?;
    let Some(Response::ResponsePut(inner)) =
        answer.responses.first().and_then(|it| it.response.clone())
    else {
        anyhow::bail!("{answer:?}");
    };
    let inner = inner.header.unwrap_or_default();
    let outer = revision(answer.header.as_ref())?;
    let found = (
        inner.revision,
        inner.member_id,
        inner.cluster_id,
        inner.raft_term,
    );
    same("header", &found, &(outer, 0, 0, 0))
}

async fn two_puts_of_one_key_are_refused(c: Context) -> Result<()> {
    let txn = then(vec![put(&c, "a", "1"), put(&c, "a", "2")]);
    refused("two puts", c.ask_txn(txn).await, DUPLICATE_KEY)
}

async fn a_put_in_a_deleted_range_is_refused_in_either_order(c: Context) -> Result<()> {
    let put_first = then(vec![put(&c, "a", "1"), delete_all(&c)]);
    refused("the put first", c.ask_txn(put_first).await, DUPLICATE_KEY)?;
    let put_last = then(vec![delete_all(&c), put(&c, "a", "1")]);
    refused("the put last", c.ask_txn(put_last).await, DUPLICATE_KEY)
}

async fn a_key_put_in_both_branches_is_fine(c: Context) -> Result<()> {
    let txn = pb::TxnRequest {
        compare: vec![],
        success: vec![put(&c, "a", "1")],
        failure: vec![put(&c, "a", "2")],
    };
    c.ask_txn(txn).await?;
    Ok(())
}

async fn a_key_put_twice_across_nested_transactions_is_refused(c: Context) -> Result<()> {
    let inner = then(vec![put(&c, "a", "1")]);
    let txn = then(vec![put(&c, "a", "2"), nested(inner)]);
    refused("outside and inside", c.ask_txn(txn).await, DUPLICATE_KEY)
}

async fn a_key_put_in_both_branches_of_a_nested_transaction_is_fine(c: Context) -> Result<()> {
    let inner = pb::TxnRequest {
        compare: vec![],
        success: vec![put(&c, "a", "1")],
        failure: vec![put(&c, "a", "2")],
    };
    c.ask_txn(then(vec![nested(inner)])).await?;
    Ok(())
}

async fn two_deletions_of_one_key_are_fine(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    c.ask_txn(then(vec![delete(&c, "a"), delete_all(&c)]))
        .await?;
    Ok(())
}

const TOO_MANY: (Code, &str) = (
    Code::InvalidArgument,
    "etcdserver: too many operations in txn request",
);

async fn too_many_operations_are_refused(c: Context) -> Result<()> {
    c.ask_txn(then((0..128).map(|_| range(&c, "a")).collect()))
        .await?;
    let txn = then((0..129).map(|_| range(&c, "a")).collect());
    refused("129", c.ask_txn(txn).await, TOO_MANY)
}

async fn too_many_compares_are_refused(c: Context) -> Result<()> {
    let compares = (0..129).map(|_| is(&c, "a", TargetUnion::Version(0)));
    let txn = pb::TxnRequest {
        compare: compares.collect(),
        ..pb::TxnRequest::default()
    };
    refused("129", c.ask_txn(txn).await, TOO_MANY)
}

async fn an_operation_without_a_request_is_refused(c: Context) -> Result<()> {
    let txn = then(vec![pb::RequestOp { request: None }]);
    refused("nothing", c.ask_txn(txn).await, KEY_NOT_FOUND)
}

async fn a_compare_without_a_key_is_refused(c: Context) -> Result<()> {
    let compare = pb::Compare {
        key: vec![].into(),
        ..is(&c, "", TargetUnion::Version(0))
    };
    let txn = pb::TxnRequest {
        compare: vec![compare],
        ..pb::TxnRequest::default()
    };
    refused("no key", c.ask_txn(txn).await, EMPTY_KEY)
}

async fn a_put_without_a_key_in_a_transaction_is_refused(c: Context) -> Result<()> {
    let txn = then(vec![op(Request::RequestPut(pb::PutRequest::default()))]);
    refused("no key", c.ask_txn(txn).await, EMPTY_KEY)
}

async fn a_field_is_checked_in_the_branch_not_taken_too(c: Context) -> Result<()> {
    let txn = pb::TxnRequest {
        failure: vec![op(Request::RequestPut(pb::PutRequest::default()))],
        ..pb::TxnRequest::default()
    };
    refused("no key", c.ask_txn(txn).await, EMPTY_KEY)
}

async fn a_lease_is_checked_in_the_branch_taken_alone(c: Context) -> Result<()> {
    let leased = || {
        op(Request::RequestPut(pb::PutRequest {
            key: c.key("a").into(),
            lease: c.id(99),
            ..pb::PutRequest::default()
        }))
    };
    refused(
        "taken",
        c.ask_txn(then(vec![leased()])).await,
        LEASE_NOT_FOUND,
    )?;
    let txn = pb::TxnRequest {
        success: vec![put(&c, "b", "x")],
        failure: vec![leased()],
        ..pb::TxnRequest::default()
    };
    c.ask_txn(txn).await?;
    Ok(())
}

async fn a_bad_range_after_a_put_leaves_nothing_written(c: Context) -> Result<()> {
    let before = c.current().await?;
    let txn = then(vec![put(&c, "a", "x"), range_at(&c, before + 100)]);
    refused("a future revision", c.ask_txn(txn).await, FUTURE)?;
    same("value", &value(&c, "a").await?, &None)?;
    same("revision", &c.current().await?, &before)
}

async fn a_range_of_a_compacted_revision_refuses_the_transaction(c: Context) -> Result<()> {
    let old = c.put("a", "1").await?;
    c.compact(c.put("a", "2").await?).await?;
    let txn = then(vec![put(&c, "b", "x"), range_at(&c, old)]);
    refused("a compacted revision", c.ask_txn(txn).await, COMPACTED)
}

async fn a_negative_revision_in_a_transaction_is_compacted(c: Context) -> Result<()> {
    c.compact(c.put("a", "1").await?).await?;
    let txn = then(vec![range_at(&c, -1)]);
    refused("revision -1", c.ask_txn(txn).await, COMPACTED)
}

async fn a_kept_value_of_a_missing_key_refuses_the_transaction(c: Context) -> Result<()> {
    let kept = op(Request::RequestPut(pb::PutRequest {
        key: c.key("none").into(),
        ignore_value: true,
        ..pb::PutRequest::default()
    }));
    refused(
        "a missing key",
        c.ask_txn(then(vec![kept])).await,
        KEY_NOT_FOUND,
    )
}

async fn previous_pairs_come_with_puts_and_deletions(c: Context) -> Result<()> {
    c.put("a", "old").await?;
    let put = op(Request::RequestPut(pb::PutRequest {
        key: c.key("a").into(),
        prev_kv: true,
        ..pb::PutRequest::default()
    }));
    let answer = c.ask_txn(then(vec![put])).await?;
    let Some(Response::ResponsePut(answer)) =
        answer.responses.first().and_then(|it| it.response.clone())
    else {
        anyhow::bail!("{answer:?}");
    };
    same(
        "value",
        &answer.prev_kv.map(|kv| kv.value).as_deref(),
        &Some(&b"old"[..]),
    )
}
