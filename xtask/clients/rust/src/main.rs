//! What the crate etcd-client does with a cluster.
//!
//! Each step prints `ok`; the first surprise ends the program. `CAIRN_ENDPOINTS` are URLs with
//! commas between them. With `CAIRN_CERTIFICATES`, a folder, members are called over TLS, by whom a
//! certificate there names: while authentication is on, its common name is the user.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, EventType, GetOptions, Identity,
    LeaseTimeToLiveOptions, LockOptions, Permission, ProclaimOptions, PutOptions, ResignOptions,
    RoleRevokePermissionOptions, SortOrder, SortTarget, TlsOptions, Txn, TxnOp, WatchOptions,
};

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let client = connect("root", None).await?;
    step("keys", keys(client.clone())).await?;
    step("watches", watches(client.clone())).await?;
    step("leases", leases(client.clone())).await?;
    step("locks", locks(client.clone())).await?;
    step("elections", elections(client.clone())).await?;
    step("maintenance", maintenance(client.clone())).await?;
    step("users", users(client)).await
}

async fn step(name: &str, work: impl Future<Output = Result<()>>) -> Result<()> {
    let ended = tokio::time::timeout(PATIENCE, work).await;
    let ended = ended.unwrap_or_else(|_| bail!("no end after {PATIENCE:?}"));
    ended.with_context(|| name.to_owned())?;
    println!("ok {name}");
    Ok(())
}

/// Connects to all members, by a certificate's name if there are certificates, and with a user's
/// password if that is given.
async fn connect(name: &str, user: Option<(&str, &str)>) -> Result<Client> {
    let endpoints = env::var("CAIRN_ENDPOINTS").context("CAIRN_ENDPOINTS")?;
    let endpoints: Vec<&str> = endpoints.split(',').collect();
    let mut options = ConnectOptions::new().with_connect_timeout(Duration::from_secs(10));
    if let Some(folder) = certificates() {
        let read = |file: String| fs::read(Path::new(&folder).join(file));
        let identity =
            Identity::from_pem(read(format!("{name}.pem"))?, read(format!("{name}.key"))?);
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read("ca.pem".to_owned())?))
            .identity(identity);
        options = options.with_tls(tls);
    }
    if let Some((user, password)) = user {
        options = options.with_user(user, password);
    }
    Ok(Client::connect(endpoints, Some(options)).await?)
}

fn certificates() -> Option<String> {
    env::var("CAIRN_CERTIFICATES").ok()
}

async fn keys(mut client: Client) -> Result<()> {
    for key in ["rs/c", "rs/a", "rs/b"] {
        client.put(key, "1", None).await?;
    }
    let options = GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Key, SortOrder::Descend);
    let got = client.get("rs/", Some(options)).await?;
    ensure!(got.count() == 3 && got.kvs()[0].key() == b"rs/c", "{got:?}");
    let txn = Txn::new()
        .when([Compare::value("rs/a", CompareOp::Equal, "1")])
        .and_then([
            TxnOp::put("rs/a", "2", Some(PutOptions::new().with_prev_key())),
            TxnOp::get("rs/a", None),
        ])
        .or_else([TxnOp::delete("rs/a", None)]);
    let answer = client.txn(txn).await?;
    ensure!(
        answer.succeeded() && answer.op_responses().len() == 2,
        "{answer:?}"
    );
    let revision = answer.header().context("no header")?.revision();
    client.compact(revision, None).await?;
    let old = client.get("rs/a", Some(GetOptions::new().with_revision(1)));
    refused(old.await, "compacted")?;
    let deleted = client.delete("rs/a", None).await?;
    ensure!(deleted.deleted() == 1, "{deleted:?}");
    Ok(())
}

