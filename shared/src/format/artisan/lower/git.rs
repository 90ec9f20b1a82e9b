//! Where the functions of steps without a package come from: `git_uri`, or `git` with branch and login.

use super::super::{Git, Step};
use super::{Notes, at, source::has_only_function};
use crate::{
    flow::{EnvValue, GitCredentials, GitSource},
    problem::{Kind, Path, shortened},
};

/// Servers that only take a token accept any user name; this one says who is asking.
const TOKEN_USER: &str = "git";

/// The repository that steps need, if some do; one that none needs is not looked at.
pub(super) fn source(
    steps: &[Step],
    git_uri: &str,
    git: Option<Git>,
    notes: &Notes,
) -> Option<GitSource> {
    let step = steps.iter().position(has_only_function)?;
    let Git {
        git_uri: inner,
        git_branch,
        git_login,
        git_password,
    } = git.unwrap_or_default();
    let (url, here): (_, fn() -> Path) = match (git_uri.trim(), inner.trim()) {
        ("", "") => {
            notes.add(|| at("git_uri"), || Kind::MissingGit { step });
            return None;
        }
        (outer, "") => (outer, || at("git_uri")),
        ("", inner) => (inner, || at("git").field("git_uri")),
        (outer, inner) => {
            if outer != inner {
                notes.add(|| at("git").field("git_uri"), || Kind::TwoGitUrls);
            }
            (inner, || at("git").field("git_uri"))
        }
    };
    if !is_repository(url) {
        notes.add(here, || Kind::IllegalGitUrl {
            url: shortened(&without_login(url)),
        });
    }
    let revision = git_branch.trim();
    if !revision.is_empty() && !is_revision(revision) {
        notes.add(
            || at("git").field("git_branch"),
            || Kind::IllegalRevision {
                revision: shortened(revision),
            },
        );
    }
    let login = !git_login.is_empty() || !git_password.is_empty();
    if login && !is_http(url) {
        notes.add(|| at("git").field("git_login"), || Kind::LoginWithoutHttp);
    }
    for (field, text) in [("git_login", &git_login), ("git_password", &git_password)] {
        if text.contains('\0') {
            notes.add(|| at("git").field(field), || Kind::NulInValue);
        }
    }
    let user = if git_login.is_empty() {
        TOKEN_USER.to_owned()
    } else {
        git_login
    };
    Some(GitSource {
        url: url.to_owned(),
        revision: (!revision.is_empty()).then(|| revision.to_owned()),
        credentials: login.then(|| GitCredentials {
            username: EnvValue::text(user),
            password: EnvValue::text(git_password),
        }),
        depth: None,
    })
}

fn is_http(url: &str) -> bool {
    ["https://", "http://"]
        .iter()
        .any(|scheme| has_prefix(url, scheme))
}

fn has_prefix(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Whether Git may be asked to clone it: no local path, no helper, nothing that reads as an option.
fn is_repository(url: &str) -> bool {
    if url.chars().any(|c| c.is_whitespace() || c.is_control())
        || url.starts_with('-')
        || url.len() > 4096
    {
        return false;
    }
    match url.split_once("://") {
        Some((_, rest)) => {
            let known = is_http(url) || has_prefix(url, "ssh://") || has_prefix(url, "git://");
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host);
            known
                && !host.is_empty()
                && !host.starts_with('-')
                && !authority.starts_with('-')
                && !path.is_empty()
        }
        // user@host:path; `::` would call a helper.
        None => url.split_once(':').is_some_and(|(host, path)| {
            host.contains('@')
                && !host.contains('/')
                && !host.starts_with('@')
                && host
                    .rsplit_once('@')
                    .is_some_and(|(_, host)| !host.is_empty() && !host.starts_with('-'))
                && !path.is_empty()
                && !path.starts_with([':', '-'])
        }),
    }
}

/// A URL as it may be shown.
pub(in crate::format::artisan) fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest.get(..end).and_then(|authority| authority.rfind('@')) {
        Some(login) => format!(
            "{scheme}://{}{}",
            super::super::REDACTED,
            rest.get(login..).unwrap_or_default()
        ),
        None => url.to_owned(),
    }
}

/// Whether Git may be asked for it: the rules of `git check-ref-format`, which commits fulfil too.
fn is_revision(text: &str) -> bool {
    let forbidden =
        |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    text.len() <= 1024
        && !text.chars().any(forbidden)
        && !text.starts_with(['-', '/'])
        && !text.ends_with(['/', '.'])
        && !text.contains("..")
        && !text.contains("//")
        && !text.contains("@{")
        && text != "@"
        && text
            .split('/')
            .all(|part| !part.starts_with('.') && !part.ends_with(".lock"))
}

#[cfg(test)]
mod tests {
    use super::{is_repository, is_revision, without_login};

    #[test]
    fn repositories_as_people_write_them() {
        for url in [
            "https://git.example.org/team/parts.git",
            "HTTP://git.example.org:3000/parts",
            "https://me:pw@git.example.org/parts",
            "ssh://git@git.example.org:22/team/parts.git",
            "git@git.example.org:team/parts.git",
            "git://git.example.org/parts",
        ] {
            assert!(is_repository(url), "{url}");
        }
    }

    #[test]
    fn what_git_must_not_be_asked_to_clone() {
        for url in [
            "",
            "/srv/parts",
            "parts",
            "file:///srv/parts",
            "ext::sh -c id",
            "ext::id",
            "-u@x:y",
            "https://",
            "https:///x",
            "https://git.example.org",
            "ssh://-oProxyCommand=id/x",
            "ssh://a@-oProxyCommand=id/x",
            "git@-oProxyCommand=id:x",
            "https://git.example.org/a b",
            "https://git.example.org/a\nb",
            "a@ext::id",
            "ftp://git.example.org/x",
        ] {
            assert!(!is_repository(url), "{url}");
        }
    }

    #[test]
    fn revisions() {
        for text in [
            "main",
            "v1.2",
            "feature/x",
            "refs/heads/main",
            "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
        ] {
            assert!(is_revision(text), "{text}");
        }
        for text in [
            "-x",
            "--upload-pack=id",
            "a..b",
            "a b",
            "a:b",
            "/a",
            "a/",
            ".a",
            "a/.b",
            "a.lock",
            "@",
            "a@{1}",
            "a\n",
        ] {
            assert!(!is_revision(text), "{text}");
        }
    }

    #[test]
    fn a_shown_url_has_no_login() {
        assert_eq!(without_login("https://me:p@w@h/x@y"), "https://*****@h/x@y");
        assert_eq!(without_login("https://h/x@y"), "https://h/x@y");
        assert_eq!(without_login("git@h:x"), "git@h:x");
    }
}
