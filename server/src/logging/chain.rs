//! An error and its causes, in one line.

use std::error::Error;
use std::fmt;

/// Shows an error, then what caused it, and so on, down to what the system said.
///
/// A cause that the text before it already ends with is not repeated: some errors show their cause
/// themselves.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !shown.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            shown = text;
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write {file}")]
    struct Outer {
        file: &'static str,
        #[source]
        source: io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Through(Outer);

    fn full_disk() -> Outer {
        Outer {
            file: "/data/db",
            source: io::Error::from_raw_os_error(28),
        }
    }

    #[test]
    fn an_error_is_shown_with_what_the_system_said() {
        let expected = "cannot write /data/db: No space left on device (os error 28)";
        assert_eq!(Chain(&full_disk()).to_string(), expected);
        assert_eq!(Chain(&Through(full_disk())).to_string(), expected);
    }

    #[test]
    fn a_cause_that_is_shown_already_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot start: {0}")]
        struct Told(#[source] io::Error);

        let told = Told(io::Error::from_raw_os_error(28));
        assert_eq!(
            Chain(&told).to_string(),
            "cannot start: No space left on device (os error 28)"
        );
    }
}
