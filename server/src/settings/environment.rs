//! `ETCD_*` variables: one for every flag, for those that the command line does not set.

use std::collections::BTreeSet;

use super::error::SettingsError;
use super::flag_table::{FLAGS, GivenFlags};
use super::flag_value::Input;
use super::notice::Notice;

/// Set by tools that ship etcd, to say which one; it is no setting.
const ETCD_VERSION_VARIABLE: &str = "ETCD_VERSION";

/// Adds what `environment` says to `given` and `named`.
///
/// An empty variable counts as absent, unless its flag is given too: both is an error, since
/// one of the two would be ignored without a word.
pub(super) fn read_environment(
    environment: &[(String, String)],
    given: &mut GivenFlags,
    named: &mut BTreeSet<&'static str>,
    notices: &mut Vec<Notice>,
) -> Result<(), SettingsError> {
    let on_command_line = named.clone();
    for (variable, value) in environment {
        if variable == ETCD_VERSION_VARIABLE {
            notices.push(Notice::warn("cannot set special environment variable").about(variable));
            continue;
        }
        if !variable.starts_with("ETCD_") {
            continue;
        }
        let Some(flag) = FLAGS.iter().find(|flag| flag.env_name() == *variable) else {
            notices.push(Notice::warn("unrecognized environment variable").about(variable));
            continue;
        };
        if on_command_line.contains(flag.name) {
            return Err(SettingsError::SetTwice {
                name: flag.name,
                variable: variable.clone(),
            });
        }
        if value.is_empty() {
            continue;
        }
        (flag.store)(given, Input::Text(value)).map_err(|source| SettingsError::VariableValue {
            variable: variable.clone(),
            value: value.clone(),
            source,
        })?;
        named.insert(flag.name);
        notices.push(Notice::info("recognized and used environment variable").about(variable));
    }
    Ok(())
}
