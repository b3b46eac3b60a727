//! How users are known.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::duration::FlagDuration;
use super::error::SettingsError;
use super::flag_table::GivenFlags;
use super::jwt::{Algorithm, JwtSettings};
use super::notice::Notice;

/// How users are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthSettings {
    /// What a login is answered with.
    pub token: TokenSettings,
    /// What a hash of a password costs: two to this power.
    pub bcrypt_cost: u32,
}

/// A kind of token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenSettings {
    /// Random letters.
    Simple {
        /// How long one lasts after its last use.
        ttl: Duration,
    },
    /// Signed claims.
    Jwt(JwtSettings),
}

/// What bcrypt takes, and what is taken if the flag says something else.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
const COST_DEFAULT: u32 = 10;
const TOKEN_TTL_DEFAULT: Duration = Duration::from_secs(300);
const JWT_TTL_DEFAULT: Duration = Duration::from_secs(300);

/// Reads the flags of the group.
pub(super) fn auth_settings(
    given: &GivenFlags,
    notices: &mut Vec<Notice>,
) -> Result<AuthSettings, SettingsError> {
    let cost = u32::try_from(given.bcrypt_cost).ok();
    let bcrypt_cost = cost.filter(|cost| COSTS.contains(cost));
    if bcrypt_cost.is_none() {
        let text = "bcrypt takes costs of 4 to 31: the default of 10 is taken instead";
        notices.push(Notice::warn(text).about("bcrypt-cost"));
    }
    let ttl = match given.auth_token_ttl {
        0 => TOKEN_TTL_DEFAULT,
        seconds => Duration::from_secs(seconds),
    };
    Ok(AuthSettings {
        token: token_settings(&given.auth_token, ttl)?,
        bcrypt_cost: bcrypt_cost.unwrap_or(COST_DEFAULT),
    })
}

/// Reads `simple`, or `jwt,sign-method=…,pub-key=…,priv-key=…,ttl=…`.
fn token_settings(flag: &str, ttl: Duration) -> Result<TokenSettings, SettingsError> {
    let unfit = |what: &str| SettingsError::unfit(format!("--auth-token {flag:?}: {what}"));
    let mut parts = flag.split(',');
    let kind = parts.next().unwrap_or_default();
    let mut options = BTreeMap::new();
    for option in parts {
        let pair = option.split_once('=').filter(|(_, it)| !it.contains('='));
        let (name, value) = pair.ok_or_else(|| unfit("options are written name=value"))?;
        if options.insert(name, value).is_some() {
            return Err(unfit("an option is there twice"));
        }
    }
    let file = |name| {
        options
            .get(name)
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    };
    match kind {
        "simple" => Ok(TokenSettings::Simple { ttl }),
        "jwt" => {
            let method = options.get("sign-method").copied().unwrap_or_default();
            let algorithm = Algorithm::parse(method).ok_or_else(|| {
                let known = Algorithm::ALL.map(Algorithm::name).join(", ");
                unfit(&format!("sign-method must be one of {known}"))
            })?;
            let ttl = match options.get("ttl").filter(|it| !it.is_empty()) {
                None => JWT_TTL_DEFAULT,
                Some(ttl) => FlagDuration::parse(ttl)
                    .ok()
                    .and_then(FlagDuration::to_duration)
                    .ok_or_else(|| unfit("ttl must be a duration, such as 5m"))?,
            };
            Ok(TokenSettings::Jwt(JwtSettings {
                algorithm,
                public_key: file("pub-key"),
                private_key: file("priv-key"),
                ttl,
            }))
        }
        _ => Err(unfit("tokens are simple or jwt")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(9);

    #[test]
    fn tokens_are_simple_or_signed() {
        let read = |flag| token_settings(flag, TTL).unwrap();
        assert_eq!(read("simple"), TokenSettings::Simple { ttl: TTL });
        let jwt = JwtSettings {
            algorithm: Algorithm::Es256,
            public_key: Some("p".into()),
            private_key: None,
            ttl: JWT_TTL_DEFAULT,
        };
        let flag = "jwt,sign-method=ES256,pub-key=p";
        assert_eq!(read(flag), TokenSettings::Jwt(jwt.clone()));
        let flag = "jwt,pub-key=p,priv-key=q,sign-method=ES256,ttl=1h30m,unknown=x";
        let expected = JwtSettings {
            private_key: Some("q".into()),
            ttl: Duration::from_secs(5400),
            ..jwt
        };
        assert_eq!(read(flag), TokenSettings::Jwt(expected));
    }

    #[test]
    fn options_that_etcd_refuses_are_refused() {
        for flag in [
            "",
            "Simple",
            "jwt",
            "jwt,",
            "jwt,sign-method",
            "jwt,sign-method=RS256=x",
            "jwt,sign-method=RS256,sign-method=RS256",
            "jwt,sign-method=none",
            "jwt,sign-method=rs256",
            "jwt,sign-method=RS256,ttl=x",
            "simple,x",
        ] {
            assert!(token_settings(flag, TTL).is_err(), "{flag}");
        }
    }
}
