//! Fuzzing on the pinned toolchain: LLVM's own instrumentation, switched on for the workspace in `fuzz/` and nothing else.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::shell::{self, cargo, repository};

/// `cargo xtask fuzz`
#[derive(Args)]
pub(crate) struct Arguments {
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Show the names of the targets and end.
    #[arg(long)]
    list: bool,
    /// Names of targets; all if none is given.
    targets: Vec<String>,
}

/// What `cargo fuzz` sets too, minus what needs a nightly toolchain.
const FLAGS: &str = "-C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares \
    -C codegen-units=1 \
    -C debug-assertions \
    --cfg fuzzing";

pub(crate) fn run(
    Arguments {
        seconds,
        list,
        targets,
    }: &Arguments,
) -> Result<()> {
    let known = known()?;
    if *list {
        println!("{}", known.join("\n"));
        return Ok(());
    }
    for target in targets {
        ensure!(
            known.contains(target),
            "no fuzz target is called `{target}`; there are: {}",
            known.join(", ")
        );
    }
    let chosen = if targets.is_empty() { &known } else { targets };
    let host = shell::host()?;
    shell::run(
        cargo()
            .current_dir(repository().join("fuzz"))
            // With a target named, build scripts and macros stay without instrumentation.
            .args(["build", "--release", "--bins", "--target", &host])
            .env("RUSTFLAGS", FLAGS)
            .env("CARGO_TARGET_DIR", repository().join("fuzz/target")),
    )?;
    for target in chosen {
        one(target, &host, *seconds)?;
    }
    Ok(())
}

/// Runs one target on its corpus; what it finds new stays in `fuzz/target`, the committed seeds stay as they are.
fn one(target: &str, host: &str, seconds: u32) -> Result<()> {
    let fuzz = repository().join("fuzz");
    let found = fuzz.join("target/corpus").join(target);
    let artifacts = fuzz.join("artifacts").join(target);
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&artifacts)?;
    let began = Instant::now();
    let mut run = shell::command(fuzz.join("target").join(host).join("release").join(target));
    run.current_dir(&fuzz)
        .arg(&found)
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        // One input may take 10 seconds and 2 GiB, far more than any should.
        .args([
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-verbosity=0",
            "-print_final_stats=1",
        ]);
    let seeds = fuzz.join("corpus").join(target);
    if seeds.is_dir() {
        run.arg(seeds);
    }
    let dictionary = fuzz.join(format!("{target}.dict"));
    if dictionary.is_file() {
        run.arg(format!("-dict={}", dictionary.display()));
    }
    shell::run(&mut run).with_context(|| {
        format!(
            "{target} found something: the input lies in fuzz/artifacts/{target}; make it a test, mend it, and keep it in fuzz/corpus/{target}"
        )
    })?;
    eprintln!(
        "{target}: nothing found in {:.0} s",
        began.elapsed().as_secs_f32()
    );
    Ok(())
}

/// The names of the targets: one file each.
fn known() -> Result<Vec<String>> {
    let folder: PathBuf = repository().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "no fuzz targets in {}", folder.display());
    Ok(names)
}
