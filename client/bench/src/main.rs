//! What a client costs: processor time per put, get and event, of cairn-client, the crate etcd-client
//! and Go's clientv3, against the same server; and what a cache of many keys costs.
//!
//! `cargo run --release -- compare SERVER...` starts the server for each run anew, has each client do
//! the same in a process of its own, and counts that process's time (user and system). Rounds take the
//! clients in turn; the table shows medians. Events come from the server as another process writes, and
//! from one that tells every client the same (`feed`), so that the messages are the same, too.

mod cache;
mod cairn;
mod compare;
mod etcd;
mod feed;
mod work;

use anyhow::{Context as _, Result, bail};

use crate::work::Work;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match arguments.as_slice() {
            ["compare", server @ ..] if !server.is_empty() => compare::run(server).await,
            ["cairn", rest @ ..] => cairn::run(Work::parse(rest)?).await,
            ["etcd", rest @ ..] => etcd::run(Work::parse(rest)?).await,
            ["cache", server @ ..] if !server.is_empty() => cache::run(server).await,
            ["feed", address, a_message, count] => {
                let (a_message, count) = (a_message.parse(), count.parse());
                feed::run(address, a_message.context("a message")?, count.context("count")?).await
            }
            _ => {
                bail!("compare SERVER... | cache SERVER... | (cairn|etcd) put|get|watch URL COUNT | feed ADDRESS EVENTS-A-MESSAGE COUNT")
            }
        }
    })
}
