//! Files that were named on the command line: read whole, but never without a limit.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, ensure};

/// The most that is read: more than any function takes, and less than would make a machine swap.
const LIMIT: u64 = 64 << 20;

/// Reads a file; `-` is standard input.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        return capped(io::stdin().lock(), LIMIT).context("cannot read standard input");
    }
    File::open(file)
        .map_err(anyhow::Error::from)
        .and_then(|opened| capped(opened, LIMIT))
        .with_context(|| format!("cannot read {}", file.display()))
}

fn capped(reader: impl Read, limit: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= limit,
        "there are more than {limit} bytes"
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_refused() {
        assert_eq!(capped(&b"1234"[..], 4).expect("it fits"), b"1234");
        assert!(capped(&b"12345"[..], 4).is_err());
        assert!(capped(io::repeat(b' '), 4).is_err());
    }

    #[test]
    fn an_error_names_the_file() {
        let error = read(Path::new("no/such/file")).expect_err("there is none");
        assert!(format!("{error:#}").starts_with("cannot read no/such/file: "));
    }
}
