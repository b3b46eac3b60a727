//! What the security flags ask of TLS: whose certificates, who is let in, which versions and suites.
//!
//! Files are named here and read in `net/tls`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use rustls::CipherSuite;

use super::cipher_suite::cipher_suite;
use super::error::SettingsError;
use super::flag_table::GivenFlags;
use super::flag_value::NameList;
use super::notice::Notice;
use super::url::{Place, Protection, Url};
use super::{AdvertiseSettings, ListenSettings, ListenUrl, Source};

/// TLS towards clients and towards other members.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    /// For clients; none if no certificate is named or asked for.
    pub clients: Option<TlsEndpoint>,
    /// For other members, both those that connect to this one and those that it connects to.
    pub peers: Option<TlsEndpoint>,
}

/// One kind of counterpart.
#[derive(Clone, Debug)]
pub(crate) struct TlsEndpoint {
    /// What this server is called in its log, as etcd has it.
    pub kind: TlsKind,
    /// What this member shows to whoever connects.
    pub identity: TlsIdentity,
    /// What it shows where it connects itself, if that is something else.
    pub outgoing_identity: Option<KeyPairFiles>,
    /// Who may connect.
    pub callers: Callers,
    /// What a certificate must carry beside a good signature.
    pub allowed: AllowedSubjects,
    /// Certificates that are revoked.
    pub crl_file: Option<PathBuf>,
    /// Whether the addresses and names in a caller's certificate must be those that it calls from.
    pub checks_caller_address: bool,
    /// Versions and suites.
    pub protocol: TlsProtocol,
}

/// TLS towards a service that is no member, whose authority may be another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceTls {
    /// What this member shows, if it is asked.
    pub identity: Option<KeyPairFiles>,
    /// Who vouches for the service; none stands for those that the system trusts.
    pub authorities: Option<PathBuf>,
    /// Whether anyone is believed to be the service.
    pub believes_anyone: bool,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsKind {
    /// A client.
    Client,
    /// Another member.
    Peer,
}

/// Where a certificate and its key come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsIdentity {
    /// From files.
    Files(KeyPairFiles),
    /// They are made at the first start.
    Generated(GeneratedIdentity),
}

/// A certificate with its chain, and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPairFiles {
    /// The certificate, then those between it and an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A certificate that a member makes for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GeneratedIdentity {
    /// The directory to keep it in.
    pub directory: PathBuf,
    /// The names and addresses that it is for.
    pub hosts: Vec<String>,
    /// How long it lasts, in years of 365 days.
    pub validity_years: NonZeroU32,
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Anyone.
    Anyone,
    /// Who has a certificate that an authority vouches for.
    Certified {
        /// The authorities; none stands for those that the system trusts.
        authorities: Option<PathBuf>,
        /// Whether the certificate's common name is the user's name (`--client-cert-auth`).
        name_is_user: bool,
    },
}

/// What a certificate must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AllowedSubjects {
    /// Anything.
    Any,
    /// One of these common names.
    CommonNames(Vec<String>),
    /// One of these as a host name or address.
    Hostnames(Vec<String>),
}

/// Versions and suites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsProtocol {
    /// Which versions are spoken.
    pub versions: TlsVersions,
    /// Suites to speak; empty for all that there are.
    pub suites: Vec<CipherSuite>,
}

/// Which versions are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsVersions {
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
    /// Both.
    Both,
}

/// Files of one endpoint, as given.
struct Given<'a> {
    kind: TlsKind,
    certificate: &'a str,
    key: &'a str,
    outgoing_certificate: &'a str,
    outgoing_key: &'a str,
    authorities: &'a str,
    asks_for_certificates: bool,
    is_automatic: bool,
    crl: &'a str,
    common_names: &'a [String],
    hostnames: &'a NameList,
    checks_caller_address: bool,
}

/// The flags of clients and of peers are the same but for this.
const fn prefix(kind: TlsKind) -> &'static str {
    match kind {
        TlsKind::Client => "",
        TlsKind::Peer => "peer-",
    }
}

/// What settings of TLS stand among.
pub(super) struct Around<'a> {
    pub(super) data_dir: &'a Path,
    pub(super) listen: &'a ListenSettings,
    pub(super) advertise: &'a AdvertiseSettings,
    pub(super) source: Source,
}

