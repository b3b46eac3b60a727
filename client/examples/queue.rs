//! A queue between programs: `cargo run -p cairn-client --example queue [ENDPOINT...]`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod endpoints;

use cairn_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect(endpoints::given()).await?;
    let jobs = client.queue("jobs");
    for job in ["first", "second", "third"] {
        jobs.enqueue(job).await?;
    }
    for _ in 0..3 {
        println!("{:?}", jobs.dequeue().await?);
    }
    let urgent = client.priority_queue("urgent");
    urgent.enqueue("can wait", 9).await?;
    urgent.enqueue("at once", 1).await?;
    for _ in 0..2 {
        println!("{:?}", urgent.dequeue().await?);
    }
    Ok(())
}
