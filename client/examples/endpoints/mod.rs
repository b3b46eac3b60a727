//! The endpoints that an example is given, or the one where a server listens by default.

/// The arguments of the program.
pub(crate) fn given() -> Vec<String> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.is_empty() {
        return vec!["http://127.0.0.1:2379".to_owned()];
    }
    given
}