pub(super) fn tls_settings(
    given: &GivenFlags,
    around: &Around<'_>,
    notices: &mut Vec<Notice>,
) -> Result<TlsSettings, SettingsError> {
    let versions = (&*given.tls_min_version, &*given.tls_max_version);
    let protocol = protocol(versions, &given.cipher_suites.0)?;
    let clients = Given {
        kind: TlsKind::Client,
        certificate: &given.cert_file,
        key: &given.key_file,
        outgoing_certificate: &given.client_cert_file,
        outgoing_key: &given.client_key_file,
        authorities: &given.trusted_ca_file,
        asks_for_certificates: given.client_cert_auth,
        is_automatic: given.auto_tls,
        crl: &given.client_crl_file,
        common_names: &[],
        hostnames: &given.client_cert_allowed_hostname,
        checks_caller_address: false,
    };
    let peers = Given {
        kind: TlsKind::Peer,
        certificate: &given.peer_cert_file,
        key: &given.peer_key_file,
        outgoing_certificate: &given.peer_client_cert_file,
        outgoing_key: &given.peer_client_key_file,
        authorities: &given.peer_trusted_ca_file,
        asks_for_certificates: given.peer_client_cert_auth,
        is_automatic: given.peer_auto_tls,
        crl: &given.peer_crl_file,
        common_names: &given.peer_cert_allowed_cn.0,
        hostnames: &given.peer_cert_allowed_hostname,
        checks_caller_address: !given.peer_skip_client_san_verification,
    };
    let validity = match (given.self_signed_cert_validity, around.source) {
        (0, Source::File) => 1,
        (years, _) => years,
    };
    let listen = around.listen;
    let client_urls = [&listen.clients[..], &listen.http].concat();
    let settings = TlsSettings {
        clients: clients.endpoint(
            around.generated("client", &client_urls, &around.advertise.clients, validity),
            &protocol,
            notices,
        )?,
        peers: peers.endpoint(
            around.generated("peer", &listen.peers, &around.advertise.peers, validity),
            &protocol,
            notices,
        )?,
    };
    if settings.clients.is_none()
        && let Some(url) = listen.metrics.iter().map(ListenUrl::url).find(is_tls)
    {
        return Err(SettingsError::unfit(format!(
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure \
             url {url}; --auto-tls makes them"
        )));
    }
    let client_urls = [&client_urls[..], &listen.metrics].concat();
    clients.check_urls(settings.clients.as_ref(), &client_urls, notices)?;
    peers.check_urls(settings.peers.as_ref(), &listen.peers, notices)?;
    Ok(settings)
}

/// What `cairn grpc-proxy` is told of TLS towards its clients.
pub(crate) struct ProxyTls<'a> {
    /// `--cert-file`.
    pub certificate: &'a str,
    /// `--key-file`.
    pub key: &'a str,
    /// `--trusted-ca-file`.
    pub authorities: &'a str,
    /// `--client-crl-file`.
    pub crl: &'a str,
    /// `--auto-tls`.
    pub is_automatic: bool,
    /// What it would make itself; none if it may not last.
    pub generated: Option<GeneratedIdentity>,
    /// `--tls-min-version` and `--tls-max-version`.
    pub versions: (&'a str, &'a str),
    /// `--listen-cipher-suites`.
    pub suites: &'a [String],
}

impl ProxyTls<'_> {
    /// The endpoint, and what an operator should be told; no endpoint for plain text.
    ///
    /// # Errors
    ///
    /// [`SettingsError`], also where clients are to be checked and there is no TLS to do it in.
    pub(crate) fn endpoint(&self) -> Result<(Option<TlsEndpoint>, Vec<Notice>), SettingsError> {
        let mut notices = Vec::new();
        let protocol = protocol(self.versions, self.suites)?;
        let given = Given {
            kind: TlsKind::Client,
            certificate: self.certificate,
            key: self.key,
            outgoing_certificate: "",
            outgoing_key: "",
            authorities: self.authorities,
            asks_for_certificates: false,
            is_automatic: self.is_automatic,
            crl: self.crl,
            common_names: &[],
            hostnames: &NameList::default(),
            checks_caller_address: false,
        };
        let endpoint = given.endpoint(self.generated.clone(), &protocol, &mut notices)?;
        if endpoint.is_none() && !(self.authorities.is_empty() && self.crl.is_empty()) {
            return Err(SettingsError::unfit(
                "KeyFile and CertFile are not presented: clients are to show certificates, so set \
                 --cert-file and --key-file, or --auto-tls",
            ));
        }
        Ok((endpoint, notices))
    }
}

