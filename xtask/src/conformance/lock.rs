//! Locks and elections by name.

use anyhow::{Context as _, Result, ensure};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::v3electionpb as election;
use cairn_proto::v3electionpb::election_client::ElectionClient;
use cairn_proto::v3lockpb as lock;
use cairn_proto::v3lockpb::lock_client::LockClient;
use tonic::Code;

use super::context::Context;
use super::expect::{refused, same};
use super::rule::rules;

rules!("lock", false;
    V3_4 {
        a_lock_is_a_key_under_its_name_with_the_lease_in_hex,
        a_lock_without_a_lease_gets_one,
        a_second_holder_waits_for_the_first,
        an_unlocked_key_is_gone,
        a_campaign_that_wins_names_its_leader_key,
        a_leader_is_told_with_its_value,
        a_proclamation_changes_the_value,
        an_election_without_a_leader_says_so,
        a_proclamation_without_a_leader_key_is_refused,
        a_resigned_leader_leads_no_more,
    }
);

async fn granted(c: &Context, number: i64) -> Result<i64> {
    let grant = pb::LeaseGrantRequest {
        ttl: 600,
        id: c.id(number),
    };
    Ok(c.leases().lease_grant(grant).await?.into_inner().id)
}

async fn locked(c: &Context, lease: i64) -> Result<Vec<u8>> {
    let request = lock::LockRequest {
        name: c.key("lock").into(),
        lease,
    };
    let mut client = LockClient::new(c.channel.clone());
    Ok(client.lock(request).await?.into_inner().key.to_vec())
}

async fn unlock(c: &Context, key: Vec<u8>) -> Result<()> {
    let request = lock::UnlockRequest { key: key.into() };
    LockClient::new(c.channel.clone()).unlock(request).await?;
    Ok(())
}

async fn a_lock_is_a_key_under_its_name_with_the_lease_in_hex(c: Context) -> Result<()> {
    let lease = granted(&c, 1).await?;
    let expected = c.key(&format!("lock/{lease:x}"));
    same("key", &locked(&c, lease).await?, &expected)
}

async fn a_lock_without_a_lease_gets_one(c: Context) -> Result<()> {
    let key = locked(&c, 0).await?;
    let range = pb::RangeRequest {
        key: key.into(),
        ..pb::RangeRequest::default()
    };
    let kvs = c.ask_range(range).await?.kvs;
    ensure!(kvs.first().is_some_and(|kv| kv.lease != 0), "{kvs:?}");
    Ok(())
}

async fn a_second_holder_waits_for_the_first(c: Context) -> Result<()> {
    let first = locked(&c, granted(&c, 1).await?).await?;
    let second = granted(&c, 2).await?;
    let waiting = locked(&c, second);
    tokio::pin!(waiting);
    let soon = std::time::Duration::from_millis(200);
    let early = tokio::time::timeout(soon, &mut waiting).await;
    ensure!(early.is_err(), "both have it");
    unlock(&c, first).await?;
    waiting.await?;
    Ok(())
}

async fn an_unlocked_key_is_gone(c: Context) -> Result<()> {
    let key = locked(&c, granted(&c, 1).await?).await?;
    unlock(&c, key).await?;
    same("keys", &c.ask_range(c.all()).await?.count, &0)
}

async fn campaign(c: &Context, value: &'static str) -> Result<election::LeaderKey> {
    let request = election::CampaignRequest {
        name: c.key("election").into(),
        lease: granted(c, 1).await?,
        value: value.into(),
    };
    let won = ElectionClient::new(c.channel.clone())
        .campaign(request)
        .await?;
    won.into_inner().leader.context("no leader key")
}

async fn leader(c: &Context) -> Result<election::LeaderResponse, tonic::Status> {
    let request = election::LeaderRequest {
        name: c.key("election").into(),
    };
    Ok(ElectionClient::new(c.channel.clone())
        .leader(request)
        .await?
        .into_inner())
}

async fn a_campaign_that_wins_names_its_leader_key(c: Context) -> Result<()> {
    let key = campaign(&c, "me").await?;
    let lease = c.id(1);
    same("name", &key.name.to_vec(), &c.key("election"))?;
    same(
        "key",
        &key.key.to_vec(),
        &c.key(&format!("election/{lease:x}")),
    )?;
    same("lease", &key.lease, &lease)?;
    ensure!(key.rev > 0, "{key:?}");
    Ok(())
}

async fn a_leader_is_told_with_its_value(c: Context) -> Result<()> {
    campaign(&c, "me").await?;
    let kv = leader(&c).await?.kv.unwrap_or_default();
    same("value", &kv.value.as_ref(), &&b"me"[..])
}

async fn a_proclamation_changes_the_value(c: Context) -> Result<()> {
    let leader_key = Some(campaign(&c, "me").await?);
    let request = election::ProclaimRequest {
        leader: leader_key,
        value: "changed".into(),
    };
    ElectionClient::new(c.channel.clone())
        .proclaim(request)
        .await?;
    let kv = leader(&c).await?.kv.unwrap_or_default();
    same("value", &kv.value.as_ref(), &&b"changed"[..])
}

async fn an_election_without_a_leader_says_so(c: Context) -> Result<()> {
    refused(
        "nobody",
        leader(&c).await,
        (Code::Unknown, "election: no leader"),
    )
}

async fn a_proclamation_without_a_leader_key_is_refused(c: Context) -> Result<()> {
    let request = election::ProclaimRequest {
        leader: None,
        value: "x".into(),
    };
    let answer = ElectionClient::new(c.channel.clone())
        .proclaim(request)
        .await;
    refused(
        "no key",
        answer,
        (Code::Unknown, "\"leader\" field must be provided"),
    )
}

async fn a_resigned_leader_leads_no_more(c: Context) -> Result<()> {
    let leader_key = Some(campaign(&c, "me").await?);
    let request = election::ResignRequest { leader: leader_key };
    ElectionClient::new(c.channel.clone())
        .resign(request)
        .await?;
    refused(
        "nobody",
        leader(&c).await,
        (Code::Unknown, "election: no leader"),
    )
}
