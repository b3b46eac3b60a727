//! The kinds of value that flags take, each read from text or from a YAML node.
//!
//! Text follows Go's rules (`0x10`, `T`, `1h30m`), files follow the rules of Go's JSON: a
//! number for a number, nanoseconds for a duration, a list where a list is meant.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use serde_yaml_ng::Value as Yaml;

use super::duration::FlagDuration;
use super::url::Url;

/// A value as it arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// From the command line or the environment.
    Text(&'a str),
    /// From a configuration file.
    Yaml(&'a Yaml),
}

/// Why a value cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct InvalidValue {
    /// What is wrong with it, and what to write instead.
    pub reason: String,
}

impl InvalidValue {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// A kind of flag value.
pub(crate) trait FlagValue: Default + PartialEq {
    /// May stand on a command line without a value.
    const IS_BARE: bool = false;

    /// Replaces the value; the old one matters only to kinds where an empty text keeps it.
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue>;

    /// For the log line that shows the effective settings.
    fn to_json(&self) -> Json;
}

/// Text of a node where etcd wants text: scalars other than strings count as written.
fn yaml_text(node: &Yaml) -> Result<String, InvalidValue> {
    match node {
        Yaml::String(text) => Ok(text.clone()),
        Yaml::Bool(value) => Ok(value.to_string()),
        Yaml::Number(number) => Ok(number.to_string()),
        _ => Err(InvalidValue::new(
            "a text is expected here, not a list or a map",
        )),
    }
}

fn yaml_texts(node: &Yaml) -> Result<Vec<String>, InvalidValue> {
    match node {
        Yaml::Sequence(items) => items.iter().map(yaml_text).collect(),
        _ => Err(InvalidValue::new("a list is expected here, as in [a, b]")),
    }
}

impl FlagValue for String {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        *self = match input {
            Input::Text(text) => text.to_owned(),
            Input::Yaml(node) => yaml_text(node)?,
        };
        Ok(())
    }

    fn to_json(&self) -> Json {
        Json::from(self.as_str())
    }
}

impl FlagValue for bool {
    const IS_BARE: Self = true;

    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        *self = match input {
            Input::Text("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Input::Text("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Input::Yaml(Yaml::Bool(value)) => *value,
            // etcd reads YAML 1.1, where these words are booleans.
            Input::Yaml(Yaml::String(word)) => match word.to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" => true,
                "n" | "no" | "off" => false,
                _ => return Err(InvalidValue::new("write true or false")),
            },
            Input::Text(_) | Input::Yaml(_) => {
                return Err(InvalidValue::new("write true or false"));
            }
        };
        Ok(())
    }

    fn to_json(&self) -> Json {
        Json::from(*self)
    }
}

/// A whole number in Go's notation: decimal, or with the prefix 0x, 0o, 0 or 0b.
fn parse_magnitude(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (lower.get(2..)?, 16),
        [b'0', b'b', ..] => (lower.get(2..)?, 2),
        [b'0', b'o', ..] => (lower.get(2..)?, 8),
        [b'0', _, ..] => (lower.get(1..)?, 8),
        _ => (lower.as_str(), 10),
    };
    let is_grouped_well = !digits.ends_with('_') && !digits.contains("__");
    if digits.starts_with(['+', '-']) || !is_grouped_well {
        return None;
    }
    u64::from_str_radix(&digits.replace('_', ""), radix).ok()
}

/// A number of a file without a fraction; `1e4` and `5.0` are whole too.
fn whole_number(node: &Yaml) -> Option<i128> {
    /// Beyond this a float has gaps between whole numbers.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = node.as_u64() {
        return Some(number.into());
    }
    if let Some(number) = node.as_i64() {
        return Some(number.into());
    }
    let float = node
        .as_f64()
        .filter(|it| it.fract() == 0.0 && it.abs() <= EXACT_MAX)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    Some(float as i128)
}

impl FlagValue for u64 {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        let number = match input {
            Input::Text(text) => parse_magnitude(text),
            Input::Yaml(node) => whole_number(node).and_then(|number| Self::try_from(number).ok()),
        };
        *self = number.ok_or_else(|| InvalidValue::new("write a whole number, zero or more"))?;
        Ok(())
    }

    fn to_json(&self) -> Json {
        Json::from(*self)
    }
}

impl FlagValue for u32 {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        let mut wide = 0_u64;
        wide.set(input)?;
        *self = Self::try_from(wide)
            .map_err(|_| InvalidValue::new("write a whole number up to 4294967295"))?;
        Ok(())
    }

    fn to_json(&self) -> Json {
        Json::from(*self)
    }
}

