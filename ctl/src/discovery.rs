//! Endpoints from the DNS: SRV records `_etcd-client-ssl._tcp` and `_etcd-client._tcp`.

use cairn_client::{ConnectOptions, Error};

use crate::cli::Globals;
use crate::failure::Failure;
use crate::golang::quote;
use crate::session::tell;

/// The endpoints that a domain's records name; if all of them are without TLS and that is not
/// wanted, those of the flag.
///
/// # Errors
///
/// The DNS has none, or does not answer.
pub(crate) async fn endpoints(globals: &Globals) -> Result<Vec<String>, Failure> {
    let name = Some(globals.discovery_srv_name.as_str()).filter(|name| !name.is_empty());
    let found = ConnectOptions::discovered_endpoints(&globals.discovery_srv, name).await;
    let found = found.map_err(|error| {
        let reason = match error {
            Error::Unavailable { reason } => reason,
            other => other.to_string(),
        };
        Failure::error(format!("error querying DNS SRV records: {reason}"))
    })?;
    let (wanted, insecure) = sorted_out(found, globals.insecure_discovery);
    for endpoint in insecure {
        let endpoint = quote(endpoint.as_bytes());
        tell(format_args!(
            "ignoring discovered insecure endpoint {endpoint}"
        ));
    }
    Ok(if wanted.is_empty() {
        globals.endpoints.clone()
    } else {
        wanted
    })
}

/// The endpoints to call, and those that are left out for want of TLS.
fn sorted_out(found: Vec<String>, with_insecure: bool) -> (Vec<String>, Vec<String>) {
    found
        .into_iter()
        .partition(|endpoint| with_insecure || !endpoint.starts_with("http://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_without_tls_are_left_out_unless_they_are_wanted() {
        let found = || vec!["https://a:1".to_owned(), "http://b:2".to_owned()];
        let (wanted, insecure) = sorted_out(found(), false);
        assert_eq!(
            (wanted, insecure),
            (
                vec!["https://a:1".to_owned()],
                vec!["http://b:2".to_owned()]
            )
        );
        assert_eq!(sorted_out(found(), true).0, found());
    }
}
