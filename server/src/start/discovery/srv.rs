//! Members from the DNS: SRV records `_etcd-server-ssl._tcp` and `_etcd-server._tcp` (RFC 2782), as
//! etcd reads them.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::rr::RData;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::DiscoveryError;
use crate::settings::{Place, Protection, SrvSettings, Url};

impl SrvSettings {
    fn query(&self, service: &str) -> String {
        let suffix = match self.service_name.as_str() {
            "" => String::new(),
            suffix => format!("-{suffix}"),
        };
        format!("_{service}{suffix}._tcp.{}.", self.domain)
    }
}

/// A resolver as the machine is set up.
///
/// # Errors
///
/// [`DiscoveryError::Dns`] if its settings cannot be read.
pub(crate) fn system_resolver(settings: &SrvSettings) -> Result<TokioResolver, DiscoveryError> {
    let built = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
    built.map_err(|error| dns_error(settings, &error))
}

/// Asks for the members: the text of `--initial-cluster`. The one whose address is among
/// `advertised` is this member, `name`; the others are called by number.
///
/// # Errors
///
/// [`DiscoveryError::Dns`].
pub(crate) async fn find(
    settings: &SrvSettings,
    resolver: &TokioResolver,
    name: &str,
    advertised: &[Url],
) -> Result<String, DiscoveryError> {
    let own = own_places(resolver, advertised).await;
    let mut entries = Vec::new();
    let mut reasons = Vec::new();
    let mut found_self = false;
    let services = [
        ("etcd-server-ssl", "https", Protection::Tls),
        ("etcd-server", "http", Protection::Plain),
    ];
    for (service, scheme, protection) in services {
        let query = settings.query(service);
        let targets = match targets(resolver, &query).await {
            Ok(targets) => targets,
            Err(reason) => {
                reasons.push(format!("{query} {reason}"));
                continue;
            }
        };
        // Each service counts for itself, as etcd does.
        let mut number = 0_usize;
        for Target { host, port, .. } in targets {
            let ips = addresses(resolver, &host).await;
            if ips.is_empty() {
                reasons.push(format!("{host} has no address"));
                continue;
            }
            let place = ips.iter().map(|ip| SocketAddr::new(*ip, port));
            let of_self = own.iter().find(|(at, _)| place.clone().any(|it| it == *at));
            let shown = host.trim_end_matches('.');
            let entry_name = match of_self {
                Some((_, wanted)) if *wanted != protection => {
                    reasons.push(format!(
                        "{scheme}://{shown}:{port} has another scheme than this member's address"
                    ));
                    continue;
                }
                Some(_) => {
                    found_self = true;
                    name.to_owned()
                }
                None => {
                    number += 1;
                    (number - 1).to_string()
                }
            };
            entries.push(format!(
                "{entry_name}={scheme}://{}",
                authority(shown, port)
            ));
        }
    }
    for reason in &reasons {
        tracing::warn!(reason, "a part of the DNS discovery failed");
    }
    if !found_self {
        let local = format!("cannot find local etcd member {name:?} in SRV records");
        reasons.insert(0, local);
        return Err(dns_error(settings, &reasons.join("; ")));
    }
    let cluster = entries.join(",");
    tracing::info!(cluster, "got bootstrap from DNS for etcd-server");
    Ok(cluster)
}

/// Who offers a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Lower ones are preferred.
    pub priority: u16,
    /// How much of the load it gets among its equals.
    pub weight: u16,
    host: String,
    port: u16,
}

impl Target {
    /// Host and port, as addresses have them.
    pub(crate) fn authority(&self) -> String {
        authority(self.host.trim_end_matches('.'), self.port)
    }
}

/// Asks for those that serve clients; whether each does so over TLS.
///
/// # Errors
///
/// [`DiscoveryError::Dns`].
pub(crate) async fn clients(
    settings: &SrvSettings,
    resolver: &TokioResolver,
) -> Result<Vec<(Target, bool)>, DiscoveryError> {
    let mut found = Vec::new();
    let mut reasons = Vec::new();
    for (service, is_secure) in [("etcd-client-ssl", true), ("etcd-client", false)] {
        let query = settings.query(service);
        match targets(resolver, &query).await {
            Ok(targets) => found.extend(targets.into_iter().map(|it| (it, is_secure))),
            Err(reason) => reasons.push(format!("{query} {reason}")),
        }
    }
    if found.is_empty() {
        return Err(dns_error(settings, &reasons.join("; ")));
    }
    Ok(found)
}

/// Where this member is reached, and how.
async fn own_places(resolver: &TokioResolver, advertised: &[Url]) -> Vec<(SocketAddr, Protection)> {
    let mut own = Vec::new();
    for url in advertised {
        if let Place::Tcp { host, port } = url.place() {
            for ip in addresses(resolver, host).await {
                own.push((SocketAddr::new(ip, *port), url.protection()));
            }
        }
    }
    own
}

