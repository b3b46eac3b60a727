//! The work with the crate etcd-client.

use anyhow::{Context as _, Result};
use etcd_client::{Client, WatchOptions};

use crate::work::{Kind, Meter, TASKS, VALUE, Work, key, ready};

pub async fn run(work: Work) -> Result<()> {
    let client = Client::connect([&work.endpoint], None).await?;
    match work.kind {
        Kind::Put | Kind::Get => calls(client, &work).await,
        Kind::Watch => tokio::spawn(watch(client, work.count)).await?,
    }
}

async fn calls(client: Client, work: &Work) -> Result<()> {
    let (kind, each) = (work.kind, work.count / TASKS);
    let meter = Meter::begin();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let mut client = client.kv_client();
        tasks.spawn(async move {
            for at in 0..each {
                let key = key(task * each + at);
                match kind {
                    Kind::Put => drop(client.put(key, &VALUE[..], None).await?),
                    _ => {
                        let answer = client.get(key, None).await?;
                        answer.kvs().first().context("no such key")?;
                    }
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

async fn watch(mut client: Client, count: usize) -> Result<()> {
    let options = WatchOptions::new().with_prefix();
    let mut stream = client.watch("bench/", Some(options)).await?;
    ready();
    let mut seen = 0;
    let mut meter = None;
    while seen < count {
        let answer = stream.message().await?.context("the watch ended")?;
        if !answer.events().is_empty() {
            meter.get_or_insert_with(Meter::begin);
        }
        seen += answer.events().len();
    }
    meter.context("nothing came")?.end(count);
    Ok(())
}
