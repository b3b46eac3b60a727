//! Watches: where they begin, what they send, and the protocol around them.

use anyhow::{Result, ensure};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::watch_create_request::FilterType;
use cairn_proto::mvccpb::Event;
use cairn_proto::mvccpb::event::EventType;

use super::context::{Context, revision};
use super::expect::same;
use super::rule::rules;
use super::watching::Watching;

rules!("watch", false;
    V3_4 {
        a_watcher_is_told_that_it_exists_before_anything_else,
        a_watcher_from_now_on_hears_what_comes,
        a_watcher_of_one_key_hears_of_no_other,
        a_watcher_of_a_range_hears_its_keys,
        a_watcher_from_the_past_hears_the_past_in_order,
        a_watcher_from_the_future_hears_nothing_below,
        a_deletion_carries_key_and_revision_alone,
        previous_pairs_come_if_asked,
        a_creation_has_no_previous_pair,
        puts_are_left_out_if_asked,
        deletions_are_left_out_if_asked,
        events_of_one_revision_come_together_in_order,
        identifiers_count_up_from_zero,
        an_identifier_may_be_chosen,
        an_identifier_in_use_is_refused_and_disturbs_nothing,
        a_reversed_range_is_refused,
        a_compacted_start_is_cancelled_with_the_revision,
        the_compacted_revision_itself_can_be_watched,
        a_cancellation_is_confirmed,
        a_cancellation_of_nobody_is_passed_over,
        a_cancelled_watcher_is_silent,
        progress_is_told_for_the_whole_stream,
        progress_is_never_older_than_what_was_acknowledged,
        catch_up_answers_carry_the_present_revision,
        a_large_revision_comes_in_fragments_if_asked,
        a_watch_that_wants_a_leader_is_served_under_one,
        one_stream_serves_many_watchers,
    }
    V3_6 {
        a_tombstone_at_the_compacted_revision_is_heard,
    }
    V3_7 {
        // Late releases of 3.5 and 3.6 follow these two, 3.6.0 does not.
        a_negative_start_is_refused_as_compacted,
        progress_is_not_told_before_a_future_start,
    }
);

fn create(c: &Context, name: &str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: c.key(name).into(),
        ..pb::WatchCreateRequest::default()
    }
}

fn all(c: &Context) -> pb::WatchCreateRequest {
    let all = c.all();
    pb::WatchCreateRequest {
        key: all.key,
        range_end: all.range_end,
        ..pb::WatchCreateRequest::default()
    }
}

fn told(c: &Context, events: &[Event]) -> Vec<String> {
    let one = |event: &Event| {
        let kv = event.kv.clone().unwrap_or_default();
        let name = c.names(std::slice::from_ref(&kv)).concat();
        let value = String::from_utf8_lossy(&kv.value).into_owned();
        match event.r#type() {
            EventType::Put => format!("{name}={value}"),
            EventType::Delete => format!("-{name}"),
        }
    };
    events.iter().map(one).collect()
}

async fn heard(c: &Context, watching: &mut Watching, expected: &[&str]) -> Result<()> {
    let events = watching.events(expected.len()).await?;
    let expected: Vec<_> = expected.iter().map(|it| (*it).to_owned()).collect();
    same("events", &told(c, &events), &expected)
}

async fn a_watcher_is_told_that_it_exists_before_anything_else(c: Context) -> Result<()> {
    let start_revision = c.put("a", "x").await?;
    let watch = pb::WatchCreateRequest {
        start_revision,
        ..create(&c, "a")
    };
    let mut watching = Watching::create(&c, watch).await?;
    let first = watching.next().await?;
    ensure!(
        first.created && first.events.is_empty() && !first.canceled,
        "{first:?}"
    );
    heard(&c, &mut watching, &["a=x"]).await
}

async fn a_watcher_from_now_on_hears_what_comes(c: Context) -> Result<()> {
    c.put("a", "before").await?;
    let mut watching = Watching::on(&c, create(&c, "a")).await?;
    c.put("a", "after").await?;
    heard(&c, &mut watching, &["a=after"]).await
}

