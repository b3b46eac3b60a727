//! What reads from outside, as functions of any bytes: for the fuzzers in `fuzz/`, and for a short run
//! in this crate's tests. None of them may panic.

use crate::settings;

/// What a client sends after HTTP/2's preface; the first byte says in what pieces it comes.
pub fn http2(bytes: &[u8]) {
    crate::net::serve::fuzzed::http2(bytes);
}

/// A token, or what one with a right signature says.
pub fn token(bytes: &[u8]) {
    crate::member::auth::fuzz_token(bytes);
}

/// A command line, an argument a line; those that begin with `ETCD_` are the environment.
pub fn flags(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (environment, arguments): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("ETCD_"));
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let environment = environment.into_iter().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let environment: Vec<_> = environment.collect();
    let read = settings::read(&arguments, &environment, |_| {
        Err(std::io::ErrorKind::NotFound.into())
    });
    assert_told(read);
}

/// A file of settings.
pub fn config_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let arguments = ["--config-file=file".to_owned()];
    assert_told(settings::read(&arguments, &[], |_| Ok(text.to_owned())));
}

fn assert_told(read: Result<settings::Invocation, settings::SettingsError>) {
    if let Err(error) = read {
        assert!(!error.to_string().is_empty(), "{error:?}");
    }
}

#[cfg(test)]
mod tests {
    use cairn_testbed::mutations::run;

    use super::*;

    const CRATE: &str = env!("CARGO_MANIFEST_DIR");

    #[test]
    fn no_frames_make_the_looks_before_http2_panic_or_differ_by_how_they_are_cut() {
        run(CRATE, "http2", 5000, http2).unwrap();
    }

    #[test]
    fn no_token_without_our_signature_is_good_and_none_makes_the_check_panic() {
        run(CRATE, "token", 5000, token).unwrap();
    }

    #[test]
    fn no_command_line_makes_the_reading_of_settings_panic() {
        run(CRATE, "flags", 3000, flags).unwrap();
    }

    #[test]
    fn no_file_makes_the_reading_of_settings_panic() {
        run(CRATE, "config-file", 3000, config_file).unwrap();
    }
}
