//! Telling errors apart: `cargo run -p cairn-client --example errors [ENDPOINT...]`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod endpoints;

use cairn_client::{Client, Error, EtcdError, Revision};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect(endpoints::given()).await?;
    let far = Revision::new(i64::MAX).unwrap_or(Revision::FIRST);
    match client.get("key").at(far).await {
        Err(error) if error.etcd() == Some(EtcdError::FutureRevision) => {
            println!("not yet: {error}");
        }
        other => println!("{other:?}"),
    }
    match client.put("counter", "1").await {
        Ok(written) => println!("written at {}", written.header.revision),
        // It may have been applied: read before it is written again.
        Err(error) if error.is_ambiguous() => println!("{:?}", client.get("counter").await?),
        Err(error) => return Err(error),
    }
    Ok(())
}
