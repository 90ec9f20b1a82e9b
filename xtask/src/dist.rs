//! The executable as it is shipped: one static file.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};

use crate::shell::{self, cargo, repository};

/// Builds it, shows that it is static, and gives its path.
pub(crate) fn run() -> Result<PathBuf> {
    let built = build("hookrun")?;
    let shipped = repository().join("target/dist/hookrun");
    fs::create_dir_all(repository().join("target/dist"))?;
    // The one that is there may be running: it is replaced, not written over.
    let fresh = shipped.with_extension("new");
    let size = fs::copy(&built, &fresh)?;
    fs::rename(&fresh, &shipped)?;
    println!("target/dist/hookrun: {:.1} MB, static", size as f64 / 1e6);
    Ok(shipped)
}

/// Builds the program of a package for release, one static file, and gives its path. A package of its own, since what is
/// built together shares the features of its dependencies.
pub(crate) fn build(package: &str) -> Result<PathBuf> {
    let host = shell::host()?;
    shell::run(
        cargo()
            // With a target named, the flags do not reach build scripts and macros, which must stay dynamic.
            .args([
                "build",
                "--release",
                "--package",
                package,
                "--target",
                &host,
            ])
            .env("RUSTFLAGS", flags(&host)),
    )?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), PathBuf::from);
    let built = target.join(&host).join("release").join(package);
    let bytes = fs::read(&built).with_context(|| built.display().to_string())?;
    ensure!(
        is_static(&bytes).context("not a 64-bit little-endian ELF file")?,
        "{} asks for a dynamic loader, so it would not start in an empty image",
        built.display()
    );
    Ok(built)
}

/// What rustc is told beside the release profile.
fn flags(host: &str) -> String {
    let mut flags = vec!["-C target-feature=+crt-static".to_owned()];
    if host.starts_with("x86_64-") {
        // The loader's list of addresses to adjust: 20 KB instead of 1 MB. Other linkers may not know it yet.
        flags.push("-C link-arg=-Wl,-z,pack-relative-relocs".into());
    }
    flags.join(" ")
}

/// Whether an ELF file has no program header that names a loader (`PT_INTERP`); `None` if it is not such a file.
fn is_static(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = elf.get(at..at + size)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    };
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(number(0x20, 8)?).ok()?;
    let size = usize::try_from(number(0x36, 2)?).ok()?;
    let count = usize::try_from(number(0x38, 2)?).ok()?;
    for index in 0..count {
        if number(table.checked_add(index * size)?, 4)? == u64::from(PT_INTERP) {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_pointer_width = "64", target_env = "gnu"))]
    fn a_test_is_dynamic() -> Result<()> {
        let elf = fs::read(std::env::current_exe()?)?;
        assert_eq!(is_static(&elf), Some(false));
        Ok(())
    }

    #[test]
    fn without_a_loader_it_is_static() {
        let mut elf = [0; 0x78];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[0x20] = 0x40; // table of program headers
        elf[0x36] = 0x38; // size of one
        elf[0x38] = 1; // how many
        elf[0x40] = 1; // PT_LOAD
        assert_eq!(is_static(&elf), Some(true));
        elf[0x40] = 3;
        assert_eq!(is_static(&elf), Some(false));
        assert_eq!(is_static(&elf[..0x41]), None);
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
    }
}
