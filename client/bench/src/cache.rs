//! What a cache of a million keys costs: time to fill, bytes a key, reads in a second of one core's time.

use std::time::Instant;

use anyhow::{Context as _, Result};
use cairn_client::{Client, Keys, Put};

use crate::compare::Server;
use crate::work::cpu_seconds;

const KEYS: usize = 1_000_000;
const READS: usize = 20_000_000;
const BATCH: usize = 100;
const VALUE: [u8; 100] = [b'v'; 100];

fn key(at: usize) -> String {
    format!("cache/{at:08}")
}

pub async fn run(server: &[&str]) -> Result<()> {
    let server = Server::start(server)?;
    let client = Client::connect([&server.url]).await?;
    for first in (0..KEYS).step_by(BATCH * 8) {
        let batch = |first: usize| {
            let keys = (first..first + BATCH).map(|at| Put::new(key(at), &VALUE[..]).into());
            client.txn().then_all(keys.collect::<Vec<_>>())
        };
        let mut tasks = tokio::task::JoinSet::new();
        for at in 0..8 {
            tasks.spawn(std::future::IntoFuture::into_future(batch(
                first + at * BATCH,
            )));
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
    }
    let before = resident_bytes()?;
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let cache = client.cache(Keys::prefix("cache/")).await?;
    let (filled, cpu) = (begun.elapsed(), cpu_seconds() - cpu);
    let bytes = resident_bytes()?.saturating_sub(before);
    println!(
        "{} keys of {} bytes with values of {}: filled in {:.1} s ({:.1} s of processor time), {} bytes a key",
        cache.len(),
        key(0).len(),
        VALUE.len(),
        filled.as_secs_f64(),
        cpu,
        bytes / cache.len()
    );
    // A few thousand keys that come again and again, as programs ask, and all of them by chance.
    for (what, span) in [("of 1,000 keys", 1000), ("of all keys", KEYS)] {
        let names: Vec<String> = (0..span).map(key).collect();
        for (how, snapshot) in [("the cache", None), ("a snapshot", Some(cache.snapshot()))] {
            let cpu = cpu_seconds();
            let mut found = 0;
            let mut at = 0_usize;
            for _ in 0..READS {
                at = (at.wrapping_mul(6_364_136_223_846_793_005))
                    .wrapping_add(1_442_695_040_888_963_407);
                let name = names.get((at >> 33) % span).context("no such name")?;
                found += match &snapshot {
                    None => usize::from(cache.get(name).is_some()),
                    Some(snapshot) => usize::from(snapshot.get(name).is_some()),
                };
            }
            anyhow::ensure!(found == READS, "keys are missing");
            let rate = READS as f64 / (cpu_seconds() - cpu) / 1e6;
            println!("reads {what} from {how}: {rate:.1} M a processor second");
        }
    }
    Ok(())
}

fn resident_bytes() -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kib.parse::<usize>()? * 1024)
}
