//! Kinds of hostile clients, and what each of them must be told.

use std::time::Duration;

use clap::ValueEnum;

use super::port::Port;
use super::tally::Tally;
use super::{crowds, floods, requests};

/// Clients that do the same thing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// Calls that are reset as soon as they are begun.
    RapidReset,
    /// SETTINGS without end, each of which must be acknowledged.
    SettingsFlood,
    /// PING without end.
    PingFlood,
    /// A header list that never ends, in CONTINUATION frames.
    ContinuationFlood,
    /// Header lists of megabytes, in few bytes.
    LargeHeaders,
    /// Connections that begin, a byte every few seconds.
    SlowPreface,
    /// Requests whose bodies come a byte a second.
    SlowBodies,
    /// 10,000 TLS handshakes that stop after some bytes, or after the client's hello.
    HalfOpenHandshakes,
    /// 10,000 connections that do nothing.
    IdleConnections,
    /// 20,000 watches on one stream.
    Watches,
    /// Watches that are created and canceled as fast as can be.
    WatchChurn,
    /// Readers who ask for 100 MB and read none of it.
    UnreadRange,
    /// Puts of 100 MB.
    LargeRequests,
    /// Transactions nested 1,000 deep.
    NestedTxns,
    /// Transactions of 10,000 operations.
    LongTxns,
    /// Messages that are no protobuf, and frames that are no messages.
    Malformed,
    /// Names of users and roles that are no UTF-8.
    InvalidNames,
}

/// What must have happened once an attack has lasted for a while.
pub(super) struct Consequence {
    /// What clients must be told: a part of it. None: they do nothing that is not allowed.
    pub(super) told: Option<&'static str>,
    /// The metric that must have counted it, by the beginning of its line.
    pub(super) counted: Option<&'static str>,
    /// How long it may take, by the server's time limits.
    pub(super) after: Duration,
}

const REFUSED: &str = "cairn_network_client_connections_refused_total{reason=";

impl Attack {
    /// What must come of it.
    pub(super) fn consequence(self, is_secured: bool) -> Consequence {
        let (told, counted) = match self {
            Self::RapidReset => ("GOAWAY ENHANCE_YOUR_CALM", r#""http2""#),
            Self::PingFlood => ("too_many_pings", r#""too_many_pings""#),
            Self::ContinuationFlood => ("GOAWAY ENHANCE_YOUR_CALM", r#""http2""#),
            Self::LargeHeaders => ("header_list_way_too_large", r#""http2""#),
            Self::SlowPreface => ("closed", r#""slow_opening""#),
            Self::HalfOpenHandshakes if is_secured => ("closed", r#""tls_handshake""#),
            Self::HalfOpenHandshakes => ("closed", r#""http1""#),
            Self::LargeRequests => (
                "status 8: ",
                r#"handled_total{grpc_code="ResourceExhausted"#,
            ),
            Self::NestedTxns => ("status ", "grpc_server_handled_total"),
            Self::LongTxns => (
                "status 3: etcdserver: too many operations in txn request",
                r#"handled_total{grpc_code="InvalidArgument"#,
            ),
            Self::Malformed => ("status 13: ", r#"handled_total{grpc_code="Internal"#),
            Self::InvalidNames => ("status 13: ", r#"handled_total{grpc_code="Internal"#),
            Self::SettingsFlood
            | Self::SlowBodies
            | Self::IdleConnections
            | Self::Watches
            | Self::WatchChurn
            | Self::UnreadRange => {
                return Consequence {
                    told: None,
                    counted: None,
                    after: Duration::ZERO,
                };
            }
        };
        let after = match self {
            Self::SlowPreface => Duration::from_secs(35),
            Self::HalfOpenHandshakes if is_secured => Duration::from_secs(15),
            _ => Duration::ZERO,
        };
        Consequence {
            told: Some(told),
            counted: Some(counted),
            after,
        }
    }

    /// Whether the beginning of a metric's line is the one of `counted`.
    pub(super) fn counts(counted: &str, line: &str) -> bool {
        if counted.starts_with('"') {
            return line.starts_with(&format!("{REFUSED}{counted}"));
        }
        line.contains(counted)
    }

    /// Does it without end.
    pub(super) async fn run(self, port: Port, tally: Tally) {
        match self {
            Self::RapidReset => floods::rapid_reset(port, tally).await,
            Self::SettingsFlood => floods::settings(port, tally).await,
            Self::PingFlood => floods::pings(port, tally).await,
            Self::ContinuationFlood => floods::continuations(port, tally).await,
            Self::LargeHeaders => floods::large_headers(port, tally).await,
            Self::SlowPreface => crowds::slow_preface(port, tally).await,
            Self::SlowBodies => crowds::slow_bodies(port, tally).await,
            Self::HalfOpenHandshakes => crowds::half_open_handshakes(port, tally).await,
            Self::IdleConnections => crowds::idle(port, tally).await,
            Self::Watches => requests::watches(port, tally).await,
            Self::WatchChurn => requests::watch_churn(port, tally).await,
            Self::UnreadRange => requests::unread_range(port, tally).await,
            Self::LargeRequests => requests::large(port, tally).await,
            Self::NestedTxns => requests::nested_txns(port, tally).await,
            Self::LongTxns => requests::long_txns(port, tally).await,
            Self::Malformed => requests::malformed(port, tally).await,
            Self::InvalidNames => requests::invalid_names(port, tally).await,
        }
    }

    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
