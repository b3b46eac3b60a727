//! Both sides of a connection between members, and what each of them refuses.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use self::certificates::{Authority, Issued, Wanted, params_of, write};
use super::*;
use crate::member::auth::{ClientCertificate, CommonName};
use crate::settings::{
    AllowedSubjects, Callers, GeneratedIdentity, KeyPairFiles, ServiceTls, TlsEndpoint,
    TlsIdentity, TlsKind, TlsProtocol, TlsVersions,
};

#[path = "../../../tests/it/certificates.rs"]
mod certificates;

/// A member's files and settings; the name of its host is `member`.
struct Member {
    directory: TempDir,
    settings: TlsEndpoint,
}

/// What both sides say of a connection.
struct Met {
    accepted: bool,
    certificate: Option<ClientCertificate>,
    connected: bool,
}

impl Member {
    fn new(trusted: &str, own: &Issued) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = own.write(directory.path(), "own");
        let settings = TlsEndpoint {
            kind: TlsKind::Peer,
            identity: TlsIdentity::Files(KeyPairFiles { certificate, key }),
            outgoing_identity: None,
            callers: Callers::Certified {
                authorities: Some(write(directory.path(), "ca.pem", trusted)),
                name_is_user: false,
            },
            allowed: AllowedSubjects::Any,
            crl_file: None,
            checks_caller_address: true,
            protocol: TlsProtocol {
                versions: TlsVersions::Both,
                suites: Vec::new(),
            },
        };
        Self {
            directory,
            settings,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut TlsEndpoint, &Path)) -> Self {
        change(&mut self.settings, self.directory.path());
        self
    }

    fn server(&self) -> Arc<ServerTls> {
        ServerTls::load(&self.settings).unwrap()
    }

    fn client(&self) -> Arc<ClientTls> {
        ClientTls::load(&self.settings).unwrap()
    }
}

/// Lets `client` connect to `server`, and a byte go each way.
async fn meet(server: &ServerTls, client: &ClientTls, host: &str, from: &str) -> Met {
    let (near, far) = duplex(1 << 16);
    let remote: SocketAddr = from.parse().unwrap();
    let serve = async {
        let mut secured = server.accept(near, Some(remote)).await?;
        let byte = secured.stream.read_u8().await.ok()?;
        secured.stream.write_u8(byte).await.ok()?;
        secured.stream.flush().await.ok()?;
        Some(secured.certificate)
    };
    let connect = async {
        let mut stream = client.connect(far, host).await.ok()?;
        stream.write_u8(7).await.ok()?;
        stream.flush().await.ok()?;
        stream.read_u8().await.ok()
    };
    let (served, connected) = tokio::join!(serve, connect);
    Met {
        accepted: served.is_some(),
        certificate: served.flatten(),
        connected: connected == Some(7),
    }
}

const HERE: &str = "127.0.0.1:1";

fn member_certificate(authority: &Authority) -> Issued {
    authority.issue(&Wanted {
        common_name: "a member",
        hosts: &["member", "127.0.0.1"],
        ..Wanted::default()
    })
}

#[tokio::test]
async fn members_of_one_authority_meet_and_others_do_not() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let member = Member::new(&ours.pem, &member_certificate(&ours));
    let stranger = Member::new(&ours.pem, &member_certificate(&theirs));
    let lost = Member::new(&theirs.pem, &member_certificate(&ours));
    let expired = ours.issue(&Wanted {
        hosts: &["member"],
        year_of_end: 2002,
        ..Wanted::default()
    });
    let expired = Member::new(&ours.pem, &expired);
    let for_servers = ours.issue(&Wanted {
        hosts: &["member", "127.0.0.1"],
        purposes: &[ExtendedKeyUsagePurpose::ServerAuth],
        ..Wanted::default()
    });
    let for_servers = Member::new(&ours.pem, &for_servers);
    for (what, server, client, host, meets) in [
        ("members", &member, &member, "member", true),
        ("by address", &member, &member, "127.0.0.1", true),
        ("another host", &member, &member, "other", false),
        ("another address", &member, &member, "127.0.0.2", false),
        ("a stranger calls", &member, &stranger, "member", false),
        ("a stranger answers", &stranger, &member, "member", false),
        ("the caller trusts others", &member, &lost, "member", false),
        ("the caller has expired", &member, &expired, "member", false),
        ("the server has expired", &expired, &member, "member", false),
        (
            "no client's certificate",
            &member,
            &for_servers,
            "member",
            false,
        ),
        (
            "a server's certificate",
            &for_servers,
            &member,
            "member",
            true,
        ),
    ] {
        let met = meet(&server.server(), &client.client(), host, HERE).await;
        assert_eq!(met.connected, meets, "{what}");
        assert_eq!(met.accepted, meets, "{what}");
        assert!(met.certificate.is_none(), "no member is a user");
    }
}

