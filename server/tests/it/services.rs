//! Every method of etcd's interface is there.

use std::collections::BTreeSet;
use std::time::Duration;

use tonic::{Code, Status};

use crate::auth_calls::Call;
use crate::harness::Server;

/// etcd's interface, as `proto` compares its own with it.
const SCHEMA: &str = include_str!("../../../proto/tests/it/fixtures/schema.txt");

/// Methods that are not there say so at once.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The paths of all methods that etcd serves to clients.
pub(crate) fn methods_of_etcd() -> BTreeSet<String> {
    let methods = SCHEMA.lines().filter_map(|line| {
        let name = line.strip_prefix("rpc ")?.split(' ').next()?;
        let (service, method) = name.rsplit_once('.')?;
        Some(format!("/{service}/{method}"))
    });
    methods.collect()
}

/// An empty message is a well-formed request of every method, if not a sensible one.
#[tokio::test]
async fn no_method_of_etcd_is_unimplemented() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let methods = methods_of_etcd();
    assert_eq!(methods.len(), 52);
    let mut missing = Vec::new();
    for path in &methods {
        let call = Call::new(path, &());
        // Who waits, as for a lock, is there.
        let answer = tokio::time::timeout(WAIT_MAX, call.by(&clients, None)).await;
        let is_missing = |status: Status| status.code() == Code::Unimplemented;
        if answer.is_ok_and(|answer| answer.is_err_and(is_missing)) {
            missing.push(path);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    for (path, text) in [
        (
            "/etcdserverpb.KV/Nothing",
            "unknown method Nothing for service etcdserverpb.KV",
        ),
        ("/nothing.Nothing/Range", "unknown service nothing.Nothing"),
    ] {
        let refused = Call::new(path, &()).by(&clients, None).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::Unimplemented, text)
        );
    }
}
