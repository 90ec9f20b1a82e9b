//! Opening an object store, late, and putting its errors into our words.

use std::{path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig,
    aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder,
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind},
    gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem,
    path::Path,
    signer::Signer,
};

use super::location::{Credentials, Location, Scheme};
use crate::{
    Error, Place,
    error::innermost,
    http::{self, Trust},
};

/// An object store, ready to be asked.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Who signs URLs; a folder cannot.
    pub(crate) signer: Option<Arc<dyn Signer>>,
    pub(crate) prefix: Path,
}

/// How an object store is opened: late, and with every call bounded.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) place: Place,
    pub(crate) location: Location,
    pub(crate) credentials: Credentials,
    pub(crate) ca: Option<PathBuf>,
    /// For a call with all its repetitions.
    pub(crate) limit: Duration,
}

impl Access {
    pub(crate) fn open(&self) -> Result<Opened, Error> {
        self.build().map_err(|error| Error::Settings {
            place: self.place,
            reason: innermost(&error),
        })
    }

    fn build(&self) -> object_store::Result<Opened> {
        fn opened<S: ObjectStore + Signer>(store: S, prefix: &Path) -> Opened {
            let store = Arc::new(store);
            Opened {
                store: store.clone(),
                signer: Some(store),
                prefix: prefix.clone(),
            }
        }
        let Location {
            url,
            scheme,
            prefix,
        } = &self.location;
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: self.limit / 4,
                base: 2.0,
            },
            max_retries: 3,
            retry_timeout: self.limit,
        };
        let connector = Connector {
            ca: self.ca.clone(),
            connect: self.limit / 2,
        };
        Ok(match scheme {
            Scheme::Folder => {
                let folder = url
                    .to_file_path()
                    .map_err(|()| object_store::Error::Generic {
                        store: "folder",
                        source: format!("{url} names no folder of this machine").into(),
                    })?;
                let store = Arc::new(LocalFileSystem::new_with_prefix(folder)?);
                Opened {
                    store,
                    signer: None,
                    prefix: Path::default(),
                }
            }
            Scheme::S3 => {
                let settings = self
                    .credentials
                    .of("AWS_")
                    .filter_map(|(name, value)| Some((name.parse().ok()?, value)));
                let builder = settings.fold(AmazonS3Builder::new(), |builder, (key, value)| {
                    builder.with_config(key, value)
                });
                opened(
                    builder
                        .with_url(url.as_str())
                        .with_retry(retry)
                        .with_http_connector(connector)
                        .build()?,
                    prefix,
                )
            }
            Scheme::Google => {
                let builder = match self.credentials.of("SERVICE_ACCOUNT").next() {
                    Some((_, file)) => {
                        GoogleCloudStorageBuilder::new().with_service_account_path(file)
                    }
                    None => GoogleCloudStorageBuilder::new(),
                };
                let settings = self
                    .credentials
                    .of("GOOGLE_")
                    .filter_map(|(name, value)| Some((name.parse().ok()?, value)));
                let builder = settings.fold(builder, |builder, (key, value)| {
                    builder.with_config(key, value)
                });
                opened(
                    builder
                        .with_url(url.as_str())
                        .with_retry(retry)
                        .with_http_connector(connector)
                        .build()?,
                    prefix,
                )
            }
            Scheme::Azure => {
                let builder = match self.credentials.of("IDENTITY_ENDPOINT").next() {
                    Some((_, endpoint)) => MicrosoftAzureBuilder::new().with_msi_endpoint(endpoint),
                    None => MicrosoftAzureBuilder::new(),
                };
                let settings = self
                    .credentials
                    .of("AZURE_")
                    .filter_map(|(name, value)| Some((name.parse().ok()?, value)));
                let builder = settings.fold(builder, |builder, (key, value)| {
                    builder.with_config(key, value)
                });
                opened(
                    builder
                        .with_url(url.as_str())
                        .with_retry(retry)
                        .with_http_connector(connector)
                        .build()?,
                    prefix,
                )
            }
        })
    }

    /// An error of a call, in our words.
    pub(crate) fn fault(&self, error: &object_store::Error, what: &str) -> Error {
        use object_store::Error as E;
        let place = self.place;
        match error {
            // A bucket that does not exist is no missing flow.
            E::NotFound { .. } if place == Place::Payloads => Error::Failed {
                place,
                reason: format!("{what} does not exist"),
            },
            E::NotFound { .. } => Error::NotFound {
                place,
                reason: format!("{what} does not exist"),
            },
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => self.refused(what),
            _ => match transport(error) {
                Some(HttpErrorKind::Timeout) => Error::Timeout {
                    place,
                    limit: self.limit,
                },
                Some(_) => Error::Unreachable {
                    place,
                    reason: innermost(error),
                },
                None => self.answered(innermost(error), what),
            },
        }
    }

    /// An error that is an answer of the store, told by its text.
    fn answered(&self, text: String, what: &str) -> Error {
        let place = self.place;
        let Some(Answered { status, code }) = Answered::read(&text) else {
            return Error::Failed {
                place,
                reason: text,
            };
        };
        let reason = format!("the store answered {status} {code}")
            .trim_end()
            .to_owned();
        match status {
            // Listings are refused so.
            "401" | "403" => self.refused(what),
            "429" | "503" => Error::Busy { place, reason },
            _ => Error::Failed { place, reason },
        }
    }

    fn refused(&self, what: &str) -> Error {
        Error::Refused {
            place: self.place,
            reason: format!(
                "access to {what} is refused: check the credentials and their rights (docs/stores.md)"
            ),
        }
    }
}

