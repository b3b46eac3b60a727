//! `cairn gateway`: connections that reach a member as long as there is one.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_testbed::ports::free_address;
use tonic::transport::Endpoint;

use crate::cluster_harness::{Cluster, get, put};
use crate::harness::{binary, until};
use crate::requests::range;

/// A gateway's process.
struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Gateway {
    fn start(endpoints: &str) -> Self {
        let address = free_address().unwrap();
        let child = Command::new(binary())
            .args(["gateway", "start", "--retry-delay=100ms"])
            .arg(format!("--listen-addr={address}"))
            .arg(format!("--endpoints={endpoints}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address }
    }

    /// Reads a key on a connection of its own.
    async fn reads(&self) -> bool {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let Ok(channel) = endpoint.connect().await else {
            return false;
        };
        KvClient::new(channel).range(range("k", "")).await.is_ok()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_gateway_goes_around_a_member_that_is_killed_and_finds_it_again() {
    let mut cluster = Cluster::start(3, &[]);
    let addresses: Vec<_> = (0..3).map(|it| cluster.member(it).address()).collect();
    let mut clients = cluster.clients(0).await;
    put(&mut clients, "k", "v").await.unwrap();
    let endpoints: Vec<_> = addresses.iter().map(|it| format!("http://{it}")).collect();
    let gateway = Gateway::start(&endpoints.join(","));
    until("the gateway", async || gateway.reads().await).await;

    let leader = cluster.leader(&[0, 1, 2]).await;
    cluster.kill(leader);
    let left: Vec<_> = (0..3).filter(|number| *number != leader).collect();
    cluster.leader(&left).await;
    // Each connection goes to a member that is there, whosever turn it is.
    for _ in 0..6 {
        assert!(gateway.reads().await);
    }
    let value = get(&mut cluster.clients(left[0]).await, "k").await.unwrap();
    assert_eq!(value.as_deref(), Some("v"));

    let alone = Gateway::start(&addresses[leader].to_string());
    until("the other gateway", async || {
        tokio::net::TcpStream::connect(alone.address).await.is_ok()
    })
    .await;
    assert!(!alone.reads().await);
}

#[test]
fn a_gateway_does_not_pass_on_to_itself() {
    let address = free_address().unwrap();
    let ended = Command::new(binary())
        .args(["gateway", "start"])
        .arg(format!("--listen-addr={address}"))
        .arg(format!("--endpoints={address}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("should not resolve to the gateway listen addr"),
        "{said}"
    );
}
