//! The layers of ARCHITECTURE.md, read off what each package really links.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::shell::{self, cargo};

/// What a package may link, directly or not.
struct Layer {
    package: &'static str,
    /// Packages of this repository.
    ours: &'static [&'static str],
    /// Crates that must never appear, with the reason.
    never: &'static [Ban],
}

struct Ban {
    why: &'static str,
    crates: &'static [&'static str],
}

const PURE: &[Ban] = &[
    Ban {
        why: "conversion does no I/O",
        crates: &[
            "hyper",
            "kube",
            "mio",
            "object_store",
            "reqwest",
            "rustls",
            "socket2",
            "tempfile",
        ],
    },
    Ban {
        why: "conversion is not asynchronous",
        crates: &[
            "async-trait",
            "futures-core",
            "futures-util",
            "tokio",
            "tower",
        ],
    },
    Ban {
        why: "conversion is told the time",
        crates: &["chrono", "jiff", "time"],
    },
    Ban {
        why: "the same input gives the same bytes",
        crates: &["fastrand", "getrandom", "rand", "rand_core"],
    },
    Ban {
        why: "conversion returns what it has to say, and logs nothing",
        crates: &["log", "tracing", "tracing-core"],
    },
    Ban {
        why: "configuration is read in functions/*",
        crates: &["clap", "clap_builder"],
    },
];

const SHELL: &[Ban] = &[Ban {
    why: "the shell stays small, for functions that never touch the cluster",
    crates: &["k8s-openapi", "kube", "kube-client", "object_store"],
}];

/// One line per package of the product; the packages of tests and chores may link what they like, and nothing of the
/// product may link them.
const LAYERS: &[Layer] = &[
    Layer {
        package: "flows",
        ours: &[],
        never: PURE,
    },
    Layer {
        package: "providers",
        ours: &[],
        never: PURE,
    },
    Layer {
        package: "hooks",
        ours: &["providers"],
        never: PURE,
    },
    Layer {
        package: "units",
        ours: &[],
        never: PURE,
    },
    Layer {
        package: "runtime",
        ours: &["units"],
        never: SHELL,
    },
    Layer {
        package: "cluster",
        ours: &["flows", "units"],
        never: &[],
    },
    Layer {
        package: "store",
        ours: &["flows", "units"],
        never: &[],
    },
    Layer {
        package: "embedded",
        ours: &[],
        never: &[],
    },
    Layer {
        package: "deliveries",
        ours: &["cluster", "flows", "hooks", "providers", "store", "units"],
        never: &[],
    },
    Layer {
        package: "flow",
        ours: &[
            "cluster",
            "deliveries",
            "flows",
            "hooks",
            "providers",
            "runtime",
            "store",
            "units",
        ],
        never: &[],
    },
    Layer {
        package: "hook",
        ours: &[
            "cluster",
            "deliveries",
            "flows",
            "hooks",
            "providers",
            "runtime",
            "store",
            "units",
        ],
        never: &[],
    },
    Layer {
        package: "admission",
        ours: &["hooks", "providers", "runtime", "units"],
        never: SHELL,
    },
    Layer {
        package: "hookrun",
        ours: &[
            "admission",
            "cluster",
            "deliveries",
            "embedded",
            "flow",
            "flows",
            "hook",
            "hooks",
            "providers",
            "runtime",
            "store",
            "units",
        ],
        never: &[],
    },
];

/// Packages that are not part of the product.
const CHORES: &[&str] = &[
    "bare-server",
    "bench",
    "control-plane",
    "e2e",
    "system-tests",
    "xtask",
];

/// All packages of the workspace.
pub(crate) fn packages() -> Result<BTreeSet<String>> {
    tree(&["--workspace", "--depth", "0"])
}

/// Fails with everything that is linked and should not be.
pub(crate) fn check() -> Result<()> {
    let packages = packages()?;
    let mut wrong = Vec::new();
    for package in &packages {
        if CHORES.contains(&package.as_str()) {
            continue;
        }
        match LAYERS.iter().find(|layer| layer.package == package) {
            Some(layer) => {
                let linked = tree(&["--package", package, "--edges", "normal"])?;
                wrong.extend(violations(layer, &linked, &packages));
            }
            None => wrong.push(format!(
                "{package} has no layer: say in xtask/src/check/layers.rs what it may link, and in ARCHITECTURE.md why"
            )),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn violations(layer: &Layer, linked: &BTreeSet<String>, ours: &BTreeSet<String>) -> Vec<String> {
    let Layer {
        package,
        ours: allowed,
        never,
    } = layer;
    let mut wrong = Vec::new();
    for other in linked.intersection(ours) {
        if other != package && !allowed.contains(&other.as_str()) {
            wrong.push(format!(
                "{package} links {other}, a package of ours that its layer does not know; `cargo tree -p {package} -e normal -i {other}` shows how"
            ));
        }
    }
    for Ban { why, crates } in *never {
        for banned in *crates {
            if linked.contains(*banned) {
                wrong.push(format!(
                    "{package} links {banned}, but {why}; `cargo tree -p {package} -e normal -i {banned}` shows how"
                ));
            }
        }
    }
    wrong
}

/// The names in a dependency tree.
fn tree(arguments: &[&str]) -> Result<BTreeSet<String>> {
    let tree = ["tree", "--quiet", "--prefix", "none", "--format", "{p}"];
    let text = shell::output(cargo().args(tree).args(arguments))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_banned_crate_is_named_with_its_reason() {
        let linked = set(&["flows", "serde", "tokio"]);
        let wrong = violations(&LAYERS[0], &linked, &set(&["flows"]));
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("flows links tokio, but conversion is not asynchronous"));
    }

    #[test]
    fn a_function_may_not_link_another() {
        let ours = set(&["embedded", "flow", "flows"]);
        let flow = LAYERS.iter().find(|layer| layer.package == "flow");
        let wrong = violations(flow.expect("a layer"), &ours, &ours);
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].starts_with("flow links embedded"));
    }
}
