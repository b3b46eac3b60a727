//! TLS and users: who is believed, who is let in, and what is read again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_client::{Error, EtcdError, Event, Keys, Right, Tls, Update};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::server::{PATIENCE, Program, Servers};

/// An authority and what it signs, in files.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    home: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let home = tempfile::tempdir().unwrap();
        let own = params.self_signed(&key).unwrap().pem();
        fs::write(home.path().join("ca.pem"), own).unwrap();
        let made = Self {
            issuer: Issuer::new(params, key),
            home,
        };
        made.issue("server", &["127.0.0.1", "localhost"]);
        made
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A certificate of this name for clients, and for servers at these hosts: `NAME.pem`, `NAME.key`.
    fn issue(&self, name: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// Believes this authority.
    fn tls(&self) -> Tls {
        Tls::new().ca_file(self.file("ca.pem"))
    }

    /// The same, as somebody.
    fn tls_as(&self, name: &str) -> Tls {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        self.tls().identity_files(self.file(&cert), self.file(&key))
    }

    /// A server that asks its clients for certificates of this authority.
    async fn server(&self, program: &Program, flags: &[&str]) -> Servers {
        let text = |path: PathBuf| path.display().to_string();
        let (ca, cert) = (text(self.file("ca.pem")), text(self.file("server.pem")));
        let key = text(self.file("server.key"));
        let mut all = vec!["--client-cert-auth", "--trusted-ca-file", &ca];
        all.extend(["--cert-file", &cert, "--key-file", &key]);
        all.extend(flags);
        self.issue("root", &[]);
        Servers::start_with(program, 1, &all, Some(self.tls_as("root"))).await
    }
}

/// Why a client with this TLS gets no answer.
async fn refusal(servers: &Servers, tls: Tls) -> Error {
    let options = servers.options().tls(tls);
    let options = options.request_timeout(Duration::from_secs(2));
    options.connect_lazy().get("a").await.unwrap_err()
}

#[tokio::test]
async fn certificates_decide_who_is_believed_and_who_is_let_in() {
    for program in Program::all() {
        let authority = Authority::new();
        let servers = authority.server(&program, &[]).await;
        servers.client().await.put("a", "1").await.unwrap();

        let stranger = Authority::new();
        stranger.issue("root", &[]);
        let unbelieved = stranger
            .tls()
            .identity_files(authority.file("root.pem"), authority.file("root.key"));
        let error = refusal(&servers, unbelieved).await.to_string();
        assert!(error.contains("certificate"), "{}: {error}", program.name);
        // Not let in, whatever the server says of the reason.
        refusal(&servers, authority.tls()).await;
        let foreign = authority
            .tls()
            .identity_files(stranger.file("root.pem"), stranger.file("root.key"));
        refusal(&servers, foreign).await;
        let other_name = authority.tls_as("root").server_name("elsewhere.example");
        let error = refusal(&servers, other_name).await.to_string();
        assert!(error.contains("elsewhere.example"), "{error}");

        let careless = Tls::new().insecure_skip_verify().identity_pem(
            fs::read(authority.file("root.pem")).unwrap(),
            fs::read(authority.file("root.key")).unwrap(),
        );
        let careless = servers.options().tls(careless).connect().await.unwrap();
        assert!(careless.get("a").await.unwrap().is_some());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

#[tokio::test]
async fn files_that_were_renewed_are_used_without_a_restart() {
    let authority = Authority::new();
    let mut servers = authority.server(&Program::cairn(), &[]).await;
    // A client whose files are none of this authority's, until they are renewed.
    let old = Authority::new();
    old.issue("app", &[]);
    let client = servers.options().tls(old.tls_as("app")).connect_lazy();
    let early = timeout(Duration::from_secs(1), client.put("a", "1")).await;
    assert!(early.is_err() || early.unwrap().is_err());
    authority.issue("app", &[]);
    for file in ["ca.pem", "app.pem", "app.key"] {
        copy(&authority.file(file), &old.file(file));
    }
    client.put("a", "1").await.unwrap();
    // And a server of a new authority, whose certificate clients come to believe the same way.
    let new = Authority::new();
    new.issue("app", &[]);
    servers.members[0].kill();
    for file in ["ca.pem", "server.pem", "server.key"] {
        copy(&new.file(file), &authority.file(file));
    }
    servers.members[0].start();
    for file in ["ca.pem", "app.pem", "app.key"] {
        copy(&new.file(file), &old.file(file));
    }
    assert!(client.get("a").await.unwrap().is_some());
}

/// Makes root, and alice, who may read what is public.
async fn users(servers: &Servers) {
    let client = servers.client().await;
    let auth = client.auth();
    for name in ["root", "alice"] {
        auth.user_add(name, "secret").await.unwrap();
        auth.role_add(name).await.unwrap();
        auth.user_grant_role(name, name).await.unwrap();
    }
    auth.role_grant("alice", Right::ReadWrite, Keys::prefix("public/"))
        .await
        .unwrap();
    auth.enable().await.unwrap();
}

#[tokio::test]
async fn the_name_in_a_certificate_is_the_user() {
    for program in Program::all() {
        let authority = Authority::new();
        let servers = authority.server(&program, &[]).await;
        users(&servers).await;
        authority.issue("alice", &[]);
        let options = servers.options().tls(authority.tls_as("alice"));
        let alice = options.clone().connect().await.unwrap();
        alice.put("public/a", "1").await.unwrap();
        let denied = alice.get("private").await.unwrap_err();
        assert_eq!(denied.etcd(), Some(EtcdError::PermissionDenied));
        // A password goes before the certificate.
        let root = options.user("root", "secret").connect().await.unwrap();
        assert!(root.get("private").await.unwrap().is_none());
        root.auth().disable().await.unwrap();
    }
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_by_calls_and_watches() {
    for program in Program::all() {
        let servers = Servers::start(&program, 1, &["--auth-token-ttl", "1"]).await;
        users(&servers).await;
        let options = servers.options().user("alice", "secret");
        let alice = options.connect().await.unwrap();
        let mut watch = alice.watch(Keys::prefix("public/")).await.unwrap();
        let logins = alice.counters().logins;
        // etcd forgets a token a second after it was used.
        sleep(Duration::from_secs(4)).await;
        let put = alice.put("public/a", "1").await.unwrap().header.revision;
        assert!(alice.counters().logins > logins, "{}", program.name);
        let told = timeout(PATIENCE, watch.next()).await.unwrap();
        let Some(Ok(Update::Events { events, .. })) = told else {
            panic!("{}: {told:?}", program.name);
        };
        assert_eq!(events.last().map(Event::revision), Some(put));
    }
}
