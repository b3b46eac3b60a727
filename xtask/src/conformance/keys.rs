//! Puts, deletions and compactions.

use anyhow::{Result, ensure};
use cairn_proto::etcdserverpb as pb;
use tonic::Code;

use super::context::{Context, revision};
use super::expect::{
    COMPACTED, EMPTY_KEY, FUTURE, KEY_NOT_FOUND, LEASE_NOT_FOUND, Refusal, refused, same,
};
use super::rule::rules;

rules!("keys", false;
    V3_4 {
        a_put_without_a_key_is_refused,
        a_put_makes_the_next_revision,
        a_put_creates_version_one,
        a_second_put_keeps_the_create_revision,
        a_key_that_comes_back_begins_at_version_one,
        a_put_may_have_no_value,
        a_put_returns_the_previous_pair_if_asked,
        a_put_returns_no_previous_pair_unasked,
        a_put_that_keeps_the_value_keeps_it,
        a_put_that_keeps_the_value_may_not_bring_one,
        a_put_that_keeps_the_value_of_a_missing_key_is_refused,
        a_put_that_keeps_the_lease_keeps_it,
        a_put_that_keeps_the_lease_may_not_bring_one,
        a_put_that_keeps_the_lease_of_a_missing_key_is_refused,
        a_put_with_an_unknown_lease_is_refused,
        a_put_without_a_lease_detaches_the_old_one,
        a_deletion_without_a_key_is_refused,
        a_deletion_of_nothing_keeps_the_revision,
        a_deletion_of_a_range_is_one_revision,
        a_deletion_counts_what_it_deleted,
        a_deletion_returns_previous_pairs_if_asked,
        a_header_names_cluster_member_and_term,
        a_compaction_beyond_the_present_is_refused,
        a_compaction_at_or_below_the_compacted_revision_is_refused,
        the_compacted_revision_can_be_read,
        what_is_below_the_compacted_revision_is_refused,
        a_compaction_keeps_the_last_version_of_each_key,
        a_request_beyond_the_limit_is_refused,
        keys_and_values_may_be_any_bytes,
    }
);

const VALUE_PROVIDED: Refusal = (Code::InvalidArgument, "etcdserver: value is provided");
const LEASE_PROVIDED: Refusal = (Code::InvalidArgument, "etcdserver: lease is provided");

fn put(c: &Context, name: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: c.key(name).into(),
        ..pb::PutRequest::default()
    }
}

async fn a_put_without_a_key_is_refused(c: Context) -> Result<()> {
    refused(
        "no key",
        c.ask_put(pb::PutRequest::default()).await,
        EMPTY_KEY,
    )
}

async fn a_put_makes_the_next_revision(c: Context) -> Result<()> {
    let before = c.current().await?;
    same("revision", &c.put("a", "x").await?, &(before + 1))
}

async fn a_put_creates_version_one(c: Context) -> Result<()> {
    let at = c.put("a", "x").await?;
    let kv = c.get("a").await?.unwrap_or_default();
    same(
        "pair",
        &(kv.create_revision, kv.mod_revision, kv.version),
        &(at, at, 1),
    )
}

async fn a_second_put_keeps_the_create_revision(c: Context) -> Result<()> {
    let first = c.put("a", "x").await?;
    let second = c.put("a", "y").await?;
    let kv = c.get("a").await?.unwrap_or_default();
    same(
        "pair",
        &(kv.create_revision, kv.mod_revision, kv.version),
        &(first, second, 2),
    )
}

async fn a_key_that_comes_back_begins_at_version_one(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    c.delete("a").await?;
    let again = c.put("a", "x").await?;
    let kv = c.get("a").await?.unwrap_or_default();
    same("pair", &(kv.create_revision, kv.version), &(again, 1))
}

async fn a_put_may_have_no_value(c: Context) -> Result<()> {
    c.put("a", "").await?;
    same(
        "value",
        &c.get("a").await?.map(|kv| kv.value.len()),
        &Some(0),
    )
}

