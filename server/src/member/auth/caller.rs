//! Who a call comes from, as far as the call itself says.

use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderValue};

use super::certificate::{ClientCertificate, CommonName};

/// The metadata that carries a token, by etcd's clients and by others.
const TOKEN: &str = "token";
const AUTHORIZATION: &str = "authorization";
/// What some put in front of the token.
const BEARER: &str = "Bearer ";
/// Only requests that came through a gRPC gateway have it. The certificate is the gateway's then, not
/// its client's.
const GATEWAY: &str = "grpcgateway-accept";

/// Where a request comes from. Nothing of it is believed yet.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Source);

#[derive(Clone, Debug)]
enum Source {
    /// A client, with what its call brought.
    Client {
        token: Option<HeaderValue>,
        /// The name in the connection's verified certificate; only where `--client-cert-auth` is set.
        common_name: Option<Arc<str>>,
    },
    /// This member's own work, such as ending leases and answering health checks.
    Member,
}

impl Caller {
    /// This member itself, which may do everything.
    pub(crate) const MEMBER: Self = Self(Source::Member);

    /// Somebody who does not say who it is.
    pub(crate) const NOBODY: Self = Self(Source::Client {
        token: None,
        common_name: None,
    });

    /// The client of a call with these headers and extensions.
    pub(crate) fn of_client(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let certificate = extensions.get::<ClientCertificate>();
        let name = certificate.and_then(ClientCertificate::common_name);
        Self::new(headers, name.map(CommonName::as_str))
    }

    /// The client of a call that was routed: the services have put the caller into the
    /// call's extensions. Without one it is nobody.
    pub(crate) fn of_request<M>(request: &tonic::Request<M>) -> Self {
        let caller = request.extensions().get::<Self>();
        caller.cloned().unwrap_or(Self::NOBODY)
    }

    fn new(headers: &HeaderMap, common_name: Option<&str>) -> Self {
        let token = headers.get(TOKEN).or_else(|| headers.get(AUTHORIZATION));
        let common_name = common_name.filter(|_| !headers.contains_key(GATEWAY));
        Self(Source::Client {
            token: token.cloned(),
            common_name: common_name.map(Arc::from),
        })
    }

    pub(super) const fn is_the_member(&self) -> bool {
        matches!(self.0, Source::Member)
    }

    /// The token that came with the call; one that is no text is there, and worth nothing.
    pub(super) fn token(&self) -> Option<Option<&str>> {
        let Source::Client {
            token: Some(token), ..
        } = &self.0
        else {
            return None;
        };
        let text = token.to_str().ok();
        Some(text.map(|text| text.strip_prefix(BEARER).unwrap_or(text)))
    }

    /// The name in the client's certificate, where that counts.
    pub(super) fn common_name(&self) -> Option<Arc<str>> {
        match &self.0 {
            Source::Client { common_name, .. } => common_name.clone(),
            Source::Member => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(headers: &[(&'static str, &str)], name: Option<&str>) -> Caller {
        let mut map = HeaderMap::new();
        for (header, value) in headers {
            map.append(*header, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Caller::new(&map, name)
    }

    #[test]
    fn a_token_is_looked_for_under_both_names_and_without_bearer() {
        for (headers, token) in [
            (&[("token", "t")][..], "t"),
            (&[("authorization", "a")], "a"),
            (&[("authorization", "Bearer a")], "a"),
            (&[("token", "Bearer t")], "t"),
            (&[("token", "t"), ("authorization", "a")], "t"),
            (&[("token", "first"), ("token", "second")], "first"),
            (&[("token", "")], ""),
            (&[("token", "bearer t")], "bearer t"),
        ] {
            assert_eq!(caller(headers, None).token(), Some(Some(token)));
        }
        assert_eq!(caller(&[], None).token(), None);
        assert_eq!(caller(&[("token", "\u{e9}")], None).token(), Some(None));
    }

    #[test]
    fn a_gateways_certificate_is_not_its_clients() {
        let name = |headers| caller(headers, Some("u")).common_name();
        assert_eq!(name(&[]).as_deref(), Some("u"));
        assert_eq!(name(&[("grpcgateway-accept", "*/*")]), None);
    }
}
