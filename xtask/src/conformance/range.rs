//! Ranges: which keys, how many, in which order, of which revision.

use anyhow::{Result, ensure};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tonic::Code;

use super::context::{Context, revision};
use super::expect::{COMPACTED, EMPTY_KEY, FUTURE, refused, same};
use super::rule::rules;

rules!("range", false;
    V3_4 {
        a_range_without_a_key_is_refused,
        a_range_without_an_end_is_one_key,
        a_range_ends_before_its_end,
        an_end_of_one_zero_byte_is_everything_from_the_key_on,
        a_key_and_an_end_of_one_zero_byte_are_everything,
        a_reversed_range_is_empty_without_an_error,
        a_range_of_equal_ends_is_empty,
        a_missing_key_is_an_empty_answer,
        a_limit_cuts_and_says_that_there_is_more,
        a_limit_that_is_not_reached_has_no_more,
        a_count_ignores_the_limit,
        a_count_ignores_filters_by_revision,
        count_only_has_no_pairs,
        count_only_ignores_the_limit,
        keys_only_has_no_values,
        keys_come_in_the_order_of_their_bytes,
        an_order_downwards_turns_the_keys_around,
        an_order_by_value_sorts_by_value,
        an_order_by_version_sorts_by_version,
        an_order_by_create_revision_sorts_by_it,
        an_order_by_mod_revision_sorts_by_it,
        a_sort_target_without_an_order_sorts_upwards,
        a_limit_counts_after_an_explicit_order,
        filters_by_mod_revision_leave_out_the_others,
        filters_by_create_revision_leave_out_the_others,
        a_limit_counts_after_filters,
        a_read_of_the_past_shows_the_past,
        a_read_of_the_past_has_the_present_revision_in_its_header,
        a_key_is_gone_at_the_revision_of_its_deletion,
        a_future_revision_is_refused,
        a_negative_revision_is_the_present,
        a_serializable_read_answers,
        a_pair_has_its_revisions_version_and_lease,
    }
    V3_6 {
        an_unknown_sort_order_is_refused,
    }
    V3_7 {
        keys_only_leaves_out_the_lease,
        a_stream_of_a_range_merges_to_the_range,
        a_stream_of_a_range_begins_with_ten_keys,
        a_stream_of_a_range_has_its_header_and_count_last,
        a_stream_of_a_range_in_another_order_is_unimplemented,
        a_stream_of_a_range_with_filters_is_unimplemented,
        a_stream_of_a_range_counts_only_in_one_message,
        a_stream_of_a_future_revision_is_refused,
        a_stream_of_a_compacted_revision_is_refused,
    }
);

async fn abc(c: &Context) -> Result<()> {
    for name in ["a", "b", "c"] {
        c.put(name, &format!("of {name}")).await?;
    }
    Ok(())
}

async fn listed(c: &Context, range: pb::RangeRequest) -> Result<Vec<String>> {
    Ok(c.names(&c.ask_range(range).await?.kvs))
}

fn between(c: &Context, from: &str, to: &str) -> pb::RangeRequest {
    pb::RangeRequest {
        range_end: c.key(to).into(),
        ..c.one(from)
    }
}

async fn a_range_without_a_key_is_refused(c: Context) -> Result<()> {
    let answer = c.ask_range(pb::RangeRequest::default()).await;
    refused("no key", answer, EMPTY_KEY)
}

async fn a_range_without_an_end_is_one_key(c: Context) -> Result<()> {
    abc(&c).await?;
    same(
        "keys",
        &listed(&c, c.one("b")).await?,
        &vec!["b".to_owned()],
    )
}

async fn a_range_ends_before_its_end(c: Context) -> Result<()> {
    abc(&c).await?;
    let found = listed(&c, between(&c, "a", "c")).await?;
    same("keys", &found.join(","), &"a,b".to_owned())
}

async fn an_end_of_one_zero_byte_is_everything_from_the_key_on(c: Context) -> Result<()> {
    abc(&c).await?;
    let range = pb::RangeRequest {
        range_end: vec![0].into(),
        ..c.one("b")
    };
    let found = listed(&c, range).await?;
    same(
        "the first keys",
        &found.get(..2),
        &Some(&["b".to_owned(), "c".to_owned()][..]),
    )
}

async fn a_key_and_an_end_of_one_zero_byte_are_everything(c: Context) -> Result<()> {
    abc(&c).await?;
    let everything = pb::RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        count_only: true,
        ..pb::RangeRequest::default()
    };
    let count = c.ask_range(everything).await?.count;
    ensure!(count >= 3, "{count} keys");
    Ok(())
}