impl FlagValue for i64 {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        let number = match input {
            Input::Text(text) => match text.strip_prefix('-') {
                Some(magnitude) => {
                    parse_magnitude(magnitude).and_then(|number| 0_i64.checked_sub_unsigned(number))
                }
                None => parse_magnitude(text.strip_prefix('+').unwrap_or(text))
                    .and_then(|number| Self::try_from(number).ok()),
            },
            Input::Yaml(node) => whole_number(node).and_then(|number| Self::try_from(number).ok()),
        };
        *self = number.ok_or_else(|| InvalidValue::new("write a whole number"))?;
        Ok(())
    }

    fn to_json(&self) -> Json {
        Json::from(*self)
    }
}

impl FlagValue for FlagDuration {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        *self = match input {
            Input::Text(text) => {
                Self::parse(text).map_err(|error| InvalidValue::new(error.to_string()))?
            }
            Input::Yaml(node) => Self::from_nanos(node.as_i64().ok_or_else(|| {
                InvalidValue::new(
                    "a configuration file has durations in nanoseconds: \
                     write 600000000000 for ten minutes",
                )
            })?),
        };
        Ok(())
    }

    fn to_json(&self) -> Json {
        Json::from(self.to_string())
    }
}

/// URLs: sorted, each once. An empty text changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UrlList(pub(crate) Vec<Url>);

impl FlagValue for UrlList {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        let text = match input {
            Input::Text(text) => text.to_owned(),
            Input::Yaml(node) => yaml_text(node)?,
        };
        if !text.is_empty() {
            self.0 = parse_urls(text.split(','))?;
        }
        Ok(())
    }

    fn to_json(&self) -> Json {
        self.0.iter().map(Url::as_str).collect()
    }
}

/// Sorted, each once.
pub(crate) fn parse_urls<'a>(
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<Url>, InvalidValue> {
    let urls: Result<BTreeSet<Url>, _> = texts.map(Url::parse).collect();
    match urls {
        Ok(urls) => Ok(urls.into_iter().collect()),
        Err(error) => Err(InvalidValue::new(error.to_string())),
    }
}

/// Names: sorted, each once. A comma text on the command line, a list in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameSet(pub(crate) BTreeSet<String>);

impl FlagValue for NameSet {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        self.0 = match input {
            Input::Text(text) => split_names(text).collect(),
            Input::Yaml(node @ Yaml::Sequence(_)) => yaml_texts(node)?.into_iter().collect(),
            Input::Yaml(node) => split_names(&yaml_text(node)?).collect(),
        };
        Ok(())
    }

    fn to_json(&self) -> Json {
        self.0.iter().map(String::as_str).collect()
    }
}

/// Origins of web pages: URLs, or `*` for all. An empty text in a file changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origins(pub(crate) BTreeSet<String>);

impl FlagValue for Origins {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        let text = match input {
            Input::Text(text) => text.to_owned(),
            Input::Yaml(node) => yaml_text(node)?,
        };
        self.0 = match text.as_str() {
            "" if matches!(input, Input::Yaml(_)) => return Ok(()),
            "*" => BTreeSet::from([text]),
            urls => parse_urls(urls.split(','))?
                .iter()
                .map(Url::to_string)
                .collect(),
        };
        Ok(())
    }

    fn to_json(&self) -> Json {
        self.0.iter().map(String::as_str).collect()
    }
}

/// Names in the given order; a list in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameList(pub(crate) Vec<String>);

impl FlagValue for NameList {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        self.0 = match input {
            Input::Text(text) => split_names(text).collect(),
            Input::Yaml(node) => yaml_texts(node)?,
        };
        Ok(())
    }

    fn to_json(&self) -> Json {
        self.0.iter().map(String::as_str).collect()
    }
}

fn split_names(text: &str) -> impl Iterator<Item = String> {
    text.split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

/// Whether the member starts a cluster or joins one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClusterState {
    /// A cluster that begins with this member's first start.
    #[default]
    New,
    /// A running cluster that knows of this member already.
    Existing,
}

impl FlagValue for ClusterState {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        let mut text = String::new();
        text.set(input)?;
        *self = match (text.as_str(), input) {
            ("new", _) | ("", Input::Yaml(_)) => Self::New,
            ("existing", _) => Self::Existing,
            _ => return Err(InvalidValue::new("invalid value: write new or existing")),
        };
        Ok(())
    }

    fn to_json(&self) -> Json {
        Json::from(match self {
            Self::New => "new",
            Self::Existing => "existing",
        })
    }
}

/// A stage of the end of etcd's v2 store. Which one it is has no effect, as in etcd 3.7.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct V2Deprecation(String);

impl V2Deprecation {
    /// The stage that counts whatever is given.
    const EFFECTIVE: &str = "write-only";
    const STAGES: [&str; 4] = [
        Self::EFFECTIVE,
        "write-only-skip-check",
        "write-only-drop-data",
        "gone",
    ];
}