/// TLS towards the discovery service, for addresses that begin with `https` and those that name no
/// scheme; those get none unless a flag asks for it, as in etcd.
pub(super) fn discovery_tls(given: &GivenFlags) -> Result<Option<ServiceTls>, SettingsError> {
    let identity = match (path(&given.discovery_cert), path(&given.discovery_key)) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(KeyPairFiles { certificate, key }),
        _ => {
            return Err(SettingsError::unfit(
                "KeyFile and CertFile must both be present: set both --discovery-cert and \
                 --discovery-key, or neither",
            ));
        }
    };
    let settings = ServiceTls {
        identity,
        authorities: path(&given.discovery_cacert),
        believes_anyone: given.discovery_insecure_skip_tls_verify,
    };
    let is_asked_for = settings != ServiceTls::default() || !given.discovery_insecure_transport;
    Ok(is_asked_for.then_some(settings))
}

impl Around<'_> {
    /// A certificate that this member would make; none if it may not last.
    fn generated(
        &self,
        directory: &str,
        listen: &[ListenUrl],
        advertised: &[Url],
        validity_years: u64,
    ) -> Option<GeneratedIdentity> {
        let urls = listen.iter().map(ListenUrl::url).chain(advertised);
        let mut hosts: Vec<String> = urls
            .filter_map(|url| match url.place() {
                Place::Tcp { host, .. } => Some(host.clone()),
                Place::Unix { .. } => None,
            })
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        Some(GeneratedIdentity {
            directory: self.data_dir.join("fixtures").join(directory),
            hosts,
            validity_years: u32::try_from(validity_years)
                .ok()
                .and_then(NonZeroU32::new)?,
        })
    }
}

