//! Which object store is meant, and by which credentials: pure, so that a wrong URL is told at start.

use std::{fmt, str::FromStr};

use object_store::{ObjectStoreScheme, path::Path};
use url::Url;

/// Where an object store is: `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub(super) url: Url,
    pub(super) scheme: Scheme,
    pub(super) prefix: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
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
    pub(super) fn of(&self, system: &str) -> impl Iterator<Item = (String, &str)> {
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

impl Location {
    pub(crate) fn is_folder(&self) -> bool {
        self.scheme == Scheme::Folder
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
