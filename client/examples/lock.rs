//! A lock that Go's clientv3 shares: `cargo run -p cairn-client --example lock NAME [ENDPOINT...]`
//!
//! `etcdctl lock NAME` waits for it, and this for that.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example shows what it does, in time"
)]

use std::time::Duration;

use cairn_client::{Client, Error, Put};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "example".to_owned());
    let mut endpoints: Vec<String> = arguments.collect();
    if endpoints.is_empty() {
        endpoints.push("http://127.0.0.1:2379".to_owned());
    }
    let client = Client::connect(endpoints).await?;
    let session = client.session(Duration::from_secs(10)).await?;
    let lock = session.lock(&name).await?;
    println!("{} holds {name:?}", String::from_utf8_lossy(lock.key()));

    // Dropped on the way if the session is over, so that it does not act without the lock.
    lock.run(tokio::time::sleep(Duration::from_secs(2))).await?;
    // And what must not happen without it says so itself.
    let written = client
        .txn()
        .when(lock.is_held())
        .then(Put::new("last-holder", lock.key()));
    println!("still held: {}", written.await?.succeeded);
    lock.unlock().await
}
