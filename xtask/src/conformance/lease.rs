//! Leases: how long they live, who may renew them, what ends with them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cairn_proto::etcdserverpb as pb;
use tokio_stream::StreamExt as _;
use tonic::Code;

use super::context::{Context, revision};
use super::expect::{LEASE_NOT_FOUND, refused, same};
use super::rule::rules;

rules!("lease", false;
    V3_4 {
        a_grant_takes_the_identifier_asked_for,
        a_grant_without_an_identifier_gets_a_positive_one,
        a_negative_identifier_is_as_good_as_any,
        a_granted_identifier_cannot_be_granted_again,
        a_time_to_live_below_the_shortest_is_raised,
        a_time_to_live_beyond_the_longest_is_refused,
        a_grant_keeps_the_revision,
        what_is_left_is_at_most_what_was_granted,
        an_unknown_lease_has_a_time_to_live_of_minus_one,
        keys_of_a_lease_are_listed_if_asked,
        keys_of_a_lease_are_not_listed_unasked,
        a_put_with_another_lease_moves_the_key,
        a_renewal_gives_the_granted_time_back,
        a_renewal_of_an_unknown_lease_says_zero,
        renewals_of_one_stream_are_answered_in_order,
        leases_are_listed,
        a_revocation_deletes_its_keys_in_one_revision,
        a_revocation_without_keys_keeps_the_revision,
        a_revoked_lease_is_gone,
        a_revocation_of_an_unknown_lease_is_refused,
        keys_end_with_their_lease,
        a_renewed_lease_outlives_its_time_to_live,
    }
);

async fn grant(c: &Context, number: i64, ttl: i64) -> Result<pb::LeaseGrantResponse> {
    let grant = pb::LeaseGrantRequest {
        ttl,
        id: c.id(number),
    };
    Ok(c.leases().lease_grant(grant).await?.into_inner())
}

async fn put(c: &Context, name: &str, lease: i64) -> Result<()> {
    let put = pb::PutRequest {
        key: c.key(name).into(),
        lease,
        ..pb::PutRequest::default()
    };
    c.ask_put(put).await?;
    Ok(())
}

async fn left(c: &Context, id: i64, keys: bool) -> Result<pb::LeaseTimeToLiveResponse> {
    let ask = pb::LeaseTimeToLiveRequest { id, keys };
    Ok(c.leases().lease_time_to_live(ask).await?.into_inner())
}

async fn revoke(c: &Context, id: i64) -> Result<pb::LeaseRevokeResponse, tonic::Status> {
    let revoke = pb::LeaseRevokeRequest { id };
    Ok(c.leases().lease_revoke(revoke).await?.into_inner())
}

async fn renewed(c: &Context, ids: &[i64]) -> Result<Vec<(i64, i64)>> {
    let requests: Vec<_> = ids
        .iter()
        .map(|id| pb::LeaseKeepAliveRequest { id: *id })
        .collect();
    let requests = tokio_stream::iter(requests);
    let mut answers = c.leases().lease_keep_alive(requests).await?.into_inner();
    let mut found = Vec::new();
    while found.len() < ids.len() {
        let answer = answers.next().await.context("no more answers")??;
        found.push((answer.id, answer.ttl));
    }
    Ok(found)
}

async fn a_grant_takes_the_identifier_asked_for(c: Context) -> Result<()> {
    let answer = grant(&c, 1, 600).await?;
    same(
        "grant",
        &(answer.id, answer.ttl, answer.error.as_str()),
        &(c.id(1), 600, ""),
    )
}

async fn a_grant_without_an_identifier_gets_a_positive_one(c: Context) -> Result<()> {
    let grant = pb::LeaseGrantRequest { ttl: 600, id: 0 };
    let id = c.leases().lease_grant(grant).await?.into_inner().id;
    ensure!(id > 0, "{id}");
    Ok(())
}

async fn a_negative_identifier_is_as_good_as_any(c: Context) -> Result<()> {
    let id = -c.id(1);
    let grant = pb::LeaseGrantRequest { ttl: 600, id };
    same(
        "id",
        &c.leases().lease_grant(grant).await?.into_inner().id,
        &id,
    )?;
    put(&c, "a", id).await?;
    same("lease", &c.get("a").await?.map(|kv| kv.lease), &Some(id))
}

async fn a_granted_identifier_cannot_be_granted_again(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    let again = pb::LeaseGrantRequest {
        ttl: 600,
        id: c.id(1),
    };
    let answer = c.leases().lease_grant(again).await;
    refused(
        "again",
        answer,
        (Code::FailedPrecondition, "etcdserver: lease already exists"),
    )
}

async fn a_time_to_live_below_the_shortest_is_raised(c: Context) -> Result<()> {
    let ttl = grant(&c, 1, 1).await?.ttl;
    ensure!(ttl >= 2, "{ttl}");
    Ok(())
}

