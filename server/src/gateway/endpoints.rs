//! The members that a gateway passes on to: from its command line, or from the DNS.

use std::io;
use std::path::PathBuf;

use tokio::net::TcpStream;

use super::Remote;
use crate::net::tls::ClientTls;
use crate::settings::{ServiceTls, SrvSettings};
use crate::start::discovery::srv;

/// Reads members as the command line has them, with a scheme or without.
///
/// # Errors
///
/// The text of the first that has no port.
pub(crate) fn given(endpoints: &[String]) -> Result<Vec<Remote>, String> {
    let remote = |endpoint: &String| {
        let address = endpoint
            .split_once("://")
            .map_or(endpoint.as_str(), |it| it.1);
        let address = address.split('/').next().unwrap_or_default();
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(Remote {
                priority: 0,
                weight: 0,
                address: address.to_owned(),
            }),
            _ => Err(format!("error parsing endpoint {endpoint:?}")),
        }
    };
    endpoints.iter().map(remote).collect()
}

/// Asks the DNS for the services of etcd's clients. Unless `trusts_anyone`, members are left out that do
/// not speak TLS, or show no certificate for the domain that `authorities` vouch for, as in etcd.
///
/// # Errors
///
/// What went wrong, for people.
pub(crate) async fn find(
    settings: &SrvSettings,
    authorities: Option<PathBuf>,
    trusts_anyone: bool,
) -> Result<Vec<Remote>, Box<dyn std::error::Error + Send + Sync>> {
    let resolver = srv::system_resolver(settings)?;
    let found = srv::clients(settings, &resolver).await?;
    let tls = ClientTls::to_service(&ServiceTls {
        identity: None,
        authorities,
        believes_anyone: false,
    })?;
    let mut remotes = Vec::new();
    for (target, is_secure) in found {
        let address = target.authority();
        let checked = match (trusts_anyone, is_secure) {
            (true, _) => Ok(()),
            (false, true) => check(&tls, &address, &settings.domain).await,
            (false, false) => Err(io::Error::other("it does not speak TLS")),
        };
        match checked {
            Ok(()) => remotes.push(Remote {
                priority: target.priority,
                weight: target.weight,
                address,
            }),
            Err(error) => tracing::warn!(
                address,
                %error,
                "left out an endpoint of the DNS: --insecure-discovery takes it all the same"
            ),
        }
    }
    Ok(remotes)
}

/// Shakes hands, and says no more.
async fn check(tls: &ClientTls, address: &str, domain: &str) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    tls.connect(stream, domain).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_may_have_a_scheme_and_must_have_a_port() {
        let text = ["http://a:1", "b:2", "https://[::1]:3/"].map(str::to_owned);
        let addresses: Vec<_> = given(&text)
            .unwrap()
            .into_iter()
            .map(|it| it.address)
            .collect();
        assert_eq!(addresses, ["a:1", "b:2", "[::1]:3"]);
        let refusal = given(&["a".to_owned()]).unwrap_err();
        assert_eq!(refusal, "error parsing endpoint \"a\"");
    }
}
