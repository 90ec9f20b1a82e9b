//! What each ServiceAccount of the manifests may do, as `kubectl auth can-i --list` tells it: exactly the committed lists.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use system_tests::{case::Case, support::objects::name};

use crate::{
    install::MAIN,
    world::{FLOWS, PRIVILEGED, RUNS, World, case},
};

pub(crate) fn cases() -> Vec<Case<World>> {
    vec![case(
        "rbac::rights_of_every_account_are_the_committed_ones",
        120,
        MAIN,
        rights,
    )]
}

async fn rights(world: Arc<World>) -> Result<()> {
    // What every account may do, everywhere.
    let common = list(&world, "default", "system:serviceaccount:default:nobody").await?;
    let mut found = String::new();
    for (home, namespaces) in [
        (MAIN, [MAIN, RUNS, PRIVILEGED, FLOWS, "default"].as_slice()),
        (RUNS, &[RUNS, MAIN]),
    ] {
        let accounts = world.objects(home).all("ServiceAccount").await?;
        for account in accounts.iter().map(name) {
            for namespace in namespaces {
                let user = format!("system:serviceaccount:{home}:{account}");
                found += &format!("{home}/{account} in {namespace}\n");
                for line in &list(&world, namespace, &user).await? - &common {
                    found += &format!("  {line}\n");
                }
            }
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("rbac/rights.txt");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(&file, &found)?;
    }
    let expected = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    ensure!(
        found == expected,
        "{} says:\n{expected}\nfound:\n{found}",
        file.display()
    );
    Ok(())
}

/// The rights, one line each.
async fn list(world: &World, namespace: &str, user: &str) -> Result<BTreeSet<String>> {
    let arguments = [
        "auth",
        "can-i",
        "--list",
        "--no-headers",
        "--namespace",
        namespace,
        "--as",
        user,
    ];
    let told = world.kubectl(&arguments).await?;
    Ok(told
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect())
}
