//! Transactions: `cargo run -p cairn-client --example compare_and_swap [ENDPOINT...]`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod endpoints;

use cairn_client::{Client, Compare, Error, Get, Isolation, Put};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect(endpoints::given()).await?;
    let created = client
        .txn()
        .when(Compare::missing("account/a"))
        .then(Put::new("account/a", "100"))
        .then(Put::new("account/b", "0"))
        .otherwise(Get::new("account/a"))
        .await?;
    println!("created: {}", created.succeeded);

    // The same without comparing by hand: run again until it was alone.
    let moved = client
        .stm(Isolation::SerializableSnapshot, async |txn| {
            let from = number(txn.get("account/a").await?);
            let to = number(txn.get("account/b").await?);
            let amount = from.min(10);
            txn.put("account/a", (from - amount).to_string());
            txn.put("account/b", (to + amount).to_string());
            Ok(amount)
        })
        .await?;
    println!("moved {moved}");
    Ok(())
}

fn number(value: Option<impl AsRef<[u8]>>) -> u64 {
    let text = value.and_then(|it| String::from_utf8(it.as_ref().to_vec()).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
