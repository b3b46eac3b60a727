//! The members of a cluster: `cargo run -p cairn-client --example members [ENDPOINT...]`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod endpoints;

use cairn_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect(endpoints::given()).await?;
    let urls = client.sync_endpoints().await?;
    for url in urls {
        match client.only(&url)?.maintenance().status().await {
            Ok(status) => println!(
                "{url}: {}, {} of {} bytes in use, raft index {}",
                status.version, status.db_size_in_use, status.db_size, status.raft_index
            ),
            Err(error) => println!("{url}: {error}"),
        }
    }
    for alarm in client.maintenance().alarms().await? {
        println!("alarm: {:?} at {:x}", alarm.alarm(), alarm.member_id);
    }
    Ok(())
}
