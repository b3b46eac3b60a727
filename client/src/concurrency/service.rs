//! Where a service is: its endpoints as keys, written as Go's `naming/endpoints` package writes them.

use serde::{Deserialize, Serialize};

use crate::cache::CacheRequest;
use crate::client::Client;
use crate::keys::Keys;
use crate::kv::{Delete, Put};

/// A service, found by its name. Its endpoints are at `NAME/`, as Go's `endpoints.Manager` and
/// gRPC's resolver of etcd have them.
#[derive(Clone, Debug)]
pub struct Service {
    client: Client,
    prefix: String,
}

/// One place where a service is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEndpoint {
    /// The address, as its callers understand it.
    #[serde(rename = "Addr", default)]
    pub address: String,
    /// What else they are to know.
    #[serde(rename = "Metadata", default)]
    pub metadata: serde_json::Value,
}

/// The number under which Go's package says that an endpoint is there.
const ADDED: u8 = 0;

impl Client {
    /// A service.
    ///
    /// ```no_run
    /// # async fn run(client: cairn_client::Client) -> Result<(), cairn_client::Error> {
    /// use std::time::Duration;
    ///
    /// use cairn_client::ServiceEndpoint;
    ///
    /// let service = client.service("mail");
    /// let session = client.session(Duration::from_secs(10)).await?;
    /// let own = ServiceEndpoint {
    ///     address: "10.0.0.7:25".to_owned(),
    ///     ..ServiceEndpoint::default()
    /// };
    /// // Gone when this program is.
    /// service.put("host-7", &own).lease(session.lease()).await?;
    /// for entry in service.cache().await?.snapshot().iter() {
    ///     println!("{:?}", entry.value());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn service(&self, name: &str) -> Service {
        Service {
            client: self.clone(),
            prefix: format!("{name}/"),
        }
    }
}

impl Service {
    /// Writes an endpoint under a name of its own; with the lease of a session it goes with that.
    pub fn put(&self, name: &str, endpoint: &ServiceEndpoint) -> Put<Client> {
        let value = serde_json::json!({
            "Op": ADDED,
            "Addr": endpoint.address,
            "Metadata": endpoint.metadata,
        });
        self.client.put(self.key(name), value.to_string())
    }

    /// Takes an endpoint away.
    pub fn delete(&self, name: &str) -> Delete<Client> {
        self.client.delete(self.key(name))
    }

    /// The endpoints, kept fresh.
    pub fn cache(&self) -> CacheRequest<ServiceEndpoint> {
        self.client.cache(Keys::prefix(&self.prefix)).json()
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
