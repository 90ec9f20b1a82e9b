//! Generated files: written by the executable itself, committed, and compared.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::shell::{self, cargo, repository};

/// `cargo xtask generate`
#[derive(Args)]
pub(crate) struct Arguments {
    /// Compare only, and fail when a file is out of date.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(Arguments { check }: &Arguments) -> Result<()> {
    if *check {
        compare()
    } else {
        write(repository())
    }
}

/// Fails with the names of the files that are out of date, and shows how they differ.
pub(crate) fn compare() -> Result<()> {
    let fresh = repository().join("target/generated");
    // Files of an earlier run would be compared too.
    fs::remove_dir_all(&fresh).ok();
    fs::create_dir_all(fresh.join("docs"))?;
    write(&fresh)?;
    let mut stale = Vec::new();
    for file in files(&fresh)? {
        let name = file.strip_prefix(&fresh)?.to_owned();
        let committed = fs::read(repository().join(&name)).unwrap_or_default();
        if committed != fs::read(&file)? {
            let mut diff = shell::command("git");
            let missing = !repository().join(&name).exists();
            diff.args(["--no-pager", "diff", "--no-index", "--stat"])
                .arg(if missing {
                    Path::new("/dev/null")
                } else {
                    &name
                })
                .arg(&file);
            if !missing {
                diff.arg("--patch");
            }
            // Its verdict is that they differ, which is known.
            diff.status().ok();
            stale.push(name.display().to_string());
        }
    }
    ensure!(
        stale.is_empty(),
        "out of date: {}; run `cargo xtask generate` and commit what it writes",
        stale.join(", ")
    );
    Ok(())
}

fn write(folder: &Path) -> Result<()> {
    shell::run(
        cargo()
            .args(["run", "--quiet", "--package", "hookrun", "--", "generate"])
            .arg(folder),
    )
}

/// All files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
