//! A key that lives as long as this program, until Ctrl-C:
//! `cargo run -p cairn-client --example lease [ENDPOINT...]`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod endpoints;

use std::time::Duration;

use cairn_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect(endpoints::given()).await?;
    let lease = client.leases().keep(Duration::from_secs(10)).await?;
    client
        .put("services/example", "here")
        .lease(lease.id())
        .await?;
    println!("lease {}: the key goes with this program", lease.id());
    tokio::select! {
        () = lease.lost() => println!("the lease was lost: no member could be reached in time"),
        _ = tokio::signal::ctrl_c() => {
            lease.revoke().await?;
            println!("revoked");
        }
    }
    Ok(())
}