impl Given<'_> {
    fn endpoint(
        &self,
        generated: Option<GeneratedIdentity>,
        protocol: &TlsProtocol,
        notices: &mut Vec<Notice>,
    ) -> Result<Option<TlsEndpoint>, SettingsError> {
        let prefix = prefix(self.kind);
        let files = self.pair("cert-file", self.certificate, "key-file", self.key)?;
        let outgoing_identity = self.pair(
            "client-cert-file",
            self.outgoing_certificate,
            "client-key-file",
            self.outgoing_key,
        )?;
        let allowed = self.allowed()?;
        let identity = match (files, self.is_automatic) {
            (None, false) => return Ok(None),
            (None, true) => TlsIdentity::Generated(generated.ok_or_else(|| {
                SettingsError::unfit(
                    "--self-signed-cert-validity is invalid, it should be greater than 0 and is a \
                     number of years",
                )
            })?),
            (Some(files), false) => TlsIdentity::Files(files),
            (Some(files), true) => {
                let text = "ignored, since a certificate is given";
                notices.push(Notice::warn(text).about(&format!("{prefix}auto-tls")));
                TlsIdentity::Files(files)
            }
        };
        if self.asks_for_certificates && self.authorities.is_empty() {
            let text = format!(
                "whoever has a certificate of an authority that this system trusts is let in; name \
                 your own with --{prefix}trusted-ca-file"
            );
            notices.push(Notice::warn(text).about(&format!("{prefix}client-cert-auth")));
        }
        let callers = self.callers();
        if callers == Callers::Anyone && !self.crl.is_empty() {
            let text = format!(
                "nobody is asked for a certificate, so none is looked up; set \
                 --{prefix}trusted-ca-file"
            );
            notices.push(Notice::warn(text).about(match self.kind {
                TlsKind::Client => "client-crl-file",
                TlsKind::Peer => "peer-crl-file",
            }));
        }
        Ok(Some(TlsEndpoint {
            kind: self.kind,
            identity,
            outgoing_identity,
            callers,
            allowed,
            crl_file: path(self.crl),
            checks_caller_address: self.checks_caller_address,
            protocol: protocol.clone(),
        }))
    }

    fn pair(
        &self,
        certificate_flag: &str,
        certificate: &str,
        key_flag: &str,
        key: &str,
    ) -> Result<Option<KeyPairFiles>, SettingsError> {
        let prefix = prefix(self.kind);
        match (path(certificate), path(key)) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(KeyPairFiles { certificate, key })),
            _ => Err(SettingsError::unfit(format!(
                "KeyFile and CertFile must both be present[key: {key}, cert: {certificate}]: set \
                 both --{prefix}{certificate_flag} and --{prefix}{key_flag}, or neither"
            ))),
        }
    }

    fn callers(&self) -> Callers {
        let authorities = path(self.authorities);
        if authorities.is_none() && !self.asks_for_certificates {
            return Callers::Anyone;
        }
        Callers::Certified {
            authorities,
            name_is_user: self.asks_for_certificates && self.kind == TlsKind::Client,
        }
    }

    fn allowed(&self) -> Result<AllowedSubjects, SettingsError> {
        match (self.common_names, &self.hostnames.0[..]) {
            ([], []) => Ok(AllowedSubjects::Any),
            (names, []) => Ok(AllowedSubjects::CommonNames(names.to_vec())),
            ([], names) => Ok(AllowedSubjects::Hostnames(names.to_vec())),
            (cns, hostnames) => Err(SettingsError::unfit(format!(
                "AllowedCNs and AllowedHostnames are mutually exclusive (cns={cns:?}, \
                 hostnames={hostnames:?}): set one of --peer-cert-allowed-cn and \
                 --peer-cert-allowed-hostname"
            ))),
        }
    }

    /// A URL with TLS needs a certificate; one without lets everyone in, whatever else is set.
    fn check_urls(
        &self,
        endpoint: Option<&TlsEndpoint>,
        urls: &[ListenUrl],
        notices: &mut Vec<Notice>,
    ) -> Result<(), SettingsError> {
        let prefix = prefix(self.kind);
        for url in urls.iter().map(ListenUrl::url) {
            match url.protection() {
                Protection::Tls if endpoint.is_none() => {
                    return Err(SettingsError::unfit(format!(
                        "TLS key/cert (--{prefix}cert-file, --{prefix}key-file) must be provided \
                         for url {url} with HTTPS scheme; --{prefix}auto-tls makes them"
                    )));
                }
                Protection::Plain if self.asks_for_certificates || !self.authorities.is_empty() => {
                    let text = format!(
                        "{url} is not protected: no certificate is asked for there; write https, \
                         or unixs"
                    );
                    notices.push(Notice::warn(text).about(&format!("{prefix}trusted-ca-file")));
                }
                Protection::Plain if endpoint.is_some() => {
                    let text = format!(
                        "{url} is not protected: the certificate and key are ignored there; write \
                         https, or unixs"
                    );
                    notices.push(Notice::warn(text).about(&format!("{prefix}cert-file")));
                }
                Protection::Plain | Protection::Tls => {}
            }
        }
        Ok(())
    }
}

fn is_tls(url: &&Url) -> bool {
    matches!(url.protection(), Protection::Tls)
}

fn path(given: &str) -> Option<PathBuf> {
    (!given.is_empty()).then(|| PathBuf::from(given))
}