async fn a_watcher_of_one_key_hears_of_no_other(c: Context) -> Result<()> {
    let mut watching = Watching::on(&c, create(&c, "a")).await?;
    c.put("aa", "x").await?;
    c.put("b", "x").await?;
    watching.is_silent().await
}

async fn a_watcher_of_a_range_hears_its_keys(c: Context) -> Result<()> {
    let mut watching = Watching::on(&c, all(&c)).await?;
    c.put("a", "1").await?;
    c.put("b", "2").await?;
    heard(&c, &mut watching, &["a=1", "b=2"]).await
}

async fn a_watcher_from_the_past_hears_the_past_in_order(c: Context) -> Result<()> {
    let start_revision = c.put("a", "1").await?;
    c.put("a", "2").await?;
    c.delete("a").await?;
    let watch = pb::WatchCreateRequest {
        start_revision,
        ..create(&c, "a")
    };
    let mut watching = Watching::on(&c, watch).await?;
    heard(&c, &mut watching, &["a=1", "a=2", "-a"]).await
}

async fn a_watcher_from_the_future_hears_nothing_below(c: Context) -> Result<()> {
    let start_revision = c.current().await? + 2;
    let watch = pb::WatchCreateRequest {
        start_revision,
        ..create(&c, "a")
    };
    let mut watching = Watching::on(&c, watch).await?;
    c.put("a", "below").await?;
    c.put("a", "there").await?;
    heard(&c, &mut watching, &["a=there"]).await
}

async fn a_deletion_carries_key_and_revision_alone(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    let mut watching = Watching::on(&c, create(&c, "a")).await?;
    let at = c.delete("a").await?;
    let kv = watching.events(1).await?.remove(0).kv.unwrap_or_default();
    let found = (
        kv.mod_revision,
        kv.create_revision,
        kv.version,
        kv.value.len(),
    );
    same("pair", &found, &(at, 0, 0, 0))
}

async fn previous_pairs_come_if_asked(c: Context) -> Result<()> {
    c.put("a", "old").await?;
    let watch = pb::WatchCreateRequest {
        prev_kv: true,
        ..create(&c, "a")
    };
    let mut watching = Watching::on(&c, watch).await?;
    c.put("a", "new").await?;
    c.delete("a").await?;
    let events = watching.events(2).await?;
    let before: Vec<_> = events
        .iter()
        .map(|it| it.prev_kv.clone().unwrap_or_default().value)
        .collect();
    same("values", &before, &vec!["old".into(), "new".into()])
}

async fn a_creation_has_no_previous_pair(c: Context) -> Result<()> {
    let watch = pb::WatchCreateRequest {
        prev_kv: true,
        ..create(&c, "a")
    };
    let mut watching = Watching::on(&c, watch).await?;
    c.put("a", "new").await?;
    same("pair", &watching.events(1).await?.remove(0).prev_kv, &None)
}

async fn filtered(c: &Context, filter: FilterType) -> Result<Watching> {
    let watch = pb::WatchCreateRequest {
        filters: vec![filter.into()],
        ..create(c, "a")
    };
    let watching = Watching::on(c, watch).await?;
    c.put("a", "1").await?;
    c.delete("a").await?;
    Ok(watching)
}

async fn puts_are_left_out_if_asked(c: Context) -> Result<()> {
    heard(&c, &mut filtered(&c, FilterType::Noput).await?, &["-a"]).await
}

async fn deletions_are_left_out_if_asked(c: Context) -> Result<()> {
    let mut watching = filtered(&c, FilterType::Nodelete).await?;
    c.put("a", "2").await?;
    heard(&c, &mut watching, &["a=1", "a=2"]).await
}

fn put_op(c: &Context, name: &str, value: Vec<u8>) -> pb::RequestOp {
    let put = pb::PutRequest {
        key: c.key(name).into(),
        value: value.into(),
        ..Default::default()
    };
    pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(put)),
    }
}

async fn events_of_one_revision_come_together_in_order(c: Context) -> Result<()> {
    let mut watching = Watching::on(&c, all(&c)).await?;
    let success = ["b", "a", "c"].map(|name| put_op(&c, name, b"x".to_vec()));
    c.ask_txn(pb::TxnRequest {
        success: success.into(),
        ..Default::default()
    })
    .await?;
    let answer = watching.next().await?;
    same(
        "events",
        &told(&c, &answer.events).join(" ").as_str(),
        &"b=x a=x c=x",
    )
}