impl FlagValue for V2Deprecation {
    fn set(&mut self, input: Input<'_>) -> Result<(), InvalidValue> {
        let mut text = String::new();
        text.set(input)?;
        if !Self::STAGES.contains(&text.as_str()) {
            return Err(InvalidValue::new(format!("invalid value {text:?}")));
        }
        self.0 = text;
        Ok(())
    }

    fn to_json(&self) -> Json {
        Json::from(Self::EFFECTIVE)
    }
}

/// The value of a flag that is accepted and forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forgotten;

impl FlagValue for Forgotten {
    const IS_BARE: bool = true;

    fn set(&mut self, _input: Input<'_>) -> Result<(), InvalidValue> {
        Ok(())
    }

    fn to_json(&self) -> Json {
        Json::Null
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: FlagValue>(given: &str) -> Result<T, InvalidValue> {
        let mut value = T::default();
        value.set(Input::Text(given)).map(|()| value)
    }

    fn yaml<T: FlagValue>(given: &str) -> Result<T, InvalidValue> {
        let node: Yaml = serde_yaml_ng::from_str(given).unwrap();
        let mut value = T::default();
        value.set(Input::Yaml(&node)).map(|()| value)
    }

    #[test]
    fn whole_numbers_take_gos_prefixes() {
        for (given, number) in [
            ("0", 0),
            ("128", 128),
            ("0x10", 16),
            ("010", 8),
            ("0b11", 3),
            ("1_000", 1000),
        ] {
            assert_eq!(text::<u64>(given), Ok(number), "{given}");
        }
        for given in [
            "",
            "-1",
            "+1",
            "1.5",
            "1e3",
            "x",
            "1__0",
            "1_",
            "0x",
            "18446744073709551616",
        ] {
            assert!(text::<u64>(given).is_err(), "{given}");
        }
        assert_eq!(text::<i64>("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(text::<i64>("+5"), Ok(5));
        assert!(text::<i64>("--5").is_err());
        assert!(text::<u32>("4294967296").is_err());
    }

    #[test]
    fn whole_numbers_of_files_may_look_like_floats() {
        for (given, number) in [("128", 128), ("0x10", 16), ("5.0", 5), ("1e4", 10_000)] {
            assert_eq!(yaml::<u64>(given), Ok(number), "{given}");
        }
        for given in ["-1", "1.5", "1e300", ".nan", "'5'", "[5]"] {
            assert!(yaml::<u64>(given).is_err(), "{given}");
        }
        assert_eq!(yaml::<i64>("-1"), Ok(-1));
        assert_eq!(yaml::<u64>("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn booleans_take_what_go_takes() {
        for given in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(text::<bool>(given), Ok(true), "{given}");
        }
        for given in ["", "yes", "tRUE", "2"] {
            assert!(text::<bool>(given).is_err(), "{given}");
        }
        assert_eq!(yaml::<bool>("false"), Ok(false));
        assert_eq!(yaml::<bool>("Yes"), Ok(true));
        assert_eq!(yaml::<bool>("off"), Ok(false));
        assert!(yaml::<bool>("'true'").is_err());
    }

    #[test]
    fn files_have_nanoseconds_where_flags_have_units() {
        assert_eq!(
            yaml::<FlagDuration>("600000000000").unwrap().to_string(),
            "10m0s"
        );
        assert!(
            yaml::<FlagDuration>("10m")
                .unwrap_err()
                .reason
                .contains("nanoseconds")
        );
        assert_eq!(text::<FlagDuration>("10m").unwrap().to_string(), "10m0s");
    }

    #[test]
    fn files_give_text_for_scalars_and_lists_for_lists() {
        assert_eq!(yaml::<String>("123"), Ok("123".to_owned()));
        assert!(yaml::<String>("[a]").is_err());
        assert_eq!(
            yaml::<NameList>("[b, a]"),
            Ok(NameList(vec!["b".into(), "a".into()]))
        );
        assert!(yaml::<NameList>("a").is_err());
    }

    #[test]
    fn url_lists_are_sorted_and_unique_and_keep_their_value_for_an_empty_text() {
        let mut urls: UrlList = text("http://b:1,http://a:1,http://b:1").unwrap();
        let shown = |urls: &UrlList| urls.to_json().to_string();
        assert_eq!(shown(&urls), r#"["http://a:1","http://b:1"]"#);
        urls.set(Input::Text("")).unwrap();
        assert_eq!(shown(&urls), r#"["http://a:1","http://b:1"]"#);
        assert!(urls.set(Input::Text("http://a:1,")).is_err());
    }
}
