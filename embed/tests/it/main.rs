//! Members within this process.

use cairn_client::Keys;
use cairn_embed::Embedded;

#[tokio::test]
async fn members_are_many_and_strangers_to_each_other() {
    let first = Embedded::start().await.unwrap();
    let second = Embedded::start().await.unwrap();
    let client = first.client().await.unwrap();
    let cache = client.cache(Keys::all()).await.unwrap();
    let put = client.put("a", "1").await.unwrap();
    let snapshot = cache.wait_for(put.header.revision).await.unwrap();
    assert_eq!(snapshot.len(), 1);
    let other = second.client().await.unwrap();
    assert!(other.get("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_member_that_is_dropped_is_gone_and_another_takes_its_place() {
    let member = Embedded::start().await.unwrap();
    let endpoint = member.endpoint();
    drop(member);
    let options = cairn_client::ConnectOptions::new([&endpoint]).unwrap();
    let options = options.request_timeout(std::time::Duration::from_millis(300));
    assert!(options.connect().await.is_err());
    Embedded::start().await.unwrap();
}

#[tokio::test]
async fn flags_that_cannot_be_are_told() {
    let error = Embedded::start_with(["--bogus"]).await.unwrap_err();
    assert!(error.to_string().contains("bogus"), "{error}");
}
