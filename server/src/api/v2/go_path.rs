//! Paths as Go's HTTP server wants them, and as it writes them.

use std::fmt::Write as _;

/// Whether a path is what [`clean`] makes of it.
pub(super) fn is_clean(path: &[u8]) -> bool {
    let Some(names) = path.strip_prefix(b"/") else {
        return false;
    };
    let names = names.strip_suffix(b"/").unwrap_or(names);
    path == b"/"
        || names
            .split(|&byte| byte == b'/')
            .all(|name| !matches!(name, b"" | b"." | b".."))
}

/// A path without `.`, `..` and repeated slashes; a slash at the end stays.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let mut clean = Vec::with_capacity(path.len());
    for name in names {
        clean.push(b'/');
        clean.extend_from_slice(name);
    }
    if path.last() == Some(&b'/') || clean.is_empty() {
        clean.push(b'/');
    }
    clean
}

/// A path as it stands in a URL.
pub(super) fn escape(path: &[u8]) -> String {
    let mut escaped = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_gos_server_cleans_them() {
        for (path, cleaned) in [
            ("/v2/keys", "/v2/keys"),
            ("/v2/keys/", "/v2/keys/"),
            ("/v2/keys//x//y", "/v2/keys/x/y"),
            ("/v2/keys/..", "/v2"),
            ("/v2/keys/../x/", "/v2/x/"),
            ("/..", "/"),
            ("/", "/"),
            ("//", "/"),
            ("", "/"),
            ("/v2/./keys", "/v2/keys"),
        ] {
            assert_eq!(clean(path.as_bytes()), cleaned.as_bytes(), "{path}");
            assert_eq!(is_clean(path.as_bytes()), path == cleaned, "{path}");
        }
    }

    #[test]
    fn what_cannot_stand_in_a_url_is_escaped() {
        assert_eq!(escape("/a b/é?".as_bytes()), "/a%20b/%C3%A9%3F");
    }
}
