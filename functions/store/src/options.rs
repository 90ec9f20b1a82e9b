//! What the configuration says about stores, and the stores that follow from it.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use clap::Args;
use tokio::sync::OnceCell;
use units::{duration, size};

use crate::{
    Connect, Credentials, Error, FlowStore, Hidden, Location, PayloadStore, Place,
    kubernetes::Kubernetes,
    objects::{Access, Objects},
    onix::{self, Onix},
};

/// Which kind of store holds the flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Items of Onix.
    Onix,
    /// ConfigMaps and Secrets of the cluster.
    Kubernetes,
    /// Objects in a folder or a bucket.
    Objects(Location),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "onix" => Ok(Self::Onix),
            "kubernetes" => Ok(Self::Kubernetes),
            url => match url.parse() {
                Ok(location) => Ok(Self::Objects(location)),
                Err(problem) => Err(format!(
                    "neither `onix` nor `kubernetes`; as the URL of an object store: {problem}"
                )),
            },
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Onix => f.write_str("onix"),
            Self::Kubernetes => f.write_str("kubernetes"),
            Self::Objects(location) => location.fmt(f),
        }
    }
}

/// Where flows are looked up by key.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Flow store")]
pub struct FlowStoreOptions {
    /// Where flows are kept: `onix`, `kubernetes` (ConfigMaps and Secrets with the label hookrun.dev/flow-key), or the URL
    /// of an object store: file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix.
    #[arg(
        long,
        env = "HOOKRUN_FLOW_STORE",
        value_name = "STORE",
        default_value = "onix"
    )]
    pub flow_store: Source,

    /// Namespace of the ConfigMaps and Secrets [default: that of the kubeconfig or of the Pod].
    #[arg(long, env = "HOOKRUN_FLOW_STORE_NAMESPACE", value_name = "NAMESPACE")]
    pub flow_store_namespace: Option<String>,

    /// File with the CA certificates (PEM) to trust instead of the system's, for Onix and object stores.
    #[arg(long, env = "HOOKRUN_FLOW_STORE_CA", value_name = "FILE")]
    pub flow_store_ca: Option<PathBuf>,

    /// Time for one look-up, from connecting to the last byte.
    #[arg(long, env = "HOOKRUN_FLOW_STORE_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub flow_store_timeout: Duration,

    /// Size of a stored flow, in bytes or like 10MiB.
    #[arg(long, env = "HOOKRUN_FLOW_STORE_MAX_BYTES", value_name = "SIZE", default_value = "10MiB", value_parser = size)]
    pub flow_store_max_bytes: usize,

    /// Base URI of Onix; without a scheme it means http://.
    #[arg(long, env = "OX_WAPI_URI", value_name = "URI", hide_env_values = true)]
    pub onix_uri: Option<String>,

    /// User at Onix.
    #[arg(
        long,
        env = "OX_WAPI_UNAME",
        value_name = "NAME",
        hide_env_values = true
    )]
    pub onix_user: Option<Hidden>,

    /// Password at Onix; better given by the variable or by a file, since other users see arguments.
    #[arg(
        long,
        env = "OX_WAPI_PWD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub onix_password: Option<Hidden>,

    /// File with the user at Onix, read for every look-up; goes before the variable.
    #[arg(long, env = "HOOKRUN_ONIX_UNAME_FILE", value_name = "FILE")]
    pub onix_user_file: Option<PathBuf>,

    /// File with the password at Onix, read for every look-up; goes before the variable.
    #[arg(long, env = "HOOKRUN_ONIX_PWD_FILE", value_name = "FILE")]
    pub onix_password_file: Option<PathBuf>,
}

impl FlowStoreOptions {
    /// The store. Nothing is connected or read before the first flow is asked for.
    pub fn open(&self, credentials: &Credentials, connect: Connect) -> Arc<dyn FlowStore> {
        let Self {
            flow_store: source,
            flow_store_namespace: namespace,
            flow_store_ca: ca,
            flow_store_timeout: limit,
            flow_store_max_bytes: cap,
            onix_uri,
            onix_user,
            onix_password,
            onix_user_file,
            onix_password_file,
        } = self.clone();
        match source {
            Source::Onix => Arc::new(Onix::new(onix::Settings {
                uri: onix_uri,
                user: onix_user,
                user_file: onix_user_file,
                password: onix_password,
                password_file: onix_password_file,
                ca,
                limit,
                cap,
            })),
            Source::Kubernetes => Arc::new(Kubernetes {
                connect,
                client: OnceCell::new(),
                namespace,
                limit,
                cap,
            }),
            Source::Objects(location) => {
                let access = Access {
                    place: Place::Objects,
                    location,
                    credentials: credentials.clone(),
                    ca,
                    limit,
                };
                Arc::new(Objects::new(access, cap))
            }
        }
    }
}

/// Where payloads lie that no Secret holds.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Payload store")]
pub struct PayloadPlaceOptions {
    /// URL of the object store for payloads beyond 1 MiB: s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.
    #[arg(long, env = "HOOKRUN_PAYLOAD_STORE", value_name = "URL")]
    pub payload_store: Option<Location>,

