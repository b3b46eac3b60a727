//! A cache with callbacks, until Ctrl-C: `cargo run -p cairn-client --example cache [ENDPOINT...]`
//!
//! It survives `kill -9` of every member in turn: what changed meanwhile is told, deletions too.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example shows what it does, in time"
)]

mod endpoints;

use std::time::Duration;

use cairn_client::{Change, Client, Error, Keys};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect(endpoints::given()).await?;
    let cache = client
        .cache(Keys::all())
        .confirm_every(Duration::from_secs(1))
        .await?;
    let _callback = cache.on_change(|change| match change {
        Change::Insert { new } => println!("+ {:?} = {:?}", new.kv().key, new.kv().value),
        Change::Update { old, new } => {
            println!(
                "~ {:?} = {:?}, was {:?}",
                new.kv().key,
                new.kv().value,
                old.kv().value
            );
        }
        Change::Delete { old, .. } => println!("- {:?}", old.kv().key),
    });
    let mut is_connected = true;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let health = cache.health();
        if health.is_connected != is_connected {
            is_connected = health.is_connected;
            println!(
                "connected: {is_connected}, up to revision {}",
                health.revision
            );
        }
    }
}
