//! A certificate that a member makes for itself (`--auto-tls`, `--peer-auto-tls`).

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

use super::error::TlsError;
use super::files::Contents;
use super::{key_pair, protocol};
use crate::settings::{GeneratedIdentity, KeyPairFiles, TlsProtocol, TlsVersions};

const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// The pair in the directory, if it is there and valid; otherwise a new one.
pub(super) fn key_pair(wanted: &GeneratedIdentity) -> Result<KeyPairFiles, TlsError> {
    let files = KeyPairFiles {
        certificate: wanted.directory.join(CERTIFICATE),
        key: wanted.directory.join(KEY),
    };
    if is_usable(&files) {
        return Ok(files);
    }
    let failed = |reason: String| TlsError::Generate {
        directory: wanted.directory.clone(),
        reason,
    };
    let (certificate, key) = make(wanted).map_err(|error| failed(error.to_string()))?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&wanted.directory)
        .and_then(|()| write(&files.key, 0o600, &key))
        .and_then(|()| write(&files.certificate, 0o644, &certificate))
        .map_err(|error| failed(error.to_string()))?;
    tracing::info!(path = %files.certificate.display(), "created cert file");
    tracing::info!(path = %files.key.display(), "created key file");
    Ok(files)
}

fn is_usable(files: &KeyPairFiles) -> bool {
    let paths = [files.certificate.clone(), files.key.clone()];
    if !files.certificate.exists() && !files.key.exists() {
        return false;
    }
    let any = TlsProtocol {
        versions: TlsVersions::Both,
        suites: Vec::new(),
    };
    let loaded = Contents::read(&paths)
        .and_then(|contents| key_pair::load(files, &contents, &protocol::provider(&any)));
    match loaded {
        Ok(pair) => {
            let end = pair.cert.first().and_then(key_pair::validity);
            end.is_some_and(|(_, end)| SystemTime::now() < end)
        }
        Err(error) => {
            tracing::warn!(%error, "a generated certificate cannot be used; making a new one");
            false
        }
    }
}

/// Certificate and key in PEM.
fn make(wanted: &GeneratedIdentity) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "etcd");
    params.distinguished_name = name;
    params.subject_alt_names = wanted
        .hosts
        .iter()
        .filter(|host| !host.is_empty())
        .map(|host| match host.parse::<IpAddr>() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => host.as_str().try_into().map(SanType::DnsName),
        })
        .collect::<Result<_, _>>()?;
    let days = i64::from(wanted.validity_years.get()).saturating_mul(365);
    params.not_before = OffsetDateTime::now_utc();
    params.not_after = params
        .not_before
        .checked_add(Duration::days(days))
        // The last moment that a certificate can name.
        .filter(|end| end.year() <= 9999)
        .unwrap_or_else(|| rcgen::date_time_ymd(9999, 12, 31));
    // No authority, so that it can itself be named as the one to trust, to any TLS library.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    tracing::warn!(
        certificate_validity_bound_not_after = %params.not_after,
        "automatically generate certificates"
    );
    Ok((certificate.pem(), key.serialize_pem()))
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    // A new file each time: one that is there may have other permissions.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::os::unix::fs::PermissionsExt;

    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn a_pair_is_made_once_for_its_owner_alone_and_made_anew_when_it_is_no_good() {
        let directory = tempfile::tempdir().unwrap();
        let wanted = GeneratedIdentity {
            directory: directory.path().join("fixtures/client"),
            hosts: vec![
                "127.0.0.1".into(),
                "::1".into(),
                "etcd-0.etcd".into(),
                String::new(),
            ],
            validity_years: NonZeroU32::new(2).unwrap(),
        };
        let files = key_pair(&wanted).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&files.key), 0o600);
        assert_eq!(mode(&wanted.directory), 0o700);
        let first = fs::read(&files.certificate).unwrap();
        key_pair(&wanted).unwrap();
        assert_eq!(fs::read(&files.certificate).unwrap(), first);
        let certificates = key_pair::certificates(&files.certificate, &first).unwrap();
        let (begin, end) = key_pair::validity(&certificates[0]).unwrap();
        assert_eq!(
            end.duration_since(begin).unwrap().as_secs(),
            2 * 365 * 24 * 3600
        );
        let is_for = |host: &str| {
            let host = ServerName::try_from(host.to_owned()).unwrap();
            super::super::certificate_policy::is_for(&certificates[0], &host)
        };
        for host in ["127.0.0.1", "::1", "etcd-0.etcd"] {
            assert!(is_for(host), "{host}");
        }
        assert!(!is_for("127.0.0.2"));
        fs::write(&files.key, "no key").unwrap();
        key_pair(&wanted).unwrap();
        assert_ne!(fs::read(&files.certificate).unwrap(), first);
    }

    #[test]
    fn a_very_long_validity_ends_with_the_calendar() {
        let directory = tempfile::tempdir().unwrap();
        let wanted = GeneratedIdentity {
            directory: directory.path().to_owned(),
            hosts: Vec::new(),
            validity_years: NonZeroU32::MAX,
        };
        key_pair(&wanted).unwrap();
        assert!(is_usable(&key_pair(&wanted).unwrap()));
    }
}
