//! What memory a member says it has.

use cairn_client::{ConnectOptions, Endpoint, Socket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::failure::Failure;
use crate::session::Session;

const METRIC: &str = "process_resident_memory_bytes";

/// The resident memory of the member at an endpoint, in bytes, from its metrics.
///
/// # Errors
///
/// What stands in the way, in words.
pub(super) async fn resident_bytes(session: &Session, endpoint: &str) -> Result<f64, String> {
    let fetched = fetch(session, endpoint).await;
    let page = fetched.map_err(|reason| format!("fetch error: {reason}"))?;
    value(&page)
}

fn value(page: &str) -> Result<f64, String> {
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(METRIC))
        .ok_or_else(|| format!("could not find: {METRIC}"))?;
    let parsed = value.trim().parse();
    parsed.map_err(|error| format!("parse error: {error}"))
}

async fn fetch(session: &Session, endpoint: &str) -> Result<String, String> {
    let told = |failure: Failure| failure.message;
    let options: ConnectOptions = session.globals.connect_options().map_err(told)?;
    let endpoint: Endpoint = endpoint
        .parse()
        .map_err(|error: cairn_client::Error| error.to_string())?;
    let socket = options.dial_http1(&endpoint).await;
    let answer = ask(socket.map_err(|error| error.to_string())?).await;
    answer.map_err(|error| error.to_string())
}

async fn ask(mut socket: Box<dyn Socket>) -> std::io::Result<String> {
    // By 1.0, the answer ends with the connection.
    socket
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    if let Err(error) = socket.read_to_end(&mut answer).await {
        // Many servers close without TLS's goodbye.
        if error.kind() != std::io::ErrorKind::UnexpectedEof {
            return Err(error);
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_is_found_among_others_and_in_every_form() {
        let page = "# HELP process_resident_memory_bytes Resident.\ngo_threads 3\n\
                    process_resident_memory_bytes 2.9e+07\n";
        assert_eq!(value(page), Ok(2.9e7));
        assert!(value("go_threads 3\n").unwrap_err().contains(METRIC));
    }
}
