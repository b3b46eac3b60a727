//! The work with cairn-client.

use anyhow::{Context as _, Result};
use cairn_client::{Client, Keys, Update};

use crate::work::{Kind, Meter, TASKS, VALUE, Work, key, ready};

pub async fn run(work: Work) -> Result<()> {
    let client = Client::connect([&work.endpoint]).await?;
    match work.kind {
        Kind::Put | Kind::Get => calls(client, &work).await,
        // A task like those that call: what `block_on` runs costs a look at the sockets each time.
        Kind::Watch => tokio::spawn(watch(client, work.count)).await?,
    }
}

async fn calls(client: Client, work: &Work) -> Result<()> {
    let (kind, each) = (work.kind, work.count / TASKS);
    let meter = Meter::begin();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let client = client.clone();
        tasks.spawn(async move {
            for at in 0..each {
                let key = key(task * each + at);
                match kind {
                    Kind::Put => drop(client.put(key, &VALUE[..]).await?),
                    _ => drop(client.get(key).await?.context("no such key")?),
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    meter.end(TASKS * each);
    Ok(())
}

async fn watch(client: Client, count: usize) -> Result<()> {
    let mut watch = client.watch(Keys::prefix("bench/")).await?;
    ready();
    let mut seen = 0;
    let mut meter = None;
    while seen < count {
        let update = watch.next().await.context("the watch ended")??;
        meter.get_or_insert_with(Meter::begin);
        if let Update::Events { events, .. } = update {
            seen += events.len();
        }
    }
    meter.context("nothing came")?.end(count);
    Ok(())
}
