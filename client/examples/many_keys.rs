//! Reading many keys in bounded memory: `cargo run -p cairn-client --example many_keys [ENDPOINT...]`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod endpoints;

use cairn_client::{Client, Error, Keys, Put};
use tokio_stream::StreamExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect(endpoints::given()).await?;
    for batch in 0..100 {
        let puts = (0..100).map(|at| Put::new(format!("many/{batch:03}{at:02}"), "x").into());
        client.txn().then_all(puts).await?;
    }
    // All at one revision, whatever is written meanwhile, by RangeStream or in pages.
    let mut keys = client.range(Keys::prefix("many/")).stream();
    let mut count = 0;
    while let Some(kv) = keys.next().await {
        kv?;
        count += 1;
    }
    println!("{count} keys");
    let mut pages = client.range(Keys::prefix("many/")).keys_only().pages(3000);
    while let Some(page) = pages.next().await {
        let page = page?;
        println!(
            "a page of {} keys at revision {}",
            page.kvs.len(),
            page.header.revision
        );
    }
    client.delete(Keys::prefix("many/")).await?;
    Ok(())
}