fn dns_error(settings: &SrvSettings, reason: &impl ToString) -> DiscoveryError {
    DiscoveryError::Dns {
        domain: settings.domain.clone(),
        reason: reason.to_string(),
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Who offers a service, the preferred ones first.
async fn targets(resolver: &TokioResolver, query: &str) -> Result<Vec<Target>, String> {
    let answer = resolver.srv_lookup(query).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let records = answer.answers().iter();
    let mut targets: Vec<_> = records
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Target {
                priority: srv.priority,
                weight: srv.weight,
                host: srv.target.to_string(),
                port: srv.port,
            }),
            _ => None,
        })
        .collect();
    targets.sort();
    Ok(targets)
}

/// The addresses of a host, which may be one itself.
async fn addresses(resolver: &TokioResolver, host: &str) -> Vec<IpAddr> {
    if let Ok(ip) = host.trim_end_matches('.').parse() {
        return vec![ip];
    }
    match resolver.lookup_ip(host).await {
        Ok(ips) => ips.iter().collect(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::{Message, OpCode};
    use hickory_resolver::proto::rr::rdata::{A, SRV};
    use hickory_resolver::proto::rr::{Name, Record, RecordType};
    use tokio::net::UdpSocket;

    /// A DNS server that knows `members` of `example.com`: host, last byte of its address, port.
    async fn dns(service: &'static str, members: &'static [(&str, u8, u16)]) -> TokioResolver {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                let asked = Message::from_vec(&buffer[..len]).unwrap();
                let query = asked.queries[0].clone();
                let mut answer = Message::response(asked.metadata.id, OpCode::Query);
                let name = query.name().clone();
                for (host, byte, port) in members {
                    let host = Name::from_ascii(format!("{host}.example.com.")).unwrap();
                    let data = match query.query_type() {
                        RecordType::SRV if name.to_ascii() == service => {
                            RData::SRV(SRV::new(0, 0, *port, host))
                        }
                        RecordType::A if name == host => {
                            RData::A(A(Ipv4Addr::new(127, 0, 0, *byte)))
                        }
                        _ => continue,
                    };
                    answer
                        .answers
                        .push(Record::from_rdata(name.clone(), 60, data));
                }
                answer.queries.push(query);
                let bytes = answer.to_vec().unwrap();
                socket.send_to(&bytes, from).await.unwrap();
            }
        });
        let mut connection = ConnectionConfig::udp();
        connection.port = port;
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, vec![], vec![server]);
        let provider = TokioRuntimeProvider::default();
        TokioResolver::builder_with_config(config, provider)
            .build()
            .unwrap()
    }

    fn settings(service_name: &str) -> SrvSettings {
        SrvSettings {
            domain: "example.com".to_owned(),
            service_name: service_name.to_owned(),
        }
    }

    const MEMBERS: &[(&str, u8, u16)] = &[("a", 1, 2380), ("b", 2, 2380), ("c", 3, 2381)];

    #[tokio::test]
    async fn the_member_with_our_address_is_us_and_the_others_have_numbers() {
        let resolver = dns("_etcd-server._tcp.example.com.", MEMBERS).await;
        let own = [Url::parse("http://b.example.com:2380").unwrap()];
        let cluster = find(&settings(""), &resolver, "me", &own).await.unwrap();
        assert_eq!(
            cluster,
            "0=http://a.example.com:2380,me=http://b.example.com:2380,1=http://c.example.com:2381"
        );
    }

    #[tokio::test]
    async fn those_that_serve_clients_are_another_service() {
        let resolver = dns("_etcd-client-ssl-blue._tcp.example.com.", MEMBERS).await;
        let found = clients(&settings("blue"), &resolver).await.unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(target, is_secure)| (target.authority(), *is_secure))
            .collect();
        assert_eq!(found[0], ("a.example.com:2380".to_owned(), true));
        assert_eq!(found.len(), 3);
        let none = clients(&settings(""), &resolver).await.unwrap_err();
        assert!(none.to_string().contains("_etcd-client._tcp.example.com."));
    }

    #[tokio::test]
    async fn a_service_can_have_a_name_and_tls() {
        let resolver = dns("_etcd-server-ssl-blue._tcp.example.com.", MEMBERS).await;
        let own = [Url::parse("https://127.0.0.1:2380").unwrap()];
        let cluster = find(&settings("blue"), &resolver, "me", &own)
            .await
            .unwrap();
        assert!(cluster.starts_with("me=https://a.example.com:2380,0=https://b."));
    }

    #[tokio::test]
    async fn who_is_not_in_the_dns_or_under_another_scheme_is_told_so() {
        let resolver = dns("_etcd-server._tcp.example.com.", MEMBERS).await;
        for (own, text) in [
            (
                "http://127.0.0.1:2399",
                "cannot find local etcd member \"me\"",
            ),
            ("https://127.0.0.1:2380", "another scheme"),
        ] {
            let own = [Url::parse(own).unwrap()];
            let error = find(&settings(""), &resolver, "me", &own)
                .await
                .unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