async fn a_put_returns_the_previous_pair_if_asked(c: Context) -> Result<()> {
    c.put("a", "old").await?;
    let answer = c
        .ask_put(pb::PutRequest {
            prev_kv: true,
            ..put(&c, "a")
        })
        .await?;
    let before = answer.prev_kv.map(|kv| kv.value);
    same("value", &before.as_deref(), &Some(&b"old"[..]))
}

async fn a_put_returns_no_previous_pair_unasked(c: Context) -> Result<()> {
    c.put("a", "old").await?;
    same("pair", &c.ask_put(put(&c, "a")).await?.prev_kv, &None)
}

async fn a_put_that_keeps_the_value_keeps_it(c: Context) -> Result<()> {
    c.put("a", "kept").await?;
    c.ask_put(pb::PutRequest {
        ignore_value: true,
        ..put(&c, "a")
    })
    .await?;
    let kv = c.get("a").await?.unwrap_or_default();
    same("pair", &(kv.value.as_ref(), kv.version), &(&b"kept"[..], 2))
}

async fn a_put_that_keeps_the_value_may_not_bring_one(c: Context) -> Result<()> {
    c.put("a", "kept").await?;
    let put = pb::PutRequest {
        ignore_value: true,
        value: "x".into(),
        ..put(&c, "a")
    };
    refused("both", c.ask_put(put).await, VALUE_PROVIDED)
}

async fn a_put_that_keeps_the_value_of_a_missing_key_is_refused(c: Context) -> Result<()> {
    let put = pb::PutRequest {
        ignore_value: true,
        ..put(&c, "a")
    };
    refused("a missing key", c.ask_put(put).await, KEY_NOT_FOUND)
}

async fn granted(c: &Context, number: i64) -> Result<i64> {
    let grant = pb::LeaseGrantRequest {
        ttl: 600,
        id: c.id(number),
    };
    Ok(c.leases().lease_grant(grant).await?.into_inner().id)
}

async fn a_put_that_keeps_the_lease_keeps_it(c: Context) -> Result<()> {
    let lease = granted(&c, 0).await?;
    c.ask_put(pb::PutRequest {
        lease,
        ..put(&c, "a")
    })
    .await?;
    c.ask_put(pb::PutRequest {
        ignore_lease: true,
        ..put(&c, "a")
    })
    .await?;
    same("lease", &c.get("a").await?.map(|kv| kv.lease), &Some(lease))
}

async fn a_put_that_keeps_the_lease_may_not_bring_one(c: Context) -> Result<()> {
    let lease = granted(&c, 0).await?;
    c.put("a", "x").await?;
    let put = pb::PutRequest {
        ignore_lease: true,
        lease,
        ..put(&c, "a")
    };
    refused("both", c.ask_put(put).await, LEASE_PROVIDED)
}

async fn a_put_that_keeps_the_lease_of_a_missing_key_is_refused(c: Context) -> Result<()> {
    let put = pb::PutRequest {
        ignore_lease: true,
        ..put(&c, "a")
    };
    refused("a missing key", c.ask_put(put).await, KEY_NOT_FOUND)
}

async fn a_put_with_an_unknown_lease_is_refused(c: Context) -> Result<()> {
    let put = pb::PutRequest {
        lease: c.id(99),
        ..put(&c, "a")
    };
    refused("an unknown lease", c.ask_put(put).await, LEASE_NOT_FOUND)
}

async fn a_put_without_a_lease_detaches_the_old_one(c: Context) -> Result<()> {
    let lease = granted(&c, 0).await?;
    c.ask_put(pb::PutRequest {
        lease,
        ..put(&c, "a")
    })
    .await?;
    c.put("a", "x").await?;
    let ask = pb::LeaseTimeToLiveRequest {
        id: lease,
        keys: true,
    };
    let answer = c.leases().lease_time_to_live(ask).await?.into_inner();
    same("keys", &answer.keys.len(), &0)
}

fn deletion(c: &Context) -> pb::DeleteRangeRequest {
    let all = c.all();
    pb::DeleteRangeRequest {
        key: all.key,
        range_end: all.range_end,
        prev_kv: false,
    }
}

async fn a_deletion_without_a_key_is_refused(c: Context) -> Result<()> {
    let answer = c.ask_delete(pb::DeleteRangeRequest::default()).await;
    refused("no key", answer, EMPTY_KEY)
}

