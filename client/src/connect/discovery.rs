//! Endpoints from DNS: the services that etcd's clients look up.

use hickory_resolver::proto::rr::RData;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::options::ConnectOptions;
use crate::error::Error;

/// The services, and how their targets are spoken to.
const SERVICES: [(&str, &str); 2] = [("etcd-client-ssl", "https"), ("etcd-client", "http")];

impl ConnectOptions {
    /// A client of the endpoints that DNS has for a domain, in the services
    /// `_etcd-client-ssl._tcp` and `_etcd-client._tcp`, the preferred ones first.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if DNS has none.
    pub async fn discover(domain: &str) -> Result<Self, Error> {
        Self::new(Self::discovered_endpoints(domain, None).await?)
    }

    /// The endpoints that DNS has for a domain, as URLs; with a name, in the services
    /// `_etcd-client-ssl-NAME._tcp` and `_etcd-client-NAME._tcp`.
    ///
    /// # Errors
    ///
    /// As [`ConnectOptions::discover`].
    pub async fn discovered_endpoints(
        domain: &str,
        name: Option<&str>,
    ) -> Result<Vec<String>, Error> {
        let resolver = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
        let resolver = resolver.map_err(|error| Error::invalid("DNS", error.to_string()))?;
        endpoints(&resolver, domain, name).await
    }
}

async fn endpoints(
    resolver: &TokioResolver,
    domain: &str,
    name: Option<&str>,
) -> Result<Vec<String>, Error> {
    let suffix = name.map(|name| format!("-{name}")).unwrap_or_default();
    let mut found = Vec::new();
    let mut reasons = Vec::new();
    for (service, scheme) in SERVICES {
        let query = format!("_{service}{suffix}._tcp.{domain}.");
        match resolver.srv_lookup(&query).await {
            Ok(answer) => {
                let records = answer.answers().iter();
                let mut targets: Vec<_> = records
                    .filter_map(|record| match &record.data {
                        RData::SRV(srv) => Some((srv.priority, srv.target.to_ascii(), srv.port)),
                        _ => None,
                    })
                    .collect();
                targets.sort();
                let url = |(_, host, port): (u16, String, u16)| {
                    format!("{scheme}://{}:{port}", host.trim_end_matches('.'))
                };
                found.extend(targets.into_iter().map(url));
            }
            Err(error) => reasons.push(format!("{query} {error}")),
        }
    }
    if found.is_empty() {
        let reason = format!("DNS has no endpoint: {}", reasons.join("; "));
        return Err(Error::Unavailable { reason });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::{Message, OpCode};
    use hickory_resolver::proto::rr::rdata::SRV;
    use hickory_resolver::proto::rr::{Name, Record};
    use tokio::net::UdpSocket;

    use super::*;

    /// A DNS server that knows one service of `example.com`.
    async fn dns() -> TokioResolver {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                let asked = Message::from_vec(&buffer[..len]).unwrap();
                let query = asked.queries[0].clone();
                let mut answer = Message::response(asked.metadata.id, OpCode::Query);
                let targets = match query.name().to_ascii().as_str() {
                    "_etcd-client-ssl._tcp.example.com." => vec![(2, "b", 2379), (1, "a", 2380)],
                    "_etcd-client-blue._tcp.example.com." => vec![(1, "c", 2379)],
                    _ => Vec::new(),
                };
                for (priority, host, port) in targets {
                    let host = Name::from_ascii(format!("{host}.example.com.")).unwrap();
                    let data = RData::SRV(SRV::new(priority, 0, port, host));
                    answer
                        .answers
                        .push(Record::from_rdata(query.name().clone(), 60, data));
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

    #[tokio::test]
    async fn endpoints_are_those_of_the_services_the_preferred_first() {
        let resolver = dns().await;
        let found = endpoints(&resolver, "example.com", None).await.unwrap();
        assert_eq!(
            found,
            ["https://a.example.com:2380", "https://b.example.com:2379"]
        );
        let named = endpoints(&resolver, "example.com", Some("blue")).await;
        assert_eq!(named.unwrap(), ["http://c.example.com:2379"]);
        let none = endpoints(&resolver, "example.org", None).await.unwrap_err();
        assert!(
            none.to_string().contains("_etcd-client._tcp.example.org."),
            "{none}"
        );
    }
}