#[tokio::test]
async fn names_that_are_not_allowed_and_numbers_that_are_revoked_are_refused_either_way() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let issue = |common_name, serial| {
        ours.issue(&Wanted {
            common_name,
            hosts: &["member", "127.0.0.1"],
            serial,
            ..Wanted::default()
        })
    };
    let [good, bad] = [issue("good", 1), issue("bad", 2)];
    let plain = |own| Member::new(&ours.pem, own);
    let allows =
        |allowed: AllowedSubjects| plain(&good).with(|settings, _| settings.allowed = allowed);
    let lists = |list: Vec<u8>| {
        plain(&good).with(|settings, directory| {
            settings.crl_file = Some(write(directory, "crl", list));
        })
    };
    let names = |name: &str| AllowedSubjects::CommonNames(vec!["x".into(), name.into()]);
    let hosts = |name: &str| AllowedSubjects::Hostnames(vec!["x".into(), name.into()]);
    let both = [theirs.revoke(&[]), ours.revoke(&[2, 7])].concat();
    for (what, strict, meets_good, meets_bad) in [
        ("a common name", allows(names("good")), true, false),
        ("another common name", allows(names("goo")), false, false),
        ("a host name", allows(hosts("member")), true, true),
        ("an address", allows(hosts("127.0.0.1")), true, true),
        ("another host name", allows(hosts("other")), false, false),
        ("a list", lists(ours.revoke(&[2]).into()), true, false),
        (
            "a list in DER",
            lists(ours.revoke_in_der(&[2])),
            true,
            false,
        ),
        ("two lists", lists(both.into()), true, false),
        ("an empty list", lists(ours.revoke(&[]).into()), true, true),
        // Of an authority that is not known here, and so in force for all.
        (
            "a stranger's list",
            lists(theirs.revoke(&[2]).into()),
            true,
            false,
        ),
    ] {
        for (own, meets) in [(&good, meets_good), (&bad, meets_bad)] {
            let other = plain(own);
            let called = meet(&strict.server(), &other.client(), "member", HERE).await;
            assert_eq!(called.accepted, meets, "{what}, called by {own:?}");
            let calls = meet(&other.server(), &strict.client(), "member", HERE).await;
            assert_eq!(calls.connected, meets, "{what}, calling {own:?}");
        }
    }
}

#[tokio::test]
async fn a_list_counts_for_its_own_authority_among_several() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let issue = |authority: &Authority| member_certificate(authority);
    let trusted = [old.pem.clone(), new.pem.clone()].concat();
    let member = Member::new(&trusted, &issue(&new)).with(|settings, directory| {
        settings.crl_file = Some(write(directory, "crl", old.revoke(&[1000])));
    });
    for (authority, meets) in [(&old, false), (&new, true)] {
        let other = Member::new(&trusted, &issue(authority));
        let met = meet(&member.server(), &other.client(), "member", HERE).await;
        assert_eq!(met.accepted, meets);
    }
}

#[tokio::test]
async fn a_member_calls_from_an_address_of_its_certificate_unless_nobody_looks() {
    let ours = Authority::new("ours");
    let member = Member::new(&ours.pem, &member_certificate(&ours));
    let anywhere = Member::new(&ours.pem, &member_certificate(&ours))
        .with(|settings, _| settings.checks_caller_address = false);
    for (server, from, meets) in [
        (&member, HERE, true),
        (&member, "192.0.2.1:1", false),
        (&anywhere, "192.0.2.1:1", true),
    ] {
        let met = meet(&server.server(), &member.client(), "member", from).await;
        assert_eq!(met.accepted, meets, "from {from}");
    }
}

