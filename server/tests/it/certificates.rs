//! Authorities, certificates and revocation lists for tests.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate to be issued.
#[derive(Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) common_name: &'a str,
    /// Addresses and host names.
    pub(crate) hosts: &'a [&'a str],
    pub(crate) serial: u64,
    pub(crate) year_of_end: i32,
    pub(crate) purposes: &'a [ExtendedKeyUsagePurpose],
}

impl Default for Wanted<'_> {
    /// For servers and clients alike, valid for long.
    fn default() -> Self {
        Self {
            common_name: "",
            hosts: &[],
            serial: 1000,
            year_of_end: 2100,
            purposes: &[
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        }
    }
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    pub(crate) fn issue(&self, wanted: &Wanted<'_>) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = params_of(wanted).signed_by(&key, &self.issuer).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A list of revoked serial numbers, in PEM.
    pub(crate) fn revoke(&self, serials: &[u64]) -> String {
        self.revoke_as(serials, |list| list.pem().unwrap())
    }

    /// The same in DER.
    pub(crate) fn revoke_in_der(&self, serials: &[u64]) -> Vec<u8> {
        self.revoke_as(serials, |list| list.der().to_vec())
    }

    fn revoke_as<T>(
        &self,
        serials: &[u64],
        encode: impl FnOnce(rcgen::CertificateRevocationList) -> T,
    ) -> T {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2002, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2002, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        encode(params.signed_by(&self.issuer).unwrap())
    }
}

/// What a certificate says, whoever signs it.
pub(crate) fn params_of(wanted: &Wanted<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, wanted.common_name);
    let names = wanted
        .hosts
        .iter()
        .map(|host| match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*host).try_into().unwrap()),
        });
    params.subject_alt_names = names.collect();
    params.serial_number = Some(SerialNumber::from(wanted.serial));
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(wanted.year_of_end, 1, 1);
    params.extended_key_usages = wanted.purposes.to_vec();
    params
}

impl Issued {
    /// Writes `<name>.pem` and `<name>.key`, or replaces them.
    pub(crate) fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let certificate = write(directory, &format!("{name}.pem"), &self.certificate);
        let key = write(directory, &format!("{name}.key"), &self.key);
        (certificate, key)
    }
}

/// Writes a file, or replaces it.
pub(crate) fn write(directory: &Path, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, contents).unwrap();
    path
}
