//! The YAML configuration file, which replaces command line and environment as a whole.
//!
//! Keys are flag names, some of them nested. A key that no flag has is named in a warning and
//! otherwise ignored, as etcd ignores it.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml_ng::{Mapping, Value as Yaml};

use super::error::SettingsError;
use super::flag::{FileKey, Flag};
use super::flag_table::{FLAGS, GivenFlags};
use super::flag_value::{Input, InvalidValue};
use super::notice::Notice;

/// Nested keys are no deeper than this in etcd's files.
const DEPTH_MAX: usize = 4;

/// Reads the file's `text`; the names are those of the flags that it sets.
pub(super) fn read_config_file(
    path: &str,
    text: &str,
    notices: &mut Vec<Notice>,
) -> Result<(GivenFlags, BTreeSet<&'static str>), SettingsError> {
    let mut given = GivenFlags::defaults().map_err(SettingsError::default_value)?;
    let mut named = BTreeSet::new();
    // Editors of other systems begin a file with a mark of its byte order.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let LastWins(document) =
        serde_yaml_ng::from_str(text).map_err(|source| SettingsError::FileSyntax {
            path: path.to_owned(),
            source,
        })?;
    match &document {
        Yaml::Null => {}
        Yaml::Mapping(mapping) => {
            let mut reader = Reader {
                path,
                given: &mut given,
                named: &mut named,
                notices,
            };
            reader.read_mapping(mapping, &mut Vec::new())?;
        }
        _ => {
            return Err(SettingsError::FileShape {
                path: path.to_owned(),
            });
        }
    }
    Ok((given, named))
}

/// A document in which of a key that stands twice the last one counts, as in etcd; the library by itself
/// refuses it.
struct LastWins(Yaml);

impl<'de> Deserialize<'de> for LastWins {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LastWinsVisitor)
    }
}

struct LastWinsVisitor;

impl<'de> Visitor<'de> for LastWinsVisitor {
    type Value = LastWins;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<LastWins, E> {
        Ok(LastWins(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<LastWins, E> {
        Ok(LastWins(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<LastWins, E> {
        Ok(LastWins(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<LastWins, E> {
        Ok(LastWins(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<LastWins, E> {
        Ok(LastWins(value.into()))
    }

    fn visit_unit<E>(self) -> Result<LastWins, E> {
        Ok(LastWins(Yaml::Null))
    }

    fn visit_none<E>(self) -> Result<LastWins, E> {
        Ok(LastWins(Yaml::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<LastWins, D::Error> {
        LastWins::deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<LastWins, A::Error> {
        let mut all = Vec::new();
        while let Some(LastWins(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(LastWins(Yaml::Sequence(all)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<LastWins, A::Error> {
        let mut all = Mapping::new();
        while let Some((LastWins(key), LastWins(value))) = entries.next_entry()? {
            all.insert(key, value);
        }
        Ok(LastWins(Yaml::Mapping(all)))
    }
}

struct Reader<'a> {
    path: &'a str,
    given: &'a mut GivenFlags,
    named: &'a mut BTreeSet<&'static str>,
    notices: &'a mut Vec<Notice>,
}

impl Reader<'_> {
    fn read_mapping(
        &mut self,
        mapping: &Mapping,
        parents: &mut Vec<String>,
    ) -> Result<(), SettingsError> {
        for (key, node) in mapping {
            let Some(key) = key.as_str() else {
                return Err(SettingsError::FileShape {
                    path: self.path.to_owned(),
                });
            };
            parents.push(key.to_ascii_lowercase());
            match (FLAGS.iter().find(|flag| stands_at(flag, parents)), node) {
                // A key without a value leaves the default.
                (_, Yaml::Null) => {}
                (Some(flag), _) => self.store(flag, parents, node)?,
                (None, Yaml::Mapping(inner)) if parents.len() < DEPTH_MAX => {
                    self.read_mapping(inner, parents)?;
                }
                (None, _) if is_section(parents) => return Err(self.not_a_section(parents)),
                (None, _) => {
                    let unknown = Notice::warn("unknown key in the configuration file");
                    self.notices.push(unknown.about(&parents.join(".")));
                }
            }
            parents.pop();
        }
        Ok(())
    }

    fn not_a_section(&self, parents: &[String]) -> SettingsError {
        SettingsError::FileValue {
            path: self.path.to_owned(),
            key: parents.join("."),
            source: InvalidValue::new("a map of settings is expected here"),
        }
    }

    fn store(
        &mut self,
        flag: &'static Flag,
        parents: &[String],
        node: &Yaml,
    ) -> Result<(), SettingsError> {
        (flag.store)(self.given, Input::Yaml(node)).map_err(|source| SettingsError::FileValue {
            path: self.path.to_owned(),
            key: parents.join("."),
            source,
        })?;
        self.named.insert(flag.name);
        Ok(())
    }
}

fn stands_at(flag: &Flag, keys: &[String]) -> bool {
    match flag.file_key {
        FileKey::Same => keys == [flag.name],
        FileKey::Path(path) => keys == path,
        FileKey::Absent => false,
    }
}

/// Whether settings stand below `keys`.
fn is_section(keys: &[String]) -> bool {
    FLAGS.iter().any(|flag| match flag.file_key {
        FileKey::Path(path) => {
            path.len() > keys.len() && path.iter().zip(keys).all(|(a, b)| a == b)
        }
        FileKey::Same | FileKey::Absent => false,
    })
}