#[tokio::test]
async fn members_that_made_their_certificates_themselves_meet_unseen() {
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let member = |name: &str| {
        Member::new(&ours.pem, &member_certificate(&ours)).with(|settings, _| {
            settings.callers = Callers::Anyone;
            settings.identity = TlsIdentity::Generated(GeneratedIdentity {
                directory: directory.path().join(name),
                hosts: vec![name.to_owned()],
                validity_years: NonZeroU32::MIN,
            });
        })
    };
    let met = meet(&member("a").server(), &member("b").client(), "x", HERE).await;
    assert!(met.accepted && met.connected);
}

#[tokio::test]
async fn one_self_signed_authority_may_be_everybodys_certificate_at_once() {
    let issue = |purposes: &'static [ExtendedKeyUsagePurpose], year_of_end| {
        let key = KeyPair::generate().unwrap();
        let mut params = params_of(&Wanted {
            hosts: &["member", "127.0.0.1"],
            purposes,
            year_of_end,
            ..Wanted::default()
        });
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Issued {
            certificate: params.self_signed(&key).unwrap().pem(),
            key: key.serialize_pem(),
        }
    };
    let for_servers = &[ExtendedKeyUsagePurpose::ServerAuth];
    let everybodys = issue(&[], 2100);
    let member = Member::new(&everybodys.certificate, &everybodys);
    let servers = issue(for_servers, 2100);
    let server = Member::new(&servers.certificate, &servers);
    for (what, server, client, host, accepted, connected) in [
        ("everybody's", &member, &member, "member", true, true),
        ("for another host", &member, &member, "other", false, false),
        ("another's", &member, &server, "member", false, false),
        (
            "for servers alone",
            &server,
            &server,
            "member",
            false,
            false,
        ),
    ] {
        let met = meet(&server.server(), &client.client(), host, HERE).await;
        assert_eq!(met.accepted, accepted, "{what}");
        assert_eq!(met.connected, connected, "{what}");
    }
}

#[tokio::test]
async fn a_common_name_is_told_where_it_names_the_user() {
    let ours = Authority::new("ours");
    let client = ours.issue(&Wanted {
        common_name: "alice",
        ..Wanted::default()
    });
    let nameless = ours.issue(&Wanted::default());
    let server = Member::new(&ours.pem, &member_certificate(&ours)).with(|settings, directory| {
        settings.callers = Callers::Certified {
            authorities: Some(directory.join("ca.pem")),
            name_is_user: true,
        };
    });
    for (own, user) in [(&client, Some("alice")), (&nameless, None)] {
        let client = Member::new(&ours.pem, own);
        let met = meet(&server.server(), &client.client(), "member", HERE).await;
        let certificate = met.certificate.unwrap();
        assert_eq!(certificate.common_name().map(CommonName::as_str), user);
    }
}

#[tokio::test]
async fn a_replaced_authority_counts_from_the_next_connection_on_and_ends_old_sessions() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = Member::new(&old.pem, &member_certificate(&old));
    let [before, after] = [&old, &new].map(|it| {
        let both = [old.pem.clone(), new.pem.clone()].concat();
        Member::new(&both, &member_certificate(it)).client()
    });
    let tls = server.server();
    let met = async |client| meet(&tls, client, "member", HERE).await.accepted;
    // The second time, the session is resumed.
    assert!(met(&before).await && met(&before).await && !met(&after).await);
    let directory = server.directory.path();
    write(
        directory,
        "ca.pem",
        [old.pem.clone(), new.pem.clone()].concat(),
    );
    assert!(met(&before).await && met(&after).await);
    member_certificate(&new).write(directory, "own");
    write(directory, "ca.pem", &new.pem);
    assert!(!met(&before).await && met(&after).await);
    // What makes no sense changes nothing.
    write(directory, "ca.pem", "damaged");
    assert!(!met(&before).await && met(&after).await);
    member_certificate(&new).write(directory, "other");
    std::fs::copy(directory.join("other.key"), directory.join("own.key")).unwrap();
    write(directory, "ca.pem", &new.pem);
    assert!(!met(&before).await && met(&after).await);
}

