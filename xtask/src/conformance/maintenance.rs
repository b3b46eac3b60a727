//! Maintenance: status, hashes, snapshots, defragmentation, alarms, leadership, versions.

use anyhow::{Result, bail, ensure};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::alarm_request::AlarmAction;
use cairn_proto::etcdserverpb::downgrade_request::DowngradeAction;
use tonic::Code;

use super::context::{Context, revision};
use super::expect::{COMPACTED, FUTURE, Refusal, refused, same};
use super::rule::rules;

rules!("maintenance", false;
    V3_4 {
        a_status_names_version_leader_and_indexes,
        a_status_counts_bytes_in_use_within_the_file,
        a_snapshot_counts_down_to_its_checksum,
        a_hash_of_the_present_is_the_same_twice,
        a_hash_changes_with_the_data,
        a_hash_at_a_revision_stays_while_the_store_goes_on,
        a_hash_of_a_compacted_revision_is_refused,
        a_hash_of_a_future_revision_is_refused,
        a_defragmentation_answers_and_loses_nothing,
        alarms_are_listed,
        an_alarm_that_is_raised_is_listed_until_it_is_disarmed,
        a_space_alarm_refuses_puts_and_lets_deletions_through,
        leadership_cannot_be_moved_to_a_stranger,
    }
    V3_6 {
        a_hash_says_at_which_revision_it_is,
        a_status_names_storage_version_and_quota,
        a_snapshot_names_its_version,
        a_downgrade_by_two_releases_is_refused,
        a_downgrade_to_nonsense_is_refused,
        a_downgrade_that_is_not_under_way_may_be_cancelled,
    }
);

async fn a_status_names_version_leader_and_indexes(c: Context) -> Result<()> {
    let status = c.status().await?;
    ensure!(
        status.leader != 0 && status.raft_term > 0 && status.version.starts_with("3."),
        "{status:?}"
    );
    ensure!(
        status.raft_index > 0 && status.raft_applied_index > 0 && !status.is_learner,
        "{status:?}"
    );
    Ok(())
}

async fn a_status_counts_bytes_in_use_within_the_file(c: Context) -> Result<()> {
    let status = c.status().await?;
    ensure!(
        0 < status.db_size_in_use && status.db_size_in_use <= status.db_size,
        "{status:?}"
    );
    Ok(())
}

async fn snapshot(c: &Context) -> Result<Vec<pb::SnapshotResponse>> {
    let mut stream = c
        .maintenance()
        .snapshot(pb::SnapshotRequest {})
        .await?
        .into_inner();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.message().await? {
        chunks.push(chunk);
    }
    Ok(chunks)
}

async fn a_snapshot_counts_down_to_its_checksum(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    let chunks = snapshot(&c).await?;
    let Some((last, data)) = chunks.split_last() else {
        bail!("no chunk");
    };
    same("bytes of the checksum", &last.blob.len(), &32)?;
    let mut left: u64 = data.iter().map(|chunk| chunk.blob.len() as u64).sum();
    same("a file is whole pages", &(left % 512), &0)?;
    for chunk in data {
        left -= chunk.blob.len() as u64;
        same("remaining bytes", &chunk.remaining_bytes, &left)?;
    }
    Ok(())
}

async fn hash(c: &Context, revision: i64) -> Result<pb::HashKvResponse, tonic::Status> {
    let ask = pb::HashKvRequest { revision };
    Ok(c.maintenance().hash_kv(ask).await?.into_inner())
}

async fn a_hash_of_the_present_is_the_same_twice(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    let (one, two) = (hash(&c, 0).await?, hash(&c, 0).await?);
    same(
        "hash",
        &(one.hash, one.compact_revision),
        &(two.hash, two.compact_revision),
    )
}

async fn a_hash_changes_with_the_data(c: Context) -> Result<()> {
    let before = hash(&c, 0).await?.hash;
    c.put("a", "x").await?;
    ensure!(hash(&c, 0).await?.hash != before);
    Ok(())
}

async fn a_hash_at_a_revision_stays_while_the_store_goes_on(c: Context) -> Result<()> {
    let at = c.put("a", "x").await?;
    let before = hash(&c, at).await?.hash;
    c.put("a", "y").await?;
    same("hash", &hash(&c, at).await?.hash, &before)
}

async fn a_hash_of_a_compacted_revision_is_refused(c: Context) -> Result<()> {
    let old = c.put("a", "1").await?;
    c.put("a", "2").await?;
    c.compact(c.put("a", "3").await?).await?;
    refused("compacted", hash(&c, old).await, COMPACTED)
}

async fn a_hash_of_a_future_revision_is_refused(c: Context) -> Result<()> {
    let next = c.current().await? + 1;
    refused("the next", hash(&c, next).await, FUTURE)
}

