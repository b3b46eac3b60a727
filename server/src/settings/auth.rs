//! How users are known.

use std::time::Duration;

use super::error::SettingsError;
use super::flag_table::GivenFlags;
use super::notice::Notice;

/// How users are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    /// How long a simple token lasts after its last use.
    pub token_ttl: Duration,
    /// What a hash of a password costs: two to this power.
    pub bcrypt_cost: u32,
}

/// What bcrypt takes, and what is taken if the flag says something else.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
const COST_DEFAULT: u32 = 10;
const TOKEN_TTL_DEFAULT: Duration = Duration::from_secs(300);

/// Reads the flags of the group.
pub(super) fn auth_settings(
    given: &GivenFlags,
    notices: &mut Vec<Notice>,
) -> Result<AuthSettings, SettingsError> {
    if given.auth_token != "simple" {
        return Err(SettingsError::NotYet {
            name: "auth-token",
            feature: "token kind other than simple",
        });
    }
    let cost = u32::try_from(given.bcrypt_cost).ok();
    let bcrypt_cost = cost.filter(|cost| COSTS.contains(cost));
    if bcrypt_cost.is_none() {
        let text = "bcrypt takes costs of 4 to 31: the default of 10 is taken instead";
        notices.push(Notice::warn(text).about("bcrypt-cost"));
    }
    let token_ttl = match given.auth_token_ttl {
        0 => TOKEN_TTL_DEFAULT,
        seconds => Duration::from_secs(seconds),
    };
    Ok(AuthSettings {
        token_ttl,
        bcrypt_cost: bcrypt_cost.unwrap_or(COST_DEFAULT),
    })
}