async fn watches(mut client: Client) -> Result<()> {
    const COUNT: usize = 100;
    let put = client.put("rs/w", "0", None).await?;
    let first = put.header().context("no header")?.revision();
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(first)
        .with_prev_key();
    let mut stream = client.watch("rs/w", Some(options)).await?;
    for number in 1..COUNT {
        client.put("rs/w", number.to_string(), None).await?;
    }
    let mut seen = 0;
    while seen < COUNT {
        let answer = stream.message().await?.context("the stream ended")?;
        for event in answer.events() {
            let kv = event.kv().context("no key-value")?;
            ensure!(kv.value() == seen.to_string().as_bytes(), "{event:?}");
            ensure!(event.prev_kv().is_some() == (seen > 0), "{event:?}");
            seen += 1;
        }
    }
    stream.request_progress().await?;
    let progress = stream.message().await?.context("the stream ended")?;
    let revision = progress.header().context("no header")?.revision();
    ensure!(progress.events().is_empty() && revision >= first + COUNT as i64 - 1);
    Ok(())
}

async fn leases(mut client: Client) -> Result<()> {
    let lease = client.lease_grant(60, None).await?.id();
    let leased = PutOptions::new().with_lease(lease);
    client.put("rs/leased", "v", Some(leased)).await?;
    let (mut keeper, mut kept) = client.lease_keep_alive(lease).await?;
    for _ in 0..3 {
        keeper.keep_alive().await?;
        let answer = kept.message().await?.context("the stream ended")?;
        ensure!(answer.ttl() == 60, "{answer:?}");
    }
    let options = LeaseTimeToLiveOptions::new().with_keys();
    let left = client.lease_time_to_live(lease, Some(options)).await?;
    ensure!(
        left.granted_ttl() == 60 && left.keys() == [b"rs/leased"],
        "{left:?}"
    );
    ensure!(!client.leases().await?.leases().is_empty());
    client.lease_revoke(lease).await?;
    ensure!(client.get("rs/leased", None).await?.count() == 0);
    refused(
        client.lease_revoke(lease).await,
        "requested lease not found",
    )?;

    let short = client.lease_grant(1, None).await?.id();
    let mut stream = client.watch("rs/short", None).await?;
    let leased = PutOptions::new().with_lease(short);
    client.put("rs/short", "v", Some(leased)).await?;
    loop {
        let answer = stream.message().await?.context("the stream ended")?;
        if answer
            .events()
            .iter()
            .any(|it| it.event_type() == EventType::Delete)
        {
            return Ok(());
        }
    }
}

async fn locks(mut client: Client) -> Result<()> {
    let one = client.lease_grant(60, None).await?.id();
    let two = client.lease_grant(60, None).await?.id();
    let by = |lease| Some(LockOptions::new().with_lease(lease));
    let first = client.lock("rs/lock", by(one)).await?;
    ensure!(first.key().starts_with(b"rs/lock/"), "{first:?}");
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.lock("rs/lock", by(two)).await });
    // Two keys: the second one waits.
    loop {
        let options = GetOptions::new().with_prefix().with_count_only();
        if client.get("rs/lock/", Some(options)).await?.count() == 2 {
            break;
        }
    }
    ensure!(!waiting.is_finished());
    client.unlock(first.key()).await?;
    let second = waiting.await??;
    ensure!(second.key() != first.key());
    client.lease_revoke(two).await?;
    refused(client.lock("rs/lock", by(two)).await, "lease not found")?;
    let unleased = client.lock("rs/lock", None).await?;
    client.unlock(unleased.key()).await?;
    Ok(())
}