    /// Time for storing or reading one payload.
    #[arg(long, env = "HOOKRUN_PAYLOAD_STORE_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub payload_store_timeout: Duration,

    /// File with the CA certificates (PEM) to trust instead of the system's.
    #[arg(long, env = "HOOKRUN_PAYLOAD_STORE_CA", value_name = "FILE")]
    pub payload_store_ca: Option<PathBuf>,
}

/// Where payloads go that no Secret holds, and for how long.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Payload store")]
pub struct PayloadStoreOptions {
    /// Where they lie.
    #[command(flatten)]
    pub place: PayloadPlaceOptions,

    /// Time for which a run may fetch its payload; at most 7 days (168h), the longest that S3 signs for.
    #[arg(long, env = "HOOKRUN_PAYLOAD_EXPIRY", value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub payload_expiry: Duration,

    /// Age at which the sweep deletes a payload; never before its expiry.
    #[arg(long, env = "HOOKRUN_PAYLOAD_RETENTION", value_name = "TIME", default_value = "48h", value_parser = duration)]
    pub payload_retention: Duration,

    /// Time for one sweep.
    #[arg(long, env = "HOOKRUN_PAYLOAD_SWEEP_TIMEOUT", value_name = "TIME", default_value = "8m", value_parser = duration)]
    pub payload_sweep_timeout: Duration,
}

/// What S3 and Google sign for at most.
const LONGEST_EXPIRY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl PayloadPlaceOptions {
    /// The store, to read payloads and to store them again, or `None` if none is configured. Nothing is connected before
    /// the first payload.
    ///
    /// # Errors
    /// [`Error::Settings`] if the configuration cannot work; to be reported at start.
    pub fn open(&self, credentials: &Credentials) -> Result<Option<PayloadStore>, Error> {
        // Nobody is given a URL here, and nothing is swept.
        self.open_with(credentials, Duration::ZERO, Duration::ZERO)
    }

    fn open_with(
        &self,
        credentials: &Credentials,
        expiry: Duration,
        sweep_limit: Duration,
    ) -> Result<Option<PayloadStore>, Error> {
        let Self {
            payload_store,
            payload_store_timeout: limit,
            payload_store_ca: ca,
        } = self.clone();
        let Some(location) = payload_store else {
            return Ok(None);
        };
        if location.is_folder() {
            return Err(unusable(
                "HOOKRUN_PAYLOAD_STORE is a folder, which cannot give runs a signed URL: use s3://, gs:// or az://",
            ));
        }
        let access = Access {
            place: Place::Payloads,
            location,
            credentials: credentials.clone(),
            ca,
            limit,
        };
        Ok(Some(PayloadStore::new(access, expiry, sweep_limit)))
    }
}

impl PayloadStoreOptions {
    /// The store, or `None` if none is configured. Nothing is connected before the first payload.
    ///
    /// # Errors
    /// [`Error::Settings`] if the configuration cannot work; to be reported at start.
    pub fn open(&self, credentials: &Credentials) -> Result<Option<PayloadStore>, Error> {
        let expiry = self.payload_expiry;
        if self.place.payload_store.is_some() && expiry > LONGEST_EXPIRY {
            return Err(unusable(
                "HOOKRUN_PAYLOAD_EXPIRY is longer than 7 days (168h), the longest that stores sign for",
            ));
        }
        self.place
            .open_with(credentials, expiry, self.payload_sweep_timeout)
    }
}

fn unusable(reason: &str) -> Error {
    Error::Settings {
        place: Place::Payloads,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        flows: FlowStoreOptions,
        #[command(flatten)]
        payloads: PayloadStoreOptions,
    }

    fn command(arguments: &[&str]) -> Command {
        Command::try_parse_from(std::iter::once("hookrun").chain(arguments.iter().copied()))
            .unwrap()
    }

    #[test]
    fn sources_print_as_they_are_read() {
        for text in ["onix", "kubernetes", "s3://bucket/flows"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        assert!(
            "etcd"
                .parse::<Source>()
                .unwrap_err()
                .contains("`kubernetes`")
        );
    }

    #[test]
    fn defaults_are_those_of_the_documents() {
        let Command { flows, payloads } = command(&[]);
        assert_eq!(flows.flow_store, Source::Onix);
        assert_eq!(
            (flows.flow_store_timeout, flows.flow_store_max_bytes),
            (Duration::from_secs(5), 10 << 20)
        );
        assert_eq!(payloads.payload_expiry, Duration::from_secs(24 * 3600));
        assert!(payloads.open(&Credentials::default()).unwrap().is_none());
    }

    #[test]
    fn a_payload_store_that_cannot_work_is_refused_at_start() {
        let refused = |arguments: &[&str]| {
            command(arguments)
                .payloads
                .open(&Credentials::default())
                .unwrap_err()
                .to_string()
        };
        assert!(
            refused(&["--payload-store", "file:///tmp"]).contains("cannot give runs a signed URL")
        );
        assert!(
            refused(&["--payload-store", "s3://b", "--payload-expiry", "169h"]).contains("7 days")
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        let options = command(&["--onix-user", "bob", "--onix-password", "s3cret"]).flows;
        assert!(!format!("{options:?}").contains("s3cret"));
    }
}
