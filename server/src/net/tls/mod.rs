//! TLS, by rustls: what this member shows, whom it lets in, whom it believes.
//!
//! [`ServerTls`] takes connections, [`ClientTls`] makes them; both are made of an endpoint of the
//! settings. Certificates, keys, authorities and revocation lists are all looked at again with every
//! handshake (`files.rs`, `source.rs`), so that each of them can be replaced while the server runs;
//! connections that are open go on as they were. What is replaced by something that cannot be used
//! stays as it was, and the log says why.

mod authorities;
mod caller_address;
mod caller_verifier;
mod certificate_policy;
mod client_tls;
mod endpoint;
mod error;
mod files;
mod generated;
mod key_pair;
mod pinned;
mod protocol;
mod rejections;
mod revocation;
mod server_tls;
mod server_verifier;
mod source;
mod subject;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use client_tls::ClientTls;
pub(crate) use error::TlsError;
pub(crate) use server_tls::ServerTls;
pub(crate) use words::{in_etcds_words, refuses_certificate};