async fn a_defragmentation_answers_and_loses_nothing(c: Context) -> Result<()> {
    let at = c.put("a", "x").await?;
    let before = hash(&c, at).await?.hash;
    let answer = c.maintenance().defragment(pb::DefragmentRequest {}).await?;
    same("header", &answer.into_inner().header, &None)?;
    same("hash", &hash(&c, at).await?.hash, &before)
}

async fn alarm(c: &Context, action: AlarmAction) -> Result<Vec<pb::AlarmMember>> {
    let member_id = c.status().await?.header.unwrap_or_default().member_id;
    let request = pb::AlarmRequest {
        action: action.into(),
        member_id,
        alarm: pb::AlarmType::Nospace.into(),
    };
    Ok(c.maintenance().alarm(request).await?.into_inner().alarms)
}

async fn alarms_are_listed(c: Context) -> Result<()> {
    same("alarms", &alarm(&c, AlarmAction::Get).await?.len(), &0)
}

async fn an_alarm_that_is_raised_is_listed_until_it_is_disarmed(c: Context) -> Result<()> {
    alarm(&c, AlarmAction::Activate).await?;
    let raised = alarm(&c, AlarmAction::Get).await?;
    let disarmed = alarm(&c, AlarmAction::Deactivate).await?;
    same(
        "raised and disarmed",
        &(raised.len(), disarmed.len()),
        &(1, 1),
    )?;
    same("alarms", &alarm(&c, AlarmAction::Get).await?.len(), &0)
}

async fn a_space_alarm_refuses_puts_and_lets_deletions_through(c: Context) -> Result<()> {
    c.put("a", "x").await?;
    alarm(&c, AlarmAction::Activate).await?;
    let put = pb::PutRequest {
        key: c.key("b").into(),
        ..pb::PutRequest::default()
    };
    let answer = c.ask_put(put).await;
    let read = c.get("a").await;
    let deleted = c.delete("a").await;
    alarm(&c, AlarmAction::Deactivate).await?;
    let refusal: Refusal = (
        Code::ResourceExhausted,
        "etcdserver: mvcc: database space exceeded",
    );
    refused("a put", answer, refusal)?;
    ensure!(read?.is_some());
    deleted.map(drop)
}

async fn leadership_cannot_be_moved_to_a_stranger(c: Context) -> Result<()> {
    let request = pb::MoveLeaderRequest { target_id: 77 };
    let refusal = (
        Code::FailedPrecondition,
        "etcdserver: bad leader transferee",
    );
    refused("77", c.maintenance().move_leader(request).await, refusal)
}

async fn a_hash_says_at_which_revision_it_is(c: Context) -> Result<()> {
    let at = c.put("a", "x").await?;
    let now = c.put("a", "y").await?;
    let answer = hash(&c, at).await?;
    let found = (answer.hash_revision, revision(answer.header.as_ref())?);
    same("revisions", &found, &(at, now))
}

async fn a_status_names_storage_version_and_quota(c: Context) -> Result<()> {
    let status = c.status().await?;
    ensure!(
        status.storage_version.starts_with("3.") && status.db_size_quota > 0,
        "{status:?}"
    );
    Ok(())
}

async fn a_snapshot_names_its_version(c: Context) -> Result<()> {
    let chunks = snapshot(&c).await?;
    ensure!(
        chunks
            .first()
            .is_some_and(|chunk| chunk.version.starts_with("3."))
    );
    Ok(())
}

async fn downgrade(
    c: &Context,
    action: DowngradeAction,
    version: &str,
) -> Result<(), tonic::Status> {
    let request = pb::DowngradeRequest {
        action: action.into(),
        version: version.to_owned(),
    };
    c.maintenance().downgrade(request).await.map(drop)
}

async fn a_downgrade_by_two_releases_is_refused(c: Context) -> Result<()> {
    let version = format!("3.{}.0", c.version.minor - 2);
    let refusal = (
        Code::InvalidArgument,
        "etcdserver: invalid downgrade target version",
    );
    refused(
        "two",
        downgrade(&c, DowngradeAction::Validate, &version).await,
        refusal,
    )
}

async fn a_downgrade_to_nonsense_is_refused(c: Context) -> Result<()> {
    let refusal = (
        Code::InvalidArgument,
        "etcdserver: wrong downgrade target version format",
    );
    refused(
        "x",
        downgrade(&c, DowngradeAction::Validate, "x").await,
        refusal,
    )
}

async fn a_downgrade_that_is_not_under_way_may_be_cancelled(c: Context) -> Result<()> {
    Ok(downgrade(&c, DowngradeAction::Cancel, "").await?)
}
