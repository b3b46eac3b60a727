//! Members that find each other at a discovery service, which is a server of ours.

use std::path::Path;
use std::thread;

use cairn_proto::etcdserverpb::MemberListRequest;
use cairn_testbed::ports::free_address;
use rcgen::ExtendedKeyUsagePurpose;

use crate::certificates::{Authority, Wanted, write};
use crate::cluster_harness::put;
use crate::harness::{Place, Server};

/// A member that looks for the others at `service`.
fn member(name: &str, token: &str, service: &str, more: &[String]) -> Place {
    let url = format!("http://{}", free_address().unwrap());
    let mut flags = vec![
        format!("--name={name}"),
        format!("--listen-peer-urls={url}"),
        format!("--initial-advertise-peer-urls={url}"),
        format!("--discovery-token={token}"),
        format!("--discovery-endpoints={service}"),
    ];
    flags.extend_from_slice(more);
    Place::new(&flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Two members that are to be a cluster of two find each other, and a third is turned away.
async fn assert_two_meet(token: &str, service: &str, more: &[String]) {
    let starting = ["a", "b"].map(|name| {
        let place = member(name, token, service, more);
        thread::spawn(move || place.start())
    });
    let started = starting.map(|thread| thread.join().unwrap());
    let mut clients = started[0].clients().await;
    let listed = clients.cluster.member_list(MemberListRequest::default());
    let listed = listed.await.unwrap().into_inner().members;
    let mut names: Vec<_> = listed.into_iter().map(|member| member.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b"]);
    let late = member("c", token, service, more).refusal();
    assert!(late.log.contains("cluster is full"), "{}", late.log);
}

fn size_key(token: &str) -> String {
    format!("/_etcd/registry/{token}/_config/size")
}

#[tokio::test]
async fn members_find_each_other_at_the_first_address_that_answers() {
    let service = Server::start(&[]);
    let mut clients = service.clients().await;
    let address = service.address();
    for (token, endpoints) in [
        ("one", address.to_string()),
        ("two", format!("http://127.0.0.1:1,http://{address}")),
    ] {
        put(&mut clients, &size_key(token), "2").await.unwrap();
        assert_two_meet(token, &endpoints, &[]).await;
    }
    let unknown = member("a", "nobody", &address.to_string(), &[]).refusal();
    assert!(
        unknown.log.contains("size key not found"),
        "{}",
        unknown.log
    );
}

#[tokio::test]
async fn members_find_each_other_at_a_service_that_wants_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    write(directory.path(), "ca.pem", &ours.pem);
    let issue = |name: &str, purpose| {
        let wanted = Wanted {
            common_name: name,
            hosts: &["127.0.0.1"],
            purposes: &[purpose],
            ..Wanted::default()
        };
        ours.issue(&wanted).write(directory.path(), name);
    };
    issue("server", ExtendedKeyUsagePurpose::ServerAuth);
    issue("client", ExtendedKeyUsagePurpose::ClientAuth);
    let in_directory = |path: &Path, flag: &str| flag.replace("{}", path.to_str().unwrap());
    let flags = |flags: &[&str]| -> Vec<String> {
        let flags = flags.iter();
        flags
            .map(|flag| in_directory(directory.path(), flag))
            .collect()
    };
    // Somebody has put the size there before it took to TLS.
    let service = Server::start(&[]);
    put(&mut service.clients().await, &size_key("t"), "2")
        .await
        .unwrap();
    let service = service.kill().start_with(&flags(&[
        "--listen-client-urls=https://127.0.0.1:0",
        "--advertise-client-urls=https://127.0.0.1:0",
        "--cert-file={}/server.pem",
        "--key-file={}/server.key",
        "--trusted-ca-file={}/ca.pem",
        "--client-cert-auth",
    ]));
    let certificates = flags(&[
        "--discovery-cacert={}/ca.pem",
        "--discovery-cert={}/client.pem",
        "--discovery-key={}/client.key",
    ]);
    let address = service.address().to_string();
    assert_two_meet("t", &address, &certificates).await;
}