async fn identifiers_count_up_from_zero(c: Context) -> Result<()> {
    let mut watching = Watching::create(&c, create(&c, "a")).await?;
    watching.add(create(&c, "b")).await?;
    let ids = [
        watching.next().await?.watch_id,
        watching.next().await?.watch_id,
    ];
    same("identifiers", &ids, &[0, 1])
}

async fn an_identifier_may_be_chosen(c: Context) -> Result<()> {
    let watch = pb::WatchCreateRequest {
        watch_id: 77,
        ..create(&c, "a")
    };
    let mut watching = Watching::create(&c, watch).await?;
    same("identifier", &watching.next().await?.watch_id, &77)
}

async fn an_identifier_in_use_is_refused_and_disturbs_nothing(c: Context) -> Result<()> {
    let chosen = || pb::WatchCreateRequest {
        watch_id: 7,
        ..create(&c, "a")
    };
    let mut watching = Watching::on(&c, chosen()).await?;
    watching.add(chosen()).await?;
    let refusal = watching.next().await?;
    let found = (
        refusal.watch_id,
        refusal.created,
        refusal.canceled,
        refusal.cancel_reason.as_str(),
    );
    let reason = "mvcc: duplicate watch ID provided on the WatchStream";
    same("refusal", &found, &(-1, true, true, reason))?;
    c.put("a", "x").await?;
    heard(&c, &mut watching, &["a=x"]).await
}

async fn a_reversed_range_is_refused(c: Context) -> Result<()> {
    let watch = pb::WatchCreateRequest {
        range_end: c.key("a").into(),
        ..create(&c, "b")
    };
    let refusal = Watching::create(&c, watch).await?.next().await?;
    let found = (
        refusal.watch_id,
        refusal.created,
        refusal.canceled,
        refusal.cancel_reason.as_str(),
    );
    same(
        "refusal",
        &found,
        &(-1, true, true, "mvcc: watcher range is empty"),
    )
}

async fn a_negative_start_is_refused_as_compacted(c: Context) -> Result<()> {
    let watch = pb::WatchCreateRequest {
        start_revision: -1,
        ..create(&c, "a")
    };
    let refusal = Watching::create(&c, watch).await?.next().await?;
    let found = (
        refusal.watch_id,
        refusal.created,
        refusal.canceled,
        refusal.cancel_reason.as_str(),
    );
    let reason = "etcdserver: mvcc: required revision has been compacted";
    same("refusal", &(found.0, found.1, found.2), &(-1, true, true))?;
    ensure!(
        reason.ends_with(found.3) && !found.3.is_empty(),
        "{refusal:?}"
    );
    Ok(())
}

async fn a_compacted_start_is_cancelled_with_the_revision(c: Context) -> Result<()> {
    let start_revision = c.put("a", "1").await?;
    let at = c.put("a", "2").await?;
    c.compact(at).await?;
    let watch = pb::WatchCreateRequest {
        start_revision,
        ..create(&c, "a")
    };
    let mut watching = Watching::on(&c, watch).await?;
    let end = watching.next().await?;
    same(
        "end",
        &(
            end.canceled,
            end.compact_revision,
            end.cancel_reason.as_str(),
        ),
        &(true, at, ""),
    )
}

async fn the_compacted_revision_itself_can_be_watched(c: Context) -> Result<()> {
    let start_revision = c.put("a", "1").await?;
    c.put("a", "2").await?;
    c.compact(start_revision).await?;
    let watch = pb::WatchCreateRequest {
        start_revision,
        ..create(&c, "a")
    };
    heard(&c, &mut Watching::on(&c, watch).await?, &["a=1", "a=2"]).await
}

async fn a_tombstone_at_the_compacted_revision_is_heard(c: Context) -> Result<()> {
    c.put("a", "1").await?;
    let start_revision = c.delete("a").await?;
    c.compact(start_revision).await?;
    let watch = pb::WatchCreateRequest {
        start_revision,
        ..create(&c, "a")
    };
    heard(&c, &mut Watching::on(&c, watch).await?, &["-a"]).await
}

