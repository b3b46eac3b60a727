//! An election; start it several times: `cargo run -p cairn-client --example election NAME [ENDPOINT...]`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example shows what it does, in time"
)]

use std::time::Duration;

use cairn_client::{Client, Error};
use tokio_stream::StreamExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "somebody".to_owned());
    let mut endpoints: Vec<String> = arguments.collect();
    if endpoints.is_empty() {
        endpoints.push("http://127.0.0.1:2379".to_owned());
    }
    let client = Client::connect(endpoints).await?;
    let mut leaders = client.election("example").observe();
    tokio::spawn(async move {
        while let Some(Ok(leader)) = leaders.next().await {
            println!("the leader is {:?}", leader.text());
        }
    });
    let session = client.session(Duration::from_secs(5)).await?;
    let leadership = session.campaign("example", &name).await?;
    println!(
        "{name} leads, with fencing token {}",
        leadership.fencing_token()
    );
    leadership
        .run(tokio::time::sleep(Duration::from_secs(2)))
        .await?;
    leadership.resign().await
}
