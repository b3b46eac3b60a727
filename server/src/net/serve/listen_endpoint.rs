//! What is offered at one address: an API, with TLS before it, without, or as the client likes.

use std::sync::Arc;

use http::Request;

use crate::api::router::{Api, OverTls};
use crate::member::auth::ClientCertificate;
use crate::metrics::Faults;
use crate::net::tls::ServerTls;

/// What connections at one address get.
pub(crate) struct ListenEndpoint {
    /// What answers their requests.
    pub api: Arc<Api>,
    /// What protects them.
    pub guard: Guard,
    /// What counts connections that end for what their client did; those of other members are not
    /// counted.
    pub faults: Option<Faults>,
}

/// What protects connections.
#[derive(Clone)]
pub(crate) enum Guard {
    /// Nothing.
    Plain,
    /// TLS.
    Tls(Arc<ServerTls>),
    /// TLS if the client begins with it.
    Either(Arc<ServerTls>),
}

/// What is known of a connection over TLS, and told with each of its requests.
pub(super) struct Seal {
    pub(super) certificate: Option<ClientCertificate>,
}

impl Seal {
    pub(super) fn put_on<B>(&self, request: &mut Request<B>) {
        let extensions = request.extensions_mut();
        extensions.insert(OverTls);
        if let Some(certificate) = &self.certificate {
            extensions.insert(certificate.clone());
        }
    }
}