async fn a_time_to_live_beyond_the_longest_is_refused(c: Context) -> Result<()> {
    let grant = pb::LeaseGrantRequest {
        ttl: 9_000_000_001,
        id: c.id(1),
    };
    let refusal = (Code::OutOfRange, "etcdserver: too large lease TTL");
    refused("9e9 + 1", c.leases().lease_grant(grant).await, refusal)
}

async fn a_grant_keeps_the_revision(c: Context) -> Result<()> {
    let before = c.current().await?;
    grant(&c, 1, 600).await?;
    same("revision", &c.current().await?, &before)
}

async fn what_is_left_is_at_most_what_was_granted(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    let answer = left(&c, c.id(1), false).await?;
    ensure!(
        answer.granted_ttl == 600 && (590..=600).contains(&answer.ttl),
        "{answer:?}"
    );
    Ok(())
}

async fn an_unknown_lease_has_a_time_to_live_of_minus_one(c: Context) -> Result<()> {
    same("time to live", &left(&c, c.id(99), false).await?.ttl, &-1)
}

async fn keys_of_a_lease_are_listed_if_asked(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    put(&c, "a", c.id(1)).await?;
    put(&c, "b", c.id(1)).await?;
    let mut keys = left(&c, c.id(1), true).await?.keys;
    keys.sort();
    same("keys", &keys, &vec![c.key("a").into(), c.key("b").into()])
}

async fn keys_of_a_lease_are_not_listed_unasked(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    put(&c, "a", c.id(1)).await?;
    same("keys", &left(&c, c.id(1), false).await?.keys.len(), &0)
}

async fn a_put_with_another_lease_moves_the_key(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    grant(&c, 2, 600).await?;
    put(&c, "a", c.id(1)).await?;
    put(&c, "a", c.id(2)).await?;
    let counts = [
        left(&c, c.id(1), true).await?.keys.len(),
        left(&c, c.id(2), true).await?.keys.len(),
    ];
    same("keys of each", &counts, &[0, 1])
}

async fn a_renewal_gives_the_granted_time_back(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    same(
        "renewal",
        &renewed(&c, &[c.id(1)]).await?,
        &vec![(c.id(1), 600)],
    )
}

async fn a_renewal_of_an_unknown_lease_says_zero(c: Context) -> Result<()> {
    same(
        "renewal",
        &renewed(&c, &[c.id(99)]).await?,
        &vec![(c.id(99), 0)],
    )
}

async fn renewals_of_one_stream_are_answered_in_order(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    grant(&c, 2, 700).await?;
    let found = renewed(&c, &[c.id(2), c.id(99), c.id(1)]).await?;
    same(
        "renewals",
        &found,
        &vec![(c.id(2), 700), (c.id(99), 0), (c.id(1), 600)],
    )
}

async fn leases_are_listed(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    let listed = c
        .leases()
        .lease_leases(pb::LeaseLeasesRequest {})
        .await?
        .into_inner();
    ensure!(listed.leases.iter().any(|lease| lease.id == c.id(1)));
    Ok(())
}

async fn a_revocation_deletes_its_keys_in_one_revision(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    put(&c, "a", c.id(1)).await?;
    put(&c, "b", c.id(1)).await?;
    let before = c.current().await?;
    let answer = revoke(&c, c.id(1)).await?;
    same(
        "revision",
        &revision(answer.header.as_ref())?,
        &(before + 1),
    )?;
    same("keys", &c.ask_range(c.all()).await?.count, &0)
}

async fn a_revocation_without_keys_keeps_the_revision(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    let before = c.current().await?;
    revoke(&c, c.id(1)).await?;
    same("revision", &c.current().await?, &before)
}

async fn a_revoked_lease_is_gone(c: Context) -> Result<()> {
    grant(&c, 1, 600).await?;
    revoke(&c, c.id(1)).await?;
    same("time to live", &left(&c, c.id(1), false).await?.ttl, &-1)
}

async fn a_revocation_of_an_unknown_lease_is_refused(c: Context) -> Result<()> {
    refused(
        "an unknown lease",
        revoke(&c, c.id(99)).await,
        LEASE_NOT_FOUND,
    )
}

async fn keys_end_with_their_lease(c: Context) -> Result<()> {
    grant(&c, 1, 1).await?;
    put(&c, "a", c.id(1)).await?;
    while c.get("a").await?.is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn a_renewed_lease_outlives_its_time_to_live(c: Context) -> Result<()> {
    let ttl = grant(&c, 1, 2).await?.ttl;
    put(&c, "a", c.id(1)).await?;
    for _ in 0..ttl * 2 + 1 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        renewed(&c, &[c.id(1)]).await?;
    }
    ensure!(c.get("a").await?.is_some(), "the key has ended");
    Ok(())
}
