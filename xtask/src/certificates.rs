//! An authority, a certificate for servers on this machine, and one for each user.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

/// The file of a client that its certificate does not name: a proxy, which is not what its clients are.
pub(crate) const NAMELESS: &str = "nameless";

/// Files of one authority: `ca.pem`, `server.pem`, `server.key`, `USER.pem` and `USER.key`.
#[derive(Debug)]
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes an authority, and certificates of servers and of these users, in a new folder.
    pub(crate) fn make(folder: &Path, users: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let made = Self {
            folder: folder.to_path_buf(),
        };
        fs::write(made.authority(), params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);
        // A member is a client of other members, and of itself.
        let both = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        made.issue("server", &["127.0.0.1", "localhost"], &both, &issuer)?;
        for user in users {
            made.issue(user, &[], &both[1..], &issuer)?;
        }
        Ok(made)
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// The name is the common name too; the user's, to a server that asks for certificates.
    fn issue(
        &self,
        name: &str,
        hosts: &[&str],
        purposes: &[ExtendedKeyUsagePurpose],
        issuer: &Issuer<'_, KeyPair>,
    ) -> Result<()> {
        let hosts = hosts.iter().map(|&host| host.to_owned());
        let mut params = CertificateParams::new(hosts.collect::<Vec<_>>())?;
        // There is a common name in what one begins with.
        params.distinguished_name = DistinguishedName::new();
        if name != NAMELESS {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.extended_key_usages = purposes.to_vec();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        fs::write(self.certificate(name), certificate.pem())?;
        fs::write(self.key(name), key.serialize_pem())?;
        Ok(())
    }
}
