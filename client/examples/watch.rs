//! A watch, on all keys, until Ctrl-C: `cargo run -p cairn-client --example watch [ENDPOINT...]`
//!
//! Kill the servers as you like: it goes on where it was.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod endpoints;

use cairn_client::{Client, Error, Event, Keys, Update};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect(endpoints::given()).await?;
    let mut watch = client.watch(Keys::all()).previous().progress().await?;
    println!("every change after revision {}", watch.begun_after());
    while let Some(update) = watch.next().await {
        match update? {
            Update::Events { events, .. } => events.iter().for_each(show),
            Update::Progress(revision) => println!("nothing else up to revision {revision}"),
            Update::Compacted(revision) => println!("missed what was before {revision}"),
        }
    }
    Ok(())
}

fn show(event: &Event) {
    match event {
        Event::Put { kv, previous } => {
            let before = previous.as_ref().map(|kv| &kv.value);
            println!(
                "{}: {:?} = {:?}, was {before:?}",
                kv.mod_revision, kv.key, kv.value
            );
        }
        Event::Delete { key, revision, .. } => println!("{revision}: {key:?} is gone"),
    }
}