async fn a_cancellation_is_confirmed(c: Context) -> Result<()> {
    let mut watching = Watching::on(&c, create(&c, "a")).await?;
    watching.cancel(0).await?;
    let end = watching.next().await?;
    same(
        "end",
        &(end.watch_id, end.canceled, end.created),
        &(0, true, false),
    )
}

async fn a_cancellation_of_nobody_is_passed_over(c: Context) -> Result<()> {
    let mut watching = Watching::on(&c, create(&c, "a")).await?;
    watching.cancel(99).await?;
    c.put("a", "x").await?;
    heard(&c, &mut watching, &["a=x"]).await
}

async fn a_cancelled_watcher_is_silent(c: Context) -> Result<()> {
    let mut watching = Watching::on(&c, create(&c, "a")).await?;
    watching.cancel(0).await?;
    watching.next().await?;
    c.put("a", "x").await?;
    watching.is_silent().await
}

async fn progress_is_told_for_the_whole_stream(c: Context) -> Result<()> {
    let mut watching = Watching::on(&c, create(&c, "a")).await?;
    watching.progress().await?;
    let progress = watching.next().await?;
    let found = (
        progress.watch_id,
        progress.events.len(),
        progress.created,
        progress.canceled,
    );
    same("progress", &found, &(-1, 0, false, false))
}

async fn progress_is_never_older_than_what_was_acknowledged(c: Context) -> Result<()> {
    let mut watching = Watching::on(&c, create(&c, "a")).await?;
    for _ in 0..50 {
        let acknowledged = c.put("elsewhere", "x").await?;
        watching.progress().await?;
        let told = revision(watching.next().await?.header.as_ref())?;
        ensure!(
            told >= acknowledged,
            "{told} after {acknowledged} was acknowledged"
        );
    }
    Ok(())
}

async fn progress_is_not_told_before_a_future_start(c: Context) -> Result<()> {
    let start_revision = c.current().await? + 10;
    let watch = pb::WatchCreateRequest {
        start_revision,
        ..create(&c, "a")
    };
    let mut watching = Watching::on(&c, watch).await?;
    watching.progress().await?;
    watching.is_silent().await
}

async fn catch_up_answers_carry_the_present_revision(c: Context) -> Result<()> {
    let start_revision = c.put("a", "x").await?;
    let now = c.put("b", "x").await?;
    let watch = pb::WatchCreateRequest {
        start_revision,
        ..create(&c, "a")
    };
    let answer = Watching::on(&c, watch).await?.next().await?;
    same("revision", &revision(answer.header.as_ref())?, &now)
}

async fn a_large_revision_comes_in_fragments_if_asked(c: Context) -> Result<()> {
    let watch = pb::WatchCreateRequest {
        fragment: true,
        prev_kv: true,
        ..all(&c)
    };
    let mut watching = Watching::on(&c, watch).await?;
    for round in 0..2_u8 {
        let success = (0..10).map(|it| put_op(&c, &it.to_string(), vec![round; 140 << 10]));
        let txn = pb::TxnRequest {
            success: success.collect(),
            ..Default::default()
        };
        c.ask_txn(txn).await?;
    }
    watching.events(10).await?;
    let first = watching.next().await?;
    ensure!(
        first.fragment,
        "one answer of {} events",
        first.events.len()
    );
    let (mut count, mut last) = (first.events.len(), first.fragment);
    while last {
        let more = watching.next().await?;
        (count, last) = (count + more.events.len(), more.fragment);
    }
    same("events", &count, &10)
}

async fn a_watch_that_wants_a_leader_is_served_under_one(c: Context) -> Result<()> {
    let wants = Some(("hasleader", "true"));
    let mut watching = Watching::create_with(&c, create(&c, "a"), wants).await?;
    same("created", &watching.next().await?.created, &true)
}

async fn one_stream_serves_many_watchers(c: Context) -> Result<()> {
    let mut watching = Watching::on(&c, create(&c, "a")).await?;
    watching.add(all(&c)).await?;
    watching.next().await?;
    c.put("a", "x").await?;
    let mut ids = [
        watching.next().await?.watch_id,
        watching.next().await?.watch_id,
    ];
    ids.sort_unstable();
    same("who heard it", &ids, &[0, 1])
}
