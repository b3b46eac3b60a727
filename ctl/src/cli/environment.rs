//! Environment variables: `ETCDCTL_` and a flag's name.

use std::collections::BTreeMap;

/// The variables that concern us, and those of watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

const PREFIX: &str = "ETCDCTL_";

/// Variables that are no flags' and known all the same.
const KNOWN: [&str; 3] = [
    "ETCDCTL_API",
    "ETCDCTL_WATCH_KEY",
    "ETCDCTL_WATCH_RANGE_END",
];

impl Environment {
    /// Takes what concerns us from pairs of names and values.
    pub(crate) fn new(variables: impl Iterator<Item = (String, String)>) -> Self {
        Self(
            variables
                .filter(|(name, _)| name.starts_with(PREFIX))
                .collect(),
        )
    }

    /// The variable of a flag.
    pub(crate) fn variable(flag: &str) -> String {
        format!("{PREFIX}{}", flag.replace('-', "_").to_uppercase())
    }

    /// A flag's variable, if it is set.
    pub(crate) fn value_of(&self, flag: &str) -> Option<(String, &str)> {
        let variable = Self::variable(flag);
        let value = self.0.get(&variable)?;
        Some((variable, value))
    }

    /// What a watch is about if the command line does not say it.
    pub(crate) fn watch_key(&self) -> &str {
        self.0.get("ETCDCTL_WATCH_KEY").map_or("", String::as_str)
    }

    pub(crate) fn watch_range_end(&self) -> &str {
        let value = self.0.get("ETCDCTL_WATCH_RANGE_END");
        value.map_or("", String::as_str)
    }

    /// Variables that look like ours and mean nothing.
    pub(crate) fn unknown(&self, is_flag: impl Fn(&str) -> bool) -> Vec<&str> {
        let names = self.0.keys().map(String::as_str);
        let flag = |name: &str| {
            let flag = name.trim_start_matches(PREFIX).to_lowercase();
            flag.replace('_', "-")
        };
        names
            .filter(|name| !KNOWN.contains(name) && !is_flag(&flag(name)))
            .collect()
    }
}