async fn a_deletion_of_nothing_keeps_the_revision(c: Context) -> Result<()> {
    let before = c.current().await?;
    let answer = c.ask_delete(deletion(&c)).await?;
    let found = (answer.deleted, revision(answer.header.as_ref())?);
    same("answer", &found, &(0, before))
}

async fn a_deletion_of_a_range_is_one_revision(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    let before = c.put("b", "x").await?;
    let answer = c.ask_delete(deletion(&c)).await?;
    same(
        "revision",
        &revision(answer.header.as_ref())?,
        &(before + 1),
    )
}

async fn a_deletion_counts_what_it_deleted(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    c.put("b", "x").await?;
    same("deleted", &c.ask_delete(deletion(&c)).await?.deleted, &2)
}

async fn a_deletion_returns_previous_pairs_if_asked(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    c.put("b", "y").await?;
    let answer = c
        .ask_delete(pb::DeleteRangeRequest {
            prev_kv: true,
            ..deletion(&c)
        })
        .await?;
    let values: Vec<_> = answer.prev_kvs.iter().map(|kv| kv.value.as_ref()).collect();
    same("values", &values, &vec![&b"x"[..], b"y"])
}

async fn a_header_names_cluster_member_and_term(c: Context) -> Result<()> {
    let header = c.ask_range(c.one("a")).await?.header.unwrap_or_default();
    ensure!(
        header.cluster_id != 0 && header.member_id != 0 && header.raft_term > 0,
        "{header:?}"
    );
    Ok(())
}

async fn a_compaction_beyond_the_present_is_refused(c: Context) -> Result<()> {
    let next = c.current().await? + 1;
    refused("the next revision", c.compact(next).await, FUTURE)
}

async fn a_compaction_at_or_below_the_compacted_revision_is_refused(c: Context) -> Result<()> {
    let at = c.put("a", "x").await?;
    c.compact(at).await?;
    refused("the same again", c.compact(at).await, COMPACTED)?;
    refused("one below", c.compact(at - 1).await, COMPACTED)
}

async fn the_compacted_revision_can_be_read(c: Context) -> Result<()> {
    let at = c.put("a", "x").await?;
    c.put("a", "y").await?;
    c.compact(at).await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            revision: at,
            ..c.one("a")
        })
        .await?;
    same(
        "value",
        &answer.kvs.first().map(|kv| kv.value.as_ref()),
        &Some(&b"x"[..]),
    )
}

async fn what_is_below_the_compacted_revision_is_refused(c: Context) -> Result<()> {
    let at = c.put("a", "x").await?;
    c.compact(c.put("a", "y").await?).await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            revision: at,
            ..c.one("a")
        })
        .await;
    refused("below", answer, COMPACTED)
}

async fn a_compaction_keeps_the_last_version_of_each_key(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    c.put("b", "1").await?;
    c.compact(c.put("b", "2").await?).await?;
    let answer = c.ask_range(c.all()).await?;
    let values: Vec<_> = answer.kvs.iter().map(|kv| kv.value.as_ref()).collect();
    same("values", &values, &vec![&b"x"[..], b"2"])
}

async fn a_request_beyond_the_limit_is_refused(c: Context) -> Result<()> {
    let value = vec![7; (3 << 19) + 1];
    let answer = c
        .ask_put(pb::PutRequest {
            value: value.into(),
            ..put(&c, "a")
        })
        .await;
    let refusal = (Code::InvalidArgument, "etcdserver: request is too large");
    refused("1.5 MiB and more", answer, refusal)
}

async fn keys_and_values_may_be_any_bytes(c: Context) -> Result<()> {
    let key = [c.key(""), vec![0, 0xff, 0x80]].concat();
    let put = pb::PutRequest {
        key: key.clone().into(),
        value: vec![0xff, 0].into(),
        ..Default::default()
    };
    c.ask_put(put).await?;
    let range = pb::RangeRequest {
        key: key.into(),
        ..Default::default()
    };
    let answer = c.ask_range(range).await?;
    same(
        "value",
        &answer.kvs.first().map(|kv| kv.value.as_ref()),
        &Some(&[0xff, 0][..]),
    )
}
