//! Certificates and keys of one cluster, made in this process and thrown away with it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// The address of the Service `kubernetes`: the first of the Services' network.
const SERVICE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));

/// Where the files lie that the programs read.
pub(crate) struct Pki {
    pub(crate) ca: PathBuf,
    pub(crate) server_certificate: PathBuf,
    pub(crate) server_key: PathBuf,
    /// Signs tokens of service accounts.
    pub(crate) token_key: PathBuf,
    /// Verifies them.
    pub(crate) token_public_key: PathBuf,
    /// Shows a kubelet that the API server asks.
    pub(crate) client_certificate: PathBuf,
    pub(crate) client_key: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pki {
    /// Makes everything for an API server that is reached at `address`.
    pub(crate) fn write(folder: &Path, address: IpAddr) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "hookrun test cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let server = sign(
            &issuer,
            &[
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ],
            &[address, SERVICE_ADDRESS],
        )?;
        let client = client(&issuer)?;
        let tokens = KeyPair::generate()?;

        let save = |name: &str, text: String| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            ca: save("ca.crt", issuer.pem())?,
            server_certificate: save("api-server.crt", server.certificate)?,
            server_key: save("api-server.key", server.key)?,
            token_key: save("tokens.key", tokens.serialize_pem())?,
            token_public_key: save("tokens.pub", tokens.public_key_pem())?,
            client_certificate: save("client.crt", client.certificate)?,
            client_key: save("client.key", client.key)?,
            issuer,
        })
    }

    pub(crate) fn ca_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for `names` and 127.0.0.1, signed by the cluster's authority.
    pub(crate) fn sign(&self, names: &[&str]) -> Result<Identity> {
        sign(&self.issuer, names, &[])
    }
}

fn sign(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    names: &[&str],
    addresses: &[IpAddr],
) -> Result<Identity> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let common_name = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names)?;
    for address in [&[IpAddr::V4(Ipv4Addr::LOCALHOST)], addresses].concat() {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// An administrator's certificate: kubelets let its holder read logs.
fn client(issuer: &CertifiedIssuer<'static, KeyPair>) -> Result<Identity> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    Ok(Identity {
        certificate: params.signed_by(&key, issuer)?.pem(),
        key: key.serialize_pem(),
    })
}
