//! The step that clones a repository before a task's own steps.
//!
//! Its script is constant: what users write reaches it through environment variables only, so none of it can become
//! shell or Git options. The login is offered to the repository's own host and never written to a file.

use std::collections::HashSet;

use super::{
    Place,
    data::{Part, Slot},
    task::{SOURCE_FOLDER, Writer},
};
use crate::{
    flow::{EnvValue, GitSource, Task},
    name::{Label, object_name},
    tekton::{EnvVar, Step},
};

/// `$(` must not occur: Tekton would look for a variable of its own there.
const SCRIPT: &str = r#"#!/bin/sh
set -eu

with_login() {
  git -c "credential.$HOOKRUN_GIT_ORIGIN.helper=" \
    -c "credential.$HOOKRUN_GIT_ORIGIN.helper=!f() { test \"\$1\" = get && printf 'username=%s\npassword=%s\n' \"\$HOOKRUN_GIT_USERNAME\" \"\$HOOKRUN_GIT_PASSWORD\"; }; f" \
    "$@"
}
run=git
if [ -n "${HOOKRUN_GIT_ORIGIN:-}" ]; then run=with_login; fi
depth=
if [ "$HOOKRUN_GIT_DEPTH" != 0 ]; then depth="--depth=$HOOKRUN_GIT_DEPTH"; fi

git init --quiet .
git remote add origin "$HOOKRUN_GIT_URL"
revision=FETCH_HEAD
wanted="${HOOKRUN_GIT_REVISION:-HEAD}"
if ! "$run" fetch --quiet $depth --no-tags origin "$wanted"; then
  # Some servers hand out no single commits, some no part of the history.
  echo "fetching all branches and tags instead" >&2
  "$run" fetch --quiet --tags origin '+refs/heads/*:refs/remotes/origin/*'
  if ! "$run" fetch --quiet --no-tags origin "$wanted"; then revision="$wanted^{commit}"; fi
fi
git checkout --quiet --detach "$revision"
"$run" submodule --quiet update --init --recursive $depth
git log -1 --format='cloned %H'
"#;

/// The protocols that a repository and its submodules may use.
const PROTOCOLS: &str = "http:https:ssh:git";

/// The clone step; what it reads is noted in the writer.
pub(super) fn step(
    task: &Task,
    source: &GitSource,
    place: &Place<'_>,
    writer: &mut Writer<'_>,
) -> Step {
    let GitSource {
        url,
        revision,
        credentials,
        depth,
    } = source;
    let depth = depth.unwrap_or(place.settings.clone_depth).to_string();
    let mut env = vec![
        plain("HOME", "/tekton/home"),
        plain("GIT_ALLOW_PROTOCOL", PROTOCOLS),
        plain("GIT_TERMINAL_PROMPT", "0"),
        plain("HOOKRUN_GIT_DEPTH", &depth),
    ];
    let mut given = |name: &str, part, value: &EnvValue| {
        env.push(writer.env_var(
            name,
            value,
            &Slot {
                task: task.name.as_str(),
                step: "",
                part,
            },
        ));
    };
    given("HOOKRUN_GIT_URL", Part::Url, &EnvValue::text(url));
    if let Some(revision) = revision {
        given(
            "HOOKRUN_GIT_REVISION",
            Part::Revision,
            &EnvValue::text(revision),
        );
    }
    if let Some(login) = credentials {
        given("HOOKRUN_GIT_USERNAME", Part::Username, &login.username);
        given("HOOKRUN_GIT_PASSWORD", Part::Password, &login.password);
        env.push(plain("HOOKRUN_GIT_ORIGIN", &origin(url)));
    }
    Step {
        name: free_name("clone", task),
        image: place.settings.clone_image.clone(),
        command: Vec::new(),
        args: Vec::new(),
        env,
        script: Some(SCRIPT),
        working_dir: SOURCE_FOLDER,
        security_context: None,
        volume_mounts: Vec::new(),
        timeout: None,
    }
}

fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

/// A step's name that none of the task's own steps has.
pub(super) fn free_name(wanted: &str, task: &Task) -> Label {
    let taken: HashSet<_> = task.steps.iter().map(|step| step.name.as_str()).collect();
    let mut name = object_name(wanted);
    let mut count = 1;
    while taken.contains(name.as_str()) {
        count += 1;
        name = object_name(&format!("{wanted}-{count}"));
    }
    name
}

/// Whether a URL brings a login of its own.
pub(super) fn has_login(url: &str) -> bool {
    let is_http =
        |scheme: &str| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    url.split_once("://")
        .is_some_and(|(scheme, _)| is_http(scheme))
        && authority(url).contains('@')
}

fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Scheme, host and port of a URL: whom a login is for.
fn origin(url: &str) -> String {
    let scheme = url
        .split_once("://")
        .map_or("https", |(scheme, _)| scheme)
        .to_ascii_lowercase();
    let authority = authority(url);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::{SCRIPT, has_login, origin};

    #[test]
    fn the_script_leaves_tekton_nothing_to_replace() {
        assert!(!crate::flow::expands(SCRIPT));
    }

    #[test]
    fn a_login_is_for_the_origin() {
        assert_eq!(
            origin("HTTPS://me:pw@git.example.org:8443/a/b.git"),
            "https://git.example.org:8443"
        );
        assert!(has_login("https://token@git.example.org/a"));
        assert!(!has_login("https://git.example.org/a@b"));
        assert!(!has_login("ssh://git@git.example.org/a"));
    }
}