async fn a_reversed_range_is_empty_without_an_error(c: Context) -> Result<()> {
    abc(&c).await?;
    same(
        "count",
        &c.ask_range(between(&c, "c", "a")).await?.count,
        &0,
    )
}

async fn a_range_of_equal_ends_is_empty(c: Context) -> Result<()> {
    abc(&c).await?;
    same(
        "count",
        &c.ask_range(between(&c, "b", "b")).await?.count,
        &0,
    )
}

async fn a_missing_key_is_an_empty_answer(c: Context) -> Result<()> {
    let answer = c.ask_range(c.one("none")).await?;
    same(
        "answer",
        &(answer.kvs.len(), answer.count, answer.more),
        &(0, 0, false),
    )
}

async fn a_limit_cuts_and_says_that_there_is_more(c: Context) -> Result<()> {
    abc(&c).await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            limit: 2,
            ..c.all()
        })
        .await?;
    same("answer", &(answer.kvs.len(), answer.more), &(2, true))
}

async fn a_limit_that_is_not_reached_has_no_more(c: Context) -> Result<()> {
    abc(&c).await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            limit: 3,
            ..c.all()
        })
        .await?;
    same("answer", &(answer.kvs.len(), answer.more), &(3, false))
}

async fn a_count_ignores_the_limit(c: Context) -> Result<()> {
    abc(&c).await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            limit: 1,
            ..c.all()
        })
        .await?;
    same("count", &answer.count, &3)
}

async fn a_count_ignores_filters_by_revision(c: Context) -> Result<()> {
    abc(&c).await?;
    let range = pb::RangeRequest {
        min_mod_revision: c.current().await?,
        ..c.all()
    };
    let answer = c.ask_range(range).await?;
    same(
        "pairs and count",
        &(answer.kvs.len(), answer.count),
        &(1, 3),
    )
}

async fn count_only_has_no_pairs(c: Context) -> Result<()> {
    abc(&c).await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            count_only: true,
            ..c.all()
        })
        .await?;
    same(
        "pairs and count",
        &(answer.kvs.len(), answer.count),
        &(0, 3),
    )
}

async fn count_only_ignores_the_limit(c: Context) -> Result<()> {
    abc(&c).await?;
    let range = pb::RangeRequest {
        count_only: true,
        limit: 1,
        ..c.all()
    };
    let answer = c.ask_range(range).await?;
    same("count and more", &(answer.count, answer.more), &(3, false))
}

async fn keys_only_has_no_values(c: Context) -> Result<()> {
    abc(&c).await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            keys_only: true,
            ..c.all()
        })
        .await?;
    same("keys", &answer.kvs.len(), &3)?;
    ensure!(
        answer
            .kvs
            .iter()
            .all(|kv| kv.value.is_empty() && kv.version == 1)
    );
    Ok(())
}

async fn keys_come_in_the_order_of_their_bytes(c: Context) -> Result<()> {
    for name in ["b", "\u{e9}", "a", "B", "aa"] {
        c.put(name, "").await?;
    }
    let found = listed(&c, c.all()).await?;
    same("keys", &found.join(","), &"B,a,aa,b,\u{e9}".to_owned())
}

/// Three keys whose values, versions, and revisions of creation and change each have an order of their own.
async fn sorted(c: &Context, target: SortTarget, order: SortOrder, limit: i64) -> Result<String> {
    for (name, value) in [
        ("b", "1"),
        ("a", "0"),
        ("c", "3"),
        ("a", "2"),
        ("a", "2"),
        ("b", "1"),
    ] {
        c.put(name, value).await?;
    }
    let range = pb::RangeRequest {
        sort_order: order.into(),
        sort_target: target.into(),
        limit,
        ..c.all()
    };
    Ok(listed(c, range).await?.join(","))
}

async fn an_order_downwards_turns_the_keys_around(c: Context) -> Result<()> {
    let found = sorted(&c, SortTarget::Key, SortOrder::Descend, 0).await?;
    same("keys", &found.as_str(), &"c,b,a")
}

async fn an_order_by_value_sorts_by_value(c: Context) -> Result<()> {
    let found = sorted(&c, SortTarget::Value, SortOrder::Ascend, 0).await?;
    same("keys", &found.as_str(), &"b,a,c")
}

async fn an_order_by_version_sorts_by_version(c: Context) -> Result<()> {
    let found = sorted(&c, SortTarget::Version, SortOrder::Descend, 0).await?;
    same("keys", &found.as_str(), &"a,b,c")
}

