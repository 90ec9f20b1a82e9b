//! Object stores: a folder, S3, Google Cloud Storage or Azure Blob Storage behind one URL; and flows kept in one.
//!
//! A flow is the object `<prefix>/<escaped key>.json`. Credentials are the usual variables of each system (`AWS_…`,
//! `GOOGLE_…`, `AZURE_…`). Plain HTTP needs `AWS_ALLOW_HTTP=true` or its counterpart.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::BoxFuture};
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, ObjectStoreExt, ObjectStoreScheme,
    RetryConfig,
    aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder,
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind},
    gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem,
    path::Path,
    signer::Signer,
};
use tokio::{sync::OnceCell, time::timeout};
use url::Url;

use crate::{
    Error, FlowStore, Place,
    error::innermost,
    http::{self, Trust},
    key,
};

/// Where an object store is: `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    url: Url,
    scheme: Scheme,
    prefix: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Folder,
    S3,
    Google,
    Azure,
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORMS: &str =
            "use file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";
        let url = Url::parse(text).map_err(|error| format!("not a URL ({error}): {FORMS}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "credentials do not belong into the URL: use the variables of docs/stores.md"
                    .to_owned(),
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("'?' and '#' mean nothing here: {FORMS}"));
        }
        let scheme = match url.scheme() {
            "file" => Scheme::Folder,
            "s3" => Scheme::S3,
            "gs" => Scheme::Google,
            "az" => Scheme::Azure,
            other => {
                return Err(format!(
                    "{other}: is no object store that is known: {FORMS}"
                ));
            }
        };
        let (_, prefix) =
            ObjectStoreScheme::parse(&url).map_err(|error| format!("{error}: {FORMS}"))?;
        if scheme != Scheme::Folder && url.host_str().unwrap_or_default().is_empty() {
            return Err(format!("the bucket is missing: {FORMS}"));
        }
        Ok(Self {
            url,
            scheme,
            prefix,
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// The settings of the object stores' own systems, as their environment variables name them.
#[derive(Clone, Default)]
pub struct Credentials(Vec<(String, String)>);

impl Credentials {
    /// Those among the process's environment variables.
    pub fn from_env() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        variables.collect()
    }

    /// The settings with this beginning, as the builders want them.
    fn of(&self, system: &str) -> impl Iterator<Item = (String, &str)> {
        self.0
            .iter()
            .filter(move |(name, _)| name.starts_with(system))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Credentials {
    /// Keeps what belongs to an object store; the environment of a process holds much else.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        const SYSTEMS: [&str; 5] = [
            "AWS_",
            "GOOGLE_",
            "SERVICE_ACCOUNT",
            "AZURE_",
            "IDENTITY_ENDPOINT",
        ];
        let known = |name: &str| SYSTEMS.iter().any(|system| name.starts_with(system));
        Self(
            variables
                .into_iter()
                .filter(|(name, _)| known(name))
                .collect(),
        )
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

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

impl Location {
    pub(crate) fn is_folder(&self) -> bool {
        self.scheme == Scheme::Folder
    }
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
            E::NotFound { .. } => Error::NotFound {
                place,
                reason: format!("there is no {what}"),
            },
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Error::Refused {
                place,
                reason: format!(
                    "access to {what} is refused: check the credentials and their rights (docs/stores.md)"
                ),
            },
            _ => match transport(error) {
                Some(HttpErrorKind::Timeout) => Error::Timeout {
                    place,
                    limit: self.limit,
                },
                Some(_) => Error::Unreachable {
                    place,
                    reason: innermost(error),
                },
                None => Error::Failed {
                    place,
                    reason: innermost(error),
                },
            },
        }
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

/// The flow store.
#[derive(Debug)]
pub(crate) struct Objects {
    access: Access,
    cap: usize,
    opened: OnceCell<Opened>,
}

impl Objects {
    pub(crate) fn new(access: Access, cap: usize) -> Self {
        Self {
            access,
            cap,
            opened: OnceCell::new(),
        }
    }

    async fn fetch(&self, key: &str) -> Result<Bytes, Error> {
        let too_large = || Error::TooLarge {
            place: self.access.place,
            limit: self.cap,
        };
        let name = format!("{}.json", key::segment(self.access.place, key)?);
        let Opened { store, prefix, .. } = self
            .opened
            .get_or_try_init(|| async { self.access.open() })
            .await?;
        let path = Path::parse(format!("{prefix}/{name}")).map_err(|error| Error::NotFound {
            place: self.access.place,
            reason: innermost(&error),
        })?;
        let fault = |error| self.access.fault(&error, &format!("object {name}"));
        let object = store.get(&path).await.map_err(fault)?;
        if object.meta.size > self.cap as u64 {
            return Err(too_large());
        }
        let mut document = BytesMut::new();
        let mut chunks = object.into_stream();
        while let Some(chunk) = chunks.next().await.transpose().map_err(fault)? {
            if chunk.len() > self.cap - document.len() {
                return Err(too_large());
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document.freeze())
    }
}

impl FlowStore for Objects {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Bytes, Error>> {
        let Access { place, limit, .. } = self.access;
        Box::pin(async move {
            timeout(limit, self.fetch(key))
                .await
                .unwrap_or(Err(Error::Timeout { place, limit }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_print_as_they_are_read() {
        for text in [
            "file:///var/flows",
            "s3://bucket/a/b",
            "gs://bucket",
            "az://container/flows",
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
        }
    }

    #[test]
    fn other_urls_are_explained() {
        for text in [
            "bucket",
            "http://bucket/a",
            "s3:///a",
            "memory:///",
            "s3://b/?region=x",
            "s3://b/#x",
        ] {
            let problem = text.parse::<Location>().unwrap_err();
            assert!(problem.contains("s3://bucket/prefix"), "{text}: {problem}");
        }
        let problem = "s3://id:s3cret@bucket/a".parse::<Location>().unwrap_err();
        assert!(
            problem.contains("docs/stores.md") && !problem.contains("s3cret"),
            "{problem}"
        );
    }

    #[test]
    fn only_the_stores_own_variables_are_kept_and_none_is_shown() {
        let variables = [("AWS_SECRET_ACCESS_KEY", "s3cret"), ("HOME", "/home")];
        let credentials: Credentials = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(format!("{credentials:?}"), r#"["AWS_SECRET_ACCESS_KEY"]"#);
    }
}
