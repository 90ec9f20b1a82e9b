//! Who may call: HTTP Basic for people and programs, Eventing's OIDC tokens for CloudEvents.
//!
//! Whatever is wrong with credentials, the answer is the same and takes as long. There is no default password: a
//! function without credentials does not start unless a flag says so. Before any of it: a page of another origin gets
//! nothing, whatever its browser knows.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;

use crate::problem::{self, Problem};
use crate::router::{BoxFuture, Guard};
use crate::{Response, event, response, telemetry};

mod basic;
mod header;
mod origin;
mod provider;
mod token;

pub use basic::Basic;
pub use token::{Error as TokenError, KeySet, KeySource, Tokens};

/// Who may call, as configured.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthOptions {
    /// User name for HTTP Basic authentication.
    #[arg(
        long = "http-user",
        env = "OX_HTTP_UNAME",
        value_name = "NAME",
        default_value = "admin"
    )]
    pub user: String,

    /// Password for HTTP Basic authentication. A file is better: see --credentials.
    #[arg(
        long = "http-password",
        env = "OX_HTTP_PWD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<String>,

    /// Folder with the files `username` and `password` (or `uname` and `pwd`), such as a mounted Secret. Changes are
    /// noticed; several lines in the password file are several valid passwords, so that one can follow the other.
    #[arg(long, env = "HOOKRUN_CREDENTIALS", value_name = "FOLDER")]
    pub credentials: Option<PathBuf>,

    /// Let everybody call without credentials. For trying out on one machine.
    #[arg(long, env = "HOOKRUN_INSECURE_NO_PASSWORD")]
    pub insecure_no_password: bool,

    /// Accept CloudEvents without credentials. For an instance that only the cluster's own network can reach.
    #[arg(long, env = "HOOKRUN_CLUSTER_LOCAL", conflicts_with = "oidc_audience")]
    pub cluster_local: bool,

    /// Accept CloudEvents that carry an OIDC token for this audience, as Knative Eventing sends them.
    #[arg(long, env = "HOOKRUN_OIDC_AUDIENCE", value_name = "AUDIENCE")]
    pub oidc_audience: Option<String>,

    /// Who must have issued the token; without it, the issuer that the API server names for its own tokens.
    #[arg(
        long,
        env = "HOOKRUN_OIDC_ISSUER",
        value_name = "URL",
        requires = "oidc_audience"
    )]
    pub oidc_issuer: Option<String>,

    /// Who the token may be for, separated by commas, such as `system:serviceaccount:team:trigger`. Without it:
    /// everybody to whom the issuer gives a token for the audience.
    #[arg(
        long,
        env = "HOOKRUN_OIDC_SUBJECTS",
        value_name = "SUBJECTS",
        value_delimiter = ',',
        requires = "oidc_audience"
    )]
    pub oidc_subjects: Vec<String>,
}

/// Never shows the password.
impl std::fmt::Debug for AuthOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthOptions")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "*****"))
            .field("credentials", &self.credentials)
            .field("insecure_no_password", &self.insecure_no_password)
            .field("cluster_local", &self.cluster_local)
            .field("oidc_audience", &self.oidc_audience)
            .field("oidc_issuer", &self.oidc_issuer)
            .field("oidc_subjects", &self.oidc_subjects)
            .finish()
    }
}

/// A configuration under which a function does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody could be told from anybody.
    #[error(
        "no credentials are configured: set OX_HTTP_PWD, or HOOKRUN_CREDENTIALS to a folder with the files `username` and \
         `password` (for trying out only: HOOKRUN_INSECURE_NO_PASSWORD=true)"
    )]
    NoPassword,
    /// The password that everybody knows.
    #[error("the password is the published default of the Artisan runner: choose another one")]
    DefaultPassword,
    /// A user name that HTTP Basic cannot carry.
    #[error("the user name must not be empty and must not have a colon")]
    User,
    /// The folder does not hold what it should.
    #[error("credentials in {folder}: {reason}")]
    Folder {
        /// Where.
        folder: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// Tokens cannot be checked without the keys of whoever signs them.
    #[error("HOOKRUN_OIDC_AUDIENCE is set, but there is no API server to get the keys from")]
    NoKeys,
}

/// As whom a request is let in; the field `caller` of its span.
#[derive(Debug, PartialEq, Eq)]
enum Caller {
    /// By name and password.
    Basic,
    /// By a token, for this subject.
    Subject(String),
    /// By a flag that asks for nothing.
    Anyone,
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Basic => f.write_str("basic"),
            Self::Subject(subject) => f.write_str(subject),
            Self::Anyone => f.write_str("anyone"),
        }
    }
}

/// How CloudEvents are let in, beside HTTP Basic.
enum Events {
    Basic,
    ClusterLocal,
    Tokens(Box<Tokens>),
}