fn protocol(
    (min_version, max_version): (&str, &str),
    suites: &[String],
) -> Result<TlsProtocol, SettingsError> {
    let version = |name: &str, text: &str| match text {
        "" => Ok(None),
        "TLS1.2" => Ok(Some(TlsVersions::Tls12)),
        "TLS1.3" => Ok(Some(TlsVersions::Tls13)),
        _ => Err(SettingsError::unfit(format!(
            "unexpected TLS version {text:?} in --{name}; write TLS1.2 or TLS1.3"
        ))),
    };
    let oldest = version("tls-min-version", min_version)?;
    let newest = version("tls-max-version", max_version)?;
    let versions = match (oldest, newest) {
        (Some(TlsVersions::Tls13), Some(TlsVersions::Tls12)) => {
            return Err(SettingsError::unfit(
                "min version (TLS1.3) is greater than max version (TLS1.2)",
            ));
        }
        (Some(TlsVersions::Tls13), _) => TlsVersions::Tls13,
        (_, Some(TlsVersions::Tls12)) => TlsVersions::Tls12,
        _ => TlsVersions::Both,
    };
    if versions == TlsVersions::Tls13 && !suites.is_empty() {
        return Err(SettingsError::unfit(
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ));
    }
    Ok(TlsProtocol {
        versions,
        suites: suites
            .iter()
            .map(|name| cipher_suite(name))
            .collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Invocation, Settings, read};
    use super::*;

    fn with_flags(flags: &[&str]) -> Settings {
        let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        match read(&flags, &[], |_| Err(std::io::ErrorKind::NotFound.into())) {
            Ok(Invocation::Serve(settings)) => *settings,
            other => panic!("{other:?}"),
        }
    }

    fn warned_of(settings: &Settings) -> Vec<&str> {
        let warnings = settings.notices.iter();
        warnings
            .filter(|notice| notice.severity == super::super::notice::Severity::Warn)
            .filter_map(|notice| notice.about.as_deref())
            .collect()
    }

    #[test]
    fn nothing_is_protected_unless_a_certificate_is_named_or_to_be_made() {
        let tls = with_flags(&["--trusted-ca-file=ca", "--client-crl-file=crl"]).tls;
        assert!(tls.clients.is_none() && tls.peers.is_none());
    }

    #[test]
    fn an_authority_alone_asks_for_certificates_and_client_cert_auth_makes_them_users() {
        let pair = ["--cert-file=c", "--key-file=k"];
        for (flags, callers) in [
            (&[][..], Callers::Anyone),
            (
                &["--trusted-ca-file=ca"],
                Callers::Certified {
                    authorities: Some("ca".into()),
                    name_is_user: false,
                },
            ),
            (
                &["--trusted-ca-file=ca", "--client-cert-auth"],
                Callers::Certified {
                    authorities: Some("ca".into()),
                    name_is_user: true,
                },
            ),
            (
                &["--client-cert-auth"],
                Callers::Certified {
                    authorities: None,
                    name_is_user: true,
                },
            ),
        ] {
            let settings = with_flags(&[&pair, flags].concat());
            assert_eq!(settings.tls.clients.unwrap().callers, callers, "{flags:?}");
        }
    }

    #[test]
    fn a_certificate_that_is_to_be_made_is_for_the_hosts_of_all_urls() {
        let settings = with_flags(&[
            "--auto-tls",
            "--data-dir=d",
            "--self-signed-cert-validity=3",
            "--listen-client-urls=https://10.0.0.1:1,https://10.0.0.1:2",
            "--listen-client-http-urls=https://10.0.0.2:1",
            "--advertise-client-urls=https://etcd-0:1",
        ]);
        let made = GeneratedIdentity {
            directory: PathBuf::from("d/fixtures/client"),
            hosts: vec!["10.0.0.1".into(), "10.0.0.2".into(), "etcd-0".into()],
            validity_years: NonZeroU32::new(3).unwrap(),
        };
        let clients = settings.tls.clients.unwrap();
        assert_eq!(clients.identity, TlsIdentity::Generated(made));
        assert!(settings.tls.peers.is_none());
    }

    #[test]
    fn versions_and_peers_rules_are_taken_over() {
        let settings = with_flags(&[
            "--peer-cert-file=c",
            "--peer-key-file=k",
            "--peer-client-cert-file=c2",
            "--peer-client-key-file=k2",
            "--peer-cert-allowed-cn=a,b",
            "--peer-crl-file=crl",
            "--peer-trusted-ca-file=ca",
            "--tls-max-version=TLS1.2",
            "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        ]);
        let peers = settings.tls.peers.unwrap();
        assert_eq!(peers.protocol.versions, TlsVersions::Tls12);
        assert_eq!(peers.protocol.suites.len(), 1);
        assert_eq!(peers.crl_file, Some("crl".into()));
        assert!(peers.checks_caller_address && peers.outgoing_identity.is_some());
        let names = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(peers.allowed, AllowedSubjects::CommonNames(names));
    }

    #[test]
    fn what_protects_less_than_it_seems_is_said() {
        let pair = ["--cert-file=c", "--key-file=k"];
        let url = "--listen-client-urls=https://127.0.0.1:1";
        let advertised = "--advertise-client-urls=https://127.0.0.1:1";
        for (flags, about) in [
            (&[][..], &["cert-file"][..]),
            (&["--trusted-ca-file=t"], &["trusted-ca-file"]),
            (&[url, advertised], &[]),
            (&[url, advertised, "--auto-tls"], &["auto-tls"]),
            (
                &[url, advertised, "--client-cert-auth"],
                &["client-cert-auth"],
            ),
            (
                &[url, advertised, "--client-crl-file=x"],
                &["client-crl-file"],
            ),
        ] {
            let settings = with_flags(&[&pair, flags].concat());
            assert_eq!(warned_of(&settings), about, "{flags:?}");
        }
    }
}
