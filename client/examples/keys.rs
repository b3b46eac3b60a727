//! Keys and values: `cargo run -p cairn-client --example keys [ENDPOINT...]`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod endpoints;

use cairn_client::{Client, Error, Keys};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect(endpoints::given()).await?;
    client.put("fruit/apple", "green").await?;
    client.put("fruit/pear", "yellow").await?;
    let changed = client.put("fruit/apple", "red").previous().await?;
    println!(
        "revision {}: was {:?}",
        changed.header.revision, changed.previous
    );

    let apple = client.get("fruit/apple").await?;
    println!("apple: {:?}", apple.as_ref().and_then(|kv| kv.text()));
    if let Some(before) = changed.header.revision.previous() {
        let apple = client.get("fruit/apple").at(before).await?;
        println!(
            "apple, one revision before: {:?}",
            apple.as_ref().and_then(|kv| kv.text())
        );
    }
    for kv in client.range(Keys::prefix("fruit/")).await?.kvs {
        println!(
            "{:?} = {:?}, written {} times",
            kv.key, kv.value, kv.version
        );
    }
    let deleted = client.delete(Keys::prefix("fruit/")).await?;
    println!("deleted {}", deleted.deleted);
    Ok(())
}