#[tokio::test]
async fn a_service_is_believed_by_its_authority_and_shown_what_it_asks_for() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let service = Member::new(&ours.pem, &member_certificate(&ours));
    let TlsIdentity::Files(pair) = &service.settings.identity else {
        panic!("it has files");
    };
    let directory = tempfile::tempdir().unwrap();
    let right = write(directory.path(), "right", &ours.pem);
    let wrong = write(directory.path(), "wrong", &theirs.pem);
    let open = Member::new(&ours.pem, &member_certificate(&ours))
        .with(|settings, _| settings.callers = Callers::Anyone);
    for (what, server, shows, authorities, believes_anyone, meets) in [
        ("all it needs", &service, true, &right, false, true),
        ("nothing to show", &service, false, &right, false, false),
        (
            "nothing to show, nobody asks",
            &open,
            false,
            &right,
            false,
            true,
        ),
        ("trust in others", &open, false, &wrong, false, false),
        ("no distrust", &open, false, &wrong, true, true),
    ] {
        let client = ClientTls::to_service(&ServiceTls {
            identity: shows.then(|| pair.clone()),
            authorities: Some(authorities.clone()),
            believes_anyone,
        });
        let met = meet(&server.server(), &client.unwrap(), "member", HERE).await;
        assert_eq!(met.connected, meets, "{what}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_cut_off() {
    let ours = Authority::new("ours");
    let member = Member::new(&ours.pem, &member_certificate(&ours));
    let (near, mut far) = duplex(64);
    let mut server = Arc::into_inner(member.server()).unwrap();
    server.handshake_timeout = Duration::from_millis(1);
    assert!(server.accept(near, None).await.is_none());
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_to_do() {
    let ours = Authority::new("ours");
    let own = member_certificate(&ours);
    type Change = fn(&mut TlsEndpoint, &Path);
    let cases: [(&str, Change); 9] = [
        ("cannot read", |_, directory| {
            std::fs::remove_file(directory.join("own.key")).unwrap();
        }),
        ("cannot read", |settings, _| {
            settings.crl_file = Some(PathBuf::from("/nowhere/crl"));
        }),
        ("holds no private key", |_, directory| {
            write(directory, "own.key", "");
        }),
        ("holds no certificate", |_, directory| {
            write(directory, "own.pem", "");
        }),
        ("holds no certificate", |_, directory| {
            write(directory, "ca.pem", "");
        }),
        ("does not belong to", |_, directory| {
            let other = member_certificate(&Authority::new("other"));
            write(directory, "own.key", other.key);
        }),
        ("cannot be understood", |_, directory| {
            write(
                directory,
                "ca.pem",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            );
        }),
        ("no revocation list", |settings, directory| {
            settings.crl_file = Some(write(directory, "crl", "what"));
        }),
        ("P-256", |_, directory| {
            let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
            write(directory, "own.key", key);
        }),
    ];
    for (text, change) in cases {
        let member = Member::new(&ours.pem, &own).with(change);
        let Err(error) = ServerTls::load(&member.settings) else {
            panic!("{text}: loaded");
        };
        assert!(error.to_string().contains(text), "{error}");
        let is_for_clients_too = ClientTls::load(&member.settings).is_err();
        assert!(is_for_clients_too, "{text}");
    }
}

#[test]
fn expired_authorities_are_left_out() {
    let ours = Authority::new("ours");
    let expired = ours.issue(&Wanted {
        year_of_end: 2002,
        ..Wanted::default()
    });
    let own = member_certificate(&ours);
    let both = [&*ours.pem, &*expired.certificate].concat();
    assert!(ServerTls::load(&Member::new(&both, &own).settings).is_ok());
    let alone = Member::new(&expired.certificate, &own);
    assert!(matches!(
        ServerTls::load(&alone.settings),
        Err(TlsError::ExpiredAuthorities { .. })
    ));
}