/// How everything else is let in.
enum Requests {
    /// Nobody: an instance for CloudEvents alone.
    Nobody,
    Basic(Basic),
    Anyone,
}

/// The guard in front of routes.
pub struct Gate {
    requests: Requests,
    events: Events,
    /// Only for addresses and `localhost`: without a password, the name is all that tells our own page from another.
    local: bool,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl AuthOptions {
    /// The guard that the options describe. `keys` says where the key set of tokens comes from.
    ///
    /// # Errors
    /// No credentials and no flag that says so, or credentials that cannot be used.
    pub fn gate(&self, keys: Option<Arc<dyn KeySource>>) -> Result<Gate, Error> {
        let events = match (&self.oidc_audience, keys) {
            (Some(audience), Some(keys)) => Events::Tokens(Box::new(Tokens::new(
                audience,
                self.oidc_issuer.as_deref(),
                &self.oidc_subjects,
                keys,
            ))),
            (Some(_), None) => return Err(Error::NoKeys),
            (None, _) if self.cluster_local => Events::ClusterLocal,
            (None, _) => Events::Basic,
        };
        let password = self
            .password
            .as_deref()
            .filter(|password| !password.is_empty());
        let requests = match (&self.credentials, password) {
            _ if self.insecure_no_password => Requests::Anyone,
            (Some(folder), _) => Requests::Basic(Basic::from_folder(folder)?),
            (None, Some(password)) => Requests::Basic(Basic::new(&self.user, password)?),
            (None, None) if !matches!(events, Events::Basic) => Requests::Nobody,
            (None, None) => return Err(Error::NoPassword),
        };
        Ok(Gate {
            requests,
            events,
            local: self.insecure_no_password,
        })
    }
}

/// Why a request is not let in.
enum Refusal {
    /// A page of another origin.
    Foreign,
    /// For a name that anybody can make point here.
    Name,
    Unknown,
    /// It cannot be told now; so many seconds later perhaps.
    Later(u32),
}

impl Gate {
    async fn caller(&self, parts: &Parts) -> Result<Caller, Refusal> {
        if origin::is_foreign(parts) {
            return Err(Refusal::Foreign);
        }
        if self.local && origin::is_for_other_name(parts) {
            return Err(Refusal::Name);
        }
        if event::is_cloud_event(parts) {
            match &self.events {
                Events::ClusterLocal => return Ok(Caller::Anyone),
                Events::Tokens(tokens) if header::basic(&parts.headers).is_none() => {
                    return match tokens.check(&parts.headers).await {
                        Ok(subject) => Ok(Caller::Subject(subject)),
                        Err(token::Error::Invalid(reason)) => {
                            tracing::warn!(reason, "a token was refused");
                            Err(Refusal::Unknown)
                        }
                        Err(token::Error::Keys {
                            reason,
                            retry_after,
                        }) => {
                            tracing::error!(reason, "a token cannot be checked");
                            Err(Refusal::Later(retry_after))
                        }
                    };
                }
                Events::Tokens(_) | Events::Basic => {}
            }
        }
        match &self.requests {
            Requests::Anyone => Ok(Caller::Anyone),
            Requests::Basic(basic) if basic.check(&parts.headers) => Ok(Caller::Basic),
            Requests::Basic(_) | Requests::Nobody => Err(Refusal::Unknown),
        }
    }

    fn refuse(&self, parts: &Parts, refusal: &Refusal) -> Response {
        let event = event::is_cloud_event(parts);
        let problem = match refusal {
            Refusal::Foreign => Problem::new(
                problem::FOREIGN,
                "a browser sent this for a page of another origin; use the page of this host, or a program",
            ),
            Refusal::Name => Problem::new(
                problem::NAME,
                "without a password, only requests for an address or localhost are answered",
            ),
            Refusal::Unknown => Problem::new(problem::UNAUTHORIZED, "send valid credentials"),
            Refusal::Later(seconds) => {
                Problem::new(problem::KEYS, "send it again").retry_after(*seconds)
            }
        };
        let mut answer = if event {
            response::for_broker(problem.kind.status, problem.retry_after)
        } else {
            problem.response()
        };
        if let Refusal::Unknown = refusal {
            let scheme = match &self.events {
                Events::Tokens(_) if event => r#"Bearer realm="hookrun""#,
                _ => r#"Basic realm="hookrun", charset="UTF-8""#,
            };
            answer
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        answer
    }
}

impl Guard for Gate {
    fn check<'a>(&'a self, parts: &'a mut Parts) -> BoxFuture<'a, Result<(), Response>> {
        Box::pin(async move {
            match self.caller(parts).await {
                Ok(caller) => {
                    telemetry::record("caller", &caller.to_string());
                    Ok(())
                }
                Err(refusal) => Err(self.refuse(parts, &refusal)),
            }
        })
    }
}

#[cfg(test)]
mod tests;
