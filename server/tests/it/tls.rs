//! TLS towards clients: who is let in, in which versions, and what happens when files are replaced.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use cairn_proto::etcdserverpb::MemberListRequest;
use cairn_proto::etcdserverpb::cluster_client::ClusterClient;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_testbed::ports::free_address;
use hyper_util::rt::TokioIo;
use rcgen::ExtendedKeyUsagePurpose;
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::auth_calls::{Admin, with_token};
use crate::certificates::{Authority, Issued, Wanted, write};
use crate::cluster_harness::{self, Cluster};
use crate::harness::{PATIENCE, Place, Server, binary, until};
use crate::requests::{put, range, refused};

pub(crate) const BOTH: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS12, &rustls::version::TLS13];

/// Files of a server at 127.0.0.1, and the authority that it trusts.
pub(crate) struct Files {
    directory: TempDir,
    pub(crate) authority: Authority,
}

impl Files {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("ours");
        server_certificate(&authority).write(directory.path(), "server");
        write(directory.path(), "ca.pem", &authority.pem);
        Self {
            directory,
            authority,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Flags of a server with these files; `{}` in `more` is their directory.
    fn flags(&self, more: &[&str]) -> Vec<String> {
        let own = [
            "--cert-file={}/server.pem",
            "--key-file={}/server.key",
            "--listen-client-urls=https://127.0.0.1:0",
            "--advertise-client-urls=https://127.0.0.1:0",
        ];
        let directory = self.path().to_str().unwrap();
        let flags = own.iter().chain(more);
        flags.map(|flag| flag.replace("{}", directory)).collect()
    }

    fn place(&self, more: &[&str]) -> Place {
        let flags = self.flags(more);
        Place::new(&flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn start(&self, more: &[&str]) -> Server {
        self.place(more).start()
    }

    fn client(&self) -> Arc<ClientConfig> {
        client(&self.authority.pem, None, BOTH)
    }

    pub(crate) fn client_with(&self, own: &Issued) -> Arc<ClientConfig> {
        client(&self.authority.pem, Some(own), BOTH)
    }

    /// A user's certificate.
    pub(crate) fn user(&self, common_name: &str) -> Issued {
        self.authority.issue(&Wanted {
            common_name,
            ..Wanted::default()
        })
    }
}

fn server_certificate(authority: &Authority) -> Issued {
    authority.issue(&Wanted {
        hosts: &["127.0.0.1", "localhost"],
        purposes: &[ExtendedKeyUsagePurpose::ServerAuth],
        ..Wanted::default()
    })
}

fn client_certificate(authority: &Authority, serial: u64) -> Issued {
    authority.issue(&Wanted {
        common_name: "client",
        hosts: &["client.example"],
        serial,
        purposes: &[ExtendedKeyUsagePurpose::ClientAuth],
        ..Wanted::default()
    })
}

pub(crate) fn client(
    trusted: &str,
    own: Option<&Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::pem_slice_iter(own.certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(chain.collect::<Result<_, _>>().unwrap(), key)
                .unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

pub(crate) async fn secure(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    TlsConnector::from(config).connect(name, stream).await
}

pub(crate) async fn channel(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<Channel> {
    let config = Arc::clone(config);
    let connect = tower::service_fn(move |_: http::Uri| {
        let config = Arc::clone(&config);
        async move { secure(address, config).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://member");
    endpoint.connect_with_connector(connect).await.ok()
}

/// Whether a client's calls are answered. A client that is refused finds out when it reads.
async fn is_served(address: SocketAddr, config: &Arc<ClientConfig>) -> bool {
    match channel(address, config).await {
        Some(channel) => KvClient::new(channel).range(range("a", "")).await.is_ok(),
        None => false,
    }
}

/// What `GET /version` is answered with; empty if the connection ends before.
async fn version_page(stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    ask(stream, "GET /version", "", "").await
}

/// What a request with further headers is answered with; empty if the connection ends before.
pub(crate) async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    what: &str,
    headers: &str,
    body: &str,
) -> String {
    let length = body.len();
    let request = format!(
        "{what} HTTP/1.1\r\nHost: member\r\nConnection: close\r\nContent-Length: {length}\r\n\
         {headers}\r\n{body}"
    );
    let mut answer = Vec::new();
    if stream.write_all(request.as_bytes()).await.is_ok() {
        // A connection may end without TLS's own end.
        let _ = stream.read_to_end(&mut answer).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn clients_are_let_in_by_their_certificates_alone() {
    let files = Files::new();
    let ours = &files.authority;
    // etcd takes a list in DER alone.
    write(files.path(), "crl", ours.revoke_in_der(&[13]));
    let server = files.start(&[
        "--trusted-ca-file={}/ca.pem",
        "--client-crl-file={}/crl",
        "--client-cert-allowed-hostname=client.example,other.example",
    ]);
    let wanted = Wanted {
        hosts: &["client.example"],
        ..Wanted::default()
    };
    let issue = |wanted: &Wanted<'_>| Some(ours.issue(wanted));
    let stranger = client_certificate(&Authority::new("theirs"), 1);
    for (what, own, served) in [
        ("a good one", Some(client_certificate(ours, 1)), true),
        ("none", None, false),
        ("another authority's", Some(stranger), false),
        ("a revoked one", Some(client_certificate(ours, 13)), false),
        (
            "another host's",
            issue(&Wanted {
                hosts: &["stranger.example"],
                ..wanted.clone()
            }),
            false,
        ),
        (
            "an expired one",
            issue(&Wanted {
                year_of_end: 2002,
                ..wanted.clone()
            }),
            false,
        ),
        (
            "a server's",
            issue(&Wanted {
                purposes: &[ExtendedKeyUsagePurpose::ServerAuth],
                ..wanted.clone()
            }),
            false,
        ),
    ] {
        let config = client(&ours.pem, own.as_ref(), BOTH);
        assert_eq!(is_served(server.address(), &config).await, served, "{what}");
    }
    let lines = [
        "rejected connection on client endpoint",
        "\"remote-addr\":\"127.0.0.1:",
        "client certificate authentication failed",
    ];
    until("the rejections", async || {
        let log = server.log();
        lines.iter().all(|line| log.contains(line))
    })
    .await;
}

#[tokio::test]
async fn a_server_without_an_authority_lets_everyone_in_and_is_known_by_its_certificate() {
    let files = Files::new();
    let server = files.start(&[]);
    assert!(is_served(server.address(), &files.client()).await);
    let stranger = client(&Authority::new("theirs").pem, None, BOTH);
    assert!(!is_served(server.address(), &stranger).await);
    let plain = TcpStream::connect(server.address()).await.unwrap();
    let page = version_page(plain).await;
    assert!(!page.contains("HTTP"), "{page}");
}

#[tokio::test]
async fn versions_and_suites_are_those_that_the_flags_leave() {
    let files = Files::new();
    let (old, new) = (&rustls::version::TLS12, &rustls::version::TLS13);
    let aes_256 = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    let flag = "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let rsa = "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    for (flags, serves_old, serves_new, suite) in [
        (&[][..], true, true, None),
        (&["--tls-max-version=TLS1.2"], true, false, None),
        (&["--tls-min-version=TLS1.3"], false, true, None),
        (&[flag], true, true, Some(aes_256)),
        // The certificate's key is none of RSA's.
        (&[rsa], false, true, None),
    ] {
        let server = files.start(flags);
        for (version, served) in [(old, serves_old), (new, serves_new)] {
            let config = client(&files.authority.pem, None, &[version]);
            let is_served = is_served(server.address(), &config).await;
            assert_eq!(is_served, served, "{version:?} with {flags:?}");
        }
        if let Some(suite) = suite {
            let config = client(&files.authority.pem, None, &[old]);
            let stream = secure(server.address(), config).await.unwrap();
            let spoken = stream.get_ref().1.negotiated_cipher_suite().unwrap();
            assert_eq!(spoken.suite(), suite);
        }
    }
}

#[tokio::test]
async fn one_port_speaks_tls_and_plain_text_and_every_http_in_both() {
    let files = Files::new();
    let urls = "http://127.0.0.1:0,https://127.0.0.1:0";
    let server = files.start(&[
        &format!("--listen-client-urls={urls}"),
        "--host-whitelist=elsewhere",
    ]);
    let ready = server
        .log()
        .matches("ready to serve client requests")
        .count();
    assert_eq!(ready, 1, "one line for one listener");
    server
        .clients()
        .await
        .kv
        .put(put("a", "plain"))
        .await
        .unwrap();
    assert!(is_served(server.address(), &files.client()).await);
    // The names under which the server may be called are plain text's alone.
    let plain = TcpStream::connect(server.address()).await.unwrap();
    assert!(version_page(plain).await.starts_with("HTTP/1.1 421"));
    for protocols in [&[][..], &["http/1.1"], &["http/1.1", "h2"]] {
        let mut config = Arc::unwrap_or_clone(files.client());
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        let stream = secure(server.address(), Arc::new(config)).await.unwrap();
        let negotiated = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        if negotiated.as_deref() != Some(b"h2") {
            let page = version_page(stream).await;
            assert!(page.contains("\"etcdserver\":"), "{protocols:?}: {page}");
        }
    }
    let mut config = Arc::unwrap_or_clone(files.client());
    config.alpn_protocols = Vec::new();
    assert!(
        is_served(server.address(), &Arc::new(config)).await,
        "without ALPN"
    );
}

#[tokio::test]
async fn revoked_clients_are_refused_by_every_listener() {
    let files = Files::new();
    write(files.path(), "crl.pem", files.authority.revoke(&[13]));
    let server = files.start(&[
        "--trusted-ca-file={}/ca.pem",
        "--client-crl-file={}/crl.pem",
        "--listen-client-http-urls=https://127.0.0.3:0",
        "--listen-metrics-urls=https://127.0.0.2:0",
    ]);
    let good = files.client_with(&client_certificate(&files.authority, 1));
    let revoked = files.client_with(&client_certificate(&files.authority, 13));
    assert!(is_served(server.address(), &good).await);
    assert!(!is_served(server.address(), &revoked).await);
    let log = server.log();
    let pages = log
        .lines()
        .filter(|line| line.contains("serving HTTP pages"));
    let pages: Vec<SocketAddr> = pages
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["address"].as_str().unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(pages.len(), 2, "{log}");
    for address in pages {
        for (config, answers) in [(&good, true), (&revoked, false)] {
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = Vec::new();
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await;
            let answer = match stream {
                Ok(stream) => version_page(stream).await,
                Err(_) => String::new(),
            };
            assert_eq!(
                answer.starts_with("HTTP/1.1 "),
                answers,
                "{address}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn files_are_replaced_while_connections_go_on() {
    let files = Files::new();
    let (old, new) = (&files.authority, Authority::new("new"));
    let server = files.start(&["--trusted-ca-file={}/ca.pem"]);
    let both = [old.pem.clone(), new.pem.clone()].concat();
    let before = client(&both, Some(&client_certificate(old, 1)), BOTH);
    let after = client(&both, Some(&client_certificate(&new, 1)), BOTH);
    let address = server.address();
    let served = async |config| is_served(address, config).await;
    let mut open = KvClient::new(channel(address, &before).await.unwrap());
    assert!(served(&before).await && !served(&after).await);

    write(files.path(), "ca.pem", &both);
    assert!(served(&before).await && served(&after).await);

    server_certificate(&new).write(files.path(), "server");
    let distrusts_new = files.client_with(&client_certificate(old, 1));
    assert!(served(&before).await && !served(&distrusts_new).await);

    write(files.path(), "ca.pem", &new.pem);
    assert!(!served(&before).await && served(&after).await);
    open.put(put("a", "b")).await.unwrap();

    write(files.path(), "server.key", "no key");
    assert!(served(&after).await, "what was loaded stays");
    open.put(put("a", "c")).await.unwrap();
    until("what the log says of it", async || {
        let log = server.log();
        log.contains("changed TLS files cannot be used")
            && log.matches("loaded changed TLS files").count() == 3
    })
    .await;
}

#[tokio::test]
async fn a_new_revocation_list_counts_from_the_next_connection_on() {
    let files = Files::new();
    let ours = &files.authority;
    write(files.path(), "crl.pem", ours.revoke(&[13]));
    let server = files.start(&[
        "--trusted-ca-file={}/ca.pem",
        "--client-crl-file={}/crl.pem",
    ]);
    let [thirteen, fourteen] =
        [13, 14].map(|serial| files.client_with(&client_certificate(ours, serial)));
    let address = server.address();
    let mut open = KvClient::new(channel(address, &fourteen).await.unwrap());
    let served = async || {
        let one = is_served(address, &thirteen).await;
        (one, is_served(address, &fourteen).await)
    };
    assert_eq!(served().await, (false, true));
    // In the other form, which etcd takes alone.
    write(files.path(), "crl.pem", ours.revoke_in_der(&[14]));
    assert_eq!(served().await, (true, false));
    open.put(put("a", "b")).await.unwrap();
    write(files.path(), "crl.pem", ours.revoke(&[13, 14]));
    assert_eq!(served().await, (false, false));
    write(files.path(), "crl.pem", "no list");
    assert_eq!(served().await, (false, false), "what was loaded stays");
    write(files.path(), "crl.pem", ours.revoke(&[]));
    assert_eq!(served().await, (true, true));
}

#[tokio::test]
async fn a_new_revocation_list_of_members_counts_from_the_next_connection_on() {
    let files = Files::new();
    let ours = &files.authority;
    let issue = |serial| {
        ours.issue(&Wanted {
            hosts: &["127.0.0.1"],
            serial,
            ..Wanted::default()
        })
    };
    issue(1).write(files.path(), "member");
    write(files.path(), "crl.pem", ours.revoke(&[]));
    let flags = [
        "--peer-cert-file={}/member.pem",
        "--peer-key-file={}/member.key",
        "--peer-trusted-ca-file={}/ca.pem",
        "--peer-client-cert-auth",
        "--peer-crl-file={}/crl.pem",
    ];
    let flags = flags.map(|flag| flag.replace("{}", files.path().to_str().unwrap()));
    let cluster = Cluster::start_over("https", 1, &flags.each_ref().map(String::as_str));
    let url = cluster.peer_url(0);
    let peer: SocketAddr = url.strip_prefix("https://").unwrap().parse().unwrap();
    let mut config = Arc::unwrap_or_clone(client(&ours.pem, Some(&issue(13)), BOTH));
    config.alpn_protocols = Vec::new();
    let config = Arc::new(config);
    let is_served = async || match secure(peer, Arc::clone(&config)).await {
        Ok(stream) => version_page(stream).await.starts_with("HTTP/1.1 200"),
        Err(_) => false,
    };
    assert!(is_served().await);
    write(files.path(), "crl.pem", ours.revoke(&[13]));
    assert!(!is_served().await);
    write(files.path(), "crl.pem", ours.revoke(&[14]));
    assert!(is_served().await);
}

#[tokio::test]
async fn a_hangup_ends_nothing() {
    let files = Files::new();
    let server = files.start(&[]);
    server.signal(Signal::HUP);
    until("the signal", || async {
        server.log().contains("received SIGHUP")
    })
    .await;
    assert!(is_served(server.address(), &files.client()).await);
}

#[tokio::test]
async fn sessions_are_resumed_until_their_certificate_is_revoked() {
    let files = Files::new();
    write(files.path(), "crl.pem", files.authority.revoke(&[]));
    let server = files.start(&[
        "--trusted-ca-file={}/ca.pem",
        "--client-crl-file={}/crl.pem",
    ]);
    for version in BOTH {
        let own = client_certificate(&files.authority, 5);
        let mut config = Arc::unwrap_or_clone(client(&files.authority.pem, Some(&own), &[version]));
        config.alpn_protocols = Vec::new();
        let config = Arc::new(config);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = secure(server.address(), Arc::clone(&config)).await.unwrap();
            let page = version_page(&mut stream).await;
            assert!(page.contains("200 OK"), "{page}");
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
        write(files.path(), "crl.pem", files.authority.revoke(&[5]));
        let page = match secure(server.address(), config).await {
            Ok(stream) => version_page(stream).await,
            Err(_) => String::new(),
        };
        assert_eq!(page, "");
        write(files.path(), "crl.pem", files.authority.revoke(&[]));
    }
}

#[tokio::test]
async fn a_certificate_is_made_when_asked_for_and_kept() {
    let place = Place::new(&[
        "--auto-tls",
        "--listen-client-urls=https://127.0.0.1:0",
        "--advertise-client-urls=https://127.0.0.1:0",
    ]);
    let server = place.start();
    let path = server.data_dir().join("fixtures/client/cert.pem");
    let certificate = std::fs::read_to_string(&path).unwrap();
    let config = client(&certificate, None, BOTH);
    assert!(is_served(server.address(), &config).await);
    let server = server.kill().start();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), certificate);
    assert!(is_served(server.address(), &config).await);
}

#[tokio::test]
async fn members_go_on_while_their_authority_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let certify = |authority: &Authority| {
        let wanted = Wanted {
            hosts: &["127.0.0.1"],
            ..Wanted::default()
        };
        authority.issue(&wanted).write(directory.path(), "member");
    };
    certify(&old);
    write(directory.path(), "ca.pem", &old.pem);
    let flags = [
        "--peer-cert-file={}/member.pem",
        "--peer-key-file={}/member.key",
        "--peer-trusted-ca-file={}/ca.pem",
        "--peer-client-cert-auth",
    ];
    let flags = flags.map(|flag| flag.replace("{}", directory.path().to_str().unwrap()));
    let mut cluster = Cluster::start_over("https", 3, &flags.each_ref().map(String::as_str));
    let go_on = async |cluster: &mut Cluster, victim: usize, value: &str| {
        // A member that comes back makes and takes all its connections anew.
        cluster.kill(victim);
        cluster.start_one(victim);
        let everyone = cluster.running();
        cluster.leader(&everyone).await;
        for number in &everyone {
            let mut clients = cluster.clients(*number).await;
            until("a put", async || {
                cluster_harness::put(&mut clients, "key", value)
                    .await
                    .is_ok()
            })
            .await;
            let read = cluster_harness::get(&mut clients, "key").await.unwrap();
            assert_eq!(read.as_deref(), Some(value));
        }
        cluster.settle().await;
    };
    go_on(&mut cluster, 0, "old").await;
    write(
        directory.path(),
        "ca.pem",
        [old.pem.clone(), new.pem.clone()].concat(),
    );
    go_on(&mut cluster, 1, "both").await;
    certify(&new);
    go_on(&mut cluster, 2, "certified anew").await;
    write(directory.path(), "ca.pem", &new.pem);
    go_on(&mut cluster, 0, "new").await;
    // A caller without a certificate, and one of the old authority, are nobody's member.
    let url = cluster.peer_url(1);
    let peer: SocketAddr = url.strip_prefix("https://").unwrap().parse().unwrap();
    let former = client_certificate(&old, 1);
    for own in [None, Some(&former)] {
        let mut config = Arc::unwrap_or_clone(client(&new.pem, own, BOTH));
        config.alpn_protocols = Vec::new();
        let page = match secure(peer, Arc::new(config)).await {
            Ok(stream) => version_page(stream).await,
            Err(_) => String::new(),
        };
        assert_eq!(page, "");
    }
    until("the rejections", async || {
        let log = cluster.member(1).log();
        log.contains("rejected connection on peer endpoint")
    })
    .await;
}

#[tokio::test]
async fn members_that_make_their_own_certificates_form_a_cluster() {
    let cluster = Cluster::start_over("https", 3, &["--peer-auto-tls"]);
    let mut clients = cluster.clients(0).await;
    until("a put", async || {
        cluster_harness::put(&mut clients, "a", "b").await.is_ok()
    })
    .await;
    cluster.settle().await;
    let made = cluster.member(2).data_dir().join("fixtures/peer/cert.pem");
    assert!(made.exists());
}

#[test]
fn files_that_cannot_be_used_keep_a_server_from_starting() {
    let files = Files::new();
    let other = server_certificate(&files.authority);
    other.write(files.path(), "other");
    for (flags, text) in [
        (&["--cert-file={}/missing.pem"][..], "cannot read"),
        (&["--key-file={}/other.key"], "does not belong to"),
        (&["--key-file={}/server.pem"], "holds no private key"),
        (&["--trusted-ca-file={}/server.key"], "holds no certificate"),
        (
            &["--trusted-ca-file={}/ca.pem", "--client-crl-file={}/ca.pem"],
            "no revocation list",
        ),
    ] {
        let refusal = files.place(flags).refusal();
        assert_eq!(refusal.status.code(), Some(1), "{flags:?}");
        assert!(refusal.log.contains(text), "{flags:?}: {}", refusal.log);
    }
}

#[tokio::test]
async fn the_name_in_a_certificate_is_the_user_unless_a_token_or_a_gateway_says_otherwise() {
    let files = Files::new();
    let server = files.start(&[
        "--trusted-ca-file={}/ca.pem",
        "--client-cert-auth",
        "--bcrypt-cost=4",
    ]);
    let channel_of = async |common_name| {
        let config = files.client_with(&files.user(common_name));
        channel(server.address(), &config).await.unwrap()
    };
    let root = channel_of("root").await;
    let mut admin = Admin::over(root.clone());
    admin.add_user("u").await;
    admin.add_role("r").await;
    admin.grant("r", 2, "k", "").await;
    admin.grant_role("u", "r").await;
    admin.enable().await;
    // Without a token, by the certificate of root.
    KvClient::new(root).put(put("other", "1")).await.unwrap();
    let user = channel_of("u").await;
    let mut kv = KvClient::new(user.clone());
    kv.put(put("k", "1")).await.unwrap();
    let denied = (Code::PermissionDenied, "etcdserver: permission denied");
    refused(
        kv.put(put("other", "2")).await,
        denied,
        "not the user's key",
    );
    let token = admin.token.clone();
    let as_root = with_token(put("other", "3"), token.as_deref());
    kv.put(as_root).await.unwrap();
    let nobody = (Code::InvalidArgument, "etcdserver: user name is empty");
    let mut through_gateway = tonic::Request::new(range("k", ""));
    let headers = through_gateway.metadata_mut();
    headers.insert("grpcgateway-accept", "*/*".parse().unwrap());
    refused(
        kv.range(through_gateway).await,
        nobody,
        "a gateway's certificate",
    );
    let mut stranger = KvClient::new(channel_of("stranger").await);
    refused(
        stranger.range(range("k", "")).await,
        denied,
        "no user's name",
    );
    // A password is not asked for.
    let mut cluster = ClusterClient::new(user);
    cluster
        .member_list(MemberListRequest::default())
        .await
        .unwrap();
}

/// Follows the log of a member that does not come up; sends its first line with all of `words`.
fn said(log: std::process::ChildStderr, words: &'static [&str]) -> mpsc::Receiver<String> {
    let (sender, found) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if words.iter().all(|word| line.contains(word)) {
                let _ = sender.send(line);
            }
        }
    });
    found
}

/// etcd says `bad certificate` where a name refuses a member; here both say which names they are, too.
#[test]
fn a_member_that_is_refused_for_its_name_is_told_so_as_etcd_tells_it() {
    let files = Files::new();
    let urls = [(); 2].map(|()| format!("https://{}", free_address().unwrap()));
    let initial = format!("good={},mallory={}", urls[0], urls[1]);
    let mut members = Vec::new();
    let mut logs = Vec::new();
    for (name, url) in ["good", "mallory"].into_iter().zip(&urls) {
        let wanted = Wanted {
            common_name: name,
            hosts: &["127.0.0.1"],
            ..Wanted::default()
        };
        files.authority.issue(&wanted).write(files.path(), name);
        let flags = [
            "--name={name}",
            "--data-dir={}/{name}",
            "--peer-cert-file={}/{name}.pem",
            "--peer-key-file={}/{name}.key",
            "--peer-trusted-ca-file={}/ca.pem",
            "--peer-client-cert-auth",
            "--peer-cert-allowed-cn=good",
            "--listen-client-urls=http://127.0.0.1:0",
            "--advertise-client-urls=http://127.0.0.1:0",
            "--listen-peer-urls={url}",
            "--initial-advertise-peer-urls={url}",
            "--initial-cluster={initial}",
        ];
        let directory = files.path().to_str().unwrap();
        let flags = flags.map(|flag| {
            flag.replace("{}", directory)
                .replace("{name}", name)
                .replace("{url}", url)
                .replace("{initial}", &initial)
        });
        let mut member = std::process::Command::new(binary())
            .args(flags)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let words: &[&str] = if name == "good" {
            &[
                "rejected connection on peer endpoint",
                "client certificate authentication failed",
                "bad certificate",
                "mallory",
                "good",
            ]
        } else {
            &["remote error: tls: bad certificate", "mallory"]
        };
        logs.push(said(member.stderr.take().unwrap(), words));
        members.push(member);
    }
    let lines: Vec<_> = logs.iter().map(|log| log.recv_timeout(PATIENCE)).collect();
    for mut member in members {
        member.kill().unwrap();
        member.wait().unwrap();
    }
    assert!(lines.iter().all(Result::is_ok), "{lines:?}");
}
