//! Tokens of any bytes.

use std::sync::OnceLock;

use crate::settings::Digest;

use super::*;

static JWT: OnceLock<Option<Jwt>> = OnceLock::new();

/// Bytes as a token; and, as they come before and after the first line's end, as what a token with a
/// right signature says.
///
/// # Panics
///
/// If a token without our signature is taken for good.
pub(crate) fn token(bytes: &[u8]) {
    let Some(jwt) = JWT.get_or_init(load) else {
        return;
    };
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(jwt.verify(text).is_err(), "{text}");
    }
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let mut part = || URL_SAFE_NO_PAD.encode(parts.next().unwrap_or_default());
    let message = format!("{}.{}", part(), part());
    if let Ok(signature) = jwt.current.load().keys.sign(message.as_bytes()) {
        let signature = URL_SAFE_NO_PAD.encode(signature);
        // Whether it is good or not, is for its claims to say.
        drop(jwt.verify(&format!("{message}.{signature}")));
    }
}

fn load() -> Option<Jwt> {
    let key = tempfile::NamedTempFile::new().ok()?;
    std::fs::write(key.path(), [7; 64]).ok()?;
    Jwt::load(&JwtSettings {
        algorithm: Algorithm::Hs(Digest::Sha256),
        public_key: None,
        private_key: Some(key.path().to_owned()),
        ttl: Duration::from_secs(300),
    })
    .ok()
}