async fn an_order_by_create_revision_sorts_by_it(c: Context) -> Result<()> {
    let found = sorted(&c, SortTarget::Create, SortOrder::Ascend, 0).await?;
    same("keys", &found.as_str(), &"b,a,c")
}

async fn an_order_by_mod_revision_sorts_by_it(c: Context) -> Result<()> {
    let found = sorted(&c, SortTarget::Mod, SortOrder::Ascend, 0).await?;
    same("keys", &found.as_str(), &"c,a,b")
}

async fn a_sort_target_without_an_order_sorts_upwards(c: Context) -> Result<()> {
    let found = sorted(&c, SortTarget::Mod, SortOrder::None, 0).await?;
    same("keys", &found.as_str(), &"c,a,b")
}

async fn an_unknown_sort_order_is_refused(c: Context) -> Result<()> {
    let range = pb::RangeRequest {
        sort_order: 77,
        ..c.all()
    };
    let refusal = (Code::InvalidArgument, "etcdserver: invalid sort option");
    refused("order 77", c.ask_range(range).await, refusal)
}

async fn a_limit_counts_after_an_explicit_order(c: Context) -> Result<()> {
    let found = sorted(&c, SortTarget::Value, SortOrder::Descend, 1).await?;
    same("keys", &found.as_str(), &"c")
}

async fn filters_by_mod_revision_leave_out_the_others(c: Context) -> Result<()> {
    abc(&c).await?;
    let last = c.current().await?;
    let range = pb::RangeRequest {
        min_mod_revision: last - 1,
        max_mod_revision: last - 1,
        ..c.all()
    };
    same("keys", &listed(&c, range).await?.join(",").as_str(), &"b")
}

async fn filters_by_create_revision_leave_out_the_others(c: Context) -> Result<()> {
    abc(&c).await?;
    let last = c.current().await?;
    c.put("a", "again").await?;
    let range = pb::RangeRequest {
        min_create_revision: last - 2,
        max_create_revision: last - 1,
        ..c.all()
    };
    same("keys", &listed(&c, range).await?.join(",").as_str(), &"a,b")
}

async fn a_limit_counts_after_filters(c: Context) -> Result<()> {
    abc(&c).await?;
    let last = c.current().await?;
    let range = pb::RangeRequest {
        min_mod_revision: last,
        limit: 1,
        ..c.all()
    };
    let answer = c.ask_range(range).await?;
    same("keys", &c.names(&answer.kvs).join(",").as_str(), &"c")?;
    same("more", &answer.more, &false)
}

async fn a_read_of_the_past_shows_the_past(c: Context) -> Result<()> {
    let before = c.put("a", "old").await?;
    c.put("a", "new").await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            revision: before,
            ..c.one("a")
        })
        .await?;
    same(
        "value",
        &answer.kvs.first().map(|kv| kv.value.as_ref()),
        &Some(&b"old"[..]),
    )
}

async fn a_read_of_the_past_has_the_present_revision_in_its_header(c: Context) -> Result<()> {
    let before = c.put("a", "old").await?;
    let now = c.put("a", "new").await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            revision: before,
            ..c.one("a")
        })
        .await?;
    same("revision", &revision(answer.header.as_ref())?, &now)
}

async fn a_key_is_gone_at_the_revision_of_its_deletion(c: Context) -> Result<()> {
    let put = c.put("a", "x").await?;
    let deleted = c.delete("a").await?;
    for (at, count) in [(put, 1), (deleted, 0)] {
        let answer = c
            .ask_range(pb::RangeRequest {
                revision: at,
                ..c.one("a")
            })
            .await?;
        same("count", &answer.count, &count)?;
    }
    Ok(())
}

async fn a_future_revision_is_refused(c: Context) -> Result<()> {
    let next = c.current().await? + 1;
    let answer = c
        .ask_range(pb::RangeRequest {
            revision: next,
            ..c.one("a")
        })
        .await;
    refused("the next revision", answer, FUTURE)
}

async fn a_negative_revision_is_the_present(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            revision: -1,
            ..c.one("a")
        })
        .await?;
    same("count", &answer.count, &1)
}

async fn a_serializable_read_answers(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            serializable: true,
            ..c.one("a")
        })
        .await?;
    same("count", &answer.count, &1)
}

async fn a_pair_has_its_revisions_version_and_lease(c: Context) -> Result<()> {
    let created = c.put("a", "x").await?;
    let grant = pb::LeaseGrantRequest {
        ttl: 600,
        id: c.id(0),
    };
    c.leases().lease_grant(grant).await?;
    let put = pb::PutRequest {
        key: c.key("a").into(),
        lease: c.id(0),
        ..Default::default()
    };
    let changed = revision(c.ask_put(put).await?.header.as_ref())?;
    let kv = c.get("a").await?.unwrap_or_default();
    let found = (kv.create_revision, kv.mod_revision, kv.version, kv.lease);
    same("pair", &found, &(created, changed, 2, c.id(0)))
}

