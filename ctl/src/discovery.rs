//! Endpoints from the DNS: SRV records `_etcd-client-ssl._tcp` and `_etcd-client._tcp`.

use hickory_resolver::proto::rr::RData;
use hickory_resolver::{ResolverBuilder, TokioResolver};

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
    let built = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
    let resolver = built.map_err(Failure::error)?;
    let mut found = Vec::new();
    let mut reasons = Vec::new();
    for (service, scheme) in [("etcd-client-ssl", "https"), ("etcd-client", "http")] {
        let query = query(service, globals);
        match targets(&resolver, &query).await {
            Ok(targets) => found.extend(targets.iter().map(|it| format!("{scheme}://{it}"))),
            Err(reason) => reasons.push(format!("{query} {reason}")),
        }
    }
    if found.is_empty() {
        let reasons = reasons.join("; ");
        return Err(Failure::error(format!(
            "error querying DNS SRV records: {reasons}"
        )));
    }
    if !globals.insecure_discovery {
        let insecure = found.extract_if(.., |endpoint| endpoint.starts_with("http://"));
        for endpoint in insecure {
            let endpoint = quote(endpoint.as_bytes());
            tell(format_args!(
                "ignoring discovered insecure endpoint {endpoint}"
            ));
        }
    }
    Ok(if found.is_empty() {
        globals.endpoints.clone()
    } else {
        found
    })
}

fn query(service: &str, globals: &Globals) -> String {
    let suffix = match globals.discovery_srv_name.as_str() {
        "" => String::new(),
        name => format!("-{name}"),
    };
    format!("_{service}{suffix}._tcp.{}.", globals.discovery_srv)
}

/// Hosts with ports.
async fn targets(resolver: &TokioResolver, query: &str) -> Result<Vec<String>, String> {
    let lookup = resolver.srv_lookup(query).await;
    let lookup = lookup.map_err(|error| error.to_string())?;
    let records = lookup
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some((srv.priority, srv.target.to_string(), srv.port)),
            _ => None,
        });
    let mut records: Vec<_> = records.collect();
    records.sort();
    let named = records
        .iter()
        .map(|(_, host, port)| (host.trim_end_matches('.'), port));
    Ok(named.map(|(host, port)| format!("{host}:{port}")).collect())
}
