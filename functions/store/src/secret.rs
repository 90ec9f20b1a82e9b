//! Text that is never shown, and how it gets here: from an environment variable or from a mounted file.
//!
//! Files are read for every use, so that a rotated Secret counts at once; they are small and on a memory file system.

use std::{fmt, fs, path::Path, str::FromStr};

/// Text that neither `Debug` nor `Display` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text itself, for where it is needed.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The text of a file, without the line end that editors and `echo` leave; `None` if nothing else is in it.
pub(crate) fn read(file: &Path) -> Result<Option<Hidden>, String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    Ok((!text.is_empty()).then(|| Hidden(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_not_shown() {
        assert_eq!(
            format!("{:?}", Hidden::from("s3cret".to_owned())),
            "(hidden)"
        );
    }

    #[test]
    fn a_file_s_line_end_does_not_count() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), " pass word\r\n").unwrap();
        assert_eq!(read(file.path()).unwrap().unwrap().reveal(), " pass word");
        fs::write(file.path(), "\n").unwrap();
        assert_eq!(read(file.path()).unwrap(), None);
    }
}
