//! v2 keys, against an etcd that has them: 3.4 or 3.5.

use cairn_client::{
    ConnectOptions, DeleteOptions, GetOptions, KeysApi, SetOptions, V2Response, WatcherOptions,
};
use tokio::time::timeout;

use crate::server::{PATIENCE, Program, Servers};

/// The keys of an etcd with v2, if one is installed.
async fn keys() -> Option<(Servers, KeysApi)> {
    let Some(program) = Program::etcds().find(Program::has_v2) else {
        eprintln!("skipped: no etcd 3.4 or 3.5 is on the path");
        return None;
    };
    let servers = Servers::start(&program, 1, &["--enable-v2"]).await;
    let options = ConnectOptions::new(servers.urls()).unwrap();
    Some((servers, KeysApi::new(options.request_timeout(PATIENCE))))
}

fn value(response: &V2Response) -> &str {
    response.node.value.as_deref().unwrap()
}

#[tokio::test]
async fn v2_keys_are_set_got_compared_and_deleted() {
    let Some((_servers, keys)) = keys().await else {
        return;
    };
    let set = keys
        .set("/dir/a b", "1 & 2", SetOptions::default())
        .await
        .unwrap();
    assert_eq!((set.action.as_str(), set.prev_node), ("set", None));
    let got = keys.get("/dir/a b", GetOptions::default()).await.unwrap();
    assert_eq!((value(&got), got.node.key.as_str()), ("1 & 2", "/dir/a b"));
    assert!(got.index >= got.node.modified_index);

    assert_eq!(
        keys.create("/dir/a b", "3").await.unwrap_err().etcd_code(),
        Some(105)
    );
    assert_eq!(
        keys.update("/dir/none", "3").await.unwrap_err().etcd_code(),
        Some(100)
    );
    assert_eq!(keys.update("/dir/a b", "3").await.unwrap().action, "update");
    let swap = |prev: &str| SetOptions {
        prev_value: Some(prev.to_owned()),
        ..SetOptions::default()
    };
    assert_eq!(
        keys.set("/dir/a b", "4", swap("1"))
            .await
            .unwrap_err()
            .etcd_code(),
        Some(101)
    );
    let swapped = keys.set("/dir/a b", "4", swap("3")).await.unwrap();
    assert_eq!(swapped.action, "compareAndSwap");
    assert_eq!(swapped.prev_node.unwrap().value.as_deref(), Some("3"));

    let first = keys.create_in_order("/queue", "first", None).await.unwrap();
    let second = keys
        .create_in_order("/queue", "second", None)
        .await
        .unwrap();
    assert!(first.node.key < second.node.key);
    let sorted = GetOptions {
        sorted: true,
        recursive: true,
        ..GetOptions::default()
    };
    let listed = keys.get("/queue", sorted).await.unwrap();
    assert!(listed.node.dir);
    let listed: Vec<_> = listed
        .node
        .nodes
        .iter()
        .map(|node| node.value.clone().unwrap())
        .collect();
    assert_eq!(listed, ["first", "second"]);

    let whole = DeleteOptions {
        recursive: true,
        ..DeleteOptions::default()
    };
    assert_eq!(keys.delete("/queue", whole).await.unwrap().action, "delete");
    let gone = keys.get("/queue", GetOptions::default()).await.unwrap_err();
    assert_eq!(gone.etcd_code(), Some(100));
}

#[tokio::test]
async fn a_v2_watcher_tells_every_change_once() {
    let Some((_servers, keys)) = keys().await else {
        return;
    };
    let start = keys
        .set("/w/a", "0", SetOptions::default())
        .await
        .unwrap()
        .node
        .modified_index;
    for at in 1..5 {
        keys.set("/w/a", &at.to_string(), SetOptions::default())
            .await
            .unwrap();
    }
    let options = WatcherOptions {
        after_index: Some(start),
        recursive: true,
    };
    let mut watcher = keys.watcher("/w", options);
    let writer = {
        let keys = keys.clone();
        tokio::spawn(async move {
            for at in 5..10 {
                keys.set("/w/a", &at.to_string(), SetOptions::default())
                    .await
                    .unwrap();
            }
        })
    };
    for at in 1..10 {
        let change = timeout(PATIENCE, watcher.next()).await.unwrap().unwrap();
        assert_eq!(value(&change), at.to_string());
    }
    writer.await.unwrap();
}
