//! A rule, and whether it was seen.

use std::future::Future;
use std::pin::Pin;

use anyhow::Result;

use super::context::Context;
use crate::server_process::ApiVersion;

pub(super) const V3_4: ApiVersion = ApiVersion { major: 3, minor: 4 };
pub(super) const V3_5: ApiVersion = ApiVersion { major: 3, minor: 5 };
pub(super) const V3_6: ApiVersion = ApiVersion { major: 3, minor: 6 };
pub(super) const V3_7: ApiVersion = ApiVersion { major: 3, minor: 7 };

/// Looks whether a rule holds; the error says what was seen instead.
pub(super) type Look = fn(Context) -> Pin<Box<dyn Future<Output = Result<()>>>>;

/// Something that can be seen of a server.
pub(super) struct Rule {
    pub(super) area: &'static str,
    /// The function's name, which is the rule.
    pub(super) function: &'static str,
    /// The first release of etcd that follows it.
    pub(super) since: ApiVersion,
    /// Whether it starts servers of its own.
    pub(super) needs_process: bool,
    pub(super) look: Look,
}

impl Rule {
    pub(super) fn name(&self) -> String {
        self.function.replace('_', " ")
    }
}

/// Whether a rule was seen.
#[derive(Debug)]
pub(super) enum Seen {
    Yes,
    /// It is different on purpose: why.
    Different(&'static str),
    /// It is a rule of later releases than this one.
    CameLater(ApiVersion),
    /// Only whoever starts the server can see it.
    NeedsServer,
    /// What was seen instead.
    No(String),
}

impl Seen {
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Different(_) => "differs",
            Self::CameLater(_) => "later",
            Self::NeedsServer => "unasked",
            Self::No(_) => "NO",
        }
    }

    pub(super) fn told(&self) -> String {
        match self {
            Self::Yes => String::new(),
            Self::Different(why) => format!(": {why}"),
            Self::CameLater(release) => format!(" (from {}.{} on)", release.major, release.minor),
            Self::NeedsServer => " (--server)".to_owned(),
            Self::No(instead) => format!(
                "\n             {}",
                instead.replace('\n', "\n             ")
            ),
        }
    }
}

/// Declares the rules of an area: functions of a [`Context`], each under the release it is from.
macro_rules! rules {
    ($area:literal, $needs_process:literal; $($since:ident { $($function:ident,)+ })+) => {
        pub(super) const RULES: &[crate::conformance::rule::Rule] = &[$($(
            crate::conformance::rule::Rule {
                area: $area,
                function: stringify!($function),
                since: crate::conformance::rule::$since,
                needs_process: $needs_process,
                look: |context| Box::pin($function(context)),
            },
        )+)+];
    };
}

pub(super) use rules;