async fn keys_only_leaves_out_the_lease(c: Context) -> Result<()> {
    let grant = pb::LeaseGrantRequest {
        ttl: 600,
        id: c.id(0),
    };
    c.leases().lease_grant(grant).await?;
    let put = pb::PutRequest {
        key: c.key("a").into(),
        lease: c.id(0),
        ..Default::default()
    };
    c.ask_put(put).await?;
    let answer = c
        .ask_range(pb::RangeRequest {
            keys_only: true,
            ..c.one("a")
        })
        .await?;
    same("lease", &answer.kvs.first().map(|kv| kv.lease), &Some(0))
}

/// The messages of a stream of a range.
async fn streamed(
    c: &Context,
    range: pb::RangeRequest,
) -> Result<Vec<pb::RangeResponse>, tonic::Status> {
    let mut stream = c.kv().range_stream(range).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.extend(message.range_response);
    }
    Ok(messages)
}

async fn thirty(c: &Context) -> Result<()> {
    for number in 10..40 {
        c.put(&number.to_string(), "v").await?;
    }
    Ok(())
}

async fn a_stream_of_a_range_merges_to_the_range(c: Context) -> Result<()> {
    thirty(&c).await?;
    let whole = c.ask_range(c.all()).await?;
    let parts = streamed(&c, c.all()).await?;
    let kvs: Vec<_> = parts.iter().flat_map(|part| part.kvs.clone()).collect();
    ensure!(kvs == whole.kvs, "{kvs:?}");
    let count: i64 = parts.iter().map(|part| part.count).sum();
    same("count", &count, &whole.count)
}

async fn a_stream_of_a_range_begins_with_ten_keys(c: Context) -> Result<()> {
    thirty(&c).await?;
    let parts = streamed(&c, c.all()).await?;
    same("keys", &parts.first().map(|part| part.kvs.len()), &Some(10))
}

async fn a_stream_of_a_range_has_its_header_and_count_last(c: Context) -> Result<()> {
    thirty(&c).await?;
    let parts = streamed(&c, c.all()).await?;
    let Some((last, before)) = parts.split_last() else {
        anyhow::bail!("no message");
    };
    ensure!(last.header.is_some() && last.count == 30, "{last:?}");
    ensure!(!before.is_empty() && before.iter().all(|it| it.header.is_none() && it.count == 0));
    Ok(())
}

async fn a_stream_of_a_range_in_another_order_is_unimplemented(c: Context) -> Result<()> {
    let range = pb::RangeRequest {
        sort_order: SortOrder::Descend.into(),
        ..c.all()
    };
    let refusal = (
        Code::Unimplemented,
        "RangeStream does not support custom sort orders",
    );
    refused("downwards", streamed(&c, range).await, refusal)
}

async fn a_stream_of_a_range_with_filters_is_unimplemented(c: Context) -> Result<()> {
    let range = pb::RangeRequest {
        min_mod_revision: 1,
        ..c.all()
    };
    let refusal = (
        Code::Unimplemented,
        "RangeStream does not support revision filters",
    );
    refused("a filter", streamed(&c, range).await, refusal)
}

async fn a_stream_of_a_range_counts_only_in_one_message(c: Context) -> Result<()> {
    thirty(&c).await?;
    let parts = streamed(
        &c,
        pb::RangeRequest {
            count_only: true,
            ..c.all()
        },
    )
    .await?;
    let counts: Vec<_> = parts
        .iter()
        .map(|part| (part.kvs.len(), part.count))
        .collect();
    same("messages", &counts, &vec![(0, 30)])
}

async fn a_stream_of_a_future_revision_is_refused(c: Context) -> Result<()> {
    let next = c.current().await? + 1;
    let answer = streamed(
        &c,
        pb::RangeRequest {
            revision: next,
            ..c.all()
        },
    )
    .await;
    refused("the next revision", answer, FUTURE)
}

async fn a_stream_of_a_compacted_revision_is_refused(c: Context) -> Result<()> {
    let old = c.put("a", "1").await?;
    c.compact(c.put("a", "2").await?).await?;
    let answer = streamed(
        &c,
        pb::RangeRequest {
            revision: old,
            ..c.all()
        },
    )
    .await;
    refused("the compacted revision", answer, COMPACTED)
}