/// The useful part of an answer that the library hands over only as text: the status, and the `Code` of the XML, while the
/// rest names access keys and hosts.
#[derive(Debug, PartialEq, Eq)]
struct Answered<'a> {
    status: &'a str,
    code: &'a str,
}

impl<'a> Answered<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (_, rest) = text.split_once("status code: ")?;
        let status = rest
            .get(..3)
            .filter(|status| status.bytes().all(|c| c.is_ascii_digit()))?;
        let code = rest
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"));
        Some(Self {
            status,
            code: code.map_or("", |(code, _)| code),
        })
    }
}

/// How the HTTP exchange failed, if it was that.
fn transport(error: &object_store::Error) -> Option<HttpErrorKind> {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if let Some(error) = cause.downcast_ref::<HttpError>() {
            return Some(error.kind());
        }
        cause = cause.source()?;
    }
}

/// Builds the HTTP client of an object store: as ours are, without redirects and without ways around TLS.
#[derive(Debug)]
struct Connector {
    ca: Option<PathBuf>,
    connect: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let problem =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
                store: "HTTP",
                source,
            };
        let plain = options
            .get_config_value(&ClientConfigKey::AllowHttp)
            .is_some_and(|allowed| allowed == "true");
        let trust = self.ca.as_deref().map_or(Trust::System, Trust::File);
        let client = http::client(trust)
            .map_err(|reason| problem(reason.into()))?
            .https_only(!plain)
            .connect_timeout(self.connect)
            .build()
            .map_err(|error| problem(error.into()))?;
        Ok(HttpClient::new(client))
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;

    fn access(location: &str, settings: &[(&str, &str)]) -> Access {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Access {
            place: Place::Payloads,
            location: location.parse().unwrap(),
            credentials: settings.collect(),
            ca: None,
            limit: Duration::from_secs(5),
        }
    }

    #[tokio::test]
    async fn every_bucket_signs_urls_below_its_prefix() {
        let s3 = [
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("AWS_REGION", "eu-central-1"),
        ];
        let azure = [
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "czNjcmV0"),
        ];
        for (location, settings, begin) in [
            (
                "s3://bucket/a/b",
                &s3[..],
                "https://s3.eu-central-1.amazonaws.com/bucket/a/b/x?",
            ),
            (
                "az://container/a",
                &azure[..],
                "https://account.blob.core.windows.net/container/a/x?",
            ),
        ] {
            let Opened { signer, prefix, .. } = access(location, settings).open().unwrap();
            let url = signer
                .unwrap()
                .signed_url(Method::GET, &prefix.join("x"), Duration::from_secs(60))
                .await
                .unwrap();
            assert!(url.as_str().starts_with(begin), "{}", url.path());
        }
        // Google signs with a key file's key or by a call, so only the first half can be shown here.
        assert!(
            access("gs://bucket/a", &[("GOOGLE_BEARER_TOKEN", "s3cret")])
                .open()
                .unwrap()
                .signer
                .is_some()
        );
    }

    #[test]
    fn settings_that_are_wrong_are_told_without_their_values() {
        let text = access(
            "az://container/a",
            &[("AZURE_STORAGE_ACCOUNT_KEY", "s3cret")],
        )
        .open()
        .unwrap_err()
        .to_string();
        assert!(
            text.starts_with("cannot create payload store client: "),
            "{text}"
        );
        let key = [
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "not base64 s3cret"),
        ];
        for problem in [
            access("az://container/a", &key)
                .open()
                .unwrap_err()
                .to_string(),
            text,
        ] {
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }

    #[test]
    fn of_an_answer_only_status_and_code_are_shown() {
        let text = "Server returned non-2xx status code: 403 Forbidden: <Error><Code>NoGo</Code><AWSAccessKeyId>id</…";
        assert_eq!(
            Answered::read(text),
            Some(Answered {
                status: "403",
                code: "NoGo"
            })
        );
        assert_eq!(
            Answered::read("status code: 500 Oops"),
            Some(Answered {
                status: "500",
                code: ""
            })
        );
        assert_eq!(Answered::read("no such host"), None);
        assert_eq!(Answered::read("status code: ü"), None);
    }
}