async fn elections(mut client: Client) -> Result<()> {
    let one = client.lease_grant(60, None).await?.id();
    let two = client.lease_grant(60, None).await?.id();
    refused(client.leader("rs/seat").await, "election: no leader")?;
    let campaign = client.campaign("rs/seat", "one", one).await?;
    let first = campaign.leader().context("no leader")?.clone();
    let mut observed = client.observe("rs/seat").await?;
    let mut other = client.clone();
    let campaign = tokio::spawn(async move { other.campaign("rs/seat", "two", two).await });
    for (value, next) in [("one", "uno"), ("uno", "")] {
        let heard = observed.message().await?.context("the stream ended")?;
        let kv = heard.kv().context("nobody leads")?;
        ensure!(kv.value() == value.as_bytes(), "{heard:?}");
        if !next.is_empty() {
            let options = ProclaimOptions::new().with_leader(first.clone());
            client.proclaim(next, Some(options)).await?;
        }
    }
    let options = ResignOptions::new().with_leader(first.clone());
    client.resign(Some(options)).await?;
    let second = campaign.await??;
    ensure!(second.leader().is_some_and(|leader| leader.lease() == two));
    let leader = client.leader("rs/seat").await?;
    ensure!(
        leader.kv().is_some_and(|kv| kv.value() == b"two"),
        "{leader:?}"
    );
    let late = ProclaimOptions::new().with_leader(first);
    refused(
        client.proclaim("late", Some(late)).await,
        "election: not leader",
    )?;
    client.lease_revoke(two).await?;
    refused(client.leader("rs/seat").await, "election: no leader")
}

async fn maintenance(mut client: Client) -> Result<()> {
    let status = client.status().await?;
    ensure!(status.leader() != 0 && status.db_size() > 0, "{status:?}");
    let members = client.member_list().await?;
    ensure!(
        members.members().iter().all(|member| !member.is_learner()),
        "{members:?}"
    );
    client.hash_kv(0).await?;
    client.defragment().await?;
    let mut snapshot = client.snapshot().await?;
    while let Some(part) = snapshot.message().await? {
        ensure!(!part.blob().is_empty());
    }
    Ok(())
}

async fn users(mut client: Client) -> Result<()> {
    client.user_add("root", "secret", None).await?;
    client.user_grant_role("root", "root").await?;
    client.user_add("alice", "wonderland", None).await?;
    client.role_add("app").await?;
    let permission = Permission::read_write("rs/app/").with_prefix();
    client.role_grant_permission("app", permission).await?;
    client.user_grant_role("alice", "app").await?;
    client.auth_enable().await?;

    let mut root = connect("root", Some(("root", "secret"))).await?;
    let mut callers = vec![connect("alice", Some(("alice", "wonderland"))).await?];
    if certificates().is_some() {
        callers.push(connect("alice", None).await?);
    }
    for mut alice in callers {
        alice.put("rs/app/x", "y", None).await?;
        refused(alice.put("rs/other", "z", None).await, "permission denied")?;
        let all = GetOptions::new().with_prefix();
        refused(alice.get("rs/", Some(all)).await, "permission denied")?;
        refused(alice.user_list().await, "permission denied")?;
        let locked = alice.lock("rs/app/lock", None).await?;
        alice.unlock(locked.key()).await?;
        refused(alice.lock("rs/lock", None).await, "permission denied")?;
        // The rules change under an open connection, and it goes on.
        let more = Permission::read_write("rs/more");
        root.role_grant_permission("app", more).await?;
        put_after_change(&mut alice, "rs/more").await?;
        let no_more: Option<RoleRevokePermissionOptions> = None;
        root.role_revoke_permission("app", "rs/more", no_more)
            .await?;
        refused(
            put_after_change(&mut alice, "rs/more").await,
            "permission denied",
        )?;
    }
    let wrong = connect("root", Some(("alice", "guess"))).await;
    ensure!(wrong.is_err_and(|error| format!("{error:#}").contains("authentication failed")));
    root.auth_disable().await?;
    Ok(())
}

/// Puts under rules that have just changed. A member of etcd's that hears of the change late refuses
/// the call; Go's client tries again by itself.
async fn put_after_change(client: &mut Client, key: &str) -> Result<(), etcd_client::Error> {
    loop {
        match client.put(key, "v", None).await {
            Err(error) if error.to_string().contains("revision of auth store is old") => {}
            answer => return answer.map(drop),
        }
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, etcd_client::Error>, reason: &str) -> Result<()> {
    match answer {
        Err(error) if error.to_string().contains(reason) => Ok(()),
        other => bail!("not refused with {reason:?}: {other:?}"),
    }
}
