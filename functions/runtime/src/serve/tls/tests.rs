use std::fs;

use tempfile::TempDir;

use super::*;

/// A certificate and its key, in PEM.
fn identity() -> (String, String) {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (identity.cert.pem(), identity.signing_key.serialize_pem())
}

struct Files {
    folder: TempDir,
}

impl Files {
    fn new((certificate, key): &(String, String)) -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files.write(certificate, key);
        files
    }

    fn options(&self) -> TlsOptions {
        TlsOptions {
            tls_cert: self.folder.path().join("tls.crt"),
            tls_key: self.folder.path().join("tls.key"),
        }
    }

    fn write(&self, certificate: &str, key: &str) {
        let TlsOptions { tls_cert, tls_key } = self.options();
        fs::write(tls_cert, certificate).unwrap();
        fs::write(tls_key, key).unwrap();
    }
}

#[test]
fn what_cannot_be_used_is_said_with_its_file() {
    let (certificate, key) = identity();
    let (_, other) = identity();
    let half = &certificate[..certificate.len() / 2];
    let large = "x".repeat(usize::try_from(FILE_BYTES).unwrap() + 1);
    for (certificate, key, expected) in [
        (
            "",
            key.as_str(),
            "tls.crt holds no complete certificate in PEM",
        ),
        (half, &key, "tls.crt holds no complete certificate in PEM"),
        (&key, &key, "tls.crt holds no complete certificate in PEM"),
        (
            &certificate,
            "garbage",
            "tls.key holds no complete private key in PEM",
        ),
        (
            &certificate,
            &certificate,
            "tls.key holds no complete private key in PEM",
        ),
        (
            &certificate,
            &other,
            "cannot be used: keys may not be consistent",
        ),
        (&large, &key, "tls.crt: more than 262144 bytes"),
    ] {
        let files = Files::new(&(certificate.to_owned(), key.to_owned()));
        let error = Certificates::read(files.options()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
    let files = Files::new(&identity());
    fs::remove_file(files.options().tls_key).unwrap();
    let error = Certificates::read(files.options()).unwrap_err().to_string();
    assert!(error.contains("tls.key: No such file"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn files_that_change_count_within_a_second_once_they_are_whole() {
    let (certificate, key) = identity();
    let files = Files::new(&(certificate.clone(), key.clone()));
    let certificates = Certificates::read(files.options()).unwrap();
    let first = certificates.config();
    let unchanged = || Arc::ptr_eq(&first, &certificates.config());

    tokio::time::advance(AGE).await;
    assert!(unchanged(), "the same files");
    // Written again, with the same content.
    files.write(&certificate, &key);
    tokio::time::advance(AGE).await;
    assert!(unchanged(), "the same content");

    let (certificate, key) = identity();
    let TlsOptions { tls_cert, tls_key } = files.options();
    fs::write(&tls_cert, &certificate[..certificate.len() / 2]).unwrap();
    tokio::time::advance(AGE).await;
    assert!(unchanged(), "half a certificate");
    fs::write(&tls_cert, &certificate).unwrap();
    tokio::time::advance(AGE).await;
    assert!(unchanged(), "the key of the former certificate");
    fs::remove_file(&tls_key).unwrap();
    for _ in 0..2 {
        tokio::time::advance(AGE).await;
        assert!(unchanged(), "no key");
    }
    fs::write(&tls_key, &key).unwrap();
    assert!(unchanged(), "not looked at twice within a second");
    tokio::time::advance(AGE).await;
    assert!(!unchanged());
}
