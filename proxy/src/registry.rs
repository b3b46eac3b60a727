//! Who clients may call: this proxy, and those that are registered under the same prefix, as etcd's are.
//!
//! A proxy's entry is a key of a lease: `PREFIX/ADDRESS`, with the value of an endpoint of etcd's client
//! for Go (`naming/endpoints`). Its `Metadata` is JSON within JSON.

use std::sync::Arc;
use std::time::Duration;

use cairn_client::{Client, Error, Keys, LeaseGuard};
use cairn_proto::etcdserverpb::Member;
use serde_json::{Value, json};

/// How long to wait before an entry is made anew.
const AGAIN: Duration = Duration::from_secs(1);
/// Proxies that a list of members names.
const PROXIES_MAX: u32 = 1024;

/// Where a proxy makes itself known.
#[derive(Clone, Debug)]
pub struct Registration {
    /// What stands before the entries of all proxies of the cluster.
    pub prefix: String,
    /// How long an entry outlives its proxy.
    pub ttl: Duration,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Registry {
    /// Its keys are those that the proxy's clients see.
    client: Client,
    /// What clients are told to call; empty for the members themselves.
    advertised: Arc<str>,
    host: Arc<str>,
    registration: Option<Arc<Registration>>,
}

impl Registry {
    pub(crate) fn new(
        client: Client,
        advertised: String,
        registration: Option<Registration>,
    ) -> Self {
        Self {
            client,
            advertised: advertised.into(),
            host: host_name().into(),
            registration: registration.map(Arc::new),
        }
    }

    /// Keeps this proxy's entry; returns at once if it is to have none.
    pub(crate) async fn keep(&self) {
        let Some(registration) = &self.registration else {
            return;
        };
        loop {
            match self.register(registration).await {
                Ok(lease) => {
                    tracing::info!(
                        addr = &*self.advertised,
                        lease_ttl = registration.ttl.as_secs(),
                        "registered session with lease"
                    );
                    lease.lost().await;
                    tracing::warn!(
                        "session expired; possible network partition or server restart; creating a \
                         new session to rejoin"
                    );
                }
                Err(error) => tracing::warn!(%error, "failed to create a session"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn register(&self, registration: &Registration) -> Result<LeaseGuard, Error> {
        let lease = self.client.leases().keep(registration.ttl).await?;
        let key = format!("{}/{}", registration.prefix, self.advertised);
        let put = self.client.put(key, entry(&self.advertised, &self.host));
        match put.lease(lease.id()).await {
            Ok(_) => Ok(lease),
            Err(error) => {
                // What cannot be revoked ends by itself.
                let _ = lease.revoke().await;
                Err(error)
            }
        }
    }

    /// What a list of members shows in place of the members; empty for the members themselves. Where the
    /// registered ones cannot be read, it is this proxy alone.
    pub(crate) async fn members(&self) -> Vec<Member> {
        if self.advertised.is_empty() {
            return Vec::new();
        }
        let own = || vec![member(&self.host, &self.advertised)];
        let Some(registration) = &self.registration else {
            return own();
        };
        let all = Keys::prefix(format!("{}/", registration.prefix));
        match self.client.range(all).limit(PROXIES_MAX).await {
            Ok(found) => {
                let found: Vec<_> = found.kvs.iter().filter_map(|kv| read(&kv.value)).collect();
                if found.is_empty() { own() } else { found }
            }
            Err(error) => {
                tracing::warn!(%error, "the registered proxies cannot be read");
                own()
            }
        }
    }
}

/// What this machine is called; nothing where that is not known.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| String::new(), |name| name.trim_end().to_owned())
}

fn member(name: &str, address: &str) -> Member {
    Member {
        name: name.to_owned(),
        client_urls: vec![address.to_owned()],
        ..Member::default()
    }
}

/// The value of an entry.
fn entry(address: &str, host: &str) -> String {
    let metadata = json!({ "name": host }).to_string();
    json!({ "Op": 0, "Addr": address, "Metadata": metadata }).to_string()
}

/// None of a value that is no entry.
fn read(value: &[u8]) -> Option<Member> {
    let entry: Value = serde_json::from_slice(value).ok()?;
    let metadata = entry.get("Metadata").and_then(Value::as_str);
    let metadata: Option<Value> = metadata.and_then(|text| serde_json::from_str(text).ok());
    let name = metadata.as_ref().and_then(|it| it.get("name")?.as_str());
    Some(member(
        name.unwrap_or_default(),
        entry.get("Addr")?.as_str()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_an_endpoint_of_etcds() {
        let etcds = br#"{"Op":0,"Addr":"a:1","Metadata":"{\"name\":\"h\"}"}"#;
        assert_eq!(read(etcds), Some(member("h", "a:1")));
        assert_eq!(read(entry("a:1", "h").as_bytes()), Some(member("h", "a:1")));
        let nameless = br#"{"Op":0,"Addr":"a:1","Metadata":null}"#;
        assert_eq!(read(nameless), Some(member("", "a:1")));
        for value in [&b""[..], b"{", b"{}", b"[]", br#"{"Addr":1}"#] {
            assert_eq!(read(value), None);
        }
    }
}
