//! What is made of files, and made anew when they are replaced.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::error::TlsError;
use super::files::{Contents, Seen};

type Build<T> = dyn Fn(&Contents) -> Result<T, TlsError> + Send + Sync;

/// A value made of files: [`newest`](Self::newest) is always what they say now, or said when they
/// last made sense.
pub(super) struct Source<T> {
    paths: Vec<PathBuf>,
    build: Box<Build<T>>,
    newest: ArcSwap<T>,
    watched: Mutex<Watched>,
}

struct Watched {
    seen: Seen,
    /// What was last said of files that make no sense.
    complaint: Option<String>,
}

impl<T> Source<T> {
    /// Makes the first value.
    ///
    /// # Errors
    ///
    /// [`TlsError`], if the files make no sense.
    pub(super) fn load(
        paths: Vec<PathBuf>,
        build: impl Fn(&Contents) -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let seen = Seen::look(&paths);
        let contents = Contents::read(&paths)?;
        let value = build(&contents)?;
        Ok(Self {
            paths,
            build: Box::new(build),
            newest: ArcSwap::from_pointee(value),
            watched: Mutex::new(Watched {
                seen: seen.with_digest(contents.digest()),
                complaint: None,
            }),
        })
    }

    /// The value of the files as they are. If they make no sense, which is logged once, the last one
    /// that did.
    pub(super) fn newest(&self) -> Arc<T> {
        let mut watched = self.watched.lock();
        if watched.seen.is_stale() {
            self.reload(&mut watched);
        }
        drop(watched);
        self.newest.load_full()
    }

    fn reload(&self, watched: &mut Watched) {
        let seen = Seen::look(&self.paths);
        let before = watched.seen.digest();
        let made = Contents::read(&self.paths).and_then(|contents| {
            let digest = contents.digest();
            let value = (digest != before)
                .then(|| (self.build)(&contents))
                .transpose()?;
            Ok((digest, value))
        });
        match made {
            Ok((digest, value)) => {
                watched.seen = seen.with_digest(digest);
                watched.complaint = None;
                if let Some(value) = value {
                    self.newest.store(Arc::new(value));
                    let files: Vec<_> = self.paths.iter().map(|it| it.to_string_lossy()).collect();
                    tracing::info!(files = files.join(", "), "loaded changed TLS files");
                }
            }
            Err(error) => {
                watched.seen = seen.with_digest(before);
                let complaint = error.to_string();
                if watched.complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(
                        %error,
                        "changed TLS files cannot be used; serving with what was loaded before. \
                         Mend the files: they are looked at again with the next connection"
                    );
                    watched.complaint = Some(complaint);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_follows_its_file_and_outlives_its_faults() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let parse = |path: PathBuf| {
            move |contents: &Contents| {
                let text = String::from_utf8_lossy(contents.of(&path)).into_owned();
                text.parse::<u32>().map_err(|error| TlsError::Malformed {
                    path: path.clone(),
                    reason: error.to_string(),
                })
            }
        };
        write("x");
        assert!(Source::load(vec![path.clone()], parse(path.clone())).is_err());
        write("1");
        let source = Source::load(vec![path.clone()], parse(path.clone())).unwrap();
        assert_eq!(*source.newest(), 1);
        let first = source.newest();
        write("1");
        assert!(Arc::ptr_eq(&first, &source.newest()), "nothing has changed");
        write("2");
        assert_eq!(*source.newest(), 2);
        write("y");
        assert_eq!(*source.newest(), 2);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(*source.newest(), 2);
        write("3");
        assert_eq!(*source.newest(), 3);
    }
}
