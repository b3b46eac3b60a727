//! Flags whose feature is not in this build yet: said at start, never passed over in silence.

use super::error::SettingsError;
use super::flag::State;
use super::flag_table::{FLAGS, GivenFlags};
use super::notice::Notice;

/// Adds a notice for what is set and has no effect.
pub(super) fn check_unsupported(
    given: &GivenFlags,
    notices: &mut Vec<Notice>,
) -> Result<(), SettingsError> {
    let defaults = GivenFlags::defaults().map_err(SettingsError::default_value)?;
    for flag in FLAGS
        .iter()
        .filter(|flag| !(flag.is_equal)(given, &defaults))
    {
        match flag.state {
            State::Works | State::Ignored => {}
            State::Moot => {
                notices.push(Notice::info("setting has no effect in Cairn").about(flag.name));
            }
            State::Deprecated(words) => {
                notices.push(Notice::warn(words).about(flag.name));
            }
            State::LaterWarn => {
                let text = "setting has no effect yet: its feature is not in this build of Cairn";
                notices.push(Notice::warn(text).about(flag.name));
            }
        }
    }
    Ok(())
}
