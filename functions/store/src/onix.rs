//! Flows in Onix, an item database: `GET <base>/item/<key>`, the flow is the item's `meta`.
//!
//! Settings that are missing are reported when a flow is asked for, in the order of the original (URI, user, password),
//! so that an instance without Onix serves everything else.

mod answer;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::{StatusCode, header};
use tokio::{sync::OnceCell, time::timeout};
use url::Url;

use crate::{
    Error, FlowStore, Place,
    error::innermost,
    http::{self, Trust, Unread},
    key,
    secret::{self, Hidden},
};

use answer::meta;

/// What the configuration says about Onix.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) uri: Option<String>,
    pub(crate) user: Option<Hidden>,
    pub(crate) user_file: Option<PathBuf>,
    pub(crate) password: Option<Hidden>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) limit: Duration,
    pub(crate) cap: usize,
}

/// The store; its client is built for the first flow.
#[derive(Debug)]
pub(crate) struct Onix {
    settings: Settings,
    client: OnceCell<(reqwest::Client, Url)>,
}

const PLACE: Place = Place::Onix;

impl Onix {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            client: OnceCell::new(),
        }
    }

    async fn fetch(&self, key: &str) -> Result<Bytes, Error> {
        let segment = key::segment(PLACE, key)?;
        let Settings {
            uri,
            user,
            user_file,
            password,
            password_file,
            ..
        } = &self.settings;
        let uri = uri
            .as_deref()
            .map(str::trim)
            .filter(|uri| !uri.is_empty())
            .ok_or(Error::Undefined("OX_WAPI_URI"))?;
        let user = credential("OX_WAPI_UNAME", user.as_ref(), user_file.as_ref())?;
        let password = credential("OX_WAPI_PWD", password.as_ref(), password_file.as_ref())?;
        let (client, base) = self
            .client
            .get_or_try_init(|| async { self.connect(uri) })
            .await?;

        let resource = format!("/item/{segment}");
        let mut url = base.clone();
        url.set_path(&format!("{}{resource}", base.path().trim_end_matches('/')));
        let response = client
            .get(url)
            .basic_auth(user.reveal(), Some(password.reveal()))
            .header(header::CONTENT_TYPE, "application/json")
            .send()
            .await
            .map_err(|error| self.transport(error))?;
        match response.status() {
            StatusCode::OK => {}
            status => return Err(refusal(status, &resource)),
        }
        let body =
            http::read(response, self.settings.cap)
                .await
                .map_err(|unread| match unread {
                    Unread::TooLarge => Error::TooLarge {
                        place: PLACE,
                        limit: self.settings.cap,
                    },
                    Unread::Broken(error) => self.transport(error),
                })?;
        meta(&body).map_err(|reason| Error::Malformed {
            place: PLACE,
            reason,
        })
    }

    fn connect(&self, uri: &str) -> Result<(reqwest::Client, Url), Error> {
        let settings = |reason| Error::Settings {
            place: PLACE,
            reason,
        };
        let base = base(uri).map_err(settings)?;
        let client = http::client(Trust::of(base.scheme(), self.settings.ca.as_deref()))
            .map_err(settings)?
            .connect_timeout(self.settings.limit)
            .build()
            .map_err(|error| settings(innermost(&error)))?;
        Ok((client, base))
    }

    fn transport(&self, error: reqwest::Error) -> Error {
        match error.is_timeout() {
            true => Error::Timeout {
                place: PLACE,
                limit: self.settings.limit,
            },
            false => Error::Unreachable {
                place: PLACE,
                reason: innermost(&error.without_url()),
            },
        }
    }
}

impl FlowStore for Onix {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Bytes, Error>> {
        let limit = self.settings.limit;
        Box::pin(async move {
            timeout(limit, self.fetch(key))
                .await
                .unwrap_or(Err(Error::Timeout {
                    place: PLACE,
                    limit,
                }))
        })
    }
}

/// A user name or password; a file goes before a variable, and an empty one counts as none.
fn credential(
    name: &'static str,
    value: Option<&Hidden>,
    file: Option<&PathBuf>,
) -> Result<Hidden, Error> {
    match file {
        Some(file) => secret::read(file).map_err(|reason| Error::Settings {
            place: PLACE,
            reason,
        })?,
        None => value.filter(|value| !value.reveal().is_empty()).cloned(),
    }
    .ok_or(Error::Undefined(name))
}

/// The base URI, as the original understood it: without a scheme it means plain HTTP.
fn base(uri: &str) -> Result<Url, String> {
    let text = match uri.contains("://") {
        true => uri.to_owned(),
        false => format!("http://{uri}"),
    };
    // The text is not repeated: with a user name in it, it is a secret.
    let url = Url::parse(&text).map_err(|error| format!("OX_WAPI_URI is not a URI: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("OX_WAPI_URI must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "OX_WAPI_URI holds credentials: move them to OX_WAPI_UNAME and OX_WAPI_PWD".to_owned(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(
            "OX_WAPI_URI must end before '?' and '#': items are looked up below its path"
                .to_owned(),
        );
    }
    Ok(url)
}

fn refusal(status: StatusCode, resource: &str) -> Error {
    let reason = format!("response returned status: {status}. resource: {resource}");
    match status {
        StatusCode::NOT_FOUND => Error::NotFound {
            place: PLACE,
            reason,
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Refused {
            place: PLACE,
            reason: format!("{reason}: check OX_WAPI_UNAME and OX_WAPI_PWD"),
        },
        status if status.is_redirection() => Error::Failed {
            place: PLACE,
            reason: format!(
                "{reason}: redirects are not followed, let OX_WAPI_URI name the final address"
            ),
        },
        _ => Error::Failed {
            place: PLACE,
            reason,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_without_scheme_is_plain_http() {
        assert_eq!(base("onix:8080").unwrap().as_str(), "http://onix:8080/");
        assert_eq!(
            base("https://onix/wapi/").unwrap().as_str(),
            "https://onix/wapi/"
        );
        assert_eq!(
            base("httpd.example").unwrap().as_str(),
            "http://httpd.example/"
        );
    }

    #[test]
    fn credentials_in_the_base_are_refused_and_not_repeated() {
        let reason = base("http://bob:s3cret@onix").unwrap_err();
        assert!(reason.contains("OX_WAPI_UNAME"), "{reason}");
        assert!(
            !reason.contains("s3cret") && !reason.contains("bob"),
            "{reason}"
        );
        assert!(base("http://onix/?a=b").is_err());
        assert!(base("ftp://onix").is_err());
    }
}
