//! Stores that are reached over HTTP.

use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, Error, RetryConfig};
use url::Url;

use crate::Rooted;

/// Attempts after the first: whoever calls tries again anyway, and wants to know.
const RETRIES_MAX: usize = 3;
/// How long attempts are repeated.
const RETRY_TIME: Duration = Duration::from_secs(20);
/// How long a request may take.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// The store at an address; none if its scheme is nobody's.
pub(crate) fn open(
    url: &Url,
    endpoint: Option<&str>,
    variables: impl Iterator<Item = (String, String)>,
) -> Option<Result<Rooted, Error>> {
    // The client that `object_store` uses takes what the process has. An error: there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig {
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIME,
        ..RetryConfig::default()
    };
    let is_plain = endpoint.is_some_and(|it| it.starts_with("http://"));
    let client = ClientOptions::new()
        .with_timeout(REQUEST_TIME)
        .with_allow_http(is_plain);
    let given: Vec<(String, String)> = variables
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    // Each builder knows the names that are its own.
    macro_rules! built {
        ($builder:ident) => {{
            let builder = $builder::new().with_url(url.as_str());
            let builder = given
                .iter()
                .fold(builder, |builder, (name, value)| match name.parse() {
                    Ok(known) => builder.with_config(known, value),
                    Err(_) => builder,
                });
            builder.with_retry(retry)
        }};
    }
    let store = match url.scheme() {
        "s3" => {
            let builder = built!(AmazonS3Builder).with_client_options(client);
            let builder = match endpoint {
                Some(endpoint) => builder.with_endpoint(endpoint),
                None => builder,
            };
            builder.build().map(|it| Box::new(it) as _)
        }
        "gs" => built!(GoogleCloudStorageBuilder)
            .with_client_options(client)
            .build()
            .map(|it| Box::new(it) as _),
        "az" => built!(MicrosoftAzureBuilder)
            .with_client_options(client)
            .build()
            .map(|it| Box::new(it) as _),
        _ => return None,
    };
    Some(store.and_then(|store| Ok((store, Path::from_url_path(url.path())?))))
}
