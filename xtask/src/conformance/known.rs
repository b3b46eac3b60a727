//! Rules that a server does not follow on purpose, or by a fault that stays: which, and why.

use super::context::{Context, Product};
use super::rule::Rule;
use crate::server_process::ApiVersion;

/// A difference that is known.
pub(super) struct Known {
    pub(super) rule: &'static str,
    product: Product,
    /// Only of releases before this one, if any.
    before: Option<ApiVersion>,
    why: &'static str,
}

pub(super) const KNOWN: &[Known] = &[];

/// Why the server does not follow a rule, if that is known.
pub(super) fn why(rule: &Rule, context: &Context) -> Option<&'static str> {
    let name = rule.name();
    let is_meant = |known: &&Known| {
        known.rule == name
            && known.product == context.product()
            && known.before.is_none_or(|before| context.version < before)
    };
    KNOWN.iter().find(is_meant).map(|known| known.why)
}
