//! What memory a member says it has.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const METRIC: &str = "process_resident_memory_bytes";

/// The resident memory of the member at an endpoint, in bytes, from its metrics.
///
/// # Errors
///
/// What stands in the way, in words; an endpoint with TLS among that.
pub(super) async fn resident_bytes(endpoint: &str) -> Result<f64, String> {
    if endpoint.starts_with("https://") || endpoint.starts_with("unix") {
        return Err(format!(
            "fetch error: metrics of {endpoint} are read over http only"
        ));
    }
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let page = fetch(address)
        .await
        .map_err(|error| format!("fetch error: {error}"))?;
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(METRIC))
        .ok_or_else(|| format!("could not find: {METRIC}"))?;
    let parsed = value.trim().parse();
    parsed.map_err(|error| format!("parse error: {error}"))
}

async fn fetch(address: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    // By 1.0, the answer ends with the connection.
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
